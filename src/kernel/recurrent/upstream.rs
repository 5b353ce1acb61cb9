//! Output gradient in time order to step order, where the whole does not fit a binding.

use super::Chunk;
use crate::device::Buffer;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernel::op::{Launch, Op, element_lanes, linear_groups};
use crate::kernel::rows::{RowMap, RowsUniform};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// Output gradient in time order to step order.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_upstream",
    fragments: fragments!["lib/rows.wgsl", "recurrent/upstream.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("dy").or_half(),
        Binding::read("lengths"),
        Binding::read_write("upstream").or_half(),
    ],
    uniform: UpstreamUniform::MEMBERS,
};

uniform! {
    struct UpstreamUniform {
        steps: u32,
        width: u32,
        hidden: u32,
        #[shader(align(16))]
        rows: RowsUniform,
    }
}

impl Chunk {
    /// Brings the bound window of `dy` into `to [steps, B, D, H]` in step order. Only GPUs have bindings too small for
    /// the whole of it.
    pub fn upstream(&self, gpu: &Gpu, dy: &Buffer, rows: &RowMap, to: &Buffer) -> Result<Op> {
        let width = self.directions * self.hidden;
        let uniform = UpstreamUniform {
            steps: self.steps as u32,
            width: width as u32,
            hidden: self.hidden as u32,
            rows: rows.uniform(),
        };
        let lanes = element_lanes(gpu.capabilities());
        Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                cell: None,
                consts: vec![("LANES", lanes)],
                uniform: &uniform.bytes(),
                buffers: &[dy, &self.lengths, to],
                groups: [linear_groups(gpu, self.steps * self.batch * width, lanes), 1, 1],
                steps: None,
            },
        )
    }
}
