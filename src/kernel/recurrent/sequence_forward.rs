//! A span of time steps of a layer forward in one dispatch.

use std::ops::Range;

use super::numbers::{RecipeUniform, packed_recurrent};
use super::sequence::{Pass, Recurrence, SequenceTile};
use super::{Chunk, Weights};
use crate::device::{Buffer, Device, Nothing};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Work};
use crate::kernel::cuts::{index, runs};
use crate::kernel::op::{Launch, Op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// A span of time steps forward.
pub static KERNEL: Kernel = Kernel {
    name: "sequence_forward",
    fragments: fragments![cell: "lib/rows.wgsl", "recurrent/sequence.wgsl", "recurrent/unit_forward.wgsl", "recurrent/sequence_forward.wgsl"],
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
        /// The dispatch's first sequence.
        first_row: u32,
        #[shader(align(16))]
        recipe: RecipeUniform,
    }
}

impl Chunk {
    /// All steps forward in as few dispatches as `SequenceTile::span` allows, and the output with them where the chunk
    /// has one. Only on GPUs. Errors: buffers or weights of other sizes, or sharing an allocation; a state too large for a
    /// workgroup.
    pub fn sequence_forward(&self, device: &Device, weights: &Weights) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        self.check_output(device)?;
        let written = [&self.saved].into_iter().chain(&self.states).chain(self.carried()).chain(&self.output);
        let written: Vec<&Buffer> = written.collect();
        distinct("sequence_forward", &written, &[&weights.w_hh()?.buffer, &weights.workspace, &self.lengths])?;
        let cut = self.sequence(device, Pass::Forward)?;
        let SequenceCut { gpu, tile, span, .. } = cut;
        let nothing = Nothing::of(gpu)?;
        let [w, lengths, saved, h, c, carry] = self.forward_buffers(&weights.workspace, &nothing);
        let y = self.output.as_ref().unwrap_or(&nothing.written[2]);
        let mut consts = tile.constants();
        consts.push(("CARRIED", u32::from(self.carry.is_some())));
        Op::of_dispatches(cut.groups.iter().map(|groups| {
            let uniform = Uniform {
                batch: index(self.batch)?,
                hidden: index(self.hidden)?,
                directions: index(self.directions)?,
                first_step: index(self.first_step)?,
                steps: index(self.steps)?,
                span: index(span)?,
                w_direction: index(packed_recurrent(self.recipe, self.hidden))?,
                has_bias: u32::from(weights.b_hh.is_some()),
                has_y: u32::from(self.output.is_some()),
                first_row: index(groups.start * tile.rows as usize)?,
                recipe: RecipeUniform::packed(self)?,
            };
            Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    recipe: Some(self.recipe),
                    consts: consts.clone(),
                    uniform: &uniform.bytes(),
                    buffers: &[w, lengths, saved, h, c, carry, y],
                    groups: [1, index(groups.len())?, index(self.directions)?],
                    steps: Some(index(self.steps.div_ceil(span))?),
                    work: cut.work(groups.len()),
                },
            )
        }))
    }

    /// How a pass over the chunk is cut.
    pub(super) fn sequence<'d>(&self, device: &'d Device, pass: Pass) -> Result<SequenceCut<'d>> {
        let gpu = device.gpu().ok_or_else(|| Error::WrongDevice {
            what: "a sequence kernel".to_string(),
            expected: "a GPU".to_string(),
            got: device.name(),
        })?;
        let Self { recipe, hidden, directions, batch, .. } = *self;
        let (caps, layer) = (gpu.capabilities(), Recurrence { recipe, hidden, directions, batch });
        let tile = SequenceTile::trusted(gpu, pass, recipe, hidden, directions, batch);
        let tile = tile.map_err(|doubt| match doubt {
            Some(why) => Error::Strategy { strategy: "sequence".to_string(), why },
            None => {
                let limit = format!("{} bytes of workgroup memory", caps.workgroup_memory);
                gpu.limit("the state of one sequence", format!("{hidden} units"), limit)
            }
        })?;
        let span = self.span.unwrap_or_else(|| tile.span(&gpu.costs(), &layer)).clamp(1, self.steps.max(1));
        let groups = runs(gpu, batch.div_ceil(tile.rows as usize), 1, |groups| tile.work(&layer, groups, span));
        Ok(SequenceCut { gpu, tile, layer, span, groups })
    }
}

/// The layout of a chunk's workgroups, the steps of a dispatch, and which workgroups of a direction each has.
pub(super) struct SequenceCut<'d> {
    pub(super) gpu: &'d Gpu,
    pub(super) tile: SequenceTile,
    layer: Recurrence,
    pub(super) span: usize,
    pub(super) groups: Vec<Range<usize>>,
}

impl SequenceCut<'_> {
    /// Of a dispatch of so many workgroups of each direction.
    pub(super) fn work(&self, groups: usize) -> Work {
        self.tile.work(&self.layer, groups, self.span)
    }
}
