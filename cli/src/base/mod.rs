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

/// What was typed to get here.
pub fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("wgpu-rnn".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Today's date in UTC, `YYYY-MM-DD`.
pub fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}
