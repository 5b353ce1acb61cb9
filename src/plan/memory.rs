//! Reserve and workspace. [`Layout`] is the one size function: what it lists is what is allocated, reported and tested.
//!
//! The *reserve* is what forward keeps for backward: per unit, step and sequence the cell's saved values and states
//! (LSTM 6, GRU 5 floats). The *workspace* is scratch between two recordings. When nothing is trained the reserve is
//! empty and layers share their buffers.

use std::ops::Range;

use crate::config::{BatchShape, RnnConfig};
use crate::cpu::recurrent as native;
use crate::device::{Buffer, DType, Device};
use crate::error::{Error, Result};
use crate::kernel::{column_sum, gemm};
use crate::plan::split::windows;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// For each layer and chunk that has buffers of its own: saved, h, c.
    pub chunks: Vec<Vec<[usize; 3]>>,
    /// Whether the chunk buffers outlive forward.
    pub mode: Mode,
    /// Packed `W_ihᵀ` of one layer, for GPUs.
    pub packed_input: usize,
    /// GPU: packed `W_hhᵀ` and `b_hh` of one layer. CPU: scratch of the recurrence.
    pub recurrent: usize,
    /// Gradients of h and c that backward carries from step to step.
    pub carry: [usize; 2],
    /// Partial sums of bias gradients.
    pub sums: usize,
    /// Sums of slices of weight gradients.
    pub products: usize,
    /// Gradient of the input of an inner layer, `[T, B, D·H]`.
    pub inner: usize,
    /// Output gradient of one chunk in step order, where the whole does not fit a binding.
    pub upstream: usize,
    /// Lengths, `[B]`, u32. They belong to a binding, so that plans may share a workspace.
    pub lengths: usize,
}

impl Layout {
    /// Sizes for a layer stack on a device.
    pub fn new(
        device: &Device,
        config: &RnnConfig,
        shape: BatchShape,
        mode: Mode,
        chunks: &[Range<usize>],
    ) -> Result<Self> {
        let (cell, hidden, directions) = (config.cell, config.hidden, config.directions());
        let (train, gpu) = (mode == Mode::Train, device.gpu().is_some());
        let state = shape.batch * directions * hidden;
        let chunk = |steps: usize| {
            let states = (steps + 1) * state;
            [steps * state * cell.saved(), states, if cell.has_c() { states } else { 0 }]
        };
        // Without backward two layers' states suffice: one layer's input and its output.
        let stacked = if train { config.layers } else { config.layers.min(2) };
        let widest = (0..config.layers).map(|layer| config.layer_input(layer)).max().unwrap_or(0);
        let gates = cell.gates() * hidden;
        let longest = chunks.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let layer = native::Layer { cell, hidden, directions, batch: BatchShape::new(shape.steps, shape.batch) };
        let scratch = match train {
            true => layer.forward_workspace_len().max(layer.backward_workspace_len()),
            false => layer.forward_workspace_len(),
        };
        let pieces = windows(device, shape.steps, state)?.len();
        Ok(Self {
            chunks: vec![chunks.iter().map(|steps| chunk(steps.len())).collect(); stacked],
            mode,
            packed_input: if gpu { directions * widest * gates } else { 0 },
            recurrent: if gpu { directions * (hidden + 1) * gates } else { scratch },
            carry: match (train, cell.has_c()) {
                (false, _) => [0, 0],
                (true, has_c) => [state, if has_c { state } else { 0 }],
            },
            sums: if train && config.bias {
                column_sum::parts(longest * shape.batch) * directions * cell.saved() * hidden
            } else {
                0
            },
            products: if train { products(device, config, longest * shape.batch, shape.batch) } else { 0 },
            inner: if train && config.layers > 1 { shape.steps * state } else { 0 },
            upstream: if train && pieces > 1 { longest * state } else { 0 },
            lengths: shape.batch,
        })
    }

    /// Bytes, with `size` bytes a float.
    pub fn memory(&self, size: u64) -> Memory {
        let chunks: usize = self.chunks.iter().flatten().flatten().sum();
        let scratch = self.packed_input
            + self.recurrent
            + self.carry.iter().sum::<usize>()
            + self.sums
            + self.products
            + self.inner
            + self.upstream;
        let (chunks, scratch) = (chunks as u64 * size, scratch as u64 * size + self.lengths as u64 * 4);
        match self.mode {
            Mode::Train => Memory { reserve: chunks, workspace: scratch },
            Mode::Infer => Memory { reserve: 0, workspace: chunks + scratch },
        }
    }
}

