//! Reserve and workspace. [`Layout`] is the one size function: what it lists is what is allocated, reported and tested.
//!
//! The *reserve* is what forward keeps for backward: per unit, step and sequence the cell's saved values and states
//! (LSTM 6, GRU 5 floats). The *workspace* is scratch between two recordings. When nothing is trained the reserve is
//! empty: all layers share the saved values, every other the states, and where chunks are worth it all chunks too.

use crate::cell::MOST_STATES;
use crate::config::{BatchShape, Precision, RnnConfig};
use crate::cpu::recurrent as native;
use crate::device::{DType, Device};
use crate::error::Result;
use crate::kernel::{column_sum, gemm, recurrent};
use crate::plan::purpose::{Mode, Purpose};
use crate::plan::split::{Cuts, granule, windows};

/// A binding may begin at every so many elements, be they f16: WebGPU's largest alignment is 256 bytes.
const BINDING_STEP: usize = 128;

/// Gates whose input weights are packed at a time where they are packed as they are needed: enough columns for a
/// product to fill a few threads.
pub(super) const REPACKED: usize = 128;

/// Bytes of a plan's buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What forward keeps for backward.
    pub reserve: u64,
    /// Scratch.
    pub workspace: u64,
}

/// Elements of a section's buffers, or of those of the chunk that all share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkLens {
    /// Saved values.
    pub saved: usize,
    /// Each state, in the order of [`Recipe::state_names`](crate::Recipe::state_names); zero where it has no buffer.
    pub states: [usize; MOST_STATES],
    /// f32: states kept for recomputation where states are stored as f16.
    pub kept: usize,
}

impl ChunkLens {
    /// Those of the states that have a buffer, which are the first.
    pub(super) fn there(&self) -> impl Iterator<Item = usize> {
        self.states.into_iter().take_while(|len| *len > 0)
    }
}

