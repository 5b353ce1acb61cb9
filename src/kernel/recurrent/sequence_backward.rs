//! A span of time steps of a layer backward in one dispatch.

use super::backward::BINDINGS;
use super::flow::initial_from;
use super::numbers::RecipeUniform;
use super::sequence::Pass;
use super::sequence_forward::SequenceCut;
use super::{Chunk, ChunkGradients, Weights};
use crate::device::{Device, Nothing};
use crate::error::Result;
use crate::kernel::cuts::index;
use crate::kernel::op::{Launch, Op};
use crate::kernel::rows::RowsUniform;
use crate::shader::{Kernel, Uniform as _, fragments, uniform};

/// A span of time steps backward.
pub static KERNEL: Kernel = Kernel {
    name: "sequence_backward",
    fragments: fragments![cell: "lib/rows.wgsl", "recurrent/follow.wgsl", "recurrent/sequence.wgsl", "recurrent/unit_backward.wgsl", "recurrent/sequence_backward.wgsl"],
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
        w_direction: u32,
        dy_order: u32,
        /// The dispatch's first sequence.
        first_row: u32,
        #[shader(align(16))]
        rows: RowsUniform,
        #[shader(align(16))]
        recipe: RecipeUniform,
    }
}

impl Chunk {
    /// All steps backward, last first, in as few dispatches as forward. Only on GPUs. Errors: as of
    /// [`backward`](Self::backward); a step's gradients too large for a workgroup.
    pub fn sequence_backward(&self, device: &Device, weights: &Weights, gradients: &ChunkGradients) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        gradients.check(device, self, weights, KERNEL.name)?;
        let cut = self.sequence(device, Pass::Backward)?;
        let SequenceCut { gpu, tile, span, .. } = cut;
        let nothing = Nothing::of(gpu)?;
        // Offsets within a binding are the matrices' own.
        let (w, recipe) = weights.in_place(self, initial_from(&self.layer()), &nothing.read)?;
        let mut consts = tile.constants();
        consts.push(("FLOW", u32::from(gradients.norms.is_some())));
        Op::of_dispatches(cut.groups.iter().map(|groups| {
            let uniform = Uniform {
                batch: index(self.batch)?,
                hidden: index(self.hidden)?,
                directions: index(self.directions)?,
                steps: index(self.steps)?,
                span: index(span)?,
                w_direction: index(weights.w_hh()?.direction)?,
                dy_order: gradients.order(),
                first_row: index(groups.start * tile.rows as usize)?,
                rows: gradients.rows.uniform()?,
                recipe,
            };
            Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    recipe: Some(self.recipe),
                    consts: consts.clone(),
                    uniform: &uniform.bytes(),
                    buffers: &self.backward_buffers(&w, gradients, &nothing),
                    groups: [1, index(groups.len())?, index(self.directions)?],
                    steps: Some(index(self.steps.div_ceil(span))?),
                    work: cut.work(groups.len()),
                },
            )
        }))
    }
}
