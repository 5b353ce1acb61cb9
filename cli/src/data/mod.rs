//! What is learnt from: a table of numbers read hour by hour, a text read character by character, utterances.
//!
//! [`table`] reads a file, [`time`] and [`grid`] put its rows in order, [`series`] and [`weather`] give a
//! [`series::Series`], which [`windows`] turns into a forecasting task beside the simple forecasts of [`baseline`]; [`text`]
//! gives a next-character task, [`utterances`] sequences to be classified. Every repair is counted in the notes, and every
//! file that cannot be used is refused with one sentence that says where, what was expected and what was there.

pub mod baseline;
mod columns;
pub mod cycles;
mod gaps;
pub mod grid;
pub mod moments;
mod parts;
pub mod series;
pub mod table;
pub mod text;
pub mod time;
pub mod utterances;
pub mod weather;
pub mod windows;

use anyhow::{Context, Result, anyhow, ensure};
use std::path::Path;

/// Reads a whole file as UTF-8, without the byte order mark that some programs put in front.
pub fn read_utf8(path: &Path) -> Result<String> {
    let file = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("{file}: could not read the file"))?;
    ensure!(!bytes.is_empty(), "{file}: expected text, got an empty file");
    let text = String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = 1 + bytes[..start].iter().filter(|&&byte| byte == b'\n').count();
        anyhow!("{file}, line {line}: expected UTF-8 text, got the byte 0x{:02X}", bytes[start])
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// The name of a file without its folder.
fn short_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::read_utf8;
    use std::io::Write;

    fn error(bytes: &[u8]) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let message = format!("{:#}", read_utf8(file.path()).unwrap_err());
        message.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn refuses_what_is_not_text() {
        assert_eq!(error(b""), "FILE: expected text, got an empty file");
        assert_eq!(error(b"a\nb\n\xff"), "FILE, line 3: expected UTF-8 text, got the byte 0xFF");
        let missing = read_utf8(std::path::Path::new("no/such/file")).unwrap_err();
        assert!(format!("{missing:#}").starts_with("no/such/file: could not read the file: "));
    }

    #[test]
    fn drops_the_byte_order_mark() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all("\u{feff}time,temp".as_bytes()).unwrap();
        assert_eq!(read_utf8(file.path()).unwrap(), "time,temp");
    }
}
