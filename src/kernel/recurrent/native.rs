//! A chunk on the CPU executor: its buffers as slices, its weights packed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::flow::{direct_from, initial_from};
use super::{Chunk, ChunkGradients, Weights};
use crate::cell::MOST_STATES;
use crate::config::BatchShape;
use crate::cpu::random::{Masked, Masks, RANDOM_WORDS};
use crate::cpu::recurrent::{self as cpu, Initial, LayerShape, Left, Recurrent, Resets, Tensors};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Partition, Pool, Threads};
use crate::device::{Buffer, Element};
use crate::error::{Error, Result};
use crate::kernel::gemm::Matrix;

/// Packed weights, and which values they are of.
#[derive(Clone)]
pub struct Packed {
    buffer: Buffer,
    /// Writes to the parameters when they were packed, and one.
    of: Arc<AtomicU64>,
}

impl Packed {
    /// In `buffer`, which holds what [`Chunk::forward`] packs.
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, of: Arc::default() }
    }
}

/// Multiply-adds of a step that are worth a thread's taking part in it: two meetings a step cost half a microsecond.
/// Measured on two cores.
const TOGETHER: usize = 1 << 14;

/// Who does what of a call, decided when the op is made.
pub(super) struct Crew {
    pool: Arc<Pool>,
    partition: Partition,
    /// Threads that pack.
    packers: Threads,
}

impl Crew {
    /// For work of `chunk` with `packed` elements to pack, where they don't stay packed.
    pub(super) fn new(pool: &Arc<Pool>, chunk: &Chunk, packed: usize) -> Self {
        let Chunk { recipe, hidden, directions, batch, steps, .. } = *chunk;
        let inputs = chunk.input.as_ref().map_or(0, |input| input.width);
        // What a sequence's step multiplies h with, and its input.
        let width = recipe.width(0, hidden);
        let of_h = if recipe.has_product() { recipe.gates().saturating_mul(hidden).saturating_mul(width) } else { 0 };
        let of_h = of_h.saturating_add(recipe.projection().unwrap_or(0).saturating_mul(hidden));
        let of_input = recipe.gates().saturating_mul(hidden).saturating_mul(inputs);
        let terms = of_h.saturating_add(of_input);
        let work = terms.saturating_mul(batch * directions).saturating_mul(steps);
        // An element is packed in about the time of four multiply-adds.
        let (threads, packers) = (pool.threads_for(work), pool.threads_for(packed.saturating_mul(4)));
        // Without a product of their own, steps are projected together.
        let step = if recipe.has_product() { of_h } else { of_input };
        let partition = Partition::together(threads, batch, directions, step, TOGETHER);
        Self { pool: pool.clone(), partition, packers }
    }

    /// Calls `work` with the threads that pack: on the pool, unless it is all for one thread.
    fn run<R: Send>(&self, packs: bool, work: impl FnOnce(Threads) -> R + Send) -> R {
        match self.partition.is_together() {
            true => self.pool.run_together(|| work(self.pool.threads())),
            false if self.partition.is_parallel() => self.pool.run(|| work(self.pool.threads())),
            false if packs => self.pack(work),
            false => work(Threads::ONE),
        }
    }

    /// Calls `work`, which only packs, with the threads for it.
    fn pack<R: Send>(&self, work: impl FnOnce(Threads) -> R + Send) -> R {
        match self.packers {
            Threads::ONE => work(Threads::ONE),
            _ => self.pool.run(|| work(self.pool.threads())),
        }
    }
}

/// What the buffer of lengths holds.
pub(super) struct Words<'w> {
    pub(super) lengths: &'w [u32],
    pub(super) resets: Resets<'w>,
    /// What stays of states.
    pub(super) masks: Option<Masks>,
    /// What dropout leaves of h.
    pub(super) left: Option<Left<'w>>,
}

impl Chunk {
    pub(super) fn layer(&self) -> LayerShape {
        let batch = BatchShape::new(self.steps, self.batch);
        LayerShape {
            recipe: self.recipe,
            hidden: self.hidden,
            directions: self.directions,
            first_reversed: self.first_reversed,
            batch,
        }
    }

    /// What the buffer of lengths holds.
    pub(super) fn words<'w>(&self, words: &'w [u32]) -> Result<Words<'w>> {
        let (lengths, behind) = words.split_at(self.batch.min(words.len()));
        let end = self.drawn.map_or(words.len(), |drawn| drawn.random);
        let (bits, random) = behind.split_at(end.saturating_sub(lengths.len()).min(behind.len()));
        let resets = Resets { bits, batch: self.batch };
        let (random, bits) = random.split_at(RANDOM_WORDS.min(random.len()));
        let masks = self.drawn.map(|drawn| Masks::new(random, Masked::States, drawn.layer)).transpose()?;
        let (left, scale) = self.dropped_of_h();
        Ok(Words { lengths, resets, masks, left: left.map(|_| Left { bits, scale }) })
    }

    /// Elements that forward packs: of the recurrent weights, of the input weights.
    pub(super) fn forward_packed(&self) -> [usize; 2] {
        let layer = self.layer();
        [layer.forward_packed_len(), self.input.as_ref().map_or(0, |input| layer.input_packed_len(input.width))]
    }
}