/// Sizes of everything a plan allocates, in elements.
///
/// With recomputation every k steps, in n chunks, the reserve is the states before each chunk, and in layers below the
/// last all of h, which is the input of the layer above. In units of a state `[B, D, H]`, where no binding is too small:
///
/// ```text
/// last layer       n          and for each state but h    n
/// other layers     T + 1      and for each state but h    n
/// ```
///
/// With a projection h is P wide, and so are as many elements more of each row of saved values.
///
/// The saved values and states of one chunk, k·saved + (k + 1)·states, are scratch that all chunks and layers share.
///
/// Without backward, in chunks, one state serves for n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How floats are stored that are not said to be f32.
    pub precision: Precision,
    /// For each layer and section that has buffers of its own.
    pub sections: Vec<Vec<ChunkLens>>,
    /// Whether the sections' buffers outlive forward.
    pub mode: Mode,
    /// The one chunk that all share, where they do.
    pub chunk: ChunkLens,
    /// f32: the states that steps carry where they are stored as f16, and then with resets the initial states of a layer.
    pub state: usize,
    /// Gates whose input weights are packed at a time, where weights are packed as they are needed; none where those of a
    /// layer stay packed while it runs.
    pub repacked: Option<usize>,
    /// Packed `W_ihᵀ` of one layer, for GPUs; of some of its gates where they are packed as they are needed. With
    /// `recurrent` behind it in one buffer, it ends where a binding may begin.
    pub packed_input: usize,
    /// GPU: packed `W_hhᵀ`, `b_hh` and peepholes of one layer, or what its steps pack as they need it. CPU: packed weights of one
    /// layer, where they don't stay packed.
    pub recurrent: usize,
    /// Packed weights of each layer, where they stay from one recording to the next, and so belong to a binding: on the CPU
    /// when nothing is trained, on GPUs where that is asked for. GPU: what is said at `packed_input` and then what is said at
    /// `recurrent`, which list nothing in that case. CPU: nothing, and all.
    pub packed: Vec<[usize; 2]>,
    /// f32: gradients of the states that backward carries from step to step, and what is behind them where norms of
    /// gradients are wanted ([`recurrent::carry_len`]).
    pub carry: usize,
    /// f32: partial sums of gradients of biases and peepholes.
    pub sums: usize,
    /// GPU, f32: sums of slices of weight gradients, and those that cooperative matrices make for gates stored as f16.
    /// CPU: the rows of a layer's input, or of its gradient, that some steps have at other times or in padding.
    pub products: usize,
    /// Gradients of the inputs of inner layers, `[T, B, D·H]`: of every other layer where one is read at times that the
    /// next is already written at. f32 with two directions, whose sum is not to be rounded before it is whole.
    pub inner: [usize; 2],
    /// Whether `inner` is f32 whatever the precision.
    pub inner_is_full: bool,
    /// Output gradient of one chunk in step order, where the whole does not fit a binding.
    pub upstream: usize,
    /// f32: norms of the gradients of each step's states, `[L, T, B, D, flows]`, where they are wanted. They belong to a
    /// binding, for whoever reads them.
    pub norms: usize,
    /// With dropout between layers or of inputs, for training: of each section what a layer gives to the next, as it is left,
    /// `[steps + 1, B, D, H]`.
    pub dropped: Vec<usize>,
    /// f32: with dropout of inputs, for training, x as it is left, `[T, B, I]`.
    pub dropped_x: usize,
    /// f32: with dropout of weights, for training, `W_hh` of a layer as it is left, `W_hr` and peepholes, `[D]` of `[G·H, H]`,
    /// `[P, H]` and `[P·H]`; then the gradient of what is left, `[D, G·H, H]`.
    pub dropped_weights: [usize; 2],
    /// f32: with sequences whose first axis is the batch x, then y and later its gradient, then the gradient of x, time first.
    pub turned: [usize; 3],
    /// Lengths, `[B]`, u32, with resets `[T + 1, ⌈B/32⌉]` words of bits, and what is drawn. They belong to a binding, so that
    /// plans may share a workspace.
    pub lengths: usize,
    /// How many of them are the random state, and a bit for each element of the states where dropout leaves some of h: none where
    /// nothing is drawn.
    pub drawn: usize,
}

