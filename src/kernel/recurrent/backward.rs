//! One time step of a layer backward, a dispatch for each of its phases, and on the CPU all of them.

use super::flow::initial_from;
use super::native::{Crew, backward as backward_cpu};
use super::numbers::RecipeUniform;
use super::tiles::{StepPart, Tile, Variants};
use super::{Chunk, ChunkGradients, Pass, Weights};
use crate::device::{Buffer, Device, Nothing};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernel::cuts::index;
use crate::kernel::op::{Launch, Op, Target, cpu_op};
use crate::kernel::rows::RowsUniform;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

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
    Binding::read_write("carry"),
];

/// One time step backward, an invocation making each sum alone.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_backward",
    fragments: fragments![cell: "lib/rows.wgsl", "recurrent/follow.wgsl", "recurrent/unit_backward.wgsl", "recurrent/backward.wgsl", "recurrent/alone.wgsl"],
    bindings: BINDINGS,
    uniform: Uniform::MEMBERS,
};

/// One time step backward, a workgroup sharing the sums.
pub static SHARED: Kernel = Kernel {
    name: "recurrent_backward_shared",
    fragments: fragments![cell: "lib/rows.wgsl", "recurrent/follow.wgsl", "recurrent/unit_backward.wgsl", "recurrent/backward.wgsl", "recurrent/shared.wgsl"],
    bindings: BINDINGS,
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        batch: u32,
        hidden: u32,
        directions: u32,
        steps: u32,
        w_direction: u32,
        dy_order: u32,
        /// Where what the dispatch does of a step begins.
        first_unit: u32,
        first_row: u32,
        #[shader(align(16))]
        rows: RowsUniform,
        #[shader(align(16))]
        recipe: RecipeUniform,
    }
}

impl Chunk {
    /// All steps backward, last first. Errors: buffers or weights of other sizes, or sharing an allocation.
    pub fn backward(&self, device: &Device, weights: &Weights, gradients: &ChunkGradients) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        gradients.check(device, self, weights, "recurrent_backward")?;
        match device.target() {
            Target::Gpu(gpu) => self.backward_gpu(gpu, weights, gradients),
            Target::Cpu(pool, precision) => {
                let crew = Crew::new(&pool, self, self.layer().backward_packed_len());
                let (chunk, weights, gradients) = (self.clone(), weights.clone(), gradients.clone());
                Ok(cpu_op!(precision, "recurrent_backward", backward_cpu(chunk, weights, gradients, crew)))
            }
        }
    }

    /// What [`BINDINGS`] bind after the uniforms, with W_hh from its first element on.
    pub(super) fn backward_buffers<'b>(
        &'b self,
        w: &'b Buffer,
        gradients: &'b ChunkGradients,
        Nothing { read, .. }: &'b Nothing,
    ) -> [&'b Buffer; 7] {
        let [c, dy] = [self.c(), gradients.dy.as_ref()].map(|buffer| buffer.unwrap_or(read));
        [w, &self.lengths, self.h(), c, dy, &self.saved, &gradients.carry]
    }

    fn backward_gpu(&self, gpu: &Gpu, weights: &Weights, gradients: &ChunkGradients) -> Result<Op> {
        let nothing = Nothing::of(gpu)?;
        // Offsets within a binding are the matrices' own.
        let (w, recipe) = weights.in_place(self, initial_from(&self.layer()), &nothing.read)?;
        let variants = Variants { alone: &KERNEL, shared: &SHARED };
        Tile::made(gpu, self, self.recipe.gates() * self.hidden, &variants, |tile| {
            let dispatch = |(phase, part): (usize, StepPart)| {
                let uniform = Uniform {
                    batch: index(self.batch)?,
                    hidden: index(self.hidden)?,
                    directions: index(self.directions)?,
                    steps: index(self.steps)?,
                    w_direction: index(weights.w_hh()?.direction)?,
                    dy_order: gradients.order(),
                    first_unit: part.units.start,
                    first_row: part.rows.start,
                    rows: gradients.rows.uniform()?,
                    recipe,
                };
                let flow = ("FLOW", u32::from(gradients.norms.is_some()));
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel: tile.kernel(&variants),
                        recipe: Some(self.recipe),
                        consts: [&tile.consts()[..], &[flow, ("PHASE", index(phase)?)]].concat(),
                        uniform: &uniform.bytes(),
                        buffers: &self.backward_buffers(&w, gradients, &nothing),
                        groups: part.groups,
                        steps: Some(index(self.steps + 1)?),
                        work: part.work,
                    },
                )
            };
            // The product of the step after and the cell first, which a projection comes between; then the others of the step, the
            // last first.
            let last = self.recipe.phases().len();
            let projection = self.recipe.projection().map(|_| last);
            let phases = std::iter::once(0).chain(projection).chain((1..last).rev());
            Op::of_dispatches(tile.cut(gpu, self, Pass::Backward, phases)?.into_iter().map(dispatch))
        })
    }
}