/// A tensor of each direction.
fn tensors<'a, S>(name: &str, values: &'a [S], at: &Matrix, directions: usize, len: usize) -> Result<Tensors<'a, S>> {
    Tensors::new(name, &values[at.offset.min(values.len())..], directions, at.direction, len)
}

/// The peepholes of a chunk's layer, if there are any.
fn peepholes<'a, S>(chunk: &Chunk, weights: &Weights, values: Option<&'a [S]>) -> Result<Option<Tensors<'a, S>>> {
    let len = chunk.recipe.peepholes() * chunk.hidden;
    let all = values.zip(weights.w_ch.as_ref());
    all.map(|(values, at)| tensors("weight_ch", values, at, chunk.directions, len)).transpose()
}

/// The weights of the projection of a chunk's layer, if it has one.
fn projection<'a, S>(chunk: &Chunk, weights: &Weights, values: Option<&'a [S]>) -> Result<Option<Tensors<'a, S>>> {
    let len = chunk.width(0) * chunk.hidden;
    let all = values.zip(weights.w_hr.as_ref());
    all.map(|(values, at)| tensors("weight_hr", values, at, chunk.directions, len)).transpose()
}

/// All steps of a chunk forward.
pub(super) fn forward<S: Scalar + Element>(chunk: &Chunk, weights: &Weights, crew: &Crew) -> Result<()> {
    let (layer, directions) = (chunk.layer(), chunk.directions);
    let gates = layer.gate_width();
    let lengths = chunk.lengths.read::<u32>()?;
    let Words { lengths, resets, masks, left } = chunk.words(&lengths)?;
    let initial = chunk.initial.as_ref().map(|initial| initial.buffer.read::<S>()).transpose()?;
    let initial = initial.as_deref().and_then(|values| values.get(chunk.initial_offset()..)).unwrap_or_default();
    let initial = Initial { states: layer.each_state(initial) };
    let w_hh = weights.w_hh.as_ref().map(|w_hh| w_hh.buffer.read::<S>()).transpose()?;
    let w_hr = weights.w_hr.as_ref().map(|w_hr| w_hr.buffer.read::<S>()).transpose()?;
    let b_hh = weights.b_hh.as_ref().map(|bias| bias.buffer.read::<S>()).transpose()?;
    let w_ch = weights.w_ch.as_ref().map(|w_ch| w_ch.buffer.read::<S>()).transpose()?;
    let input = chunk.input.as_ref();
    let w_ih = input.map(|input| input.w_ih.buffer.read::<S>()).transpose()?;
    let bias_of_input = input.and_then(|input| input.b_ih.as_ref());
    let b_ih = bias_of_input.map(|bias| bias.buffer.read::<S>()).transpose()?;
    let source = input.map(|input| input.source.read::<S>()).transpose()?;
    let mut saved = chunk.saved.write::<S>()?;
    // Without an allocation.
    let mut states: [Option<_>; MOST_STATES] = std::array::from_fn(|_| None);
    for (held, states) in states.iter_mut().zip(&chunk.states) {
        *held = Some(states.write::<S>()?);
    }
    let mut y = chunk.output.as_ref().map(|y| y.write::<S>()).transpose()?;

    let [recurrent_len, input_len] = chunk.forward_packed();
    let len = recurrent_len + input_len;
    let pack = |threads: Threads, packed: &mut [S]| {
        let (of_recurrent, of_input) = packed.split_at_mut(recurrent_len);
        if let (Some(w_hh), Some(at)) = (&w_hh, &weights.w_hh) {
            let all = tensors("weight_hh", w_hh, at, directions, gates * layer.width(0))?;
            let w_hr = projection(chunk, weights, w_hr.as_deref())?;
            cpu::pack_forward(threads, &layer, &all, w_hr.as_ref(), of_recurrent)?;
        }
        if let (Some(input), Some(w_ih)) = (input, &w_ih) {
            let all = tensors("weight_ih", w_ih, &input.w_ih, directions, gates * input.width)?;
            cpu::pack_input(threads, &layer, &all, input.width, of_input)?;
        }
        Ok(())
    };
    let bias = |(values, at)| tensors("a bias", values, at, directions, gates);
    let b_hh = b_hh.as_deref().zip(weights.b_hh.as_ref()).map(bias).transpose()?;
    let b_ih = b_ih.as_deref().zip(bias_of_input).map(bias).transpose()?;
    let w_ch = peepholes(chunk, weights, w_ch.as_deref())?;
    let (saved, y) = (&mut saved[..], y.as_deref_mut().unwrap_or_default());
    let mut states = states.each_mut().map(|states| states.as_deref_mut().unwrap_or_default());
    let (source, first_step) = (source.as_deref(), chunk.first_step);
    let mut steps = |packed: &[S]| {
        let (packed, of_input) = packed.split_at(recurrent_len);
        let projection = input.zip(source).map(|(input, source)| cpu::Projection {
            packed: of_input,
            b_ih,
            input: match input.below {
                false => cpu::Input::Sequence { x: source, width: input.width },
                true => cpu::Input::Below { h: source, hidden: input.width / directions },
            },
        });
        let (saved, y, keeps) = (&mut *saved, &mut *y, chunk.keeps);
        let states = states.each_mut().map(|states| &mut **states);
        let buffers =
            cpu::Forward { projection, saved, keeps, states, y, lengths, first_step, resets, initial, masks, left };
        cpu::forward(&crew.partition, &layer, Recurrent { packed, b_hh, w_ch }, buffers)
    };
    let Some(kept) = &weights.packed else {
        let mut workspace = weights.workspace.write::<S>()?;
        expect_space(workspace.len(), len)?;
        let packed = &mut workspace[..len];
        return crew.run(true, |threads| {
            pack(threads, packed)?;
            steps(packed)
        });
    };
    let other = input.map_or(Ok(0), |input| input.w_ih.buffer.writes::<S>())?;
    let own = weights.w_hh.as_ref().map_or(Ok(0), |w_hh| w_hh.buffer.writes::<S>())?;
    let now = own.wrapping_add(other).wrapping_add(1);
    expect_space(kept.buffer.len(), len)?;
    if kept.of.load(Ordering::Relaxed) != now {
        let mut packed = kept.buffer.write::<S>()?;
        let packed = &mut packed[..len];
        crew.pack(|threads| pack(threads, packed))?;
        kept.of.store(now, Ordering::Relaxed);
    }
    let packed = kept.buffer.read::<S>()?;
    let packed = &packed[..len];
    crew.run(false, |_| steps(packed))
}

