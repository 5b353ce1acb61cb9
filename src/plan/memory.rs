//! Reserve and workspace. [`Layout`] is the one size function: what it lists is what is allocated, reported and tested.
//!
//! The *reserve* is what forward keeps for backward: per unit, step and sequence the cell's saved values and states
//! (LSTM 6, GRU 5 floats). The *workspace* is scratch between two recordings. When nothing is trained the reserve is
//! empty and layers share their buffers.

use crate::config::{BatchShape, RnnConfig};
use crate::cpu::recurrent as native;
use crate::device::{Buffer, DType, Device};
use crate::error::{Error, Result};
use crate::kernel::column_sum;
use crate::plan::split::{Cuts, granule, windows};

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Forward only.
    Infer,
    /// Forward and backward.
    Train,
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// For each layer and section that has buffers of its own: saved, h, c.
    pub sections: Vec<Vec<[usize; 3]>>,
    /// Whether the sections' buffers outlive forward.
    pub mode: Mode,
    /// The one chunk that all share when states are recomputed: saved, h, c.
    pub chunk: [usize; 3],
    /// Packed `W_ihᵀ` of one layer, for GPUs.
    pub packed_input: usize,
    /// GPU: packed `W_hhᵀ` and `b_hh` of one layer. CPU: scratch of the recurrence.
    pub recurrent: usize,
    /// Gradients of h and c that backward carries from step to step.
    pub carry: [usize; 2],
    /// Partial sums of bias gradients.
    pub sums: usize,
    /// Gradients of the inputs of inner layers, `[T, B, D·H]`: of every other layer where one is read at times that the
    /// next is already written at.
    pub inner: [usize; 2],
    /// Output gradient of one chunk in step order, where the whole does not fit a binding.
    pub upstream: usize,
    /// Lengths, `[B]`, u32. They belong to a binding, so that plans may share a workspace.
    pub lengths: usize,
}

impl Layout {
    /// Sizes for a layer stack on a device.
    pub fn new(device: &Device, config: &RnnConfig, shape: BatchShape, mode: Mode, cuts: &Cuts) -> Result<Self> {
        let (cell, hidden, directions) = (config.cell, config.hidden, config.directions());
        let (train, gpu) = (mode == Mode::Train, device.gpu().is_some());
        let state = shape.batch * directions * hidden;
        let states = |h: usize, c: usize| [h * state, if cell.has_c() { c * state } else { 0 }];
        let run = |steps: usize| {
            let [h, c] = states(steps + 1, steps + 1);
            [steps * state * cell.saved(), h, c]
        };
        // Without backward two layers' states suffice: one layer's input and its output.
        let stacked = if train { config.layers } else { config.layers.min(2) };
        let section = |layer: usize, section: usize, steps: usize| {
            if cuts.recompute.is_none() {
                return run(steps);
            }
            let kept = cuts.chunks_of(section);
            let [h, c] = states(if layer + 1 == config.layers { kept } else { steps + 1 }, kept);
            [0, h, c]
        };
        let sections = |layer: usize| {
            let lengths = cuts.sections.iter().map(ExactSizeIterator::len).enumerate();
            lengths.map(|(index, steps)| section(layer, index, steps)).collect()
        };
        let widest = (0..config.layers).map(|layer| config.layer_input(layer)).max().unwrap_or(0);
        let gates = cell.gates() * hidden;
        let longest = cuts.longest();
        let layer = native::Layer { cell, hidden, directions, batch: BatchShape::new(shape.steps, shape.batch) };
        let scratch = match train {
            true => layer.forward_workspace_len().max(layer.backward_workspace_len()),
            false => layer.forward_workspace_len(),
        };
        let pieces = windows(device, shape.steps, state)?.len();
        let inner = |needed: bool| if train && needed { shape.steps * state } else { 0 };
        let sums = column_sum::parts(longest * shape.batch, granule(device, shape) * shape.batch);
        Ok(Self {
            sections: (0..stacked).map(sections).collect(),
            mode,
            chunk: if cuts.recompute.is_some() { run(longest) } else { [0; 3] },
            packed_input: if gpu { directions * widest * gates } else { 0 },
            recurrent: if gpu { directions * (hidden + 1) * gates } else { scratch },
            carry: if train { states(1, 1) } else { [0, 0] },
            sums: if train && config.bias { sums * directions * cell.saved() * hidden } else { 0 },
            inner: [
                inner(config.layers > 1),
                // Chunks of two directions reach into each other's times.
                inner(config.layers > 2 && directions > 1 && cuts.chunks.len() > 1),
            ],
            upstream: if train && pieces > 1 { longest * state } else { 0 },
            lengths: shape.batch,
        })
    }

    /// Bytes, with `size` bytes a float.
    pub fn memory(&self, size: u64) -> Memory {
        let kept: usize = self.sections.iter().flatten().flatten().sum();
        let arrays = self.chunk.iter().chain(&self.carry).chain(&self.inner);
        let scratch = arrays.sum::<usize>() + self.packed_input + self.recurrent + self.sums + self.upstream;
        let (kept, scratch) = (kept as u64 * size, scratch as u64 * size + self.lengths as u64 * 4);
        match self.mode {
            Mode::Train => Memory { reserve: kept, workspace: scratch },
            Mode::Infer => Memory { reserve: 0, workspace: kept + scratch },
        }
    }
}