impl Layout {
    /// Sizes for a layer stack on a device.
    pub fn new(device: &Device, config: &RnnConfig, shape: BatchShape, purpose: Purpose, cuts: &Cuts) -> Result<Self> {
        let Purpose { mode, precision, lengths, repacks, packs_once, flow, batch_first } = purpose;
        let (recipe, hidden, directions) = (config.recipe(), config.hidden, config.directions());
        let (train, gpu) = (mode == Mode::Train, device.gpu().is_some());
        let rows = shape.batch * directions;
        // A slot of h, as wide as the output, and one of all states.
        let (state, all_states) = (rows * recipe.width(0, hidden), rows * recipe.width_of_states(hidden));
        // So many slots of h, and so many of the other states.
        let states = |of_h: usize, of_others: usize| {
            std::array::from_fn(|index| match index {
                0 => of_h * state,
                _ if index < recipe.states() => of_others * rows * recipe.width(index, hidden),
                _ => 0,
            })
        };
        let run = |steps: usize| {
            let saved = steps * rows * recipe.saved_width(hidden);
            ChunkLens { saved, states: states(steps + 1, steps + 1), kept: 0 }
        };
        let half = precision == Precision::Half;
        // Without backward two layers' states suffice: one layer's input and its output.
        let stacked = if train { config.layers } else { config.layers.min(2) };
        let section = |layer: usize, section: usize, steps: usize| {
            if cuts.shared.is_none() {
                let of_h_alone = ChunkLens { states: states(steps + 1, 0), ..ChunkLens::default() };
                return if train || layer == 0 { run(steps) } else { of_h_alone };
            }
            let kept = if train { cuts.chunks_of(section) } else { 1 };
            ChunkLens {
                saved: 0,
                states: states(if layer + 1 == config.layers { kept } else { steps + 1 }, kept),
                kept: if train && half { kept * all_states } else { 0 },
            }
        };
        let sections = |layer: usize| {
            let lengths = cuts.sections.iter().map(ExactSizeIterator::len).enumerate();
            lengths.map(|(index, steps)| section(layer, index, steps)).collect()
        };
        let widest = (0..config.layers).map(|layer| config.layer_input(layer)).max().unwrap_or(0);
        let gates = recipe.gates() * hidden;
        let longest = cuts.longest();
        let layer = native::LayerShape {
            recipe,
            hidden,
            directions,
            first_reversed: config.first_reversed(),
            batch: BatchShape::new(shape.steps, shape.batch),
        };
        let chunk = BatchShape::new(longest, shape.batch);
        let packed = |inputs| layer.forward_packed_len() + layer.input_packed_len(inputs);
        let scratch = match train {
            true => packed(widest).max(layer.backward_packed_len()),
            false => 0,
        };
        let repacked = repacks.then_some(gates.min(REPACKED));
        let recurrent = match (gpu, repacks) {
            (true, true) => recurrent::repacked_len(recipe, hidden, directions),
            (true, false) => directions * recurrent::packed_recurrent(recipe, hidden),
            (false, _) => scratch,
        };
        let packed_input = |widest: usize| match gpu {
            true => (directions * widest * repacked.unwrap_or(gates)).next_multiple_of(BINDING_STEP),
            false => 0,
        };
        let stay_packed = (0..config.layers).map(|layer| config.layer_input(layer)).map(|inputs| match gpu {
            true => [packed_input(inputs), recurrent],
            false => [0, packed(inputs)],
        });
        let (packs_once, each_forward) = match gpu {
            true => (packs_once, if packs_once { [0; 2] } else { [packed_input(widest), recurrent] }),
            false => (!train, [0, recurrent]),
        };
        // As f32, which the caller's output gradient may be in either precision.
        let pieces = windows(device, shape.steps, state, 4)?.len();
        let inner = |needed: bool| if train && needed { shape.steps * state } else { 0 };
        let bits = if recipe.resets() { (shape.steps + 1) * recurrent::reset_words(shape.batch) } else { 0 };
        let between = config.drops_outputs() || (config.layers > 1 && config.drops_inputs());
        let bits_of_h = if config.options.recurrent_dropout.is_some() { recurrent::left_words(state) } else { 0 };
        let drawn = if train && config.draws() { recurrent::RANDOM_WORDS + bits_of_h } else { 0 };
        let sums = column_sum::parts(longest * shape.batch, granule(device, shape) * shape.batch);
        Ok(Self {
            precision,
            sections: (0..stacked).map(sections).collect(),
            mode,
            chunk: if cuts.shared.is_some() { run(longest) } else { ChunkLens::default() },
            state: (usize::from(half) + usize::from(recipe.resets())) * all_states,
            repacked,
            packed_input: each_forward[0],
            recurrent: each_forward[1],
            packed: if packs_once { stay_packed.collect() } else { Vec::new() },
            carry: match train {
                true => recurrent::carry_len(device, &native::LayerShape { batch: chunk, ..layer }, flow),
                false => 0,
            },
            norms: match train && flow {
                true => config.layers * native::LayerShape { batch: shape, ..layer }.norms_len(),
                false => 0,
            },
            sums: if train && (recipe.has_bias() || recipe.peepholes() > 0) {
                sums * directions * recipe.saved_width(hidden)
            } else {
                0
            },
            products: {
                let rows = longest * shape.batch;
                let gradients = match (train, gpu) {
                    (false, _) => 0,
                    (true, true) => products(device, config, rows, shape.batch),
                    // As wide as the inputs that are not simply in step order.
                    (true, false) => match (config.is_reversed(), lengths) {
                        (false, false) => 0,
                        (false, true) => config.input,
                        (true, _) => widest,
                    }
                    .saturating_mul(longest.min(granule(device, shape)) * shape.batch),
                };
                let room = if half { gemm::room_len(device, rows, gates, directions, shape.batch) } else { 0 };
                gradients.max(room)
            },
            inner: [
                inner(config.layers > 1),
                // Chunks of two directions reach into each other's times.
                inner(config.layers > 2 && directions > 1 && cuts.chunks.len() > 1),
            ],
            inner_is_full: directions > 1,
            upstream: if train && pieces > 1 { longest * state } else { 0 },
            dropped: match train && between {
                true => cuts.sections.iter().map(|steps| (steps.len() + 1) * state).collect(),
                false => Vec::new(),
            },
            dropped_x: if train && config.drops_inputs() { shape.rows() * config.input } else { 0 },
            dropped_weights: match train && config.drops_weights() {
                true => {
                    let (w_hh, behind) = (gates * recipe.width(0, hidden), recipe.projection().unwrap_or(0));
                    [w_hh + (behind + recipe.peepholes()) * hidden, w_hh].map(|each| directions * each)
                }
                false => [0; 2],
            },
            turned: match batch_first {
                true => [config.input, config.outputs(), if train { config.input } else { 0 }]
                    .map(|width| shape.rows() * width),
                false => [0; 3],
            },
            lengths: shape.batch + bits + drawn,
            drawn,
        })
    }

