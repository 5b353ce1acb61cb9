//! A span of time steps of a layer forward in one dispatch, where no product of a step reads h.

use std::ops::Range;

use super::numbers::RecipeUniform;
use super::{Chunk, Weights};
use crate::device::{Buffer, Device, Nothing};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Work};
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// A span of time steps forward.
pub static KERNEL: Kernel = Kernel {
    name: "scan_forward",
    fragments: fragments![cell: "lib/rows.wgsl", "recurrent/unit_forward.wgsl", "recurrent/scan_forward.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::step("step"),
        Binding::read("w"),
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
        has_y: u32,
        /// The units that the dispatch does.
        first: u32,
        end: u32,
        #[shader(align(16))]
        recipe: RecipeUniform,
    }
}

impl Chunk {
    /// All steps forward in few dispatches, and the output with them where the chunk has one. Only on GPUs. Errors: buffers or
    /// weights of other sizes, or sharing an allocation; a recipe with products.
    pub fn scan_forward(&self, device: &Device, weights: &Weights) -> Result<Op> {
        self.check(device)?;
        weights.check(self)?;
        self.check_output(device)?;
        let written = [&self.saved].into_iter().chain(&self.states).chain(self.carried()).chain(&self.output);
        distinct(KERNEL.name, &written.collect::<Vec<&Buffer>>(), &[&weights.workspace, &self.lengths])?;
        let ScanCut { gpu, lanes, span, units } = self.scan(device)?;
        let nothing = Nothing::of(gpu)?;
        let (w, recipe) = weights.in_place(self, self.initial_offset(), &nothing.read)?;
        let [w, lengths, saved, h, c, carry] = self.forward_buffers(&w, &nothing);
        let y = self.output.as_ref().unwrap_or(&nothing.written[2]);
        Op::of_dispatches(units.into_iter().map(|units| {
            let uniform = Uniform {
                batch: index(self.batch)?,
                hidden: index(self.hidden)?,
                directions: index(self.directions)?,
                first_step: index(self.first_step)?,
                steps: index(self.steps)?,
                span: index(span)?,
                has_y: u32::from(self.output.is_some()),
                first: index(units.start)?,
                end: index(units.end)?,
                recipe,
            };
            Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    recipe: Some(self.recipe),
                    consts: vec![("LANES", lanes), ("CARRIED", u32::from(self.carry.is_some()))],
                    uniform: &uniform.bytes(),
                    buffers: &[w, lengths, saved, h, c, carry, y],
                    groups: [linear_groups(gpu, units.len(), lanes), 1, 1],
                    steps: Some(index(self.steps.div_ceil(span))?),
                    work: self.scan_work(lanes, units.len(), span),
                },
            )
        }))
    }

    /// How a pass over the chunk is cut: steps first, since units side by side are what fills a device.
    pub(super) fn scan<'d>(&self, device: &'d Device) -> Result<ScanCut<'d>> {
        let gpu = device.gpu().ok_or_else(|| Error::WrongDevice {
            what: "a scan kernel".to_string(),
            expected: "a GPU".to_string(),
            got: device.name(),
        })?;
        if self.recipe.has_product() {
            return Err(Error::Unsupported {
                option: "a scan".to_string(),
                place: format!("{}, whose steps multiply h with weights", self.recipe.cell().title()),
            });
        }
        let lanes = element_lanes(gpu.capabilities());
        let all = self.batch * self.directions * self.hidden;
        let most = gpu.costs().most(self.steps.max(1), |steps| self.scan_work(lanes, all, steps));
        let span = self.span.unwrap_or(most).clamp(1, self.steps.max(1));
        let units = runs(gpu, all, 1, |units| self.scan_work(lanes, units, span));
        Ok(ScanCut { gpu, lanes, span, units })
    }

    /// What so many units do in so many steps.
    pub(super) fn scan_work(&self, lanes: u32, units: usize, steps: usize) -> Work {
        let cells = (units * steps) as f64;
        let recipe = self.recipe;
        let moved = (recipe.gates() + recipe.saved() + 2 * recipe.states() + 1) as f64;
        Work {
            multiply_adds: 0.0,
            bytes: cells * moved * self.h().element_bytes() as f64,
            functions: cells * 2.0 * recipe.gates() as f64,
            groups: units.div_ceil(lanes as usize) as f64,
            steps: steps as f64,
        }
    }
}

/// The invocations of a workgroup, the steps of a dispatch, and which units of `[B, D, H]` each has.
pub(super) struct ScanCut<'d> {
    pub(super) gpu: &'d Gpu,
    pub(super) lanes: u32,
    pub(super) span: usize,
    pub(super) units: Vec<Range<usize>>,
}
