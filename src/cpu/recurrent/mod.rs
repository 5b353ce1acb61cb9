//! All steps of one recurrent layer, in one or both directions.
//!
//! Buffers are those of the other devices, in *step order*: step s of a sequence of length n is at time s in direction
//! 0 and at time `n-1-s` in direction 1, so that both directions begin at step 0 and padding comes last.
//!
//! | buffer | shape | holds |
//! |---|---|---|
//! | `saved` | `[T, B, D, saved·H]` | input projections, then saved values, then gradients of pre-activations |
//! | `h`, `c` | `[T+1, B, D·H]` | states; block 0 the initial ones, block T the final ones. `c` is empty without one |
//! | `dh`, `dc` | `[B, D·H]` | gradient of the final state, then of the initial one |
//! | `dy` | `[times, B, D·H]` | gradient of the output of the whole sequence, in *time* order |
//!
//! T is the number of steps of the call, which may be a part of the sequence: then it has done `first_step` steps before,
//! or backward, has these left to do.
//!
//! Each task of a [`Partition`](crate::cpu::threads::Partition) runs all steps of its sequences alone. Results are the
//! same bits for any number of threads, any batch around a sequence, and any division of its steps into calls.

mod backward;
mod forward;
mod stream;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use backward::{Backward, backward, backward_packed, pack_backward};
pub use forward::{Forward, forward, forward_packed, pack_forward};
pub use stream::{LayerWeights, Stack};

use crate::cell::Cell;
use crate::config::BatchShape;
use crate::cpu::panel::{self, WIDTH};
use crate::cpu::scalar::Scalar;
use crate::error::{Error, Result, at_least_one};

/// One layer and the batch that it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layer {
    /// The cell.
    pub cell: Cell,
    /// Hidden size H.
    pub hidden: usize,
    /// Directions D, 1 or 2.
    pub directions: usize,
    /// Steps T and batch B.
    pub batch: BatchShape,
}

/// Recurrent parameters of each direction, in PyTorch's gate order.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a, S> {
    /// `weight_hh [G·H, H]` of each direction.
    pub w_hh: &'a [&'a [S]],
    /// `bias_hh [G·H]` of each direction.
    pub b_hh: Option<&'a [&'a [S]]>,
}

impl Layer {
    /// Columns of `saved` per step, sequence and direction: `saved·H`.
    pub const fn saved_width(&self) -> usize {
        self.cell.saved() * self.hidden
    }

