//! The backward program of a layer stack.

use std::ops::Range;

use super::bind::Binding;
use super::{Rnn, Source};
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::column_sum::{self, ColumnSum};
use crate::kernel::gemm::{Gemm, Mapped, Matrix};
use crate::kernel::recurrent::{self, Chunk};
use crate::kernel::rows::RowMap;
use crate::plan::{overlap, windows};

pub(super) fn build(with: &Binding<'_>) -> Result<Program> {
    let Binding { rnn, gradients, workspace, .. } = *with;
    let mut program = Program::default();
    let [dh, dc] = &workspace.carry;
    for layer in (0..rnn.config.layers).rev() {
        let chunks = with.chunks(layer)?;
        let weights = with.weights(layer)?;
        let dy = match layer + 1 == rnn.config.layers {
            true => gradients.dy.as_ref(),
            false => Some(&workspace.inner),
        };
        let carried = [Some(dh), rnn.config.cell.has_c().then_some(dc)];
        rnn.states_in(layer, [gradients.dhn.as_ref(), gradients.dcn.as_ref()], carried, &mut program)?;
        for chunk in chunks.iter().rev() {
            let (dy, rows, in_step_order) = upstream(rnn, chunk, dy, &workspace.upstream, &mut program)?;
            let dc = rnn.config.cell.has_c().then(|| dc.clone());
            let around = recurrent::Gradients { dy, in_step_order, rows, dh: dh.clone(), dc };
            program.push(rnn.strategy.backward(&rnn.device, chunk, &weights, &around)?);
        }
        let states = [(Some(dh), gradients.dh0.as_ref()), (Some(dc), gradients.dc0.as_ref())];
        rnn.states_out(layer, 0, states, &mut program)?;
        let source = with.source(layer)?;
        for (index, chunk) in chunks.iter().enumerate() {
            let add = index > 0;
            weight_gradients(with, layer, &source, chunk, add, &mut program)?;
            if rnn.config.bias {
                bias_gradients(with, layer, chunk, add, &mut program)?;
            }
        }
        let dx = if layer > 0 { Some(&workspace.inner) } else { gradients.dx.as_ref() };
        if let Some(dx) = dx {
            input_gradient(with, layer, &chunks, dx, &mut program)?;
        }
    }
    Ok(program)
}

/// The output gradient as a chunk's steps can bind it: the caller's, or brought into step order in pieces.
fn upstream(
    rnn: &Rnn,
    chunk: &Chunk,
    dy: Option<&Buffer>,
    staging: &Buffer,
    program: &mut Program,
) -> Result<(Option<Buffer>, RowMap, bool)> {
    let whole = 0..rnn.shape.steps;
    let row = rnn.shape.batch * rnn.config.outputs();
    let pieces = windows(&rnn.device, rnn.shape.steps, row)?;
    let (Some(dy), Some(gpu), true) = (dy, rnn.device.gpu(), pieces.len() > 1) else {
        return Ok((dy.cloned(), rnn.row_map(chunk, &whole), false));
    };
    let staging = staging.slice(0..chunk.steps * row)?;
    for window in pieces {
        if rnn.may_share(&rnn.steps_of(chunk), &window) {
            let part = dy.slice(window.start * row..window.end * row)?;
            program.push(chunk.upstream(gpu, &part, &rnn.row_map(chunk, &window), &staging)?);
        }
    }
    Ok((Some(staging), rnn.row_map(chunk, &whole), true))
}

/// Runs of neighbouring slots: gates and the slot of the first.
fn runs(slots: impl Iterator<Item = usize>) -> Vec<(Range<usize>, usize)> {
    let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
    for (gate, slot) in slots.enumerate() {
        match runs.last_mut() {
            Some((gates, first)) if *first + gates.len() == slot => gates.end += 1,
            _ => runs.push((gate..gate + 1, slot)),
        }
    }
    runs
}

impl Rnn {
    fn input_runs(&self) -> Vec<(Range<usize>, usize)> {
        runs(0..self.config.cell.gates())
    }

    fn hidden_runs(&self) -> Vec<(Range<usize>, usize)> {
        runs(self.config.cell.row().hidden_slots.iter().copied())
    }

    /// Pre-activation gradients of a chunk from `slot` on, `[steps·B, ..]`.
    fn pre_activations(&self, chunk: &Chunk, slot: usize) -> Matrix {
        let slots = self.config.cell.saved() * self.config.hidden;
        let row = self.config.directions() * slots;
        Matrix { offset: slot * self.config.hidden, direction: slots, ..Matrix::dense(&chunk.saved, row) }
    }
}