    /// Bytes, with `size` bytes a float in full precision.
    pub fn memory(&self, size: u64) -> Memory {
        let full = |elements: usize| elements as u64 * size;
        let stored = |elements: usize| match self.precision {
            Precision::Full => full(elements),
            // Buffers are whole words.
            Precision::Half => (elements as u64 * 2).next_multiple_of(4),
        };
        let chunk = |lens: &ChunkLens| {
            stored(lens.saved) + lens.states.iter().copied().map(stored).sum::<u64>() + full(lens.kept)
        };
        let kept: u64 = self.sections.iter().flatten().map(chunk).sum();
        let inner = |elements: usize| if self.inner_is_full { full(elements) } else { stored(elements) };
        let scratch = chunk(&self.chunk)
            + full(self.state)
            + full(self.carry)
            + self.inner.iter().copied().map(inner).sum::<u64>()
            + [self.packed_input + self.recurrent, self.upstream].map(stored).iter().sum::<u64>()
            + full(self.sums)
            + full(self.products)
            + self.dropped.iter().copied().map(stored).sum::<u64>()
            + full(self.dropped_x)
            + self.turned.map(full).iter().sum::<u64>()
            + self.dropped_weights.map(full).iter().sum::<u64>()
            + full(self.norms)
            + self.packed.iter().map(|parts| stored(parts.iter().sum())).sum::<u64>()
            + self.lengths as u64 * 4;
        match self.mode {
            Mode::Train => Memory { reserve: kept, workspace: scratch },
            Mode::Infer => Memory { reserve: 0, workspace: kept + scratch },
        }
    }

    /// Element type of what is not said to be f32.
    pub(super) fn stored(&self) -> DType {
        match self.precision {
            Precision::Full => DType::Float,
            Precision::Half => DType::Half,
        }
    }
}

/// Elements in which the weight gradients of any layer leave the sums of their slices, of `rows` rows.
fn products(device: &Device, config: &RnnConfig, rows: usize, batch: usize) -> usize {
    let (recipe, directions) = (config.recipe(), config.directions());
    let inputs = (0..config.layers).map(|layer| (recipe.input_runs(), config.layer_input(layer)));
    let all = inputs.chain([(recipe.hidden_runs(), recipe.width(0, config.hidden))]);
    let each = all.flat_map(|(runs, width)| runs.into_iter().map(move |run| (run.gates.len() * config.hidden, width)));
    let each = each.chain(recipe.projection().map(|size| (size, config.hidden)));
    each.map(|(height, width)| gemm::scratch_len(device, height, width, directions, rows, batch)).max().unwrap_or(0)
}
