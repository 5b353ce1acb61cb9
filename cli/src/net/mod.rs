//! The networks that every command trains: [embedding →] recurrent layers → linear head, with a loss and an optimiser.

mod form;
mod model;
mod pass;

pub use form::{Answers, Batch, Fed, Form, LossAt, Reads};
pub use model::{Inside, Model, Setup};

use wgpu_rnn::{Cell, RnnConfig};

/// The cells compared, the reference for equal sizes last.
pub const CELLS: [Cell; 3] = [Cell::RnnTanh, Cell::Gru, Cell::Lstm];

/// The layer of a cell with about as many parameters as an LSTM of this hidden size.
pub fn of_equal_parameters(cell: Cell, input: usize, lstm: usize) -> RnnConfig {
    let parameters = |cell, hidden| RnnConfig::new(cell, input, hidden).parameters();
    let wanted = parameters(Cell::Lstm, lstm);
    let off = |&hidden: &usize| parameters(cell, hidden).abs_diff(wanted);
    RnnConfig::new(cell, input, (1..=4 * lstm).min_by_key(off).unwrap_or(lstm))
}
