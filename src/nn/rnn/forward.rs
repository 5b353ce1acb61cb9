//! The forward program of a layer stack, and the one that packs its weights where that is not forward's.

use std::ops::Range;

use super::Rnn;
use super::bind::{BindContext, StateBuffers};
use super::stage::Stage;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::gemm::Matrix;
use crate::kernel::recurrent::{Chunk, Move, move_states};
use crate::plan::{bindable, overlap, windows};

/// Packs the weights of all layers, where they stay packed.
pub(super) fn pack(with: &BindContext<'_>) -> Result<Program> {
    let mut program = Program::default();
    if with.rnn.packs_once {
        for layer in 0..with.rnn.config.layers {
            Stage::new(with, layer, false)?.pack(&mut program)?;
        }
    }
    Ok(program)
}

pub(super) fn build(with: &BindContext<'_>) -> Result<Program> {
    let BindContext { rnn, io, .. } = *with;
    let mut program = Program::default();
    if let Some(draws) = with.draws {
        program.push(draws.draw(&rnn.device)?);
    }
    for layer in 0..rnn.config.layers {
        let stage = Stage::new(with, layer, rnn.writes_output(with, layer)?)?;
        with.drop(layer, &mut program)?;
        stage.prepare(&mut program)?;
        for (index, bound) in stage.chunks.iter().enumerate() {
            stage.forward(bound, &mut program)?;
            stage.keep(bound, stage.chunks.get(index + 1), &mut program)?;
            if let (Some(y), None) = (&io.y, &bound.chunk.output)
                && layer + 1 == rnn.config.layers
            {
                output(rnn, &bound.chunk, y, &mut program)?;
            }
        }
        // Without a reserve the states of this layer may be overwritten by the next but one, so they leave now.
        if let Some(last) = stage.chunks.last() {
            let stored = last.chunk.states.iter().enumerate();
            let stored = stored.map(|(state, states)| rnn.slot(state, states, last.chunk.steps));
            let states: Vec<Matrix> = if last.chunk.carry.is_some() { last.carried() } else { stored.collect() };
            if let (Some(to), Some(h)) = (&io.last, states.first())
                && layer + 1 == rnn.config.layers
            {
                let moves = Move::each(rnn.widths(), [Some(h.clone())], [rnn.slot(0, to, 0)]);
                move_states(&rnn.device, rnn.state_shape(), &moves, &mut program)?;
            }
            rnn.states_out(layer, states, io.final_states(), &mut program)?;
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
        if !self.config.is_reversed() {
            return vec![steps];
        }
        let ends = if self.lengths { 0 } else { self.shape.steps - steps.end };
        let other = ends..self.shape.steps - steps.start;
        let whole = steps.start.min(other.start)..steps.end.max(other.end);
        if self.config.first_reversed() == 0 && !self.lengths {
            return vec![other];
        }
        if overlap(&steps, &other) { vec![whole] } else { vec![steps, other] }
    }

    /// Whether the strategy writes the output of a layer with its steps: of the last, where one binding holds all of y, and
    /// where the steps do not read x from the allocation that y is in.
    fn writes_output(&self, with: &BindContext<'_>, layer: usize) -> Result<bool> {
        let Some(y) = &with.io.y else { return Ok(false) };
        let row = self.shape.batch * self.config.outputs();
        let whole = windows(&self.device, self.shape.steps, row, y.element_bytes() as usize)?.len() == 1;
        let apart = layer > 0 || !self.strategy.projects() || !with.io.x.shares(y);
        Ok(whole && apart && layer + 1 == self.config.layers && self.strategy.writes_output())
    }

    /// The caller's states `[L·D, B, H]` (or zero) into slots `[B, D, H]`.
    pub(super) fn states_in(
        &self,
        layer: usize,
        from: StateBuffers<'_>,
        to: impl IntoIterator<Item = Matrix>,
        program: &mut Program,
    ) -> Result<()> {
        let all = from.into_iter().enumerate();
        let from = all.map(|(state, (_, from))| from.map(|buffer| self.caller_state(layer, state, buffer)));
        let moves = Move::each(self.widths(), from, to);
        move_states(&self.device, self.state_shape(), &moves, program)
    }

    /// Slots into the caller's states that there are.
    pub(super) fn states_out(
        &self,
        layer: usize,
        from: impl IntoIterator<Item = Matrix>,
        to: StateBuffers<'_>,
        program: &mut Program,
    ) -> Result<()> {
        let all = from.into_iter().zip(to).zip(self.widths()).enumerate();
        let one = |(state, ((from, (_, to)), columns))| {
            let to = self.caller_state(layer, state, to?);
            Some(Move { from: Some(from), to, columns })
        };
        let moves: Vec<Move> = all.filter_map(one).collect();
        move_states(&self.device, self.state_shape(), &moves, program)
    }

    /// Directions and rows of a state.
    pub(super) fn state_shape(&self) -> [usize; 2] {
        [self.config.directions(), self.shape.batch]
    }

    /// Elements of a row of each state.
    pub(super) fn widths(&self) -> impl Iterator<Item = usize> {
        let config = self.config;
        (0..config.recipe().states()).map(move |state| config.width(state))
    }

    /// A layer's part of the caller's buffer of a state, 0 h.
    pub(super) fn caller_state(&self, layer: usize, state: usize, buffer: &Buffer) -> Matrix {
        let width = self.config.width(state);
        let one = self.shape.batch * width;
        let offset = layer * self.config.directions() * one;
        Matrix { offset, direction: one, ..Matrix::dense(buffer, width) }
    }
}
