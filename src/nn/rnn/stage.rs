//! One layer of a stack at work: its chunks, what they read, and how one is run forward, the first time and again.

use std::ops::Range;

use super::Rnn;
use super::bind::BindContext;
use super::source::Source;
use crate::config::Precision;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::copy::copy;
use crate::kernel::gemm::{Accumulate, Gemm, Mapped, Matrix};
use crate::kernel::recurrent::native::Packed;
use crate::kernel::recurrent::{Chunk, Drawn, Initial, Move, Prepare, Weights, move_states, packed_recurrent};
use crate::kernel::transpose::transpose;
use crate::plan::{ChunkBuffers, Mode, PlannedChunk};
use crate::recipe::Tensor;

/// A layer bound to its buffers.
pub(super) struct Stage<'a> {
    with: &'a BindContext<'a>,
    pub(super) layer: usize,
    /// Its chunks, in order.
    pub(super) chunks: Vec<BoundChunk>,
    pub(super) weights: Weights,
    pub(super) source: Source,
}

/// A chunk, and where its states are kept.
pub(super) struct BoundChunk {
    pub(super) chunk: Chunk,
    section: usize,
    /// The slots that keep the states before the chunk, in their order: its own first ones, if `starts`.
    pub(super) kept: Vec<Matrix>,
    /// Whether nothing has to be moved before it can run.
    starts: bool,
    /// f32 states kept before the chunk, `[states, B, D, H]`, where it is recomputed and stores states as f16.
    kept_in_full: Option<Matrix>,
    /// Where the layer above reads the chunk's h, if that is not the chunk's own.
    above: Option<Matrix>,
}

impl<'a> Stage<'a> {
    /// With its chunks writing the output too, if `writes` says so.
    pub(super) fn new(with: &'a BindContext<'a>, layer: usize, writes: bool) -> Result<Self> {
        let sections = with.reserve.layer(layer);
        let planned =
            with.rnn.cuts.chunks.iter().filter_map(|chunk| Some((chunk, sections.get(chunk.section)?.clone())));
        let (weights, source) = (with.weights(layer)?, with.source(layer)?);
        let mut chunks = planned
            .map(|(chunk, section)| with.chunk(layer, chunk, &section, writes))
            .collect::<Result<Vec<BoundChunk>>>()?;
        if with.rnn.strategy.projects() {
            let input = with.input(layer, &source)?;
            chunks.iter_mut().for_each(|bound| bound.chunk.input.clone_from(&input));
        }
        Ok(Self { with, layer, chunks, weights, source })
    }

    /// Packs weights, unless these are packed once, and brings the initial states before the first chunk: one dispatch where
    /// one binding can hold the layer's parameters and no states are kept apart.
    pub(super) fn prepare(&self, program: &mut Program) -> Result<()> {
        let Self { with, layer, .. } = *self;
        let rnn = with.rnn;
        let Some(first) = self.chunks.first() else { return Ok(()) };
        if first.starts && rnn.layout.repacked.is_none() && !rnn.packs_once {
            let initial = with.initial(layer)?;
            let (inputs, w_ih) = (rnn.config.layer_input(layer), with.tensor(Tensor::WeightIh, layer, false)?);
            let at_once = Prepare { inputs, w_ih, packed_input: with.packed(layer)[0], initial };
            if let Some(op) = first.chunk.prepare(&rnn.device, &self.weights, &at_once)? {
                program.push(op);
                // It has put the initial states there.
                return if with.io.carried { self.keep_initial(program) } else { Ok(()) };
            }
        }
        if !rnn.packs_once {
            self.pack(program)?;
        }
        self.keep_initial(program)?;
        let initial = with.initial(layer)?;
        let moves = Move::each(rnn.widths(), initial.clone(), first.kept.iter().cloned());
        move_states(&rnn.device, rnn.state_shape(), &moves, program)?;
        let in_full = Move::each(rnn.widths(), initial, first.before_in_full());
        move_states(&rnn.device, rnn.state_shape(), &in_full, program)
    }

