//! Forward through all steps of a layer.

use std::ops::Range;

use super::{Layer, Weights, expect, expect_space, running, split_workspace};
use crate::cpu::cell::{self, ForwardRow};
use crate::cpu::panel::{self, Product};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Part, Partition, Threads, for_each};
use crate::error::Result;

/// The buffers of [`forward`]; shapes and order are in the [module](super)'s table.
#[derive(Debug)]
pub struct Forward<'a, S> {
    /// In: slots `0..G` hold the input projections `W_ih·x + b_ih`. Out: the saved values, zero at padded steps.
    pub saved: &'a mut [S],
    /// In: block 0, the initial states. Out: the states after each step; at padded steps the sequence's last.
    pub h: &'a mut [S],
    /// As `h`, for the cell state; empty for a cell without one.
    pub c: &'a mut [S],
    /// Length of each whole sequence, at least 1.
    pub lengths: &'a [u32],
    /// Steps of the sequence before these.
    pub first_step: usize,
}

/// Runs all steps of `layer`: `recurrent = W_hh·h[s] + b_hh`, then the cell, for each step s, sequence and direction.
///
/// `workspace` has at least [`Layer::forward_workspace_len`] elements; what it holds does not matter.
pub fn forward<S: Scalar>(
    threads: Threads,
    layer: &Layer,
    weights: &Weights<'_, S>,
    buffers: Forward<'_, S>,
    workspace: &mut [S],
) -> Result<()> {
    layer.check()?;
    let (packed, scratch) = split_workspace(workspace, layer.forward_packed_len(), layer.forward_workspace_len())?;
    pack_forward(threads, layer, weights.w_hh, packed)?;
    forward_packed(threads, layer, packed, weights.b_hh, buffers, scratch)
}

/// Packs `weight_hh` of each direction into `packed`, of [`Layer::forward_packed_len`] elements, for
/// [`forward_packed`].
pub fn pack_forward<S: Scalar>(threads: Threads, layer: &Layer, w_hh: &[&[S]], packed: &mut [S]) -> Result<()> {
    layer.check()?;
    layer.check_weights(w_hh)?;
    expect("the packed weights", packed.len(), &[layer.forward_packed_len()])?;
    let each = packed.len() / layer.directions;
    let items = packed.chunks_exact_mut(each).zip(w_hh).collect();
    for_each(threads, items, |(packed, w)| panel::pack_transposed(w, layer.hidden, layer.gate_width(), packed));
    Ok(())
}

/// [`forward`] with weights that [`pack_forward`] packed: for a stream, which runs many short calls on the same ones.
/// `scratch` has at least [`Layer::forward_scratch_len`] elements; what it holds does not matter.
pub fn forward_packed<S: Scalar>(
    threads: Threads,
    layer: &Layer,
    packed: &[S],
    b_hh: Option<&[&[S]]>,
    buffers: Forward<'_, S>,
    mut scratch: &mut [S],
) -> Result<()> {
    layer.check()?;
    layer.check_bias(b_hh)?;
    layer.check_lengths(buffers.lengths, usize::MAX)?;
    let (steps, batch, hidden) = (layer.batch.steps, layer.batch.batch, layer.hidden);
    expect("the packed weights", packed.len(), &[layer.forward_packed_len()])?;
    expect("saved", buffers.saved.len(), &layer.shape(steps, layer.saved_width(), true))?;
    expect("h", buffers.h.len(), &layer.shape(steps + 1, hidden, true))?;
    expect("c", buffers.c.len(), &layer.shape(steps + 1, hidden, layer.cell.has_c()))?;
    expect_space(scratch.len(), layer.forward_scratch_len())?;

    let partition = Partition::new(threads, batch, layer.directions);
    let saved = partition.parts(buffers.saved, layer.saved_width());
    let h = partition.parts(buffers.h, hidden);
    let c = partition.parts(buffers.c, hidden);
    let packed_each = packed.len() / layer.directions;
    let mut workers = Vec::with_capacity(partition.tasks().len());
    for (((task, saved), h), c) in partition.tasks().iter().zip(saved).zip(h).zip(c) {
        let (own, rest) = std::mem::take(&mut scratch).split_at_mut(task.rows().len() * layer.gate_width());
        scratch = rest;
        let direction = task.direction();
        let packed = &packed[direction * packed_each..][..packed_each];
        let bias = b_hh.map_or(&[][..], |b| b[direction]);
        workers.push(Worker {
            layer,
            rows: task.rows(),
            packed,
            bias,
            saved,
            h,
            c,
            lengths: buffers.lengths,
            first_step: buffers.first_step,
            out: own,
        });
    }
    for_each(threads, workers, Worker::run);
    Ok(())
}

/// One task: some sequences in one direction.
struct Worker<'a, S> {
    layer: &'a Layer,
    rows: Range<usize>,
    packed: &'a [S],
    bias: &'a [S],
    saved: Part<'a, S>,
    h: Part<'a, S>,
    c: Part<'a, S>,
    lengths: &'a [u32],
    first_step: usize,
    out: &'a mut [S],
}

impl<S: Scalar> Worker<'_, S> {
    fn run(mut self) {
        for step in 0..self.layer.batch.steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: usize) {
        let (hidden, width) = (self.layer.hidden, self.layer.gate_width());
        let running = running(self.lengths, self.rows.clone(), self.first_step + step);
        let out = &mut self.out[..running.len() * width];
        Product {
            packed: self.packed,
            depth: hidden,
            bias: self.bias,
            runs: std::slice::from_ref(&(0..hidden)),
            row: |row| self.h.row(step, running.start + row),
            out,
            rows: running.len(),
            stride: width,
            columns: width,
        }
        .run();
        for row in self.rows.clone() {
            let (h_prev, h) = self.h.step(step, row);
            let (c_prev, c) = self.c.step(step, row);
            let saved = self.saved.row_mut(step, row);
            if self.lengths[row] as usize <= self.first_step + step {
                h.copy_from_slice(h_prev);
                c.copy_from_slice(c_prev);
                saved.fill(S::ZERO);
                continue;
            }
            let recurrent = &mut self.out[(row - running.start) * width..][..width];
            cell::forward(self.layer.cell, ForwardRow { saved, recurrent, h_prev, c_prev, h, c });
        }
    }
}
