//! The forward program of a layer stack.

use std::ops::Range;

use super::bind::Binding;
use super::{Piece, Rnn, Source};
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::copy::copy;
use crate::kernel::gemm::{Gemm, Mapped, Matrix};
use crate::kernel::recurrent::{Chunk, Move, Prepare, Weights, move_states};
use crate::kernel::rows::RowMap;
use crate::kernel::transpose::transpose;
use crate::plan::{ChunkBuffers, overlap, reversed, windows};

pub(super) fn build(with: &Binding<'_>) -> Result<Program> {
    let Binding { rnn, io, .. } = *with;
    let mut program = Program::default();
    for layer in 0..rnn.config.layers {
        let chunks = with.chunks(layer)?;
        let weights = with.weights(layer)?;
        let bias = if rnn.config.bias { Some(with.tensor("bias_ih", layer, false)?) } else { None };
        let source = with.source(layer)?;

        let input = with.prepare(layer, &chunks[0], &weights, &mut program)?;
        for (index, chunk) in chunks.iter().enumerate() {
            if index > 0 {
                rnn.hand_over(&chunks[index - 1], chunk, &mut program)?;
            }
            project(rnn, &source, chunk, &input, bias.as_ref(), &mut program)?;
            program.push(rnn.strategy.forward(&rnn.device, chunk, &weights)?);
        }
        // Without a reserve the states of this layer may be overwritten by the next but one, so they leave now.
        if let Some(last) = chunks.last() {
            let [hn, cn] = [&io.hn, &io.cn].map(Option::as_ref);
            let states = [(Some(&last.h), hn), (last.c.as_ref(), cn)];
            rnn.states_out(layer, last.steps, states, &mut program)?;
        }
        let written = chunks.iter().all(|chunk| chunk.output.is_some());
        if layer + 1 == rnn.config.layers && !written {
            output(rnn, &chunks, &io.y, &mut program)?;
        }
    }
    Ok(program)
}

/// `saved[.., 0..G] = source·W_ihᵀ + b_ih` for a chunk, all directions, all its steps.
fn project(
    rnn: &Rnn,
    source: &Source,
    chunk: &Chunk,
    weights: &Matrix,
    bias: Option<&Matrix>,
    program: &mut Program,
) -> Result<()> {
    let (directions, slots) = (rnn.config.directions(), rnn.config.cell.saved() * rnn.config.hidden);
    let saved = Matrix { buffer: chunk.saved.clone(), offset: 0, row: directions * slots, column: 1, direction: slots };
    let mut first = true;
    rnn.each_piece(source, chunk, |rows, (mapped, map)| {
        let gemm = Gemm {
            directions: 0..directions,
            bias: if first { bias.cloned() } else { None },
            accumulate: !first,
            mapped: if mapped { Mapped::A } else { Mapped::No },
            rows: map,
            split: source.split,
            ..Gemm::plain(
                chunk.steps * chunk.batch,
                rnn.config.cell.gates() * rnn.config.hidden,
                source.width,
                rows,
                weights.clone(),
                saved.clone(),
            )
        };
        first = false;
        gemm.add_to(&rnn.device, program)
    })
}

/// States in step order to `y` in time order.
fn output(rnn: &Rnn, chunks: &[Chunk], y: &Buffer, program: &mut Program) -> Result<()> {
    let row = rnn.shape.batch * rnn.config.outputs();
    for window in windows(&rnn.device, rnn.shape.steps, row)? {
        let y = y.slice(window.start * row..window.end * row)?;
        for chunk in chunks {
            if rnn.may_share(&rnn.steps_of(chunk), &window) {
                program.push(chunk.output(&rnn.device, &y, window.start, window.len())?);
            }
        }
    }
    Ok(())
}