    /// With resets, keeps the states that sequences return to.
    pub(super) fn keep_initial(&self, program: &mut Program) -> Result<()> {
        let Some(Initial { buffer, offset }) = self.chunks.first().and_then(|bound| bound.chunk.initial.as_ref())
        else {
            return Ok(());
        };
        let rnn = self.with.rnn;
        let to = rnn.states_from(buffer, *offset);
        let moves = Move::each(rnn.widths(), self.with.returned_to(self.layer)?, to);
        move_states(&rnn.device, rnn.state_shape(), &moves, program)
    }

    /// The states that sequences return to, for backward, to `[states, B, D, H]` of a buffer from an offset on. Initial ones as
    /// forward kept them: the final states may lie where the caller's initial ones were.
    pub(super) fn kept_initial_to(&self, buffer: &Buffer, offset: usize, program: &mut Program) -> Result<()> {
        let rnn = self.with.rnn;
        let Some(first) = self.chunks.first() else { return Ok(()) };
        let in_full = || first.kept_in_full.as_ref().map(|kept| first.each(&kept.buffer, kept.offset));
        let kept = match self.with.io.carried {
            true => self.with.returned_to(self.layer)?,
            false => in_full().unwrap_or_else(|| first.kept.clone()).into_iter().map(Some).collect(),
        };
        let moves = Move::each(rnn.widths(), kept, rnn.states_from(buffer, offset));
        move_states(&rnn.device, rnn.state_shape(), &moves, program)
    }

    /// The same to where forward has them, before chunks are computed again.
    pub(super) fn keep_initial_again(&self, program: &mut Program) -> Result<()> {
        match self.chunks.first().and_then(|bound| bound.chunk.initial.as_ref()) {
            Some(Initial { buffer, offset }) => self.kept_initial_to(buffer, *offset, program),
            None => Ok(()),
        }
    }

    /// Packs the weights for a GPU's products and steps; of those that are packed as they are needed the bias alone. The CPU
    /// packs for itself.
    pub(super) fn pack(&self, program: &mut Program) -> Result<()> {
        let Self { with, layer, weights, .. } = self;
        let (device, config) = (&with.rnn.device, &with.rnn.config);
        let Some(gpu) = device.gpu() else { return Ok(()) };
        let (directions, hidden, width) = (config.directions(), config.hidden, config.width(0));
        let gates = config.recipe().gates() * hidden;
        if with.rnn.layout.repacked.is_some() {
            let to = Matrix { direction: gates, ..Matrix::dense(&weights.workspace, gates) };
            let copied = weights.b_hh.as_ref().map(|b_hh| copy(device, directions, 1, gates, Some(b_hh), &to));
            copied.transpose()?.into_iter().for_each(|op| program.push(op));
            return Ok(());
        }
        let w_ih = with.tensor(Tensor::WeightIh, *layer, false)?;
        program.push(transpose(gpu, directions, gates, config.layer_input(*layer), &w_ih, &self.input_weights(gates))?);
        let recipe = config.recipe();
        let direction = packed_recurrent(recipe, hidden);
        let packed = Matrix { direction, ..Matrix::dense(&weights.workspace, gates) };
        let Some(w_hh) = &weights.w_hh else { return Ok(()) };
        program.push(transpose(gpu, directions, gates, width, w_hh, &packed)?);
        let peepholes = recipe.peepholes() * hidden;
        if let Some(w_hr) = &weights.w_hr {
            let to = Matrix { offset: (width + 1) * gates + peepholes, row: width, ..packed.clone() };
            program.push(transpose(gpu, directions, width, hidden, w_hr, &to)?);
        }
        let rows = [(&weights.b_hh, width * gates, gates), (&weights.w_ch, (width + 1) * gates, peepholes)];
        for (row, offset, columns) in rows {
            if let Some(row) = row {
                let to = Matrix { offset, row: 0, ..packed.clone() };
                program.push(copy(device, directions, 1, columns, Some(row), &to)?);
            }
        }
        Ok(())
    }

    /// Packed `W_ihᵀ [I, gates]` of each direction, of all gates or some.
    fn input_weights(&self, gates: usize) -> Matrix {
        let Self { with, layer, .. } = self;
        let direction = with.rnn.config.layer_input(*layer) * gates;
        Matrix { direction, ..Matrix::dense(with.packed(*layer)[0], gates) }
    }

