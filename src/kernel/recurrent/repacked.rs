//! One time step forward where weights are put in order as they are needed, and no packed copy of all is held.

use std::ops::Range;

use super::forward::Uniform;
use super::{Chunk, Weights};
use crate::device::Nothing;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Work};
use crate::kernel::cuts::{index, rectangles};
use crate::kernel::op::{Launch, Op};
use crate::recipe::Recipe;
use crate::shader::{Binding, Kernel, Uniform as _, fragments};

/// One time step forward, a workgroup packing the weights that it uses.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_forward_repacked",
    fragments: fragments![cell: "recurrent/unit_forward.wgsl", "recurrent/forward.wgsl", "recurrent/repacked.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::step("step"),
        Binding::read("w").or_half(),
        Binding::read("lengths"),
        Binding::read_write("saved").or_half(),
        Binding::read_write("h").or_half(),
        Binding::read_write("c").or_half(),
        Binding::read_write("carry"),
        Binding::read_write("own"),
    ],
    uniform: Uniform::MEMBERS,
};

/// Units that a workgroup has weights of at once: the lanes of one vector register of a software adapter.
const UNITS: usize = 8;
/// Workgroups of a direction: more than a software adapter has threads, and few, since each has memory of its own.
const GROUPS: usize = 16;

fn groups(hidden: usize) -> usize {
    hidden.div_ceil(UNITS).min(GROUPS)
}

/// Elements of `b_hh`, `[D, G·H]`, and then of what the workgroups of one dispatch pack weights into.
pub fn repacked_len(recipe: Recipe, hidden: usize, directions: usize) -> usize {
    directions * recipe.gates() * hidden * (1 + groups(hidden) * UNITS)
}

/// The sizes for so many sequences.
pub(in crate::kernel) fn repacked_rows(batch: usize) -> Vec<(&'static str, u32)> {
    let rows = batch.next_power_of_two().min(16);
    vec![("LANES", UNITS as u32), ("RB", rows as u32)]
}

impl Chunk {
    pub(super) fn forward_repacked(&self, gpu: &Gpu, weights: &Weights) -> Result<Op> {
        let nothing = Nothing::of(gpu)?;
        let at_once = self.batch.next_power_of_two().min(16);
        let work = |gates: usize, rows: usize, units: usize| {
            let (rows, units) = ((rows * self.directions) as f64, units as f64);
            let terms = (gates * self.hidden) as f64;
            Work {
                multiply_adds: rows * units * terms,
                bytes: 4.0 * units * terms * (2.0 + rows / at_once as f64),
                functions: rows * units * 2.0 * self.recipe.gates() as f64,
                groups: ((units / UNITS as f64).ceil() * self.directions as f64).min(GROUPS as f64),
                steps: 0.0,
            }
        };
        // Offsets within a binding are the matrices' own.
        let (w, recipe) = weights.in_place(self, self.initial_offset(), &nothing.read)?;
        let [w, lengths, saved, h, c, carry] = self.forward_buffers(&w, &nothing);
        let phases = self.recipe.phases().map(|phase| phase.gates.len()).enumerate();
        let parts = phases.flat_map(|(phase, gates)| {
            let pieces = rectangles(gpu, [self.batch, self.hidden], [at_once, UNITS * GROUPS], |rows, units| {
                work(gates, rows, units)
            });
            pieces.into_iter().map(move |piece| (phase, gates, piece))
        });
        Op::of_dispatches(parts.map(|(phase, gates, [rows, units])| {
            let within = |all: &Range<usize>| Ok::<_, Error>(index(all.start)?..index(all.end)?);
            let has_bias = weights.b_hh.is_some();
            let w_direction = weights.w_hh()?.direction;
            let uniform = Uniform::new(self, w_direction, has_bias, &within(&units)?, &within(&rows)?, recipe)?;
            Op::gpu(
                gpu,
                &Launch {
                    kernel: &KERNEL,
                    recipe: Some(self.recipe),
                    consts: [&repacked_rows(self.batch)[..], &[("CARRIED", 0), ("PHASE", index(phase)?)]].concat(),
                    uniform: &uniform.bytes(),
                    buffers: &[w, lengths, saved, h, c, carry, &weights.workspace],
                    groups: [index(groups(self.hidden))?, 1, index(self.directions)?],
                    steps: Some(index(self.steps)?),
                    work: work(gates, rows.len(), units.len()),
                },
            )
        }))
    }
}
