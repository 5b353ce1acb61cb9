//! Output gradient in time order to step order, where the whole does not fit a binding.

use super::Chunk;
use crate::device::Buffer;
use crate::error::Result;
use crate::gpu::{Gpu, Work};
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op};
use crate::kernel::rows::{RowMap, RowsUniform};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// Output gradient in time order to step order.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_upstream",
    fragments: fragments!["lib/direction.wgsl", "lib/rows.wgsl", "recurrent/upstream.wgsl"],
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
        first: u32,
        end: u32,
        width: u32,
        hidden: u32,
        #[shader(align(16))]
        rows: RowsUniform,
    }
}

impl Chunk {
    /// Brings the bound window of `dy` into `to [steps, B, D, H]` in step order, of a projected h `[.., P]`. Only GPUs have
    /// bindings too small for the whole of it.
    pub fn upstream(&self, gpu: &Gpu, dy: &Buffer, rows: &RowMap, to: &Buffer) -> Result<Op> {
        let width = self.directions * self.width(0);
        let lanes = element_lanes(gpu.capabilities());
        let bytes = (dy.element_bytes() + to.element_bytes()) as f64;
        let work = |elements: usize| Work::moved(elements, bytes, lanes);
        Op::of_dispatches(runs(gpu, self.steps * self.batch * width, 1, work).into_iter().map(|elements| {
            let uniform = UpstreamUniform {
                first: index(elements.start)?,
                end: index(elements.end)?,
                width: index(width)?,
                hidden: index(self.width(0))?,
                rows: rows.uniform()?,
            };
            Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    recipe: None,
                    consts: vec![("LANES", lanes)],
                    uniform: &uniform.bytes(),
                    buffers: &[dy, &self.lengths, to],
                    groups: [linear_groups(gpu, elements.len(), lanes), 1, 1],
                    steps: None,
                    work: work(elements.len()),
                },
            )
        }))
    }
}
