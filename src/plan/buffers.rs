//! The buffers that a [`Layout`] lists, as plans allocate and bind them: reserve and workspace.

use crate::config::Precision;
use crate::device::{Buffer, DType, Device};
use crate::error::{Error, Result};
use crate::plan::memory::{ChunkLens, Layout, Memory};
use crate::plan::purpose::Mode;

/// Buffers of one layer's section, or of the chunk that all share.
#[derive(Clone, Debug)]
pub struct ChunkBuffers {
    /// `[steps, B, D, saved, H]`; empty in a section whose chunks share their buffers, and in layers that use the first
    /// one's.
    pub saved: Buffer,
    /// `[steps + 1, B, D, H]` of each state, in the order of [`Recipe::state_names`](crate::Recipe::state_names). In a
    /// section whose chunks share their buffers `[chunks, B, D, H]`, or one state without backward; but there too all of h,
    /// if a layer above reads it. Of h alone in layers that use the first one's others.
    pub states: Vec<Buffer>,
    /// `[chunks, states, B, D, H]`, f32: the states before each chunk, where `states` are f16 and chunks are
    /// recomputed; else empty.
    pub kept: Buffer,
}

impl ChunkBuffers {
    fn new(device: &Device, precision: Precision, lens: &ChunkLens) -> Result<Self> {
        let states = lens.there().map(|len| device.alloc_as(precision, "states", len));
        Ok(Self {
            saved: device.alloc_as(precision, "saved gates", lens.saved)?,
            states: states.collect::<Result<_>>()?,
            kept: device.alloc("kept states", lens.kept)?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Buffer> {
        [&self.saved, &self.kept].into_iter().chain(&self.states)
    }

    fn lens(&self) -> ChunkLens {
        let len = |state| self.states.get(state).map_or(0, Buffer::len);
        ChunkLens { saved: self.saved.len(), states: std::array::from_fn(len), kept: self.kept.len() }
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
    /// What is left of x.
    pub(crate) dropped_x: Buffer,
    /// Sequences, time first, where the caller's have the batch first.
    pub(crate) turned: [Buffer; 3],
    /// What is left of weights, and the gradient of that.
    pub(crate) dropped_weights: [Buffer; 2],
}

impl Reserve {
    /// Allocates what `layout` lists.
    pub fn new(device: &Device, layout: &Layout) -> Result<Self> {
        let memory = layout.memory(device.float_bytes());
        device.check_memory("the reserve and workspace", memory.reserve + memory.workspace)?;
        let section = |lens: &ChunkLens| ChunkBuffers::new(device, layout.precision, lens);
        let layer = |sections: &Vec<ChunkLens>| sections.iter().map(section).collect::<Result<Vec<_>>>();
        Ok(Self { layers: layout.sections.iter().map(layer).collect::<Result<_>>()?, mode: layout.mode })
    }

    /// An error unless these are the buffers that `layout` lists, on `device`.
    pub(crate) fn check(&self, device: &Device, layout: &Layout) -> Result<()> {
        let held: Vec<Vec<_>> =
            self.layers.iter().map(|sections| sections.iter().map(ChunkBuffers::lens).collect()).collect();
        if self.mode != layout.mode || held != layout.sections {
            let got = "that of a plan of another shape or mode";
            return Err(Error::invalid("the reserve", "what this plan's `reserve` gave", got));
        }
        let mut all = self.layers.iter().flatten().flat_map(|section| &section.states);
        all.try_for_each(|states| states.check("the reserve", device, &[states.len()], layout.stored()))
    }

    /// Buffers of a layer's sections.
    pub fn layer(&self, layer: usize) -> Vec<ChunkBuffers> {
        let sections = &self.layers[layer % self.layers.len()];
        // Without backward the saved values of the first layer serve for all, and its states but h.
        let whole = |(own, first): (&ChunkBuffers, &ChunkBuffers)| match self.mode {
            Mode::Infer if own.saved.is_empty() && !first.saved.is_empty() => {
                let others = first.states.iter().skip(own.states.len());
                let states = own.states.iter().chain(others).cloned().collect();
                ChunkBuffers { states, ..first.clone() }
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
            chunk: ChunkBuffers::new(device, layout.precision, &layout.chunk)?,
            inner: [inner(layout.inner[0])?, inner(layout.inner[1])?],
            upstream: stored("output gradient of a chunk", layout.upstream)?,
            dropped: layout.dropped.iter().map(|&len| stored("states after dropout", len)).collect::<Result<_>>()?,
            dropped_x: device.alloc("x after dropout", layout.dropped_x)?,
            turned: {
                let [x, y, dx] = layout.turned.map(|len| device.alloc("a sequence, time first", len));
                [x?, y?, dx?]
            },
            dropped_weights: [
                device.alloc("weights after dropout", layout.dropped_weights[0])?,
                device.alloc("gradients of weights after dropout", layout.dropped_weights[1])?,
            ],
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
        let ([one, two], lens) = (&self.inner, &layout.chunk);
        let states = lens.there().enumerate().map(|(state, len)| match self.chunk.states.get(state) {
            Some(states) => fit(states, len, stored),
            None => {
                let (needed, held) = (lens.there().count(), self.chunk.states.len());
                Err(Error::invalid("the states in the workspace", format!("at least {needed}"), held))
            }
        });
        let chunk = ChunkBuffers {
            saved: fit(&self.chunk.saved, lens.saved, stored)?,
            states: states.collect::<Result<_>>()?,
            kept: fit(&self.chunk.kept, lens.kept, DType::Float)?,
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
            dropped_x: fit(&self.dropped_x, layout.dropped_x, DType::Float)?,
            turned: {
                let [x, y, dx] = [0, 1, 2].map(|index| fit(&self.turned[index], layout.turned[index], DType::Float));
                [x?, y?, dx?]
            },
            dropped_weights: [
                fit(&self.dropped_weights[0], layout.dropped_weights[0], DType::Float)?,
                fit(&self.dropped_weights[1], layout.dropped_weights[1], DType::Float)?,
            ],
        })
    }

    /// Bytes as allocated.
    pub fn bytes(&self) -> u64 {
        let single = [&self.packed, &self.state, &self.carry];
        let single = single
            .into_iter()
            .chain(&self.dropped)
            .chain([&self.dropped_x])
            .chain(&self.dropped_weights)
            .chain(&self.turned);
        let buffers = single.into_iter().chain([&self.sums, &self.products, &self.upstream]).chain(&self.inner);
        self.chunk.bytes() + buffers.map(Buffer::allocated_bytes).sum::<u64>()
    }
}
