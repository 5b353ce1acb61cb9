//! A span of time steps of a layer backward in one dispatch, where no product of a step reads h.

use super::backward::BINDINGS;
use super::flow::initial_from;
use super::numbers::RecipeUniform;
use super::scan_forward::ScanCut;
use super::{Chunk, ChunkGradients, Weights};
use crate::device::{Device, Nothing};
use crate::error::Result;
use crate::kernel::cuts::{index, linear_groups};
use crate::kernel::op::{Launch, Op};
use crate::kernel::rows::RowsUniform;
use crate::shader::{Kernel, Uniform as _, fragments, uniform};

/// A span of time steps backward.
pub static KERNEL: Kernel = Kernel {
    name: "scan_backward",
    fragments: fragments![cell: "lib/rows.wgsl", "recurrent/follow.wgsl", "recurrent/unit_backward.wgsl", "recurrent/scan_backward.wgsl"],
    bindings: BINDINGS,
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        batch: u32,
        hidden: u32,
        directions: u32,
        steps: u32,
        span: u32,
        dy_order: u32,
        /// The units that the dispatch does.
        first: u32,
        end: u32,
        #[shader(align(16))]
        rows: RowsUniform,
        #[shader(align(16))]
        recipe: RecipeUniform,
    }
}

impl Chunk {
    /// All steps backward, last first, in few dispatches. Only on GPUs. Errors: as of [`backward`](Self::backward); a recipe with
    /// products.
    pub fn scan_backward(&self, device: &Device, weights: &Weights, gradients: &ChunkGradients) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        gradients.check(device, self, weights, KERNEL.name)?;
        let ScanCut { gpu, lanes, span, units } = self.scan(device)?;
        let nothing = Nothing::of(gpu)?;
        let (w, recipe) = weights.in_place(self, initial_from(&self.layer()), &nothing.read)?;
        let flow = ("FLOW", u32::from(gradients.norms.is_some()));
        Op::of_dispatches(units.into_iter().map(|units| {
            let uniform = Uniform {
                batch: index(self.batch)?,
                hidden: index(self.hidden)?,
                directions: index(self.directions)?,
                steps: index(self.steps)?,
                span: index(span)?,
                dy_order: gradients.order(),
                first: index(units.start)?,
                end: index(units.end)?,
                rows: gradients.rows.uniform()?,
                recipe,
            };
            Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    recipe: Some(self.recipe),
                    consts: vec![("LANES", lanes), flow],
                    uniform: &uniform.bytes(),
                    buffers: &self.backward_buffers(&w, gradients, &nothing),
                    groups: [linear_groups(gpu, units.len(), lanes), 1, 1],
                    steps: Some(index(self.steps.div_ceil(span))?),
                    work: self.scan_work(lanes, units.len(), span),
                },
            )
        }))
    }
}
