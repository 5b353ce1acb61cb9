//! Weights by which a unit sees a state of its own: LSTM's peepholes, and what cells without a product have in place of one.

use std::ops::Range;

use super::{Recipe, Tensor};

impl Recipe {
    /// Weights P by which a unit sees a state of its own: blocks of H in `weight_ch`, or in the IndRNN's `weight_hh`.
    pub const fn peepholes(self) -> usize {
        match (self.options.peephole, self.options.coupled) {
            (false, _) => self.row().looks.len(),
            (true, true) => 2,
            (true, false) => 3,
        }
    }

    /// Which tensor these are in, if there are any.
    pub(crate) fn peepholes_in(self) -> Option<Tensor> {
        match self.peepholes() {
            0 => None,
            _ if self.has(Tensor::WeightCh) => Some(Tensor::WeightCh),
            _ => Some(Tensor::WeightHh),
        }
    }

    /// Those that see a state before the step, in their order: the slot of the gate, and the state, 0 h and 1 c. LSTM's peephole
    /// of o sees the cell state after the step, and comes behind them.
    pub(crate) fn looks_before(self) -> Vec<(usize, usize)> {
        match self.options.peephole {
            true => self.peeps_before().map(|slot| (slot, 1)).collect(),
            false => self.row().looks.to_vec(),
        }
    }

    /// LSTM: the slots of the gates that see the cell state before the step, in the order of their peepholes; the gate that sees
    /// the state after it comes behind them, in the last gate's slot.
    const fn peeps_before(self) -> Range<usize> {
        0..self.peepholes().saturating_sub(1)
    }
}