    /// Rows of `weight_hh`: `G·H`.
    pub const fn gate_width(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// Elements of `saved`.
    pub const fn saved_len(&self) -> usize {
        self.batch.rows() * self.directions * self.saved_width()
    }

    /// Elements of `h`.
    pub const fn h_len(&self) -> usize {
        (self.batch.steps + 1) * self.state_len()
    }

    /// Elements of `c`: as many as `h`, or none.
    pub const fn c_len(&self) -> usize {
        if self.cell.has_c() { self.h_len() } else { 0 }
    }

    /// Elements of one step's state, and of `dh`: `B·D·H`.
    pub const fn state_len(&self) -> usize {
        self.batch.batch * self.directions * self.hidden
    }

    /// Elements of `dc`: as many as `dh`, or none.
    pub const fn dc_len(&self) -> usize {
        if self.cell.has_c() { self.state_len() } else { 0 }
    }

    /// Elements of the weights packed by [`pack_forward`].
    pub const fn forward_packed_len(&self) -> usize {
        self.directions * panel::packed_len(self.hidden, self.gate_width())
    }

    /// Elements of scratch that [`forward_packed`] needs.
    pub const fn forward_scratch_len(&self) -> usize {
        self.batch.batch * self.directions * self.gate_width()
    }

    /// Elements of the weights packed by [`pack_backward`].
    pub const fn backward_packed_len(&self) -> usize {
        self.directions * panel::packed_len(self.gate_width(), self.hidden)
    }

    /// Elements of scratch that [`backward_packed`] needs.
    pub const fn backward_scratch_len(&self) -> usize {
        self.state_len()
    }

    /// Elements of workspace that [`forward`] needs, for any number of threads.
    pub const fn forward_workspace_len(&self) -> usize {
        self.forward_packed_len() + self.forward_scratch_len() + WIDTH
    }

    /// Elements of workspace that [`backward`] needs, for any number of threads.
    pub const fn backward_workspace_len(&self) -> usize {
        self.backward_packed_len() + self.backward_scratch_len() + WIDTH
    }

    /// An error when a size is zero, there are more than two directions, or the buffers can't be addressed.
    pub fn check(&self) -> Result<()> {
        self.batch.check()?;
        at_least_one("the hidden size", self.hidden)?;
        if !(1..=2).contains(&self.directions) {
            return Err(Error::invalid("the number of directions", "1 or 2", self.directions));
        }
        let rows = (self.batch.steps + 1).checked_mul(self.batch.batch).and_then(|n| n.checked_mul(8));
        let widest = self.hidden.checked_add(WIDTH).and_then(|n| n.checked_mul(8));
        let elements = rows.zip(widest).and_then(|(rows, widest)| rows.checked_mul(widest));
        let weights = widest.and_then(|widest| widest.checked_mul(widest));
        match elements.and(weights) {
            Some(_) => Ok(()),
            None => Err(Error::invalid("the hidden size", "such that buffers can be addressed", self.hidden)),
        }
    }

    /// An error naming the first sequence whose length is not in `1..=steps`, or the count when it is not B.
    fn check_lengths(&self, lengths: &[u32], steps: usize) -> Result<()> {
        expect("lengths", lengths.len(), &[self.batch.batch])?;
        match lengths.iter().position(|&n| n == 0 || n as usize > steps) {
            Some(sequence) => Err(Error::Length { sequence, steps, got: lengths[sequence] as usize }),
            None => Ok(()),
        }
    }

    /// An error when `w_hh` is not one `[G·H, H]` for each direction.
    fn check_weights<S>(&self, w_hh: &[&[S]]) -> Result<()> {
        expect("weight_hh (one for each direction)", w_hh.len(), &[self.directions])?;
        w_hh.iter().try_for_each(|w| expect("weight_hh", w.len(), &[self.gate_width(), self.hidden]))
    }

    /// An error when there are biases, and not one `[G·H]` for each direction.
    fn check_bias<S>(&self, b_hh: Option<&[&[S]]>) -> Result<()> {
        let Some(b_hh) = b_hh else { return Ok(()) };
        expect("bias_hh (one for each direction)", b_hh.len(), &[self.directions])?;
        b_hh.iter().try_for_each(|b| expect("bias_hh", b.len(), &[self.gate_width()]))
    }

    /// Shape of a buffer with `blocks` blocks of B rows of `D·width`; no blocks when `there` is false.
    const fn shape(&self, blocks: usize, width: usize, there: bool) -> [usize; 3] {
        [if there { blocks } else { 0 }, self.batch.batch, self.directions * width]
    }

    /// The elements of a row of `saved` that hold, after backward, the gradients on the recurrent side, gate after
    /// gate, neighbouring slots joined.
    fn hidden_runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for slot in self.cell.row().hidden_slots {
            let next = slot * self.hidden..(slot + 1) * self.hidden;
            match runs.last_mut() {
                Some(last) if last.end == next.start => last.end = next.end,
                _ => runs.push(next),
            }
        }
        runs
    }
}

/// An error when a buffer does not have exactly the elements of `shape`.
fn expect(name: &str, len: usize, shape: &[usize]) -> Result<()> {
    if len == shape.iter().product::<usize>() {
        return Ok(());
    }
    Err(Error::shape(name, shape, &[len]))
}

/// An error when a workspace is too short.
fn expect_space(len: usize, needed: usize) -> Result<()> {
    if len < needed {
        return Err(Error::invalid("the workspace", format!("at least {needed} elements"), len));
    }
    Ok(())
}

/// The first `len` elements of `workspace` on a cache-line boundary, and the rest; an error when it is too short.
fn split_workspace<S: Scalar>(workspace: &mut [S], len: usize, needed: usize) -> Result<(&mut [S], &mut [S])> {
    /// Bytes of a cache line.
    const LINE: usize = 64;
    expect_space(workspace.len(), needed)?;
    let start = workspace.as_ptr().align_offset(LINE).min(workspace.len() - len);
    Ok(workspace[start..].split_at_mut(len))
}

/// The sequences of `rows`, from the first to the last that still runs at `step`.
fn running(lengths: &[u32], rows: Range<usize>, step: usize) -> Range<usize> {
    let runs = |row: &usize| lengths.get(*row).is_some_and(|&n| n as usize > step);
    let first = rows.clone().find(runs).unwrap_or(rows.end);
    let end = rows.clone().rev().find(runs).map_or(first, |last| last + 1);
    first..end
}