    /// Runs a chunk forward from the states that are kept before it.
    pub(super) fn forward(&self, bound: &BoundChunk, program: &mut Program) -> Result<()> {
        let rnn = self.with.rnn;
        if !bound.starts {
            let to = bound.chunk.states.iter().enumerate().map(|(state, to)| rnn.slot(state, to, 0));
            rnn.move_whole(0, bound.kept.iter().cloned().map(Some), to, program)?;
            if let (Some(kept), Some(carry)) = (&bound.kept_in_full, &bound.chunk.carry) {
                program.push(copy(&rnn.device, 1, 1, kept.row, Some(kept), &Matrix::dense(carry, kept.row))?);
            }
        }
        if bound.chunk.input.is_none() {
            self.project(&bound.chunk, program)?;
        }
        program.push(rnn.strategy.forward(&rnn.device, &bound.chunk, &self.weights)?);
        Ok(())
    }

    /// `saved[.., 0..G] = source·W_ihᵀ + b_ih` for a chunk, all directions, all its steps.
    fn project(&self, chunk: &Chunk, program: &mut Program) -> Result<()> {
        let (rnn, source) = (self.with.rnn, &self.source);
        let bias = self.with.optional(Tensor::BiasIh, self.layer)?;
        let gates = rnn.config.recipe().gates() * rnn.config.hidden;
        let Some(at_once) = rnn.layout.repacked else {
            return self.project_gates(chunk, bias, self.input_weights(gates), 0..gates, program);
        };
        for first in (0..gates).step_by(at_once) {
            let some = first..gates.min(first + at_once);
            let packed = self.input_weights(some.len());
            if let Some(gpu) = rnn.device.gpu() {
                let w_ih = self.with.tensor(Tensor::WeightIh, self.layer, false)?;
                let rows = Matrix { offset: w_ih.offset + first * w_ih.row, ..w_ih };
                program.push(transpose(gpu, rnn.config.directions(), some.len(), source.width, &rows, &packed)?);
            }
            let bias = bias.clone().map(|bias| Matrix { offset: bias.offset + first, ..bias });
            self.project_gates(chunk, bias, packed, some, program)?;
        }
        Ok(())
    }

    /// The same for some gates, whose packed weights and biases these are.
    fn project_gates(
        &self,
        chunk: &Chunk,
        bias: Option<Matrix>,
        weights: Matrix,
        gates: Range<usize>,
        program: &mut Program,
    ) -> Result<()> {
        let (rnn, source) = (self.with.rnn, &self.source);
        let steps = rnn.steps_of(chunk);
        let rows = steps.len() * chunk.batch;
        let saved = rnn.saved(chunk, &steps, 0);
        let saved = Matrix { offset: saved.offset + gates.start, ..saved };
        for (index, (piece, map)) in rnn.pieces(source, chunk, &steps).into_iter().enumerate() {
            let gemm = Gemm {
                directions: 0..rnn.config.directions(),
                bias: if index == 0 { bias.clone() } else { None },
                accumulate: if index == 0 { Accumulate::No } else { Accumulate::After },
                mapped: if map.is_some() { Mapped::A } else { Mapped::No },
                rows: map,
                split: source.split,
                granule: if source.pieces.len() == 1 { chunk.batch } else { 1 },
                room: (rnn.precision == Precision::Half).then(|| self.with.workspace.products.clone()),
                ..Gemm::plain(rows, gates.len(), source.width, piece, weights.clone(), saved.clone())
            };
            gemm.add_to(&rnn.device, program)?;
        }
        Ok(())
    }

