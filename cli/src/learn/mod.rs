//! Training a model for use: `train`, and what is done with what it leaves: `eval`, `sample`, `forecast`, `classify`.

mod about;
pub mod classify;
pub mod eval;
pub mod forecast;
pub mod sample;
pub mod train;

pub use about::Saved;
