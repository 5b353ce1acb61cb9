//! The networks that every command trains: [embedding →] recurrent layers → linear head, with a loss and an optimiser.

mod form;
mod model;
mod pass;

pub use form::{Answers, Batch, Fed, Form, LossAt, Reads};
pub use model::{Inside, Model, Setup};
