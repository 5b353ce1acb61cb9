//! Training a model, and the files of trained ones.

mod begin;
mod saved;
pub mod training;
mod views;

pub use begin::{New, kept_path};
pub use saved::{About, BEST, KEY, Pulse, Saved};
pub use views::choose;

use crate::base::{say, say_notes};
use crate::task::{More, Task};

/// Says what the data are and what was done to them.
pub fn tell(task: &dyn Task) -> std::io::Result<()> {
    say(format_args!("data: {}", task.describe()))?;
    say_notes(&task.used().notes)
}
