//! What a layer reads: x in windows, or the states of the layer below in sections; and which rows of it a chunk's steps are.

use std::ops::Range;

use super::Rnn;
use super::bind::BindContext;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::gemm::Matrix;
use crate::kernel::recurrent::{Chunk, Input};
use crate::kernel::rows::RowMap;
use crate::plan::{granule, overlap, reversed, windows};
use crate::recipe::Tensor;

/// What a layer's rows are made from: x in windows of times, or the states of the layer below in its sections.
pub(super) struct Source {
    pub(super) pieces: Vec<Window>,
    /// Width of a row.
    pub(super) width: usize,
    /// Columns from here on belong to direction 1 of the layer below.
    pub(super) split: usize,
    /// Whether its rows are states of the layer below, in step order, rather than times.
    pub(super) below: bool,
}

/// A bound part of a source.
pub(super) struct Window {
    /// Times, or steps, that it holds.
    range: Range<usize>,
    buffer: Buffer,
    /// Elements before its first row.
    offset: usize,
}

impl BindContext<'_> {
    /// What a layer's steps make their input projections from, where they do.
    pub(super) fn input(&self, layer: usize, source: &Source) -> Result<Option<Input>> {
        let [piece] = source.pieces.as_slice() else { return Ok(None) };
        let bias = self.optional(Tensor::BiasIh, layer)?;
        Ok(Some(Input {
            w_ih: self.tensor(Tensor::WeightIh, layer, false)?,
            b_ih: bias,
            source: piece.buffer.clone(),
            width: source.width,
            below: layer > 0,
        }))
    }

    /// What a layer reads.
    pub(super) fn source(&self, layer: usize) -> Result<Source> {
        let rnn = self.rnn;
        let (batch, width) = (rnn.shape.batch, rnn.config.layer_input(layer));
        if layer == 0 {
            let row = batch * width;
            let x = if rnn.config.drops_inputs() { &self.workspace.dropped_x } else { &self.io.x };
            let piece = |range: Range<usize>| {
                Ok(Window { buffer: x.slice(range.start * row..range.end * row)?, range, offset: 0 })
            };
            let pieces = windows(&rnn.device, rnn.shape.steps, row, x.element_bytes() as usize)?.into_iter().map(piece);
            return Ok(Source { pieces: pieces.collect::<Result<_>>()?, width, split: width, below: false });
        }
        let sections = self.reserve.layer(layer - 1);
        let sections = sections.into_iter().filter_map(|buffers| buffers.states.into_iter().next());
        // What dropout leaves of them, where there is dropout.
        let read: Vec<Buffer> = match rnn.config.drops_outputs() || rnn.config.drops_inputs() {
            false => sections.collect(),
            true => self.workspace.dropped.clone(),
        };
        let piece = |(range, buffer): (&Range<usize>, Buffer)| Window {
            range: range.clone(),
            buffer,
            // Slot 0 holds the state before the section.
            offset: batch * width,
        };
        let pieces = rnn.cuts.sections.iter().zip(read).map(piece).collect();
        Ok(Source { pieces, width, split: rnn.config.width(0), below: true })
    }
}

impl Rnn {
    /// A chunk's steps: all at once, or cut into granules.
    pub(super) fn granules(&self, chunk: &Chunk, cut: bool) -> Vec<Range<usize>> {
        let Range { start, end } = self.steps_of(chunk);
        let length = if cut { granule(&self.device, self.shape) } else { chunk.steps };
        (start..end).step_by(length.max(1)).map(|first| first..end.min(first.saturating_add(length))).collect()
    }

    /// Saved values of some of a chunk's steps from `slot` on, `[steps·B, ..]`.
    pub(super) fn saved(&self, chunk: &Chunk, steps: &Range<usize>, slot: usize) -> Matrix {
        let slots = self.config.recipe().saved_width(self.config.hidden);
        let row = self.config.directions() * slots;
        let offset = (steps.start - chunk.first_step) * chunk.batch * row + slot * self.config.hidden;
        Matrix { offset, direction: slots, ..Matrix::dense(&chunk.saved, row) }
    }

    /// The pieces of the source that rows of some of a chunk's steps may be in, in order, as matrices `[rows, width]`,
    /// with the map from those rows to the piece's when they are not simply the same.
    pub(super) fn pieces(&self, source: &Source, chunk: &Chunk, steps: &Range<usize>) -> Vec<(Matrix, Option<RowMap>)> {
        let batch = self.shape.batch;
        // x in padding must not be looked at; states in padding are harmless, their gradients are zero.
        let padded_input = self.lengths && !source.below && self.config.directions() == 1;
        // States of the layer below are in this one's own order where both have the same one direction.
        let turned = self.config.is_reversed() && !(source.below && self.config.directions() == 1);
        let mut pieces = Vec::new();
        for piece in &source.pieces {
            let rows = |offset| Matrix { offset, ..Matrix::dense(&piece.buffer, source.width) };
            let covers = piece.range.start <= steps.start && steps.end <= piece.range.end;
            if self.config.directions() == 1 && covers && !padded_input && !turned {
                let skipped = (steps.start - piece.range.start) * batch * source.width;
                return vec![(rows(piece.offset + skipped), None)];
            }
            let map = self.row_map(chunk, steps, &piece.range);
            if turned && self.may_share(steps, &piece.range) {
                pieces.push((rows(piece.offset), Some(map)));
            } else if !turned && overlap(steps, &piece.range) {
                let first_reversed = self.config.directions();
                pieces.push((rows(piece.offset), Some(RowMap { first_reversed, ..map })));
            }
        }
        pieces
    }

    pub(super) fn steps_of(&self, chunk: &Chunk) -> Range<usize> {
        chunk.first_step..chunk.first_step + chunk.steps
    }

    /// The map from rows of some of a chunk's steps to those of a window.
    pub(super) fn row_map(&self, chunk: &Chunk, steps: &Range<usize>, window: &Range<usize>) -> RowMap {
        RowMap {
            lengths: chunk.lengths_alone(),
            batch: self.shape.batch,
            first_step: steps.start,
            window_first: window.start * self.shape.batch,
            window_rows: window.len() * self.shape.batch,
            first_reversed: self.config.first_reversed(),
        }
    }

    /// Whether steps of a chunk may lie in a window of the other order, in any direction.
    pub(super) fn may_share(&self, steps: &Range<usize>, window: &Range<usize>) -> bool {
        let backwards =
            self.config.is_reversed() && (self.lengths || overlap(&reversed(steps, self.shape.steps), window));
        let forwards = self.config.first_reversed() > 0 || self.lengths;
        forwards && overlap(steps, window) || backwards
    }
}
