//! Training a model, and the files of trained ones.

mod begin;
mod saved;
pub mod training;
mod views;

pub use begin::{New, kept_path};
pub use saved::{About, BEST, KEY, Saved};
pub use views::choose;

use crate::base::{say, say_notes};
use crate::task::{More, Stored};

/// Says what the data are and what was done to them.
pub fn tell(task: &dyn Stored) -> std::io::Result<()> {
    say(format_args!("data: {}", task.describe()))?;
    say_notes(&task.used().notes)
}
