//! The networks that every command trains: [embedding →] recurrent layers → linear head, with a loss and an optimiser.

mod form;
mod kind;
mod model;
mod pass;

pub use form::{Answers, Batch, Fed, Form, LossAt, Reads};
pub use kind::{Kind, expect_apart, formula, named, title};
pub use model::{Inside, Model, Setup};

use wgpu_rnn::{Cell, RnnConfig};

/// The cells compared, the reference for equal sizes last.
pub const CELLS: [Cell; 3] = [Cell::RnnTanh, Cell::Gru, Cell::Lstm];

/// The layer of a kind with about as many parameters as an LSTM of this hidden size.
pub fn of_equal_parameters(kind: impl Into<Kind>, input: usize, lstm: usize) -> RnnConfig {
    let kind = kind.into();
    let wanted = RnnConfig::new(Cell::Lstm, input, lstm).parameters();
    let off = |&hidden: &usize| kind.config(input, hidden).parameters().abs_diff(wanted);
    // Without a product the parameters of a unit do not grow with the units, and there are many.
    let most = if kind.config(1, 1).recipe().has_product() { 4 * lstm } else { wanted };
    kind.config(input, (1..=most).min_by_key(off).unwrap_or(lstm))
}
