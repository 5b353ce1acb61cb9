//! Layers with parameters: what a model is built of.

mod params;
pub mod rnn;

pub use params::{Entry, Parameters};