    /// Keeps the states after a chunk: for the next, and h for the layer above.
    pub(super) fn keep(&self, bound: &BoundChunk, next: Option<&BoundChunk>, program: &mut Program) -> Result<()> {
        let rnn = self.with.rnn;
        let (device, batch, width) = (&rnn.device, rnn.shape.batch, rnn.config.outputs());
        let steps = bound.chunk.steps;
        if let Some(above) = &bound.above {
            program.push(copy(device, 1, steps * batch, width, Some(&rnn.slot(0, bound.chunk.h(), 1)), above)?);
        }
        let Some(next) = next else { return Ok(()) };
        if let (Some(kept), Some(carry)) = (&next.kept_in_full, &bound.chunk.carry) {
            program.push(copy(device, 1, 1, kept.row, Some(&Matrix::dense(carry, kept.row)), kept)?);
        }
        // h for the layer above has the state before the next chunk in it, unless that is in a section of its own.
        let skipped = usize::from(bound.above.is_some() && bound.section == next.section);
        let from = bound.chunk.states.iter().enumerate();
        let from = from.map(|(state, states)| Some(rnn.slot(state, states, steps)));
        rnn.move_whole(skipped, from.skip(skipped), next.kept.iter().skip(skipped).cloned(), program)
    }
}

impl BoundChunk {
    /// The f32 states before the chunk, where states are stored as f16: those that steps carry, or those that are kept.
    pub(super) fn before_in_full(&self) -> Vec<Matrix> {
        self.kept_in_full.as_ref().map_or_else(|| self.carried(), |kept| self.each(&kept.buffer, kept.offset))
    }

    /// The f32 states that steps carry, where states are stored as f16.
    pub(super) fn carried(&self) -> Vec<Matrix> {
        self.chunk.carry.as_ref().map_or_else(Vec::new, |carry| self.each(carry, 0))
    }

    /// The states of `[states, B, D, H]` from `first` on.
    fn each(&self, buffer: &Buffer, first: usize) -> Vec<Matrix> {
        let chunk = &self.chunk;
        let mut offset = first;
        let state = |index| {
            let (width, begin) = (chunk.width(index), offset);
            offset += chunk.batch * chunk.directions * width;
            Matrix { offset: begin, direction: width, ..Matrix::dense(buffer, chunk.directions * width) }
        };
        (0..chunk.recipe.states()).map(state).collect()
    }
}

