//! How far training has come: a bar on a terminal that can draw one, lines elsewhere.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use super::say;

/// A bar, lines, or nothing.
pub struct Progress {
    /// What the lines begin with.
    name: String,
    show: Show,
}

enum Show {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl Progress {
    /// Of something with a name, which may be empty.
    pub fn new(name: String) -> Self {
        let show = if draws() { Show::Bar(bar(&name)) } else { Show::Lines };
        Self { name, show }
    }

    /// Lines, whatever there is.
    #[cfg(test)]
    pub fn lines(name: String) -> Self {
        Self { name, show: Show::Lines }
    }

    /// One that says nothing.
    pub fn silent() -> Self {
        Self { name: String::new(), show: Show::Nothing }
    }

    /// From `at` on there are `of` steps.
    pub fn begin(&self, at: usize, of: usize) {
        if let Show::Bar(bar) = &self.show {
            bar.set_length(of as u64);
            bar.set_position(at as u64);
            bar.reset_eta();
        }
    }

    /// A step more.
    pub fn step(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.inc(1);
            // By the clock there may be more steps than were expected.
            if bar.length().is_some_and(|length| length < bar.position()) {
                bar.set_length(bar.position());
            }
        }
    }

    /// How it goes: a few words beside the bar, or a line.
    pub fn point(&self, brief: impl Display, line: impl Display) -> std::io::Result<()> {
        match &self.show {
            Show::Bar(bar) => {
                bar.set_message(brief.to_string().trim_end().to_string());
                Ok(())
            }
            Show::Lines => say(format!("{} {line}", self.name).trim()),
            Show::Nothing => Ok(()),
        }
    }

    /// Something that must be seen, above the bar or as a line.
    pub fn note(&self, text: impl Display) -> std::io::Result<()> {
        match &self.show {
            Show::Bar(bar) => {
                bar.println(text.to_string());
                Ok(())
            }
            Show::Lines => say(text),
            Show::Nothing => Ok(()),
        }
    }

    /// Leaves the bar as it is.
    pub fn end(&self) {
        if let Show::Bar(bar) = &self.show {
            bar.abandon();
            let _ = writeln!(std::io::stderr());
        }
    }

    /// What is to be said after the end.
    pub fn last(&self, text: impl Display) -> std::io::Result<()> {
        match self.show {
            Show::Nothing => Ok(()),
            _ => say(format_args!("{} {text}", self.name)),
        }
    }
}

/// Whether a bar can be drawn: on a terminal that moves its cursor.
fn draws() -> bool {
    let moves = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    std::io::stderr().is_terminal() && (moves || cfg!(windows))
}

fn bar(name: &str) -> ProgressBar {
    // Fits 80 columns, and is cut where there are fewer.
    let style = ProgressStyle::with_template("{prefix}{bar:10} {pos}/{len} {eta} {wide_msg}");
    let prefix = if name.is_empty() { String::new() } else { format!("{name} ") };
    let bar = ProgressBar::new(0).with_prefix(prefix);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
