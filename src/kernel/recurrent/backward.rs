//! One time step of a layer backward, and on the CPU all of them.

use bytemuck::{Pod, Zeroable};

use super::native::{Crew, backward as backward_cpu};
use super::tiles::{Tile, Variants};
use super::{Chunk, Gradients, StepUniform, Weights};
use crate::device::Device;
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
        "recurrent/follow.wgsl",
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
        "recurrent/follow.wgsl",
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
                let crew = Crew::new(&pool, self, self.layer().backward_packed_len());
                let (chunk, weights, gradients) = (self.clone(), weights.clone(), gradients.clone());
                Ok(cpu_op!(precision, "recurrent_backward", backward_cpu(chunk, weights, gradients, crew)))
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
        let mut consts = tile.consts();
        consts.push(("FLOW", u32::from(gradients.norms.is_some())));
        Op::gpu(
            gpu,
            &Launch {
                kernel: tile.kernel(&Variants { alone: &KERNEL, shared: &SHARED }),
                cell: Some(self.cell),
                consts,
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
