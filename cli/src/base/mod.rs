//! What every command needs: saying something, files, numbers as text, interrupts, and opening a device.

pub mod device;
pub mod directed;
pub mod dropouts;
pub mod files;
pub mod numbers;
pub mod progress;
pub mod stats;
pub mod stop;
mod tuning;

pub use tuning::keep_tuning;

use std::io::{ErrorKind, Write};

/// One line on standard error, whatever line breaks a message brings along.
pub fn complain(sentence: &str) {
    // Runs of blanks stay: they may be a column's name.
    let lines: Vec<&str> = sentence.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let _ = writeln!(std::io::stderr(), "{}", lines.join(" "));
}

/// Prints a line. A reader that has gone away (`| head`) is no reason to fail: the work goes on.
pub fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(std::io::Error::new(error.kind(), format!("standard output can't be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints what is to be known of data, a line each.
pub fn say_notes(notes: &[String]) -> std::io::Result<()> {
    notes.iter().try_for_each(|note| say(format_args!("  {note}")))
}

/// A size on the command line.
pub fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_string()),
        Ok(size) => Ok(size),
        Err(_) => Err("expected a whole number of at least 1".to_string()),
    }
}

/// A seed on the command line.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a whole number from 0 on".to_string())
}

/// What was typed to get here, as a shell reads it.
pub fn command_line() -> String {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    quoted(std::iter::once("wgpu-rnn").chain(words.iter().map(String::as_str)))
}

/// Words of a command, of which a shell makes the same.
fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted = |word: &'a str| shlex::try_quote(word).map_or_else(|_| word.to_string(), std::borrow::Cow::into_owned);
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// Today's date in UTC, `YYYY-MM-DD`.
pub fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_are_quoted_where_a_shell_would_change_them() {
        let words = ["train", "--data", "my data.ts", "--reset-after", "\\n\\n", "--hidden", "8"];
        let said = super::quoted(words.into_iter());
        assert_eq!(said, r#"train --data 'my data.ts' --reset-after "\\n\\n" --hidden 8"#);
        assert_eq!(shlex::split(&said).unwrap(), words);
    }
}
