//! Layers with parameters: what a model is built of.

mod check;
mod embedding;
mod init;
mod linear;
mod loss;
mod params;
pub mod rnn;

pub use check::{Case, CheckReport, Checked, Extent, GRADIENT_BOUND, HALF_BOUND, OUTPUT_BOUND, relative_error};
pub use embedding::Embedding;
pub use init::{Init, Layer, Recurrent};
pub use linear::Linear;
pub use loss::Loss;
pub use params::{Entry, Parameters};