/// `dW_ih = dGᵀ·input` and `dW_hh = dGᵀ·h` of the step before.
fn weight_gradients(
    with: &Binding<'_>,
    layer: usize,
    source: &Source,
    chunk: &Chunk,
    add: bool,
    program: &mut Program,
) -> Result<()> {
    let rnn = with.rnn;
    let (hidden, directions) = (rnn.config.hidden, rnn.config.directions());
    let rows = chunk.steps * chunk.batch;
    let dw_ih = with.tensor("weight_ih", layer, true)?;
    let dw_hh = with.tensor("weight_hh", layer, true)?;
    for (gates, slot) in rnn.input_runs() {
        let mut accumulate = add;
        let left = rnn.pre_activations(chunk, slot).transposed();
        let to = Matrix { offset: gates.start * hidden * source.width, ..dw_ih.clone() };
        rnn.each_piece(source, chunk, |right, (mapped, map)| {
            let product = Gemm::plain(gates.len() * hidden, source.width, rows, left.clone(), right, to.clone());
            let gemm = Gemm {
                directions: 0..directions,
                accumulate,
                mapped: if mapped { Mapped::B } else { Mapped::No },
                rows: map,
                split: source.split,
                ..product
            };
            accumulate = true;
            gemm.add_to(&rnn.device, program)
        })?;
    }
    let before = Matrix { direction: hidden, ..Matrix::dense(&chunk.h, directions * hidden) };
    for (gates, slot) in rnn.hidden_runs() {
        let left = rnn.pre_activations(chunk, slot).transposed();
        let to = Matrix { offset: gates.start * hidden * hidden, ..dw_hh.clone() };
        let product = Gemm::plain(gates.len() * hidden, hidden, rows, left, before.clone(), to);
        Gemm { directions: 0..directions, accumulate: add, ..product }.add_to(&rnn.device, program)?;
    }
    Ok(())
}

/// `db = Σ over steps and sequences of dG`: partial sums of all slots at once, then each bias from its own slots.
fn bias_gradients(with: &Binding<'_>, layer: usize, chunk: &Chunk, add: bool, program: &mut Program) -> Result<()> {
    let rnn = with.rnn;
    let (hidden, directions) = (rnn.config.hidden, rnn.config.directions());
    let slots = rnn.config.cell.saved() * hidden;
    let (rows, width) = (chunk.steps * chunk.batch, directions * slots);
    let scratch = Matrix::dense(&with.workspace.sums, width);
    let all = Matrix::dense(&chunk.saved, width);
    program.push(ColumnSum::partial(rows, width, all, scratch.clone()).op(&rnn.device)?);
    for (stem, runs) in [("bias_ih", rnn.input_runs()), ("bias_hh", rnn.hidden_runs())] {
        let bias = with.tensor(stem, layer, true)?;
        for direction in 0..directions {
            for (gates, slot) in &runs {
                let from = Matrix { offset: direction * slots + slot * hidden, ..scratch.clone() };
                let offset = direction * bias.direction + gates.start * hidden;
                let to = Matrix { offset, row: 0, ..bias.clone() };
                let total = ColumnSum::total(column_sum::parts(rows), gates.len() * hidden, from, to, add);
                program.push(total.op(&rnn.device)?);
            }
        }
    }
    Ok(())
}

/// `dx = Σ over directions of dG·W_ih`, in time order.
fn input_gradient(
    with: &Binding<'_>,
    layer: usize,
    chunks: &[Chunk],
    dx: &Buffer,
    program: &mut Program,
) -> Result<()> {
    let rnn = with.rnn;
    let (hidden, inputs) = (rnn.config.hidden, rnn.config.layer_input(layer));
    let row = rnn.shape.batch * inputs;
    let w_ih = with.tensor("weight_ih", layer, false)?;
    let pieces = windows(&rnn.device, rnn.shape.steps, row)?;
    for direction in 0..rnn.config.directions() {
        for chunk in chunks {
            for window in &pieces {
                // Direction 0 writes every row once, padding included; direction 1 adds to them.
                let steps = rnn.steps_of(chunk);
                let needed = match direction {
                    0 => overlap(&steps, window),
                    _ => rnn.may_share(&steps, window),
                };
                if !needed {
                    continue;
                }
                let part = dx.slice(window.start * row..window.end * row)?;
                for (gates, slot) in rnn.input_runs() {
                    let left = rnn.pre_activations(chunk, slot);
                    let right = Matrix { offset: gates.start * hidden * inputs, ..w_ih.clone() };
                    let product = Gemm::plain(
                        chunk.steps * chunk.batch,
                        inputs,
                        gates.len() * hidden,
                        left,
                        right,
                        Matrix::dense(&part, inputs),
                    );
                    let whole = direction == 0 && pieces.len() == 1 && chunks.len() == 1;
                    let gemm = Gemm {
                        directions: direction..direction + 1,
                        accumulate: direction > 0 || gates.start > 0,
                        mapped: if whole { Mapped::No } else { Mapped::C },
                        rows: (!whole).then(|| rnn.row_map(chunk, window)),
                        ..product
                    };
                    gemm.add_to(&rnn.device, program)?;
                }
            }
        }
    }
    Ok(())
}
