//! Training a model for use: `train`, and what is done with what it leaves: `eval`, `sample`.

mod about;
pub mod eval;
pub mod sample;
pub mod train;

pub use about::{Saved, load};
