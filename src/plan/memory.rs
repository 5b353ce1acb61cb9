//! Reserve and workspace. [`Layout`] is the one size function: what it lists is what is allocated, reported and tested.
//!
//! The *reserve* is what forward keeps for backward: per unit, step and sequence the cell's saved values and states
//! (LSTM 6, GRU 5 floats). The *workspace* is scratch between two recordings. When nothing is trained the reserve is
//! empty: all layers share the saved values, every other the states, and where chunks are worth it all chunks too.

use crate::config::{BatchShape, Precision, RnnConfig};
use crate::cpu::recurrent as native;
use crate::device::{Buffer, DType, Device};
use crate::error::{Error, Result};
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

/// Sizes of everything a plan allocates, in elements.
///
/// With recomputation every k steps, in n chunks, the reserve is the states before each chunk, and in layers below the
/// last all of h, which is the input of the layer above. In units of a state `[B, D, H]`, where no binding is too small:
///
/// ```text
/// last layer       n          and for cells with c    n
/// other layers     T + 1      and for cells with c    n
/// ```
///
/// The saved values and states of one chunk, k·saved + (k + 1)·(1 or 2), are scratch that all chunks and layers share.
///
/// Without backward, in chunks, one state serves for n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How floats are stored that are not said to be f32.
    pub precision: Precision,
    /// For each layer and section that has buffers of its own: saved, h, c, and f32 states kept for recomputation where
    /// h and c are stored as f16.
    pub sections: Vec<Vec<[usize; 4]>>,
    /// Whether the sections' buffers outlive forward.
    pub mode: Mode,
    /// The one chunk that all share, where they do: saved, h, c.
    pub chunk: [usize; 4],
    /// f32: the state that steps carry where h and c are stored as f16, and then with resets the initial states of a layer.
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
    /// CPU, when nothing is trained: packed weights of each layer. They belong to a binding, as they stay from one
    /// recording to the next.
    pub packed: Vec<usize>,
    /// f32: gradients of h and c that backward carries from step to step, and what is behind them where norms of gradients
    /// are wanted ([`recurrent::carry_len`]).
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
    /// With dropout between layers, for training: of each section what a layer gives to the next, as it is left,
    /// `[steps + 1, B, D, H]`.
    pub dropped: Vec<usize>,
    /// Lengths, `[B]`, u32, and with resets `[T, ⌈B/32⌉]` words of bits. They belong to a binding, so that plans may share a workspace.
    pub lengths: usize,
}