/// Elements in which the weight gradients of any layer leave the sums of their slices, of `rows` rows.
fn products(device: &Device, config: &RnnConfig, rows: usize, batch: usize) -> usize {
    let (gates, directions) = (config.cell.gates() * config.hidden, config.directions());
    let widths = (0..config.layers).map(|layer| config.layer_input(layer)).chain([config.hidden]);
    widths.map(|width| gemm::scratch_len(device, gates, width, directions, rows, batch)).max().unwrap_or(0)
}

/// Buffers of one layer's chunk.
#[derive(Clone, Debug)]
pub struct ChunkBuffers {
    /// `[steps, B, D, saved, H]`.
    pub saved: Buffer,
    /// `[steps + 1, B, D, H]`.
    pub h: Buffer,
    /// The same, for cells that have it.
    pub c: Option<Buffer>,
}

/// What forward keeps for backward; without backward, the chunk buffers that layers share.
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
    /// Sums of slices.
    pub(crate) products: Buffer,
    /// Gradient of an inner layer's input.
    pub(crate) inner: Buffer,
    /// Output gradient of a chunk in step order.
    pub(crate) upstream: Buffer,
}

impl Reserve {
    /// Allocates what `layout` lists.
    pub fn new(device: &Device, layout: &Layout) -> Result<Self> {
        let memory = layout.memory(device.float_bytes());
        device.check_memory("the reserve and workspace", memory.reserve + memory.workspace)?;
        let layer = |chunks: &Vec<[usize; 3]>| {
            let chunk = |&[saved, h, c]: &[usize; 3]| {
                Ok(ChunkBuffers {
                    saved: device.alloc("saved gates", saved)?,
                    h: device.alloc("hidden states", h)?,
                    c: if c > 0 { Some(device.alloc("cell states", c)?) } else { None },
                })
            };
            chunks.iter().map(chunk).collect::<Result<Vec<_>>>()
        };
        Ok(Self { layers: layout.chunks.iter().map(layer).collect::<Result<_>>()?, mode: layout.mode })
    }

    /// An error unless these are the buffers that `layout` lists, on `device`.
    pub(crate) fn check(&self, device: &Device, layout: &Layout) -> Result<()> {
        let len = |chunk: &ChunkBuffers| [chunk.saved.len(), chunk.h.len(), chunk.c.as_ref().map_or(0, Buffer::len)];
        let held: Vec<Vec<_>> = self.layers.iter().map(|chunks| chunks.iter().map(len).collect()).collect();
        if self.mode != layout.mode || held != layout.chunks {
            let got = "that of a plan of another shape or mode";
            return Err(Error::invalid("the reserve", "what this plan's `reserve` gave", got));
        }
        let mut all = self.layers.iter().flatten();
        all.try_for_each(|chunk| chunk.h.check("the reserve", device, &[chunk.h.len()], DType::Float))
    }

    /// Buffers of a layer's chunks.
    pub fn layer(&self, layer: usize) -> &[ChunkBuffers] {
        &self.layers[layer % self.layers.len()]
    }

    /// Bytes as allocated: kept for backward, and not.
    pub fn memory(&self) -> Memory {
        let chunk = |chunk: &ChunkBuffers| {
            chunk.saved.allocated_bytes()
                + chunk.h.allocated_bytes()
                + chunk.c.as_ref().map_or(0, Buffer::allocated_bytes)
        };
        let bytes = self.layers.iter().flatten().map(chunk).sum();
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
            products: device.alloc("slices of weight gradients", layout.products)?,
            inner: device.alloc("gradient between layers", layout.inner)?,
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
        let [dh, dc] = &self.carry;
        Ok(Self {
            packed_input: fit(&self.packed_input, layout.packed_input)?,
            recurrent: fit(&self.recurrent, layout.recurrent)?,
            carry: [fit(dh, layout.carry[0])?, fit(dc, layout.carry[1])?],
            sums: fit(&self.sums, layout.sums)?,
            products: fit(&self.products, layout.products)?,
            inner: fit(&self.inner, layout.inner)?,
            upstream: fit(&self.upstream, layout.upstream)?,
        })
    }

    /// Bytes as allocated.
    pub fn bytes(&self) -> u64 {
        let [dh, dc] = &self.carry;
        [&self.packed_input, &self.recurrent, dh, dc, &self.sums, &self.products, &self.inner, &self.upstream]
            .iter()
            .map(|buffer| buffer.allocated_bytes())
            .sum()
    }
}
