//! The map between step order and time order, shared by the kernels that read or write sequences.
//!
//! A recurrent layer keeps its rows in step order: row (s, b) is what sequence b did in its s-th step. A direction that
//! goes forward takes steps in time order; one that is reversed starts at its sequence's own end, so step s is at time
//! `length − 1 − s`. In a bidirectional layer the second is, in a layer of one direction that one or none.

use super::cuts::index;
use crate::device::Buffer;
use crate::error::Result;
use crate::shader::uniform;

/// Which rows of the other order are bound, and the lengths behind the map. Twin of `shaders/lib/rows.wgsl`.
#[derive(Clone)]
pub struct RowMap {
    /// Length of each sequence, `[B]`.
    pub lengths: Buffer,
    /// B.
    pub batch: usize,
    /// Step of row 0.
    pub first_step: usize,
    /// First row of the other side that is bound.
    pub window_first: usize,
    /// Rows of the other side that are bound.
    pub window_rows: usize,
    /// The first direction that goes from the end.
    pub first_reversed: usize,
}

uniform! {
    /// `Rows` in WGSL.
    pub(crate) struct RowsUniform {
        batch: u32,
        first_step: u32,
        window_first: u32,
        window_rows: u32,
        first_reversed: u32,
    }
}

/// Step or time on the other side. Padding keeps its place.
pub(crate) fn other_side(step: usize, length: usize, reversed: bool) -> usize {
    if reversed && step < length { length - 1 - step } else { step }
}

impl RowMap {
    pub(crate) fn uniform(&self) -> Result<RowsUniform> {
        Ok(RowsUniform {
            batch: index(self.batch)?,
            first_step: index(self.first_step)?,
            window_first: index(self.window_first)?,
            window_rows: index(self.window_rows)?,
            first_reversed: index(self.first_reversed)?,
        })
    }

    /// Whether a direction goes from the end.
    pub(crate) const fn is_reversed(&self, direction: usize) -> bool {
        direction >= self.first_reversed
    }

    /// Row on the other side of row `m`, if it is bound.
    pub(crate) fn row_with_padding(&self, lengths: &[u32], m: usize, reversed: bool) -> Option<usize> {
        let (step, b) = (self.first_step + m / self.batch, m % self.batch);
        let row = other_side(step, lengths[b] as usize, reversed) * self.batch + b;
        row.checked_sub(self.window_first).filter(|&local| local < self.window_rows)
    }

    /// The same, and none for padding, whose content must not be looked at.
    pub(crate) fn row_without_padding(&self, lengths: &[u32], m: usize, reversed: bool) -> Option<usize> {
        let (step, b) = (self.first_step + m / self.batch, m % self.batch);
        if step >= lengths[b] as usize { None } else { self.row_with_padding(lengths, m, reversed) }
    }
}
