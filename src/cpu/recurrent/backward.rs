//! Backward through all steps of a layer, last step first.

use std::ops::Range;

use super::{Layer, expect, expect_space, running, split_workspace};
use crate::cpu::cell::{self, BackwardRow};
use crate::cpu::panel::{self, Product};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Part, Partition, Threads, for_each};
use crate::error::Result;

/// The buffers of [`backward`]; shapes and order are in the [module](super)'s table.
#[derive(Debug)]
pub struct Backward<'a, S> {
    /// In: the values saved by forward. Out: gradients of the pre-activations, zero at padded steps: slots `0..G` on
    /// the input side, the cell's `hidden_slots` on the recurrent side.
    pub saved: &'a mut [S],
    /// The states of forward.
    pub h: &'a [S],
    /// The cell states of forward; empty for a cell without one.
    pub c: &'a [S],
    /// Gradient of the layer's whole output in time order, if anything depends on it. Padded times are not read.
    pub dy: Option<&'a [S]>,
    /// In: gradient of the final state. Out: gradient of the initial state.
    pub dh: &'a mut [S],
    /// As `dh`, for the cell state; empty for a cell without one.
    pub dc: &'a mut [S],
    /// Length of each whole sequence, at least 1 and at most the times of `dy`.
    pub lengths: &'a [u32],
    /// Steps of the sequence before these.
    pub first_step: usize,
}

/// Runs all steps of `layer` backward: `dh += dy`, the cell, then `dh ← direct part + da·W_hh`, for each step, sequence
/// and direction. `w_hh` are those of forward.
///
/// `workspace` has at least [`Layer::backward_workspace_len`] elements; what it holds does not matter.
pub fn backward<S: Scalar>(
    threads: Threads,
    layer: &Layer,
    w_hh: &[&[S]],
    buffers: Backward<'_, S>,
    workspace: &mut [S],
) -> Result<()> {
    layer.check()?;
    let (packed, scratch) = split_workspace(workspace, layer.backward_packed_len(), layer.backward_workspace_len())?;
    pack_backward(threads, layer, w_hh, packed)?;
    backward_packed(threads, layer, packed, buffers, scratch)
}

/// Packs `weight_hh` of each direction into `packed`, of [`Layer::backward_packed_len`] elements, for
/// [`backward_packed`].
pub fn pack_backward<S: Scalar>(threads: Threads, layer: &Layer, w_hh: &[&[S]], packed: &mut [S]) -> Result<()> {
    layer.check()?;
    layer.check_weights(w_hh)?;
    expect("the packed weights", packed.len(), &[layer.backward_packed_len()])?;
    let each = packed.len() / layer.directions;
    let items = packed.chunks_exact_mut(each).zip(w_hh).collect();
    for_each(threads, items, |(packed, w)| panel::pack(w, layer.gate_width(), layer.hidden, packed));
    Ok(())
}

/// [`backward`] with weights that [`pack_backward`] packed. `scratch` has at least [`Layer::backward_scratch_len`]
/// elements; what it holds does not matter.
pub fn backward_packed<S: Scalar>(
    threads: Threads,
    layer: &Layer,
    packed: &[S],
    buffers: Backward<'_, S>,
    mut scratch: &mut [S],
) -> Result<()> {
    layer.check()?;
    let times = buffers.dy.map_or(usize::MAX, |dy| dy.len() / layer.state_len());
    layer.check_lengths(buffers.lengths, times)?;
    let (steps, batch, hidden, has_c) = (layer.batch.steps, layer.batch.batch, layer.hidden, layer.cell.has_c());
    expect("the packed weights", packed.len(), &[layer.backward_packed_len()])?;
    expect("saved", buffers.saved.len(), &layer.shape(steps, layer.saved_width(), true))?;
    expect("h", buffers.h.len(), &layer.shape(steps + 1, hidden, true))?;
    expect("c", buffers.c.len(), &layer.shape(steps + 1, hidden, has_c))?;
    expect("dh", buffers.dh.len(), &layer.shape(1, hidden, true))?;
    expect("dc", buffers.dc.len(), &layer.shape(1, hidden, has_c))?;
    buffers.dy.map_or(Ok(()), |dy| expect("dy", dy.len(), &layer.shape(times, hidden, true)))?;
    expect_space(scratch.len(), layer.backward_scratch_len())?;

    let partition = Partition::new(threads, batch, layer.directions);
    let saved = partition.parts(buffers.saved, layer.saved_width());
    let dh = partition.parts(buffers.dh, hidden);
    let dc = partition.parts(buffers.dc, hidden);
    let runs = layer.hidden_runs();
    let packed_each = packed.len() / layer.directions;
    let mut workers = Vec::with_capacity(partition.tasks().len());
    for (((task, saved), dh), dc) in partition.tasks().iter().zip(saved).zip(dh).zip(dc) {
        let (out, rest) = std::mem::take(&mut scratch).split_at_mut(task.rows().len() * hidden);
        scratch = rest;
        let direction = task.direction();
        workers.push(Worker {
            layer,
            rows: task.rows(),
            direction,
            packed: &packed[direction * packed_each..][..packed_each],
            runs: &runs,
            saved,
            h: buffers.h,
            c: buffers.c,
            dy: buffers.dy,
            dh,
            dc,
            lengths: buffers.lengths,
            first_step: buffers.first_step,
            out,
        });
    }
    for_each(threads, workers, Worker::run);
    Ok(())
}