impl BindContext<'_> {
    fn chunk(&self, layer: usize, planned: &PlannedChunk, section: &ChunkBuffers, writes: bool) -> Result<BoundChunk> {
        let rnn = self.rnn;
        let PlannedChunk { steps, section: index, place } = planned;
        let (recipe, rows) = (rnn.config.recipe(), rnn.shape.batch * rnn.config.directions());
        let all = rows * recipe.width_of_states(rnn.config.hidden);
        let shares = rnn.cuts.shared.is_some();
        let (saved, states) = match shares {
            false => (section.saved.clone(), section.states.clone()),
            true => {
                let shared = &self.workspace.chunk;
                let states = shared.states.iter().zip(rnn.widths());
                let states = states.map(|(states, width)| states.slice(0..(steps.len() + 1) * rows * width));
                let saved = shared.saved.slice(0..steps.len() * rows * recipe.saved_width(rnn.config.hidden))?;
                (saved, states.collect::<Result<Vec<_>>>()?)
            }
        };
        let above = shares && layer + 1 < rnn.config.layers;
        let first = rnn.cuts.sections.get(*index).map_or(0, |section| section.start);
        let place = if rnn.mode == Mode::Train { *place } else { 0 };
        let slot_of_h = if above { steps.start - first } else { place };
        // What a chunk leaves behind is only needed again by backward.
        let starts = !shares || (rnn.mode == Mode::Infer && steps.start == 0);
        let kept = match starts {
            true => states.iter().enumerate().map(|(state, states)| rnn.slot(state, states, 0)).collect(),
            false => {
                let slots = std::iter::once(slot_of_h).chain(std::iter::repeat(place));
                let states = section.states.iter().enumerate().zip(slots);
                states.map(|((state, states), slot)| rnn.slot(state, states, slot)).collect()
            }
        };
        let chunk = Chunk {
            recipe: rnn.config.recipe(),
            hidden: rnn.config.hidden,
            directions: rnn.config.directions(),
            first_reversed: rnn.config.first_reversed(),
            batch: rnn.shape.batch,
            first_step: steps.start,
            steps: steps.len(),
            lengths: self.lengths.clone(),
            drawn: self.draws.map(|draws| Drawn { random: draws.random, layer }),
            saved,
            keeps: rnn.mode == Mode::Train,
            states,
            carry: match rnn.precision {
                Precision::Full => None,
                Precision::Half => Some(self.workspace.state.slice(0..all)?),
            },
            initial: rnn.config.recipe().resets().then(|| Initial {
                buffer: self.workspace.state.clone(),
                offset: if rnn.precision == Precision::Half { all } else { 0 },
            }),
            output: self.io.y.clone().filter(|_| writes),
            span: rnn.span,
            input: None,
        };
        let above = section.states.first().filter(|_| above).map(|h| rnn.slot(0, h, slot_of_h + 1));
        let kept_in_full =
            (!section.kept.is_empty()).then(|| Matrix { offset: place * all, ..Matrix::dense(&section.kept, all) });
        Ok(BoundChunk { chunk, section: *index, kept, starts, kept_in_full, above })
    }

    /// Where each of a layer's initial states is, `[D, B, H]`: given, or one learnt row for all sequences. None: zero.
    fn initial(&self, layer: usize) -> Result<Vec<Option<Matrix>>> {
        let given = self.io.initial_states().into_iter().enumerate();
        let given = given.map(|(state, (_, of))| of.map(|buffer| self.rnn.caller_state(layer, state, buffer)));
        Ok(self.learnt(layer)?.into_iter().zip(given).map(|(learnt, given)| given.or(learnt)).collect())
    }

    /// The same of the states that sequences return to when they begin anew.
    fn returned_to(&self, layer: usize) -> Result<Vec<Option<Matrix>>> {
        if self.io.carried { self.learnt(layer) } else { self.initial(layer) }
    }

    /// The learnt initial states of a layer, one row for all sequences. None: zero.
    fn learnt(&self, layer: usize) -> Result<Vec<Option<Matrix>>> {
        let of = |tensor| Ok(self.optional(tensor, layer)?.map(|row| Matrix { row: 0, ..row }));
        Tensor::INITIAL.into_iter().take(self.rnn.config.recipe().states()).map(of).collect()
    }

    /// Where a GPU's weights of a layer are packed: those of the input, and the rest.
    fn packed(&self, layer: usize) -> [&Buffer; 2] {
        match self.packed.get(layer) {
            Some(own) if self.rnn.packs_once => own.each_ref(),
            _ => [&self.workspace.packed_input, &self.workspace.recurrent],
        }
    }

    /// Recurrent weights of a layer.
    fn weights(&self, layer: usize) -> Result<Weights> {
        let [w_hh, w_hr, w_ch] = self.left_weights(layer)?;
        Ok(Weights {
            w_hh,
            w_hr,
            b_hh: self.optional(Tensor::BiasHh, layer)?,
            w_ch,
            workspace: self.packed(layer)[1].clone(),
            packed: self.packed.get(layer).filter(|_| !self.rnn.packs_once).map(|[_, rest]| Packed::new(rest.clone())),
            repacked: self.rnn.layout.repacked.is_some(),
        })
    }
}

impl Rnn {
    /// Moves states of both directions at once, from state `first` on.
    fn move_whole(
        &self,
        first: usize,
        from: impl IntoIterator<Item = Option<Matrix>>,
        to: impl IntoIterator<Item = Matrix>,
        program: &mut Program,
    ) -> Result<()> {
        let widths = self.widths().skip(first).map(|width| self.config.directions() * width);
        move_states(&self.device, [1, self.shape.batch], &Move::each(widths, from, to), program)
    }

    /// The states of `[states, B, D, H]` from `offset` on.
    pub(super) fn states_from(&self, buffer: &Buffer, offset: usize) -> impl Iterator<Item = Matrix> {
        self.widths().enumerate().scan(offset, move |offset, (state, width)| {
            let (slot, begin) = (self.slot(state, buffer, 0), *offset);
            *offset += self.shape.batch * self.config.directions() * width;
            Some(Matrix { offset: begin, ..slot })
        })
    }

    /// A slot of a state, 0 h, of `[slots, B, D, H]`.
    pub(super) fn slot(&self, state: usize, buffer: &Buffer, slot: usize) -> Matrix {
        let (direction, width) = (self.config.width(state), self.config.directions() * self.config.width(state));
        let offset = slot * self.shape.batch * width;
        Matrix { offset, direction, ..Matrix::dense(buffer, width) }
    }
}
