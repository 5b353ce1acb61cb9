//! The states that steps after a reset saw, in the place of those before the steps.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `lengths` | `[B]`, then reset bits | read |
//! | `carry` | initial states `[states, B, D, H]` in it | read |
//! | `h`, `c` | `[steps + 1, B, D, H]` | rows of steps that begin anew written |

use super::{Chunk, Initial};
use crate::cpu::recurrent::Resets;
use crate::cpu::scalar::Scalar;
use crate::device::{Device, Element, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op, Target, cpu_op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_anew",
    fragments: fragments!["lib/resets.wgsl", "recurrent/anew.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("lengths"),
        Binding::read("carry"),
        Binding::read_write("h").or_half(),
        Binding::read_write("c").or_half(),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        batch: u32,
        hidden: u32,
        directions: u32,
        first_step: u32,
        first: u32,
        end: u32,
        first_reversed: u32,
        initial: u32,
        has_c: u32,
    }
}

impl Chunk {
    /// Puts the initial states, of which `initial` says where they are, before each step that begins anew: after backward
    /// through the chunk and before products with the states that its steps saw.
    pub fn anew(&self, device: &Device, initial: &Initial) -> Result<Op> {
        self.check(device)?;
        let written: Vec<_> = std::iter::once(&self.h).chain(&self.c).collect();
        distinct(KERNEL.name, &written, &[&self.lengths, &initial.buffer])?;
        match device.target() {
            Target::Gpu(gpu) => {
                let (lanes, nothing) = (element_lanes(gpu.capabilities()), Nothing::of(gpu)?);
                let elements = self.steps * self.batch * self.directions * self.hidden;
                let bytes = self.h.element_bytes() as f64;
                let work = |elements: usize| Work::moved(elements, bytes, lanes);
                Op::in_pieces(runs(gpu, elements, 1, work).into_iter().map(|elements| {
                    let uniform = Uniform {
                        batch: index(self.batch)?,
                        hidden: index(self.hidden)?,
                        directions: index(self.directions)?,
                        first_step: index(self.first_step)?,
                        first: index(elements.start)?,
                        end: index(elements.end)?,
                        first_reversed: index(self.first_reversed)?,
                        initial: index(initial.offset)?,
                        has_c: u32::from(self.c.is_some()),
                    };
                    let c = self.c.as_ref().unwrap_or(&nothing.written[0]);
                    let launch = Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes)],
                        uniform: &uniform.bytes(),
                        buffers: &[&self.lengths, &initial.buffer, &self.h, c],
                        groups: [linear_groups(gpu, elements.len(), lanes), 1, 1],
                        steps: None,
                        work: work(elements.len()),
                    };
                    Op::gpu(gpu, &launch)
                }))
            }
            Target::Cpu(_, precision) => {
                let (chunk, initial) = (self.clone(), initial.clone());
                Ok(cpu_op!(precision, "recurrent_anew", on_cpu(chunk, initial)))
            }
        }
    }
}

/// Twin of `recurrent/anew.wgsl`.
fn on_cpu<S: Scalar + Element>(chunk: &Chunk, initial: &Initial) -> Result<()> {
    let (lengths, values) = (chunk.lengths.read::<u32>()?, initial.buffer.read::<S>()?);
    let (lengths, bits) = lengths.split_at(chunk.batch);
    let resets = Resets { bits, batch: chunk.batch };
    let states = chunk.layer().state_len();
    for (state, buffer) in std::iter::once(&chunk.h).chain(&chunk.c).enumerate() {
        let from = &values[initial.offset + state * states..][..states];
        let mut to = buffer.write::<S>()?;
        for (step, to) in to.chunks_exact_mut(states).take(chunk.steps).enumerate() {
            let rows = to.chunks_exact_mut(chunk.hidden).zip(from.chunks_exact(chunk.hidden)).enumerate();
            for (row, (to, from)) in rows {
                let (sequence, direction) = (row / chunk.directions, row % chunk.directions);
                let length = lengths[sequence] as usize;
                if resets.begin(sequence, chunk.first_step + step, length, direction >= chunk.first_reversed) {
                    to.copy_from_slice(from);
                }
            }
        }
    }
    Ok(())
}
