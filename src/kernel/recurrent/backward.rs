//! One time step of a layer backward, and on the CPU all of them.

use bytemuck::{Pod, Zeroable};

use super::tiles::{Tile, Variants};
use super::{Chunk, Gradients, StepUniform, Weights};
use crate::cpu::recurrent as native;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::Pool;
use crate::device::{Device, Element};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernel::op::{Launch, Op, Target, cpu_op};
use crate::kernel::rows::RowsUniform;
use crate::shader::{Binding, Kernel, fragments};

/// Of the kernels that go backward, a step or a span of them at a time.
pub(super) const BINDINGS: &[Binding] = &[
    Binding::uniform("u"),
    Binding::step("step"),
    Binding::read("w").or_half(),
    Binding::read("lengths"),
    Binding::read("h").or_half(),
    Binding::read("c").or_half(),
    Binding::read("dy").or_half(),
    Binding::read_write("saved").or_half(),
    Binding::read_write("dh"),
    Binding::read_write("dc"),
];

/// One time step backward, an invocation making each sum alone.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_backward",
    fragments: fragments![
        "lib/activation.wgsl",
        "lib/cell.wgsl",
        "lib/rows.wgsl",
        "recurrent/backward.wgsl",
        "recurrent/alone.wgsl"
    ],
    bindings: BINDINGS,
    uniform_bytes: size_of::<BackwardUniform>(),
};

/// One time step backward, a workgroup sharing the sums.
pub static SHARED: Kernel = Kernel {
    name: "recurrent_backward_shared",
    fragments: fragments![
        "lib/activation.wgsl",
        "lib/cell.wgsl",
        "lib/rows.wgsl",
        "recurrent/backward.wgsl",
        "recurrent/shared.wgsl"
    ],
    bindings: BINDINGS,
    uniform_bytes: size_of::<BackwardUniform>(),
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BackwardUniform {
    step: StepUniform,
    rows: RowsUniform,
}

impl Chunk {
    /// All steps backward, last first. Errors: buffers or weights of other sizes, or sharing an allocation.
    pub fn backward(&self, device: &Device, weights: &Weights, gradients: &Gradients) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        gradients.check(device, self, weights, "recurrent_backward")?;
        match device.target() {
            Target::Gpu(gpu) => self.backward_gpu(device, gpu, weights, gradients),
            Target::Cpu(pool, precision) => {
                let (chunk, weights, gradients) = (self.clone(), weights.clone(), gradients.clone());
                Ok(cpu_op!(precision, "recurrent_backward", backward_cpu(chunk, weights, gradients, pool)))
            }
        }
    }

    fn backward_gpu(&self, device: &Device, gpu: &Gpu, weights: &Weights, gradients: &Gradients) -> Result<Op> {
        let tile = Tile::new(gpu.capabilities(), self, self.cell.gates() * self.hidden);
        let [nothing, nothing_written] = device.nothing()?;
        let uniform = BackwardUniform {
            step: self.uniform(self.steps, weights.w_hh.direction, gradients.order()),
            rows: gradients.rows.uniform(),
        };
        // Offsets within a binding are the matrices' own; W_hh is bound from its first element on.
        let w = weights.w_hh.buffer.slice(weights.w_hh.offset..weights.w_hh.buffer.len())?;
        Op::gpu(
            gpu,
            &Launch {
                kernel: tile.kernel(&Variants { alone: &KERNEL, shared: &SHARED }),
                cell: Some(self.cell),
                consts: tile.consts(),
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
                groups: tile.groups(self),
                steps: Some(self.steps as u32 + 1),
            },
        )
    }
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
        first_step: chunk.first_step,
    };
    let workspace = &mut workspace[..];
    weights.native(&layer, |weights| {
        pool.run(|| native::backward(pool.threads(), &layer, weights.w_hh, buffers, workspace))
    })
}
