//! One time step of a layer forward, and on the CPU all of them.

use super::native::{Crew, forward as forward_cpu};
use super::tiles::{Tile, Variants};
use super::{Chunk, StepUniform, Weights};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernel::op::{Launch, Op, Target, cpu_op, distinct};
use crate::shader::{Binding, Kernel, fragments};

const BINDINGS: &[Binding] = &[
    Binding::uniform("u"),
    Binding::step("step"),
    Binding::read("w").or_half(),
    Binding::read("lengths"),
    Binding::read_write("saved").or_half(),
    Binding::read_write("h").or_half(),
    Binding::read_write("c").or_half(),
    Binding::read_write("carry"),
];

/// One time step forward, an invocation making each sum alone.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_forward",
    fragments: fragments!["lib/activation.wgsl", "lib/cell.wgsl", "recurrent/forward.wgsl", "recurrent/alone.wgsl"],
    bindings: BINDINGS,
    uniform_bytes: size_of::<StepUniform>(),
};

/// One time step forward, a workgroup sharing the sums.
pub static SHARED: Kernel = Kernel {
    name: "recurrent_forward_shared",
    fragments: fragments!["lib/activation.wgsl", "lib/cell.wgsl", "recurrent/forward.wgsl", "recurrent/shared.wgsl"],
    bindings: BINDINGS,
    uniform_bytes: size_of::<StepUniform>(),
};

impl Chunk {
    /// All steps forward. Errors: buffers or weights of other sizes, or sharing an allocation.
    pub fn forward(&self, device: &Device, weights: &Weights) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        let written = [&self.saved, &self.h, &weights.workspace].into_iter();
        let written: Vec<&Buffer> = written.chain(&self.c).chain(&self.carry).chain(&self.output).collect();
        let read = [&weights.w_hh.buffer].into_iter().chain(self.input.as_ref().map(|input| &input.source));
        distinct("recurrent_forward", &written, &read.collect::<Vec<_>>())?;
        match device.target() {
            Target::Gpu(gpu) if weights.repacked => self.forward_repacked(device, gpu, weights),
            Target::Gpu(gpu) => self.forward_gpu(device, gpu, weights),
            Target::Cpu(pool, precision) => {
                let crew = Crew::new(&pool, self, self.forward_packed().iter().sum());
                let (chunk, weights) = (self.clone(), weights.clone());
                Ok(cpu_op!(precision, "recurrent_forward", forward_cpu(chunk, weights, crew)))
            }
        }
    }

    fn forward_gpu(&self, device: &Device, gpu: &Gpu, weights: &Weights) -> Result<Op> {
        let tile = Tile::new(gpu.capabilities(), self, self.hidden);
        let mut consts = tile.consts();
        consts.push(("CARRIED", u32::from(self.carry.is_some())));
        let packed = (self.hidden + 1) * self.cell.gates() * self.hidden;
        let [_, nothing] = device.nothing()?;
        Op::gpu(
            gpu,
            &Launch {
                kernel: tile.kernel(&Variants { alone: &KERNEL, shared: &SHARED }),
                cell: Some(self.cell),
                consts,
                uniform: bytemuck::bytes_of(&self.uniform(self.first_step, packed, u32::from(weights.b_hh.is_some()))),
                buffers: &[
                    &weights.workspace,
                    &self.lengths,
                    &self.saved,
                    &self.h,
                    self.c.as_ref().unwrap_or(&nothing),
                    self.carry.as_ref().unwrap_or(&nothing),
                ],
                groups: tile.groups(self),
                steps: Some(self.steps as u32),
            },
        )
    }
}