/// Buffers of one layer's section, or of the chunk that all share when states are recomputed.
#[derive(Clone, Debug)]
pub struct ChunkBuffers {
    /// `[steps, B, D, saved, H]`; empty in a section whose chunks are recomputed.
    pub saved: Buffer,
    /// `[steps + 1, B, D, H]`; of the last layer's section whose chunks are recomputed, `[chunks, B, D, H]`.
    pub h: Buffer,
    /// The same, for cells that have it; `[chunks, B, D, H]` in every section whose chunks are recomputed.
    pub c: Option<Buffer>,
}

impl ChunkBuffers {
    fn new(device: &Device, [saved, h, c]: [usize; 3]) -> Result<Self> {
        Ok(Self {
            saved: device.alloc("saved gates", saved)?,
            h: device.alloc("hidden states", h)?,
            c: if c > 0 { Some(device.alloc("cell states", c)?) } else { None },
        })
    }

    fn all(&self) -> impl Iterator<Item = &Buffer> {
        [&self.saved, &self.h].into_iter().chain(&self.c)
    }

    fn len(&self) -> [usize; 3] {
        [self.saved.len(), self.h.len(), self.c.as_ref().map_or(0, Buffer::len)]
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
    /// Packed `W_ihᵀ`.
    pub(crate) packed_input: Buffer,
    /// Packed `W_hhᵀ`, or the CPU's scratch.
    pub(crate) recurrent: Buffer,
    /// Carried gradients.
    pub(crate) carry: [Buffer; 2],
    /// Partial sums.
    pub(crate) sums: Buffer,
    /// The one chunk that all share when states are recomputed.
    pub(crate) chunk: ChunkBuffers,
    /// Gradients of inner layers' inputs.
    pub(crate) inner: [Buffer; 2],
    /// Output gradient of a chunk in step order.
    pub(crate) upstream: Buffer,
}

impl Reserve {
    /// Allocates what `layout` lists.
    pub fn new(device: &Device, layout: &Layout) -> Result<Self> {
        let memory = layout.memory(device.float_bytes());
        device.check_memory("the reserve and workspace", memory.reserve + memory.workspace)?;
        let section = |&lengths: &[usize; 3]| ChunkBuffers::new(device, lengths);
        let layer = |sections: &Vec<[usize; 3]>| sections.iter().map(section).collect::<Result<Vec<_>>>();
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
        all.try_for_each(|section| section.h.check("the reserve", device, &[section.h.len()], DType::Float))
    }

    /// Buffers of a layer's sections.
    pub fn layer(&self, layer: usize) -> &[ChunkBuffers] {
        &self.layers[layer % self.layers.len()]
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
        Ok(Self {
            packed_input: device.alloc("packed input weights", layout.packed_input)?,
            recurrent: device.alloc("packed recurrent weights", layout.recurrent)?,
            carry: [
                device.alloc("carried gradient of h", layout.carry[0])?,
                device.alloc("carried gradient of c", layout.carry[1])?,
            ],
            sums: device.alloc("partial bias gradients", layout.sums)?,
            chunk: ChunkBuffers::new(device, layout.chunk)?,
            inner: [
                device.alloc("gradient between layers", layout.inner[0])?,
                device.alloc("gradient between layers", layout.inner[1])?,
            ],
            upstream: device.alloc("output gradient of a chunk", layout.upstream)?,
        })
    }

    /// As much of this as `layout` lists; an error when that is more than there is, or not on `device`.
    pub(crate) fn fit(&self, device: &Device, layout: &Layout) -> Result<Self> {
        let fit = |buffer: &Buffer, len: usize| {
            if len > buffer.len() {
                let expected = format!("large enough for this plan, {len} elements a buffer");
                return Err(Error::invalid("the workspace", expected, buffer.len()));
            }
            let part = buffer.slice(0..len)?;
            part.check("the workspace", device, &[len], DType::Float)?;
            Ok(part)
        };
        let ([dh, dc], [one, two], [saved, h, c]) = (&self.carry, &self.inner, layout.chunk);
        let chunk = ChunkBuffers {
            saved: fit(&self.chunk.saved, saved)?,
            h: fit(&self.chunk.h, h)?,
            c: match &self.chunk.c {
                Some(buffer) if c > 0 => Some(fit(buffer, c)?),
                _ if c > 0 => return Err(Error::invalid("the workspace", "one with cell states", "one without")),
                _ => None,
            },
        };
        Ok(Self {
            chunk,
            packed_input: fit(&self.packed_input, layout.packed_input)?,
            recurrent: fit(&self.recurrent, layout.recurrent)?,
            carry: [fit(dh, layout.carry[0])?, fit(dc, layout.carry[1])?],
            sums: fit(&self.sums, layout.sums)?,
            inner: [fit(one, layout.inner[0])?, fit(two, layout.inner[1])?],
            upstream: fit(&self.upstream, layout.upstream)?,
        })
    }

    /// Bytes as allocated.
    pub fn bytes(&self) -> u64 {
        let single = [&self.packed_input, &self.recurrent, &self.sums, &self.upstream];
        let buffers = single.into_iter().chain(&self.carry).chain(&self.inner);
        self.chunk.bytes() + buffers.map(Buffer::allocated_bytes).sum::<u64>()
    }
}
