//! One time step of a layer forward, a dispatch for each of its phases, and on the CPU all of them.

use std::ops::Range;

use super::native::{Crew, forward as forward_cpu};
use super::numbers::{RecipeUniform, packed_recurrent};
use super::tiles::{StepPart, Tile, Variants};
use super::{Chunk, Pass, Weights};
use crate::device::{Buffer, Device, Nothing};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernel::cuts::index;
use crate::kernel::op::{Launch, Op, Target, cpu_op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

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
    fragments: fragments![cell: "recurrent/unit_forward.wgsl", "recurrent/forward.wgsl", "recurrent/alone.wgsl"],
    bindings: BINDINGS,
    uniform: Uniform::MEMBERS,
};

/// One time step forward, a workgroup sharing the sums.
pub static SHARED: Kernel = Kernel {
    name: "recurrent_forward_shared",
    fragments: fragments![cell: "recurrent/unit_forward.wgsl", "recurrent/forward.wgsl", "recurrent/shared.wgsl"],
    bindings: BINDINGS,
    uniform: Uniform::MEMBERS,
};

uniform! {
    pub(super) struct Uniform {
        batch: u32,
        hidden: u32,
        directions: u32,
        first_step: u32,
        w_direction: u32,
        has_bias: u32,
        /// What of a step the dispatch does.
        first_unit: u32,
        end_unit: u32,
        first_row: u32,
        end_row: u32,
        #[shader(align(16))]
        recipe: RecipeUniform,
    }
}

impl Uniform {
    /// Of the steps of `chunk` forward, of some units and sequences.
    pub(super) fn new(
        chunk: &Chunk,
        w_direction: usize,
        has_bias: bool,
        units: &Range<u32>,
        rows: &Range<u32>,
        recipe: RecipeUniform,
    ) -> Result<Self> {
        Ok(Self {
            batch: index(chunk.batch)?,
            hidden: index(chunk.hidden)?,
            directions: index(chunk.directions)?,
            first_step: index(chunk.first_step)?,
            w_direction: index(w_direction)?,
            has_bias: u32::from(has_bias),
            first_unit: units.start,
            end_unit: units.end,
            first_row: rows.start,
            end_row: rows.end,
            recipe,
        })
    }
}

impl Chunk {
    /// All steps forward. Errors: buffers or weights of other sizes, or sharing an allocation.
    pub fn forward(&self, device: &Device, weights: &Weights) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        let written = [&self.saved, &weights.workspace].into_iter().chain(&self.states);
        let written: Vec<&Buffer> = written.chain(self.carried()).chain(&self.output).collect();
        let read = weights.w_hh.iter().map(|w_hh| &w_hh.buffer).chain(self.input.as_ref().map(|input| &input.source));
        distinct("recurrent_forward", &written, &read.collect::<Vec<_>>())?;
        match device.target() {
            Target::Gpu(gpu) if weights.repacked => self.forward_repacked(gpu, weights),
            Target::Gpu(gpu) => self.forward_gpu(gpu, weights),
            Target::Cpu(pool, precision) => {
                let crew = Crew::new(&pool, self, self.forward_packed().iter().sum());
                let (chunk, weights) = (self.clone(), weights.clone());
                Ok(cpu_op!(precision, "recurrent_forward", forward_cpu(chunk, weights, crew)))
            }
        }
    }

    /// What kernels that go forward bind first, after the uniforms: `w` is what they read weights from.
    pub(super) fn forward_buffers<'b>(
        &'b self,
        w: &'b Buffer,
        Nothing { written: [no_c, no_carry, _], .. }: &'b Nothing,
    ) -> [&'b Buffer; 6] {
        let c = self.c().unwrap_or(no_c);
        let carry = self.carried().unwrap_or(no_carry);
        [w, &self.lengths, &self.saved, self.h(), c, carry]
    }

    fn forward_gpu(&self, gpu: &Gpu, weights: &Weights) -> Result<Op> {
        let (packed, recipe) = (packed_recurrent(self.recipe, self.hidden), RecipeUniform::packed(self)?);
        let nothing = Nothing::of(gpu)?;
        let variants = Variants { alone: &KERNEL, shared: &SHARED };
        let phases = 0..self.recipe.step_products();
        Tile::made(gpu, self, self.hidden, &variants, |tile| {
            let dispatch = |(phase, part): (usize, StepPart)| {
                let uniform = Uniform::new(self, packed, weights.b_hh.is_some(), &part.units, &part.rows, recipe)?;
                let carried = ("CARRIED", u32::from(self.carry.is_some()));
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel: tile.kernel(&variants),
                        recipe: Some(self.recipe),
                        consts: [&tile.consts()[..], &[carried, ("PHASE", index(phase)?)]].concat(),
                        uniform: &uniform.bytes(),
                        buffers: &self.forward_buffers(&weights.workspace, &nothing),
                        groups: part.groups,
                        steps: Some(index(self.steps)?),
                        work: part.work,
                    },
                )
            };
            Op::of_dispatches(tile.cut(gpu, self, Pass::Forward, phases.clone())?.into_iter().map(dispatch))
        })
    }
}