/// One task: some sequences in one direction.
struct Worker<'a, S> {
    layer: &'a Layer,
    rows: Range<usize>,
    direction: usize,
    packed: &'a [S],
    runs: &'a [Range<usize>],
    saved: Part<'a, S>,
    h: &'a [S],
    c: &'a [S],
    dy: Option<&'a [S]>,
    dh: Part<'a, S>,
    dc: Part<'a, S>,
    lengths: &'a [u32],
    first_step: usize,
    out: &'a mut [S],
}

impl<'a, S: Scalar> Worker<'a, S> {
    fn run(mut self) {
        for step in (0..self.layer.batch.steps).rev() {
            self.gates(step);
            self.state(step);
        }
    }

    /// Whether sequence `row` has a step `step`.
    fn runs_at(&self, row: usize, step: usize) -> bool {
        self.lengths[row] as usize > self.first_step + step
    }

    /// This direction's row of a buffer `[.., B, D·H]` that is only read; empty for an empty buffer.
    fn state_row(&self, buffer: &'a [S], block: usize, row: usize) -> &'a [S] {
        let hidden = self.layer.hidden;
        let start = ((block * self.layer.batch.batch + row) * self.layer.directions + self.direction) * hidden;
        buffer.get(start..start + hidden).unwrap_or(&[])
    }

    /// Turns the saved values of a step into gradients of its pre-activations.
    fn gates(&mut self, step: usize) {
        for row in self.rows.clone() {
            if !self.runs_at(row, step) {
                self.saved.row_mut(step, row).fill(S::ZERO);
                continue;
            }
            let done = self.first_step + step;
            let time = if self.direction == 0 { done } else { self.lengths[row] as usize - 1 - done };
            let dy = self.dy.map_or(&[][..], |dy| self.state_row(dy, time, row));
            let (h_prev, c_prev) = (self.state_row(self.h, step, row), self.state_row(self.c, step, row));
            let c = self.state_row(self.c, step + 1, row);
            let dh = self.dh.row_mut(0, row);
            dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += *dy);
            let (saved, dc) = (self.saved.row_mut(step, row), self.dc.row_mut(0, row));
            cell::backward(self.layer.cell, BackwardRow { saved, h_prev, c_prev, c, dh, dc });
        }
    }

    /// Adds to `dh` what comes through the weights: `da·W_hh`.
    fn state(&mut self, step: usize) {
        let hidden = self.layer.hidden;
        let running = running(self.lengths, self.rows.clone(), self.first_step + step);
        Product {
            packed: self.packed,
            depth: self.layer.gate_width(),
            bias: &[],
            runs: self.runs,
            row: |row| self.saved.row(step, running.start + row),
            out: &mut self.out[..running.len() * hidden],
            rows: running.len(),
            stride: hidden,
            columns: hidden,
        }
        .run();
        for (row, through) in running.zip(self.out.chunks_exact(hidden)) {
            if self.runs_at(row, step) {
                self.dh.row_mut(0, row).iter_mut().zip(through).for_each(|(dh, x)| *dh += *x);
            }
        }
    }
}
