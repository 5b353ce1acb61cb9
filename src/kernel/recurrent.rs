//! The recurrence of one layer over a chunk of steps: forward, backward, and the output in time order.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `w` | forward `[D][H + 1, G·H]`: `W_hhᵀ`, then `b_hh`; backward `[D][G·H, H]`: `W_hh` | read |
//! | `lengths` | `[B]` | read |
//! | `saved` | `[steps, B, D, saved, H]` | in place: input projection → saved values → pre-activation gradients |
//! | `h`, `c` | `[steps + 1, B, D, H]`, slot 0 the states before the chunk | forward writes, backward reads |
//! | `dy` | `[T, B, D·H]` in time order | read by backward, optional |
//! | `dh`, `dc` | `[B, D, H]` | in place: gradient of the states after the chunk → before it |
//!
//! Forward is one dispatch a step, backward one a step and one more that passes the first step through `W_hh`. The
//! sequence of one step index after another is one pipeline and one bind group with a moving offset. No buffer aliases
//! another; none needs zeroing; `saved`, `h` and `c` must reach backward.

use bytemuck::{Pod, Zeroable};

use super::gemm::Matrix;
use super::op::{Launch, Op, Target, Tile, cpu_op, linear_groups};
use super::rows::{RowMap, RowsUniform, other_side};
use crate::cell::Cell;
use crate::config::BatchShape;
use crate::cpu::recurrent as native;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::Pool;
use crate::device::{Buffer, Device, Element};
use crate::error::Result;
use crate::gpu::{BindingKind::*, Gpu};
use crate::shader::{Binding, Kernel, fragments};

/// One time step forward.
pub static FORWARD: Kernel = Kernel {
    name: "recurrent_forward",
    fragments: fragments!["lib/activation.wgsl", "lib/cell.wgsl", "recurrent/forward.wgsl"],
    bindings: &[
        Binding { name: "u", kind: Uniform },
        Binding { name: "step", kind: Step },
        Binding { name: "w", kind: Read },
        Binding { name: "lengths", kind: Read },
        Binding { name: "saved", kind: ReadWrite },
        Binding { name: "h", kind: ReadWrite },
        Binding { name: "c", kind: ReadWrite },
    ],
    uniform_bytes: size_of::<StepUniform>(),
};

/// One time step backward.
pub static BACKWARD: Kernel = Kernel {
    name: "recurrent_backward",
    fragments: fragments!["lib/activation.wgsl", "lib/cell.wgsl", "lib/rows.wgsl", "recurrent/backward.wgsl"],
    bindings: &[
        Binding { name: "u", kind: Uniform },
        Binding { name: "step", kind: Step },
        Binding { name: "w", kind: Read },
        Binding { name: "lengths", kind: Read },
        Binding { name: "h", kind: Read },
        Binding { name: "c", kind: Read },
        Binding { name: "dy", kind: Read },
        Binding { name: "saved", kind: ReadWrite },
        Binding { name: "dh", kind: ReadWrite },
        Binding { name: "dc", kind: ReadWrite },
    ],
    uniform_bytes: size_of::<BackwardUniform>(),
};

/// States in step order to output in time order.
pub static OUTPUT: Kernel = Kernel {
    name: "recurrent_output",
    fragments: fragments!["recurrent/output.wgsl"],
    bindings: &[
        Binding { name: "u", kind: Uniform },
        Binding { name: "h", kind: Read },
        Binding { name: "lengths", kind: Read },
        Binding { name: "y", kind: ReadWrite },
    ],
    uniform_bytes: size_of::<OutputUniform>(),
};

