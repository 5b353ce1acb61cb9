//! Layers with parameters: what a model is built of.

mod params;

pub use params::{Entry, Parameters};
