//! A span of time steps of a layer forward in one dispatch.

use super::sequence::{Pass, SequenceTile};
use super::{Chunk, Weights};
use crate::device::{Buffer, Device, Nothing};
use crate::error::{Error, Result};
use crate::kernel::op::{Launch, Op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// A span of time steps forward.
pub static KERNEL: Kernel = Kernel {
    name: "sequence_forward",
    fragments: fragments![
        "lib/float.wgsl",
        "lib/exponential.wgsl",
        "lib/activation.wgsl",
        "lib/cell.wgsl",
        "lib/rows.wgsl",
        "recurrent/sequence.wgsl",
        "recurrent/sequence_forward.wgsl"
    ],
    bindings: &[
        Binding::uniform("u"),
        Binding::step("step"),
        Binding::read("w").or_half(),
        Binding::read("lengths"),
        Binding::read_write("saved").or_half(),
        Binding::read_write("h").or_half(),
        Binding::read_write("c").or_half(),
        Binding::read_write("carry"),
        Binding::read_write("y").or_half(),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        batch: u32,
        hidden: u32,
        directions: u32,
        first_step: u32,
        steps: u32,
        span: u32,
        w_direction: u32,
        has_bias: u32,
        has_y: u32,
    }
}

impl Chunk {
    /// All steps forward in as few dispatches as [`SequenceTile::span`] allows, and the output with them where the chunk
    /// has one. Only on GPUs. Errors: buffers or weights of other sizes, or sharing an allocation; a state too large for a
    /// workgroup.
    pub fn sequence_forward(&self, device: &Device, weights: &Weights) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        let width = self.directions * self.hidden;
        if let Some(y) = &self.output {
            let rows = y.len() / (self.batch * width).max(1);
            y.check_floats("y", device, &[rows.max(self.first_step + self.steps), self.batch, width])?;
        }
        let written = [&self.saved, &self.h].into_iter().chain(&self.c).chain(&self.carry).chain(&self.output);
        let written: Vec<&Buffer> = written.collect();
        distinct("sequence_forward", &written, &[&weights.w_hh.buffer, &weights.workspace, &self.lengths])?;
        let (gpu, tile, span) = self.sequence(device, Pass::Forward)?;
        let uniform = Uniform {
            batch: self.batch as u32,
            hidden: self.hidden as u32,
            directions: self.directions as u32,
            first_step: self.first_step as u32,
            steps: self.steps as u32,
            span: span as u32,
            w_direction: ((self.hidden + 1) * self.cell.gates() * self.hidden) as u32,
            has_bias: u32::from(weights.b_hh.is_some()),
            has_y: u32::from(self.output.is_some()),
        };
        let Nothing { written: [no_c, no_carry, no_y], .. } = Nothing::of(gpu)?;
        let mut consts = tile.constants();
        consts.push(("CARRIED", u32::from(self.carry.is_some())));
        Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                cell: Some(self.cell),
                consts,
                uniform: &uniform.bytes(),
                buffers: &[
                    &weights.workspace,
                    &self.lengths,
                    &self.saved,
                    &self.h,
                    self.c.as_ref().unwrap_or(&no_c),
                    self.carry.as_ref().unwrap_or(&no_carry),
                    self.output.as_ref().unwrap_or(&no_y),
                ],
                groups: [1, self.batch.div_ceil(tile.rows as usize) as u32, self.directions as u32],
                steps: Some(self.steps.div_ceil(span) as u32),
            },
        )
    }

    /// The GPU, the layout of its workgroups, and the steps of a dispatch.
    pub(super) fn sequence<'d>(
        &self,
        device: &'d Device,
        pass: Pass,
    ) -> Result<(&'d crate::gpu::Gpu, SequenceTile, usize)> {
        let gpu = device.gpu().ok_or_else(|| Error::WrongDevice {
            what: "a sequence kernel".to_string(),
            expected: "a GPU".to_string(),
            got: device.name(),
        })?;
        let (caps, cell, hidden) = (gpu.capabilities(), self.cell, self.hidden);
        let tile = SequenceTile::trusted(gpu, pass, cell, hidden, self.directions, self.batch);
        let tile = tile.map_err(|doubt| match doubt {
            Some(why) => Error::Strategy { strategy: "sequence".to_string(), why },
            None => {
                let limit = format!("{} bytes of workgroup memory", caps.workgroup_memory);
                gpu.limit("the state of one sequence", format!("{hidden} units"), limit)
            }
        })?;
        let span = self.span.unwrap_or_else(|| tile.span(caps, cell, hidden, self.directions, self.batch));
        Ok((gpu, tile, span.clamp(1, self.steps.max(1))))
    }
}
