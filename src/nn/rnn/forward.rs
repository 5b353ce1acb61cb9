//! The forward program of a layer stack.

use std::ops::Range;

use super::Rnn;
use super::bind::Binding;
use super::stage::Stage;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::copy::copy;
use crate::kernel::gemm::Matrix;
use crate::kernel::recurrent::Chunk;
use crate::kernel::{Op, Program};
use crate::plan::{bindable, overlap, windows};

pub(super) fn build(with: &Binding<'_>) -> Result<Program> {
    let Binding { rnn, io, .. } = *with;
    let mut program = Program::default();
    for layer in 0..rnn.config.layers {
        let stage = Stage::new(with, layer)?;
        stage.pack(&mut program)?;
        if let Some(first) = stage.runs.first() {
            for (given, kept) in [&io.h0, &io.c0].into_iter().zip(&first.kept) {
                program.push(rnn.state_in(layer, given.as_ref(), kept)?);
            }
            for (given, carried) in [&io.h0, &io.c0].into_iter().zip(first.before_in_full()) {
                program.push(rnn.state_in(layer, given.as_ref(), &carried)?);
            }
        }
        for (index, run) in stage.runs.iter().enumerate() {
            stage.forward(run, &mut program)?;
            stage.keep(run, stage.runs.get(index + 1), &mut program)?;
            if layer + 1 == rnn.config.layers {
                output(rnn, &run.chunk, &io.y, &mut program)?;
            }
        }
        // Without a reserve the states of this layer may be overwritten by the next but one, so they leave now.
        if let Some(last) = stage.runs.last() {
            let stored = last.states().map(|states| rnn.slot(states, last.chunk.steps));
            let states: Vec<Matrix> = if last.chunk.carry.is_some() { last.carried() } else { stored.collect() };
            for (states, to) in states.iter().zip([&io.hn, &io.cn]) {
                if let Some(to) = to {
                    program.push(rnn.state_out(layer, states, to)?);
                }
            }
        }
    }
    Ok(program)
}

/// States of a chunk in step order to `y` in time order.
fn output(rnn: &Rnn, chunk: &Chunk, y: &Buffer, program: &mut Program) -> Result<()> {
    let row = rnn.shape.batch * rnn.config.outputs();
    let size = y.element_bytes() as usize;
    for window in windows(&rnn.device, rnn.shape.steps, row, size)? {
        for times in rnn.times_of(chunk) {
            let times = times.start.max(window.start)..times.end.min(window.end);
            if !times.is_empty() {
                let times = bindable(&rnn.device, row, size, &times);
                let y = y.slice(times.start * row..times.end * row)?;
                program.push(chunk.output(&rnn.device, &y, times.start, times.len())?);
            }
        }
    }
    Ok(())
}

impl Rnn {
    /// Times that a chunk's steps may be at: their own, padding included, and for the reverse direction the other end's.
    fn times_of(&self, chunk: &Chunk) -> Vec<Range<usize>> {
        let steps = self.steps_of(chunk);
        if !self.config.bidirectional {
            return vec![steps];
        }
        let ends = if self.lengths { 0 } else { self.shape.steps - steps.end };
        let other = ends..self.shape.steps - steps.start;
        let whole = steps.start.min(other.start)..steps.end.max(other.end);
        if overlap(&steps, &other) { vec![whole] } else { vec![steps, other] }
    }

    /// The caller's state `[L·D, B, H]` (or zero) into a slot `[B, D, H]`.
    pub(super) fn state_in(&self, layer: usize, from: Option<&Buffer>, to: &Matrix) -> Result<Op> {
        let from = from.map(|buffer| self.caller_state(layer, buffer));
        let (batch, hidden) = (self.shape.batch, self.config.hidden);
        copy(&self.device, self.config.directions(), batch, hidden, from.as_ref(), to)
    }

    /// A slot into the caller's state.
    pub(super) fn state_out(&self, layer: usize, from: &Matrix, to: &Buffer) -> Result<Op> {
        let (batch, hidden) = (self.shape.batch, self.config.hidden);
        let to = self.caller_state(layer, to);
        copy(&self.device, self.config.directions(), batch, hidden, Some(from), &to)
    }

    fn caller_state(&self, layer: usize, buffer: &Buffer) -> Matrix {
        let one = self.shape.batch * self.config.hidden;
        let offset = layer * self.config.directions() * one;
        Matrix { offset, direction: one, ..Matrix::dense(buffer, self.config.hidden) }
    }
}