/// Output gradient in time order to step order.
pub static UPSTREAM: Kernel = Kernel {
    name: "recurrent_upstream",
    fragments: fragments!["lib/rows.wgsl", "recurrent/upstream.wgsl"],
    bindings: &[
        Binding { name: "u", kind: Uniform },
        Binding { name: "dy", kind: Read },
        Binding { name: "lengths", kind: Read },
        Binding { name: "upstream", kind: ReadWrite },
    ],
    uniform_bytes: size_of::<UpstreamUniform>(),
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct UpstreamUniform {
    size: [u32; 4],
    rows: RowsUniform,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct StepUniform {
    batch: u32,
    hidden: u32,
    directions: u32,
    /// Forward: the chunk's first step. Backward: the chunk's steps.
    steps: u32,
    w_direction: u32,
    /// Forward: whether there is a bias. Backward: the order of the output gradient (0 none, 1 time, 2 step).
    flag: u32,
    pad: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BackwardUniform {
    step: StepUniform,
    rows: RowsUniform,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct OutputUniform {
    batch: u32,
    hidden: u32,
    directions: u32,
    first_step: u32,
    steps: u32,
    first_time: u32,
    times: u32,
    pad: u32,
}

/// A chunk of steps of one layer and its buffers.
#[derive(Clone)]
pub struct Chunk {
    /// The cell.
    pub cell: Cell,
    /// H.
    pub hidden: usize,
    /// D.
    pub directions: usize,
    /// B.
    pub batch: usize,
    /// First step of the chunk.
    pub first_step: usize,
    /// Steps of the chunk.
    pub steps: usize,
    /// `[B]`.
    pub lengths: Buffer,
    /// `[steps, B, D, saved, H]`.
    pub saved: Buffer,
    /// `[steps + 1, B, D, H]`.
    pub h: Buffer,
    /// The same, for cells that have it.
    pub c: Option<Buffer>,
}

/// Recurrent weights, as each executor reads them.
#[derive(Clone)]
pub struct Weights {
    /// `W_hh [G·H, H]` of each direction.
    pub w_hh: Matrix,
    /// `b_hh [G·H]` of each direction.
    pub b_hh: Option<Matrix>,
    /// GPU: `[D][H + 1, G·H]`, packed anew before each forward. CPU: scratch.
    pub workspace: Buffer,
}

impl Chunk {
    fn layer(&self) -> native::Layer {
        let batch = BatchShape::new(self.steps, self.batch);
        native::Layer { cell: self.cell, hidden: self.hidden, directions: self.directions, batch }
    }

    fn groups(&self, tile: Tile) -> [u32; 3] {
        let units = self.hidden.div_ceil(tile.lanes as usize) as u32;
        [units, self.batch.div_ceil(tile.rows as usize) as u32, self.directions as u32]
    }

    fn uniform(&self, steps: usize, w_direction: usize, flag: u32) -> StepUniform {
        StepUniform {
            batch: self.batch as u32,
            hidden: self.hidden as u32,
            directions: self.directions as u32,
            steps: steps as u32,
            w_direction: w_direction as u32,
            flag,
            pad: [0; 2],
        }
    }

    /// All steps forward.
    pub fn forward(&self, device: &Device, weights: &Weights) -> Result<Op> {
        match device.target() {
            Target::Gpu(gpu) => self.forward_gpu(device, gpu, weights),
            Target::Cpu(pool, precision) => {
                let (chunk, weights) = (self.clone(), weights.clone());
                Ok(cpu_op!(precision, "recurrent_forward", forward_cpu(chunk, weights, pool)))
            }
        }
    }

    fn forward_gpu(&self, device: &Device, gpu: &Gpu, weights: &Weights) -> Result<Op> {
        let tile = Tile::recurrent(gpu.capabilities(), self.batch);
        let packed = (self.hidden + 1) * self.cell.gates() * self.hidden;
        let [nothing, _] = device.nothing()?;
        Op::gpu(
            gpu,
            &Launch {
                kernel: &FORWARD,
                cell: Some(self.cell),
                consts: vec![("LANES", tile.lanes), ("RB", tile.rows)],
                uniform: bytemuck::bytes_of(&self.uniform(self.first_step, packed, u32::from(weights.b_hh.is_some()))),
                buffers: &[
                    &weights.workspace,
                    &self.lengths,
                    &self.saved,
                    &self.h,
                    self.c.as_ref().unwrap_or(&nothing),
                ],
                groups: self.groups(tile),
                steps: Some(self.steps as u32),
            },
        )
    }

    /// All steps backward, last first.
    pub fn backward(&self, device: &Device, weights: &Weights, gradients: &Gradients) -> Result<Op> {
        match device.target() {
            Target::Gpu(gpu) => self.backward_gpu(device, gpu, weights, gradients),
            Target::Cpu(pool, precision) => {
                let (chunk, weights, gradients) = (self.clone(), weights.clone(), gradients.clone());
                Ok(cpu_op!(precision, "recurrent_backward", backward_cpu(chunk, weights, gradients, pool)))
            }
        }
    }

    fn backward_gpu(&self, device: &Device, gpu: &Gpu, weights: &Weights, gradients: &Gradients) -> Result<Op> {
        let tile = Tile::recurrent(gpu.capabilities(), self.batch);
        let [nothing, nothing_written] = device.nothing()?;
        let dy_order = match (&gradients.dy, gradients.in_step_order) {
            (None, _) => 0,
            (Some(_), false) => 1,
            (Some(_), true) => 2,
        };
        let uniform = BackwardUniform {
            step: self.uniform(self.steps, weights.w_hh.direction, dy_order),
            rows: gradients.rows.uniform(),
        };
        // Offsets within a binding are the matrices' own; W_hh is bound from its first element on.
        let w = weights.w_hh.buffer.slice(weights.w_hh.offset..weights.w_hh.buffer.len())?;
        Op::gpu(
            gpu,
            &Launch {
                kernel: &BACKWARD,
                cell: Some(self.cell),
                consts: vec![("LANES", tile.lanes), ("RB", tile.rows)],
                uniform: bytemuck::bytes_of(&uniform),
                buffers: &[
                    &w,
                    &self.lengths,
                    &self.h,
                    self.c.as_ref().unwrap_or(&nothing),
                    gradients.dy.as_ref().unwrap_or(&nothing),
                    &self.saved,
                    &gradients.dh,
                    gradients.dc.as_ref().unwrap_or(&nothing_written),
                ],
                groups: self.groups(tile),
                steps: Some(self.steps as u32 + 1),
            },
        )
    }

    /// Writes `y`, which holds `times` times from `first_time` on, where their steps are in this chunk.
    pub fn output(&self, device: &Device, y: &Buffer, first_time: usize, times: usize) -> Result<Op> {
        match device.target() {
            Target::Gpu(gpu) => {
                let uniform = OutputUniform {
                    batch: self.batch as u32,
                    hidden: self.hidden as u32,
                    directions: self.directions as u32,
                    first_step: self.first_step as u32,
                    steps: self.steps as u32,
                    first_time: first_time as u32,
                    times: times as u32,
                    pad: 0,
                };
                let lanes = Tile::elements(gpu.capabilities());
                let elements = times * self.batch * self.directions * self.hidden;
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel: &OUTPUT,
                        cell: None,
                        consts: vec![("LANES", lanes)],
                        uniform: bytemuck::bytes_of(&uniform),
                        buffers: &[&self.h, &self.lengths, y],
                        groups: [linear_groups(gpu, elements, lanes), 1, 1],
                        steps: None,
                    },
                )
            }
            Target::Cpu(_, precision) => {
                let (chunk, y) = (self.clone(), y.clone());
                Ok(cpu_op!(precision, "recurrent_output", output_cpu(chunk, y)))
            }
        }
    }
}

impl Chunk {
    /// Brings the bound window of `dy` into `to [steps, B, D, H]` in step order. Only GPUs have bindings too small for
    /// the whole of it.
    pub fn upstream(&self, gpu: &Gpu, dy: &Buffer, rows: &RowMap, to: &Buffer) -> Result<Op> {
        let width = self.directions * self.hidden;
        let uniform =
            UpstreamUniform { size: [self.steps as u32, width as u32, self.hidden as u32, 0], rows: rows.uniform() };
        let lanes = Tile::elements(gpu.capabilities());
        Op::gpu(
            gpu,
            &Launch {
                kernel: &UPSTREAM,
                cell: None,
                consts: vec![("LANES", lanes)],
                uniform: bytemuck::bytes_of(&uniform),
                buffers: &[dy, &self.lengths, to],
                groups: [linear_groups(gpu, self.steps * self.batch * width, lanes), 1, 1],
                steps: None,
            },
        )
    }
}

/// Gradients around a chunk.
#[derive(Clone)]
pub struct Gradients {
    /// Gradient of the output, if anything depends on it.
    pub dy: Option<Buffer>,
    /// Whether it is this chunk's in step order ([`Chunk::upstream`]) rather than in time order. Only on GPUs.
    pub in_step_order: bool,
    /// Which rows of `dy` are bound.
    pub rows: RowMap,
    /// Gradient of the final h in, of the first h out: `[B, D·H]`.
    pub dh: Buffer,
    /// The same for c.
    pub dc: Option<Buffer>,
}

impl Weights {
    /// The weights and biases of each direction, as the native executor takes them.
    fn native<S: Scalar + Element, R>(
        &self,
        layer: &native::Layer,
        work: impl FnOnce(&native::Weights<'_, S>) -> Result<R>,
    ) -> Result<R> {
        let each = |matrix: &Matrix, direction: usize, len: usize| {
            let first = matrix.offset + direction * matrix.direction;
            first..first + len
        };
        let w = self.w_hh.buffer.read::<S>()?;
        let b = self.b_hh.as_ref().map(|b| Ok((b, b.buffer.read::<S>()?))).transpose()?;
        let gates = layer.gate_width();
        let w_hh: Vec<&[S]> = (0..layer.directions).map(|d| &w[each(&self.w_hh, d, gates * layer.hidden)]).collect();
        let b_hh: Option<Vec<&[S]>> =
            b.as_ref().map(|(at, values)| (0..layer.directions).map(|d| &values[each(at, d, gates)]).collect());
        work(&native::Weights { w_hh: &w_hh, b_hh: b_hh.as_deref() })
    }
}

fn forward_cpu<S: Scalar + Element>(chunk: &Chunk, weights: &Weights, pool: &Pool) -> Result<()> {
    let layer = chunk.layer();
    let lengths = chunk.lengths.read::<u32>()?;
    let (mut saved, mut h) = (chunk.saved.write::<S>()?, chunk.h.write::<S>()?);
    let mut c = chunk.c.as_ref().map(|c| c.write::<S>()).transpose()?;
    let mut workspace = weights.workspace.write::<S>()?;
    let (saved, h, c, workspace) =
        (&mut saved[..], &mut h[..], c.as_deref_mut().unwrap_or_default(), &mut workspace[..]);
    weights.native(&layer, |weights| {
        let buffers = native::Forward { saved, h, c, lengths: &lengths };
        pool.run(|| native::forward(pool.threads(), &layer, weights, buffers, workspace))
    })
}

fn backward_cpu<S: Scalar + Element>(
    chunk: &Chunk,
    weights: &Weights,
    gradients: &Gradients,
    pool: &Pool,
) -> Result<()> {
    let layer = chunk.layer();
    let lengths = chunk.lengths.read::<u32>()?;
    let (mut saved, h) = (chunk.saved.write::<S>()?, chunk.h.read::<S>()?);
    let c = chunk.c.as_ref().map(|c| c.read::<S>()).transpose()?;
    let dy = gradients.dy.as_ref().map(|dy| dy.read::<S>()).transpose()?;
    let mut dh = gradients.dh.write::<S>()?;
    let mut dc = gradients.dc.as_ref().map(|dc| dc.write::<S>()).transpose()?;
    let mut workspace = weights.workspace.write::<S>()?;
    let buffers = native::Backward {
        saved: &mut saved,
        h: &h,
        c: c.as_deref().unwrap_or_default(),
        dy: dy.as_deref(),
        dh: &mut dh,
        dc: dc.as_deref_mut().unwrap_or_default(),
        lengths: &lengths,
    };
    let workspace = &mut workspace[..];
    weights.native(&layer, |weights| {
        pool.run(|| native::backward(pool.threads(), &layer, weights.w_hh, buffers, workspace))
    })
}

/// Twin of `recurrent/output.wgsl` over all times.
fn output_cpu<S: Scalar + Element>(chunk: &Chunk, y: &Buffer) -> Result<()> {
    let (h, lengths, mut y) = (chunk.h.read::<S>()?, chunk.lengths.read::<u32>()?, y.write::<S>()?);
    for (row, y) in y.chunks_exact_mut(chunk.directions * chunk.hidden).enumerate() {
        let (time, sequence) = (row / chunk.batch, row % chunk.batch);
        let length = lengths[sequence] as usize;
        for (direction, y) in y.chunks_exact_mut(chunk.hidden).enumerate() {
            if time >= length {
                y.fill(S::ZERO);
                continue;
            }
            let step = other_side(time, length, direction == 1);
            let state = ((step + 1) * chunk.batch + sequence) * chunk.directions + direction;
            y.copy_from_slice(&h[state * chunk.hidden..][..chunk.hidden]);
        }
    }
    Ok(())
}