impl Binding<'_> {
    /// A layer's chunks with their buffers.
    pub(super) fn chunks(&self, layer: usize) -> Result<Vec<Chunk>> {
        let rnn = self.rnn;
        let last = layer + 1 == rnn.config.layers;
        let whole = windows(&rnn.device, rnn.shape.steps, rnn.shape.batch * rnn.config.outputs())?.len() == 1;
        let output = (last && whole && rnn.strategy.writes_output()).then(|| self.io.y.clone());
        let bind = |(steps, buffers): (&Range<usize>, &ChunkBuffers)| Chunk {
            cell: rnn.config.cell,
            hidden: rnn.config.hidden,
            directions: rnn.config.directions(),
            batch: rnn.shape.batch,
            first_step: steps.start,
            steps: steps.len(),
            lengths: self.lengths.clone(),
            saved: buffers.saved.clone(),
            h: buffers.h.clone(),
            c: buffers.c.clone(),
            carry: None,
            output: output.clone(),
            span: rnn.span,
        };
        Ok(rnn.chunks.iter().zip(self.reserve.layer(layer)).map(bind).collect())
    }

    /// Recurrent weights of a layer.
    pub(super) fn weights(&self, layer: usize) -> Result<Weights> {
        Ok(Weights {
            w_hh: self.tensor("weight_hh", layer, false)?,
            b_hh: if self.rnn.config.bias { Some(self.tensor("bias_hh", layer, false)?) } else { None },
            workspace: self.workspace.recurrent.clone(),
        })
    }

    /// Initial states into slot 0 and, on a GPU, packed weights; gives `W_ihᵀ [I, G·H]` of each direction, which the CPU
    /// reads by strides. One dispatch where one binding can hold the layer's parameters.
    fn prepare(&self, layer: usize, first: &Chunk, weights: &Weights, program: &mut Program) -> Result<Matrix> {
        let Binding { rnn, io, workspace, .. } = *self;
        let (directions, hidden) = (rnn.config.directions(), rnn.config.hidden);
        let (gates, inputs) = (rnn.config.cell.gates() * hidden, rnn.config.layer_input(layer));
        let w_ih = self.tensor("weight_ih", layer, false)?;
        let packed = Matrix { direction: inputs * gates, ..Matrix::dense(&workspace.packed_input, gates) };
        let initial = [&io.h0, &io.c0].map(|state| state.as_ref().map(|buffer| rnn.caller_state(layer, buffer)));
        let at_once = Prepare { inputs, w_ih, packed_input: &workspace.packed_input, initial };
        if let Some(op) = first.prepare(&rnn.device, weights, &at_once)? {
            program.push(op);
            return Ok(packed);
        }
        rnn.states_in(layer, [io.h0.as_ref(), io.c0.as_ref()], [Some(&first.h), first.c.as_ref()], program)?;
        let w_ih = at_once.w_ih;
        let Some(gpu) = rnn.device.gpu() else { return Ok(w_ih.transposed()) };
        program.push(transpose(gpu, directions, gates, inputs, &w_ih, &packed)?);
        let recurrent = Matrix { direction: (hidden + 1) * gates, ..Matrix::dense(&weights.workspace, gates) };
        program.push(transpose(gpu, directions, gates, hidden, &weights.w_hh, &recurrent)?);
        if let Some(b_hh) = &weights.b_hh {
            let row = Matrix { offset: hidden * gates, ..recurrent };
            program.push(copy(&rnn.device, directions, 1, gates, Some(b_hh), &row)?);
        }
        Ok(packed)
    }

    /// What a layer reads.
    pub(super) fn source(&self, layer: usize) -> Result<Source> {
        let rnn = self.rnn;
        let (batch, width) = (rnn.shape.batch, rnn.config.layer_input(layer));
        if layer == 0 {
            let row = batch * width;
            let piece = |range: Range<usize>| {
                Ok(Piece { buffer: self.io.x.slice(range.start * row..range.end * row)?, range, offset: 0 })
            };
            let pieces = windows(&rnn.device, rnn.shape.steps, row)?.into_iter().map(piece);
            return Ok(Source { pieces: pieces.collect::<Result<_>>()?, width, split: width });
        }
        let piece = |(range, buffers): (&Range<usize>, &ChunkBuffers)| Piece {
            range: range.clone(),
            buffer: buffers.h.clone(),
            // Slot 0 holds the state before the chunk.
            offset: batch * width,
        };
        let pieces = rnn.chunks.iter().zip(self.reserve.layer(layer - 1)).map(piece).collect();
        Ok(Source { pieces, width, split: rnn.config.hidden })
    }
}

impl Rnn {
    pub(super) fn steps_of(&self, chunk: &Chunk) -> Range<usize> {
        chunk.first_step..chunk.first_step + chunk.steps
    }

