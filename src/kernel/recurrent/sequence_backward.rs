//! A span of time steps of a layer backward in one dispatch.

use super::backward::BINDINGS;
use super::sequence::Pass;
use super::{Chunk, Gradients, Weights};
use crate::device::{Device, Nothing};
use crate::error::Result;
use crate::kernel::op::{Launch, Op};
use crate::kernel::rows::RowsUniform;
use crate::shader::{Kernel, Uniform as _, fragments, uniform};

/// A span of time steps backward.
pub static KERNEL: Kernel = Kernel {
    name: "sequence_backward",
    fragments: fragments![
        "lib/float.wgsl",
        "lib/exponential.wgsl",
        "lib/activation.wgsl",
        "lib/cell.wgsl",
        "lib/rows.wgsl",
        "recurrent/follow.wgsl",
        "recurrent/sequence.wgsl",
        "recurrent/sequence_backward.wgsl"
    ],
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
        #[shader(align(16))]
        rows: RowsUniform,
    }
}

impl Chunk {
    /// All steps backward, last first, in as few dispatches as forward. Only on GPUs. Errors: as of
    /// [`backward`](Self::backward); a step's gradients too large for a workgroup.
    pub fn sequence_backward(&self, device: &Device, weights: &Weights, gradients: &Gradients) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        gradients.check(device, self, weights, KERNEL.name)?;
        let (gpu, tile, span) = self.sequence(device, Pass::Backward)?;
        let uniform = Uniform {
            batch: self.batch as u32,
            hidden: self.hidden as u32,
            directions: self.directions as u32,
            steps: self.steps as u32,
            span: span as u32,
            w_direction: weights.w_hh.direction as u32,
            dy_order: gradients.order(),
            rows: gradients.rows.uniform(),
        };
        let Nothing { read: nothing, written: [no_dc, ..] } = Nothing::of(gpu)?;
        // Offsets within a binding are the matrices' own; W_hh is bound from its first element on.
        let w = weights.w_hh.buffer.slice(weights.w_hh.offset..weights.w_hh.buffer.len())?;
        let mut consts = tile.constants();
        consts.push(("FLOW", u32::from(gradients.norms.is_some())));
        Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                cell: Some(self.cell),
                consts,
                uniform: &uniform.bytes(),
                buffers: &[
                    &w,
                    &self.lengths,
                    &self.h,
                    self.c.as_ref().unwrap_or(&nothing),
                    gradients.dy.as_ref().unwrap_or(&nothing),
                    &self.saved,
                    &gradients.dh,
                    gradients.dc.as_ref().unwrap_or(&no_dc),
                ],
                groups: [1, self.batch.div_ceil(tile.rows as usize) as u32, self.directions as u32],
                steps: Some(self.steps.div_ceil(span) as u32),
            },
        )
    }
}
