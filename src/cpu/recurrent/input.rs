//! What a layer reads, row by row, and the product of it with the input weights.

use std::ops::Range;

use super::{LayerShape, Slots, Tensors, expect, shared};
use crate::cpu::panel::{self, Product};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Member, TaskRows};
use crate::error::Result;

/// Where the rows of a layer's input are.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, S> {
    /// A sequence in time order, `[times, B, width]`.
    Sequence {
        /// Its elements.
        x: &'a [S],
        /// Width of a row.
        width: usize,
    },
    /// The states of the layer below, of as many directions as this one, in step order: `[times + 1, B, D·H]`, the
    /// initial one first.
    Below {
        /// Its elements.
        h: &'a [S],
        /// H of the layer below; of a projected h P.
        hidden: usize,
    },
}

/// The input of some steps, and what it is multiplied with.
#[derive(Clone, Copy, Debug)]
pub struct Projection<'a, S> {
    /// `weight_ih` of each direction, from [`pack_input`](super::pack_input).
    pub packed: &'a [S],
    /// `bias_ih [G·H]` of each direction.
    pub b_ih: Option<Tensors<'a, S>>,
    /// The input of the whole sequence.
    pub input: Input<'a, S>,
}

impl<'a, S: Scalar> Projection<'a, S> {
    /// Width of a row.
    fn width(&self, layer: &LayerShape) -> usize {
        match self.input {
            Input::Sequence { width, .. } => width,
            Input::Below { hidden, .. } => layer.directions * hidden,
        }
    }

    /// An error unless it is that of `layer`, for sequences of `times` steps at least.
    pub(super) fn check(&self, layer: &LayerShape, times: usize) -> Result<()> {
        let (batch, width) = (layer.batch.batch, self.width(layer));
        expect("the packed input weights", self.packed.len(), &[layer.input_packed_len(width)])?;
        if let Some(b_ih) = &self.b_ih {
            layer.check_tensors("bias_ih", b_ih, 1)?;
        }
        let (name, len, first) = match self.input {
            Input::Sequence { x, .. } => ("x", x.len(), 0),
            Input::Below { h, .. } => ("the states of the layer below", h.len(), 1),
        };
        let blocks = len.checked_div(batch * width).unwrap_or(0).max(times.saturating_add(first));
        expect(name, len, &[blocks, batch, width])
    }

    /// Slices that make a row.
    fn runs(&self, layer: &LayerShape) -> usize {
        match self.input {
            Input::Sequence { .. } => 1,
            Input::Below { .. } => layer.directions,
        }
    }

    /// Slice `run` of the row of sequence `row`, of `length` steps, at step `step` in `direction`. In padding, which comes
    /// after, any row: nothing is made of it.
    #[inline(always)]
    fn slice(
        &self,
        layer: &LayerShape,
        direction: usize,
        length: usize,
        step: usize,
        row: usize,
        run: usize,
    ) -> &'a [S] {
        let time = layer.other_side(direction, step, length);
        match self.input {
            Input::Sequence { x, width } => &x[(time * layer.batch.batch + row) * width..][..width],
            Input::Below { h, hidden } => {
                // The steps of the layer below, in its own direction `run`.
                let step = layer.other_side(run, time, length);
                let slot = (step + 1) * layer.batch.batch + row;
                &h[(slot * layer.directions + run) * hidden..][..hidden]
            }
        }
    }

    /// `W_ih·x + b_ih` of sequences `rows` at `steps`, in one direction, into the first slots of `saved` from block `to` on:
    /// a member's share of it.
    #[expect(clippy::too_many_arguments, reason = "what a task knows")]
    pub(super) fn run(
        &self,
        layer: &LayerShape,
        direction: usize,
        lengths: &[u32],
        steps: Range<usize>,
        rows: Range<usize>,
        member: Member<'_>,
        saved: &mut TaskRows<'_, S>,
        to: usize,
    ) {
        let (width, columns, runs, each) = (self.width(layer), layer.gate_width(), self.runs(layer), rows.len());
        let packed = panel::packed_len(width, columns);
        let (own, panels) = shared(member, width, columns);
        let packed = &self.packed[direction * packed..][..packed][panels];
        Product {
            packed,
            depth: width,
            bias: self.b_ih.map_or(&[], |bias| &bias.of(direction)[own.clone()]),
            runs,
            a: |index, run| {
                let (step, row) = (steps.start + index / each, rows.start + index % each);
                self.slice(layer, direction, lengths[row] as usize, step, row, run)
            },
            rows: steps.len() * each,
            columns: own.len(),
            adds: false,
            backwards: false,
            c: Slots {
                part: saved,
                place: |index| (to + index / each, rows.start + index % each),
                columns: own.clone(),
            },
        }
        .run();
    }
}