    /// Calls `work` with each piece of the source that a chunk's rows may be in, as a matrix `[rows, width]`, and the
    /// map from the chunk's rows to the piece's when they are not simply the same.
    pub(super) fn each_piece(
        &self,
        source: &Source,
        chunk: &Chunk,
        mut work: impl FnMut(Matrix, (bool, Option<RowMap>)) -> Result<()>,
    ) -> Result<()> {
        let steps = self.steps_of(chunk);
        let batch = self.shape.batch;
        // x in padding must not be looked at; states in padding are harmless, their gradients are zero.
        let padded_input = self.lengths && source.split == source.width && self.config.directions() == 1;
        for piece in &source.pieces {
            let rows = |offset| Matrix { offset, ..Matrix::dense(&piece.buffer, source.width) };
            let covers = piece.range.start <= steps.start && steps.end <= piece.range.end;
            if self.config.directions() == 1 && covers && !padded_input {
                let skipped = (steps.start - piece.range.start) * batch * source.width;
                return work(rows(piece.offset + skipped), (false, None));
            }
            if self.may_share(&steps, &piece.range) {
                let map = self.row_map(chunk, &piece.range);
                work(rows(piece.offset), (true, Some(map)))?;
            }
        }
        Ok(())
    }

    pub(super) fn row_map(&self, chunk: &Chunk, window: &Range<usize>) -> RowMap {
        RowMap {
            lengths: chunk.lengths.clone(),
            batch: self.shape.batch,
            first_step: chunk.first_step,
            window_first: window.start * self.shape.batch,
            window_rows: window.len() * self.shape.batch,
        }
    }

    /// Whether steps of a chunk may lie in a window of the other order, in any direction.
    pub(super) fn may_share(&self, steps: &Range<usize>, window: &Range<usize>) -> bool {
        let backwards =
            self.config.bidirectional && (self.lengths || overlap(&reversed(steps, self.shape.steps), window));
        overlap(steps, window) || backwards
    }

    /// The caller's states `[L·D, B, H]` (or zero) into slot 0 of those of `to [slots, B, D, H]` that there are.
    pub(super) fn states_in(
        &self,
        layer: usize,
        from: [Option<&Buffer>; 2],
        to: [Option<&Buffer>; 2],
        program: &mut Program,
    ) -> Result<()> {
        let from = from.map(|from| from.map(|buffer| self.caller_state(layer, buffer)));
        let pairs = from.into_iter().zip(to);
        let moves: Vec<Move> = pairs.filter_map(|(from, to)| Some((from, self.slot(to?, 0)))).collect();
        move_states(&self.device, self.state_shape(), &moves, program)
    }

    /// Slot `slot` of states into the caller's, where both are there.
    pub(super) fn states_out(
        &self,
        layer: usize,
        slot: usize,
        states: [(Option<&Buffer>, Option<&Buffer>); 2],
        program: &mut Program,
    ) -> Result<()> {
        let both = states.into_iter().filter_map(|(from, to)| Some((from?, to?)));
        let moves: Vec<Move> =
            both.map(|(from, to)| (Some(self.slot(from, slot)), self.caller_state(layer, to))).collect();
        move_states(&self.device, self.state_shape(), &moves, program)
    }

    fn state_shape(&self) -> [usize; 3] {
        [self.config.directions(), self.shape.batch, self.config.hidden]
    }

    fn caller_state(&self, layer: usize, buffer: &Buffer) -> Matrix {
        let one = self.shape.batch * self.config.hidden;
        let offset = layer * self.config.directions() * one;
        Matrix { offset, direction: one, ..Matrix::dense(buffer, self.config.hidden) }
    }

    fn slot(&self, buffer: &Buffer, slot: usize) -> Matrix {
        let width = self.config.outputs();
        let offset = slot * self.shape.batch * width;
        Matrix { offset, direction: self.config.hidden, ..Matrix::dense(buffer, width) }
    }

    /// The states after a chunk become the states before the next.
    fn hand_over(&self, from: &Chunk, to: &Chunk, program: &mut Program) -> Result<()> {
        let state = self.shape.batch * self.config.outputs();
        let pass = |from_buffer: &Buffer, to_buffer: &Buffer| -> Move {
            let last = Matrix { offset: from.steps * state, ..Matrix::dense(from_buffer, state) };
            (Some(last), Matrix::dense(to_buffer, state))
        };
        let mut moves = vec![pass(&from.h, &to.h)];
        if let (Some(from), Some(to)) = (&from.c, &to.c) {
            moves.push(pass(from, to));
        }
        move_states(&self.device, [1, 1, state], &moves, program)
    }
}