/// All steps of a chunk backward.
pub(super) fn backward<S: Scalar + Element>(
    chunk: &Chunk,
    weights: &Weights,
    gradients: &ChunkGradients,
    crew: &Crew,
) -> Result<()> {
    let layer = chunk.layer();
    let lengths = chunk.lengths.read::<u32>()?;
    let Words { lengths, resets, masks, left } = chunk.words(&lengths)?;
    let w_hh = weights.w_hh.as_ref().map(|w_hh| w_hh.buffer.read::<S>()).transpose()?;
    let w_ch = weights.w_ch.as_ref().map(|w_ch| w_ch.buffer.read::<S>()).transpose()?;
    let w_ch = peepholes(chunk, weights, w_ch.as_deref())?;
    let w_hr = weights.w_hr.as_ref().map(|w_hr| w_hr.buffer.read::<S>()).transpose()?;
    let w_hr = projection(chunk, weights, w_hr.as_deref())?;
    let mut saved = chunk.saved.write::<S>()?;
    let mut states: [Option<_>; MOST_STATES] = std::array::from_fn(|_| None);
    for (held, states) in states.iter_mut().zip(&chunk.states) {
        *held = Some(states.read::<S>()?);
    }
    let dy = gradients.dy.as_ref().map(|dy| dy.read::<S>()).transpose()?;
    let mut carry = gradients.carry.write::<S>()?;
    let (carried, direct) = carry.split_at_mut(direct_from(&layer));
    let (gradients_of_last, for_resets) = carried.split_at_mut(initial_from(&layer));
    // As many initial states as gradients of them.
    let (initial, initial_gradients) = for_resets.split_at_mut(for_resets.len() / 2);
    let mut norms = gradients.norms.as_ref().map(|norms| norms.buffer.write::<S>()).transpose()?;
    let norms = match (&mut norms, &gradients.norms) {
        (Some(values), Some(at)) => &mut values[at.offset..][..layer.norms_len()],
        _ => &mut [],
    };
    let mut workspace = weights.workspace.write::<S>()?;
    let buffers = cpu::Backward {
        saved: &mut saved,
        states: states.each_ref().map(|states| states.as_deref().unwrap_or_default()),
        dy: dy.as_deref(),
        gradients: layer.each_state_mut(gradients_of_last),
        direct,
        norms,
        lengths,
        first_step: chunk.first_step,
        resets,
        initial: Initial { states: layer.each_state(initial) },
        masks,
        left,
        initial_gradients: layer.each_state_mut(initial_gradients),
    };
    let len_of_all = layer.gate_width() * layer.width(0);
    let all = |(values, at)| tensors("weight_hh", values, at, chunk.directions, len_of_all);
    let w_hh = w_hh.as_deref().zip(weights.w_hh.as_ref()).map(all).transpose()?;
    let len = layer.backward_packed_len();
    expect_space(workspace.len(), len)?;
    let packed = &mut workspace[..len];
    crew.run(true, |threads| {
        if let Some(w_hh) = &w_hh {
            cpu::pack_backward(threads, &layer, w_hh, w_hr.as_ref(), packed)?;
        }
        cpu::backward(&crew.partition, &layer, Recurrent { packed, b_hh: None, w_ch }, buffers)
    })
}

/// An error where there are fewer elements than weights take when packed.
fn expect_space(there: usize, needed: usize) -> Result<()> {
    if there < needed {
        return Err(Error::invalid("the packed weights", format!("at least {needed} elements"), there));
    }
    Ok(())
}