impl Layout {
    /// Sizes for a layer stack on a device.
    pub fn new(device: &Device, config: &RnnConfig, shape: BatchShape, purpose: Purpose, cuts: &Cuts) -> Result<Self> {
        let Purpose { mode, precision, lengths, repacks, flow } = purpose;
        let (recipe, hidden, directions) = (config.recipe(), config.hidden, config.directions());
        let (train, gpu) = (mode == Mode::Train, device.gpu().is_some());
        let state = shape.batch * directions * hidden;
        let states = |h: usize, c: usize| [h * state, if recipe.has_c() { c * state } else { 0 }];
        let run = |steps: usize| {
            let [h, c] = states(steps + 1, steps + 1);
            [steps * state * recipe.saved(), h, c, 0]
        };
        let half = precision == Precision::Half;
        // Without backward two layers' states suffice: one layer's input and its output.
        let stacked = if train { config.layers } else { config.layers.min(2) };
        let section = |layer: usize, section: usize, steps: usize| {
            if cuts.shared.is_none() {
                let [saved, h, c, kept] = run(steps);
                return if train || layer == 0 { [saved, h, c, kept] } else { [0, h, 0, 0] };
            }
            let kept = if train { cuts.chunks_of(section) } else { 1 };
            let [h, c] = states(if layer + 1 == config.layers { kept } else { steps + 1 }, kept);
            [0, h, c, if train && half { kept * recipe.states() * state } else { 0 }]
        };
        let sections = |layer: usize| {
            let lengths = cuts.sections.iter().map(ExactSizeIterator::len).enumerate();
            lengths.map(|(index, steps)| section(layer, index, steps)).collect()
        };
        let widest = (0..config.layers).map(|layer| config.layer_input(layer)).max().unwrap_or(0);
        let gates = recipe.gates() * hidden;
        let longest = cuts.longest();
        let layer = native::Layer {
            recipe,
            hidden,
            directions,
            first_reversed: config.first_reversed(),
            batch: BatchShape::new(shape.steps, shape.batch),
        };
        let chunk = BatchShape::new(longest, shape.batch);
        let packed = |inputs| native::room(layer.forward_packed_len() + layer.input_packed_len(inputs));
        let scratch = match train {
            true => packed(widest).max(native::room(layer.backward_packed_len())),
            false => 0,
        };
        let repacked = repacks.then_some(gates.min(REPACKED));
        let recurrent = match (gpu, repacks) {
            (true, true) => recurrent::repacked_len(recipe, hidden, directions),
            (true, false) => directions * recurrent::packed_recurrent(recipe, hidden),
            (false, _) => scratch,
        };
        let stays_packed = if train || gpu { 0 } else { config.layers };
        // As f32, which the caller's output gradient may be in either precision.
        let pieces = windows(device, shape.steps, state, 4)?.len();
        let inner = |needed: bool| if train && needed { shape.steps * state } else { 0 };
        let sums = column_sum::parts(longest * shape.batch, granule(device, shape) * shape.batch);
        Ok(Self {
            precision,
            sections: (0..stacked).map(sections).collect(),
            mode,
            chunk: if cuts.shared.is_some() { run(longest) } else { [0; 4] },
            state: (usize::from(half) + usize::from(recipe.resets())) * recipe.states() * state,
            repacked,
            packed_input: match gpu {
                true => (directions * widest * repacked.unwrap_or(gates)).next_multiple_of(BINDING_STEP),
                false => 0,
            },
            recurrent,
            packed: (0..stays_packed).map(|layer| packed(config.layer_input(layer))).collect(),
            carry: match train {
                true => recurrent::carry_len(device, &native::Layer { batch: chunk, ..layer }, flow),
                false => 0,
            },
            norms: match train && flow {
                true => config.layers * native::Layer { batch: shape, ..layer }.norms_len(),
                false => 0,
            },
            sums: if train && (recipe.has_bias() || recipe.peepholes() > 0) {
                sums * directions * recipe.saved() * hidden
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
            dropped: match train && config.layers > 1 && config.dropout.get() > 0.0 {
                true => cuts.sections.iter().map(|steps| (steps.len() + 1) * state).collect(),
                false => Vec::new(),
            },
            lengths: shape.batch + if recipe.resets() { shape.steps * recurrent::reset_words(shape.batch) } else { 0 },
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
        let chunk = |[saved, h, c, kept]: &[usize; 4]| stored(*saved) + stored(*h) + stored(*c) + full(*kept);
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
            + full(self.norms)
            + self.packed.iter().copied().map(full).sum::<u64>()
            + (self.lengths + if self.dropped.is_empty() { 0 } else { recurrent::RANDOM_WORDS }) as u64 * 4;
        match self.mode {
            Mode::Train => Memory { reserve: kept, workspace: scratch },
            Mode::Infer => Memory { reserve: 0, workspace: kept + scratch },
        }
    }

    /// Element type of what is not said to be f32.
    fn stored(&self) -> DType {
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
    let all = inputs.chain([(recipe.hidden_runs(), config.hidden)]);
    let each = all.flat_map(|(runs, width)| runs.into_iter().map(move |run| (run.gates.len() * config.hidden, width)));
    each.map(|(height, width)| gemm::scratch_len(device, height, width, directions, rows, batch)).max().unwrap_or(0)
}

/// Buffers of one layer's section, or of the chunk that all share.
#[derive(Clone, Debug)]
pub struct ChunkBuffers {
    /// `[steps, B, D, saved, H]`; empty in a section whose chunks share their buffers, and in layers that use the first
    /// one's.
    pub saved: Buffer,
    /// `[steps + 1, B, D, H]`; of the last layer's section whose chunks share their buffers, `[chunks, B, D, H]`, or one
    /// state without backward.
    pub h: Buffer,
    /// The same, for cells that have it; the fewer states in every section whose chunks share their buffers.
    pub c: Option<Buffer>,
    /// `[chunks, states, B, D, H]`, f32: the states before each chunk, where `h` and `c` are f16 and chunks are
    /// recomputed; else empty.
    pub kept: Buffer,
}

impl ChunkBuffers {
    fn new(device: &Device, precision: Precision, [saved, h, c, kept]: [usize; 4]) -> Result<Self> {
        Ok(Self {
            saved: device.alloc_as(precision, "saved gates", saved)?,
            h: device.alloc_as(precision, "hidden states", h)?,
            c: if c > 0 { Some(device.alloc_as(precision, "cell states", c)?) } else { None },
            kept: device.alloc("kept states", kept)?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Buffer> {
        [&self.saved, &self.h, &self.kept].into_iter().chain(&self.c)
    }

    fn len(&self) -> [usize; 4] {
        [self.saved.len(), self.h.len(), self.c.as_ref().map_or(0, Buffer::len), self.kept.len()]
    }

    fn bytes(&self) -> u64 {
        self.all().map(Buffer::allocated_bytes).sum()
    }
}

/// What forward keeps for backward; without backward, the buffers that layers share.
#[derive(Clone, Debug)]
pub struct Reserve {
    layers: Vec<Vec<ChunkBuffers>>,
    mode: Mode,
}

/// Scratch between two recordings. Plans that never overlap may share one that is large enough for each.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Packed weights of one layer.
    packed: Buffer,
    /// Its part with `W_ihᵀ`.
    pub(crate) packed_input: Buffer,
    /// Its part with the recurrent weights.
    pub(crate) recurrent: Buffer,
    /// Carried state, where h and c are f16.
    pub(crate) state: Buffer,
    /// Carried gradients.
    pub(crate) carry: Buffer,
    /// Partial sums.
    pub(crate) sums: Buffer,
    /// Sums of slices, or of cooperative matrices; rows brought together.
    pub(crate) products: Buffer,
    /// The one chunk that all share, where they do.
    pub(crate) chunk: ChunkBuffers,
    /// Gradients of inner layers' inputs.
    pub(crate) inner: [Buffer; 2],
    /// Output gradient of a chunk in step order.
    pub(crate) upstream: Buffer,
    /// What dropout leaves of a layer's output, section by section.
    pub(crate) dropped: Vec<Buffer>,
}

impl Reserve {
    /// Allocates what `layout` lists.
    pub fn new(device: &Device, layout: &Layout) -> Result<Self> {
        let memory = layout.memory(device.float_bytes());
        device.check_memory("the reserve and workspace", memory.reserve + memory.workspace)?;
        let section = |&lengths: &[usize; 4]| ChunkBuffers::new(device, layout.precision, lengths);
        let layer = |sections: &Vec<[usize; 4]>| sections.iter().map(section).collect::<Result<Vec<_>>>();
        Ok(Self { layers: layout.sections.iter().map(layer).collect::<Result<_>>()?, mode: layout.mode })
    }

    /// An error unless these are the buffers that `layout` lists, on `device`.
    pub(crate) fn check(&self, device: &Device, layout: &Layout) -> Result<()> {
        let held: Vec<Vec<_>> =
            self.layers.iter().map(|sections| sections.iter().map(ChunkBuffers::len).collect()).collect();
        if self.mode != layout.mode || held != layout.sections {
            let got = "that of a plan of another shape or mode";
            return Err(Error::invalid("the reserve", "what this plan's `reserve` gave", got));
        }
        let mut all = self.layers.iter().flatten();
        all.try_for_each(|section| section.h.check("the reserve", device, &[section.h.len()], layout.stored()))
    }

    /// Buffers of a layer's sections.
    pub fn layer(&self, layer: usize) -> Vec<ChunkBuffers> {
        let sections = &self.layers[layer % self.layers.len()];
        // Without backward the saved values and c of the first layer serve for all.
        let whole = |(own, first): (&ChunkBuffers, &ChunkBuffers)| match self.mode {
            Mode::Infer if own.saved.is_empty() && !first.saved.is_empty() => {
                ChunkBuffers { h: own.h.clone(), ..first.clone() }
            }
            _ => own.clone(),
        };
        sections.iter().zip(&self.layers[0]).map(whole).collect()
    }

    /// Bytes as allocated: kept for backward, and not.
    pub fn memory(&self) -> Memory {
        let bytes = self.layers.iter().flatten().map(ChunkBuffers::bytes).sum();
        match self.mode {
            Mode::Train => Memory { reserve: bytes, workspace: 0 },
            Mode::Infer => Memory { reserve: 0, workspace: bytes },
        }
    }
}

impl Workspace {
    /// Allocates what `layout` lists.
    pub fn new(device: &Device, layout: &Layout) -> Result<Self> {
        let stored = |label, elements| device.alloc_as(layout.precision, label, elements);
        let inner = |elements| match layout.inner_is_full {
            true => device.alloc("gradient between layers", elements),
            false => stored("gradient between layers", elements),
        };
        let packed = stored("packed weights", layout.packed_input + layout.recurrent)?;
        Ok(Self {
            packed_input: packed.slice(0..layout.packed_input)?,
            recurrent: packed.slice(layout.packed_input..packed.len())?,
            packed,
            state: device.alloc("carried state", layout.state)?,
            carry: device.alloc("carried gradients", layout.carry)?,
            sums: device.alloc("partial bias gradients", layout.sums)?,
            products: device.alloc("sums or rows of products", layout.products)?,
            chunk: ChunkBuffers::new(device, layout.precision, layout.chunk)?,
            inner: [inner(layout.inner[0])?, inner(layout.inner[1])?],
            upstream: stored("output gradient of a chunk", layout.upstream)?,
            dropped: layout.dropped.iter().map(|&len| stored("states after dropout", len)).collect::<Result<_>>()?,
        })
    }

    /// As much of this as `layout` lists; an error when that is more than there is, or not on `device`.
    pub(crate) fn fit(&self, device: &Device, layout: &Layout) -> Result<Self> {
        let stored = layout.stored();
        let of_inner = if layout.inner_is_full { DType::Float } else { stored };
        let fit = |buffer: &Buffer, len: usize, dtype: DType| {
            if len > buffer.len() {
                let expected = format!("large enough for this plan, {len} elements a buffer");
                return Err(Error::invalid("the workspace", expected, buffer.len()));
            }
            let part = buffer.slice(0..len)?;
            part.check("the workspace", device, &[len], dtype)?;
            Ok(part)
        };
        let ([one, two], [saved, h, c, kept]) = (&self.inner, layout.chunk);
        let chunk = ChunkBuffers {
            saved: fit(&self.chunk.saved, saved, stored)?,
            h: fit(&self.chunk.h, h, stored)?,
            kept: fit(&self.chunk.kept, kept, DType::Float)?,
            c: match &self.chunk.c {
                Some(buffer) if c > 0 => Some(fit(buffer, c, stored)?),
                _ if c > 0 => return Err(Error::invalid("the workspace", "one with cell states", "one without")),
                _ => None,
            },
        };
        Ok(Self {
            chunk,
            packed: self.packed.clone(),
            packed_input: fit(&self.packed_input, layout.packed_input, stored)?,
            recurrent: fit(&self.recurrent, layout.recurrent, stored)?,
            state: fit(&self.state, layout.state, DType::Float)?,
            carry: fit(&self.carry, layout.carry, DType::Float)?,
            sums: fit(&self.sums, layout.sums, DType::Float)?,
            products: fit(&self.products, layout.products, DType::Float)?,
            inner: [fit(one, layout.inner[0], of_inner)?, fit(two, layout.inner[1], of_inner)?],
            upstream: fit(&self.upstream, layout.upstream, stored)?,
            dropped: {
                if self.dropped.len() < layout.dropped.len() {
                    return Err(Error::invalid("the workspace", "one of a plan with dropout", "one without"));
                }
                let both = self.dropped.iter().zip(&layout.dropped);
                both.map(|(buffer, &len)| fit(buffer, len, stored)).collect::<Result<_>>()?
            },
        })
    }

    /// Bytes as allocated.
    pub fn bytes(&self) -> u64 {
        let single = [&self.packed, &self.state, &self.carry];
        let single = single.into_iter().chain(&self.dropped);
        let buffers = single.into_iter().chain([&self.sums, &self.products, &self.upstream]).chain(&self.inner);
        self.chunk.bytes() + buffers.map(Buffer::allocated_bytes).sum::<u64>()
    }
}
