//! The products of a step backward: the gradients of gates through the rows of `W_hh` of their phase.

use std::ops::Range;

use super::LayerShape;
use crate::cpu::panel::{self, Product, Rows};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::TaskRows;
use crate::recipe::{Operand, Phase};

/// What backward needs of a phase.
pub(super) struct Back {
    pub(super) operand: Operand,
    /// Those of the gradients on the recurrent side of its gates.
    pub(super) slots: &'static [usize],
    /// Where its gates' rows are in a direction's packed weights.
    pub(super) packed: Range<usize>,
}

/// Phases of a cell at most.
pub(super) const MOST_PHASES: usize = 2;

/// A recipe's phases, worked out once for all steps.
pub(super) fn phases(layer: &LayerShape) -> [Option<Back>; MOST_PHASES] {
    let LayerShape { recipe, hidden, .. } = *layer;
    let mut all = recipe.phases().map(|Phase { gates, operand }| {
        let before = |gates: usize| panel::packed_len(gates * hidden, layer.width(0));
        Back { operand, packed: before(gates.start)..before(gates.end), slots: &recipe.hidden_slots()[gates] }
    });
    std::array::from_fn(|_| all.next())
}

/// `da·W_hh` of a step and the gates of a phase, of some columns.
pub(super) struct Through<'a, S> {
    pub(super) hidden: usize,
    pub(super) packed: &'a [S],
    pub(super) slots: &'static [usize],
    pub(super) step: usize,
    /// The sequences that run.
    pub(super) rows: Range<usize>,
    pub(super) columns: usize,
}

impl<S: Scalar> Through<'_, S> {
    pub(super) fn run(self, saved: &TaskRows<'_, S>, adds: bool, c: impl Rows<S>) {
        let Self { hidden, packed, slots, step, rows, columns } = self;
        // The gradients on the recurrent side, gate after gate.
        Product {
            packed,
            depth: slots.len() * hidden,
            bias: &[],
            runs: slots.len(),
            a: |row, run: usize| saved.columns(step, rows.start + row, slots[run] * hidden..(slots[run] + 1) * hidden),
            rows: rows.len(),
            columns,
            adds,
            backwards: step % 2 == 1,
            c,
        }
        .run();
    }
}

/// Some columns of rows of `stride` elements.
pub(super) struct Strided<'a, S> {
    pub(super) data: &'a mut [S],
    pub(super) stride: usize,
    pub(super) columns: Range<usize>,
}

impl<S> Rows<S> for Strided<'_, S> {
    #[inline]
    fn rows<'s>(&'s mut self, first: usize, rows: &mut [&'s mut [S]]) {
        // Chunks would divide by the stride.
        let mut rest = self.data.get_mut(first * self.stride..).unwrap_or_default();
        for to in rows {
            let (row, after) = rest.split_at_mut_checked(self.stride).unwrap_or_default();
            *to = row.get_mut(self.columns.clone()).unwrap_or_default();
            rest = after;
        }
    }
}
