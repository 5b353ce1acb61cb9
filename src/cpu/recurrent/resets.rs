//! Steps before which a sequence's state returns to its initial value. Twin of `shaders/lib/resets.wgsl`.

use super::LayerShape;
use crate::cell::MOST_STATES;

/// The resets of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Resets<'a> {
    /// Rows of as many words as hold a bit for each sequence: one for the first step of a reversed direction, then one for each
    /// time. Empty: there are none.
    pub bits: &'a [u32],
    /// B.
    pub batch: usize,
}

/// Words of a row of bits, for `batch` sequences.
pub const fn reset_words(batch: usize) -> usize {
    batch.div_ceil(32)
}

impl Resets<'_> {
    /// Whether step `step` of a sequence of `length` steps begins anew. In a reversed direction it is the step whose later
    /// neighbour in time begins anew: what lies between two resets is a sequence of its own.
    #[inline(always)]
    pub fn begin(&self, sequence: usize, step: usize, length: usize, reversed: bool) -> bool {
        if self.bits.is_empty() || step >= length {
            return false;
        }
        let row = match (reversed, step) {
            (false, _) => step + 1,
            (true, 0) => 0,
            (true, _) => length - step + 1,
        };
        let word = self.bits.get(row * reset_words(self.batch) + sequence / 32).copied().unwrap_or(0);
        (word >> (sequence % 32)) & 1 == 1
    }
}

/// The states that sequences return to, `[B, D·H]` each; empty without resets, and where the recipe has fewer.
#[derive(Clone, Copy, Debug)]
pub struct Initial<'a, S> {
    /// Each state.
    pub states: [&'a [S]; MOST_STATES],
}

impl<'a, S> Initial<'a, S> {
    /// Without resets.
    pub const fn none() -> Self {
        Self { states: [&[]; MOST_STATES] }
    }

    /// Row `row` of each state, of which `layer` knows the widths; nothing of what is not there.
    #[inline(always)]
    fn rows(&self, layer: &LayerShape, row: usize) -> [&'a [S]; MOST_STATES] {
        let of = |state: usize| {
            let width = layer.width(state);
            self.states[state].get(row * width..(row + 1) * width).unwrap_or_default()
        };
        std::array::from_fn(of)
    }
}

/// Where a task's sequences begin anew, and with what.
#[derive(Clone, Copy)]
pub(super) struct Anew<'a, S> {
    pub(super) layer: &'a LayerShape,
    pub(super) direction: usize,
    pub(super) lengths: &'a [u32],
    /// Steps of the sequence before those of the call.
    pub(super) first_step: usize,
    pub(super) resets: Resets<'a>,
    pub(super) initial: Initial<'a, S>,
}

impl<'a, S> Anew<'a, S> {
    /// The states that a sequence begins anew with at a step of the call, if it does.
    #[inline(always)]
    pub(super) fn at(&self, step: usize, row: usize) -> Option<[&'a [S]; MOST_STATES]> {
        let Self { layer, direction, .. } = *self;
        if self.resets.bits.is_empty() {
            return None;
        }
        let length = self.lengths[row] as usize;
        let anew = self.resets.begin(row, self.first_step + step, length, layer.is_reversed(direction));
        anew.then(|| self.initial.rows(layer, row * layer.directions + direction))
    }
}
