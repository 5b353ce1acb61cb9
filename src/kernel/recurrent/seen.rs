//! The states that steps saw, in the place of those before the steps: initial ones after a reset, what dropout leaves of h.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `lengths` | `[B]`, then reset bits, the random state, bits of what dropout leaves of h | read |
//! | `carry` | initial states `[states, B, D, H]` in it; none without resets | read |
//! | states: `h`, `c` | `[steps + 1, B, D, H]` each | what steps did not see as it is there, written |

use super::native::Words;
use super::{Chunk, Initial};
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, Device, Element, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op, Target, cpu_op, distinct};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_seen",
    fragments: fragments!["lib/direction.wgsl", "lib/resets.wgsl", "lib/left.wgsl", "recurrent/seen.wgsl"],
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
        resets: u32,
        drops: u32,
        left: u32,
        scale: f32,
    }
}

impl Chunk {
    /// Puts before each step what it saw of states: after backward through the chunk and before products with them. With
    /// resets `initial` says where the initial states are.
    pub fn seen(&self, device: &Device, initial: Option<&Initial>) -> Result<Op> {
        self.check(device)?;
        let written: Vec<_> = self.states.iter().collect();
        let read: Vec<_> = [&self.lengths].into_iter().chain(initial.map(|initial| &initial.buffer)).collect();
        distinct(KERNEL.name, &written, &read)?;
        let (left, scale) = self.dropped_of_h();
        match device.target() {
            Target::Gpu(gpu) => {
                let (lanes, nothing) = (element_lanes(gpu.capabilities()), Nothing::of(gpu)?);
                let bytes = self.h().element_bytes() as f64;
                let work = |elements: usize| Work::moved(elements, bytes, lanes);
                // h, and c with it where that has as many elements; else each as if it were h, c where something of it changes.
                let differ = self.width(0) != self.width(1);
                let apart = self.c().filter(|_| differ && initial.is_some());
                let beside = self.c().filter(|_| !differ);
                let own = |state: &Buffer, index: usize| {
                    let elements = self.steps * self.batch * self.directions * self.width(index);
                    let state = state.clone();
                    runs(gpu, elements, 1, work).into_iter().map(move |elements| (index, state.clone(), elements))
                };
                let all = own(self.h(), 0).chain(apart.into_iter().flat_map(|c| own(c, 1)));
                let before = |state: usize| if state == 0 { 0 } else { self.batch * self.directions * self.width(0) };
                Op::of_dispatches(all.map(|(state, buffer, elements)| {
                    let left = left.filter(|_| state == 0);
                    let uniform = Uniform {
                        batch: index(self.batch)?,
                        hidden: index(self.width(state))?,
                        directions: index(self.directions)?,
                        first_step: index(self.first_step)?,
                        first: index(elements.start)?,
                        end: index(elements.end)?,
                        first_reversed: index(self.first_reversed)?,
                        initial: index(initial.map_or(0, |initial| initial.offset + before(state)))?,
                        has_c: u32::from(beside.is_some()),
                        resets: u32::from(initial.is_some()),
                        drops: u32::from(left.is_some()),
                        left: index(left.unwrap_or(0))?,
                        scale,
                    };
                    let carry = initial.map_or(&nothing.read, |initial| &initial.buffer);
                    let c = beside.unwrap_or(&nothing.written[0]);
                    let launch = Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes)],
                        uniform: &uniform.bytes(),
                        buffers: &[&self.lengths, carry, &buffer, c],
                        groups: [linear_groups(gpu, elements.len(), lanes), 1, 1],
                        steps: None,
                        work: work(elements.len()),
                    };
                    Op::gpu(gpu, &launch)
                }))
            }
            Target::Cpu(_, precision) => {
                let (chunk, initial) = (self.clone(), initial.cloned());
                Ok(cpu_op!(precision, "recurrent_seen", on_cpu(chunk, initial)))
            }
        }
    }
}

/// Twin of `recurrent/seen.wgsl`.
fn on_cpu<S: Scalar + Element>(chunk: &Chunk, initial: &Option<Initial>) -> Result<()> {
    let words = chunk.lengths.read::<u32>()?;
    let Words { lengths, resets, left, .. } = chunk.words(&words)?;
    let values = initial.as_ref().map(|initial| initial.buffer.read::<S>()).transpose()?;
    let layer = chunk.layer();
    let initial = values.as_deref().zip(initial.as_ref()).and_then(|(values, at)| values.get(at.offset..));
    let all = layer.each_state(initial.unwrap_or_default());
    for (state, (buffer, from)) in chunk.states.iter().zip(all).enumerate() {
        let (states, width) = (layer.state_len(state), layer.width(state));
        let left = left.filter(|_| state == 0);
        let mut to = buffer.write::<S>()?;
        for (step, to) in to.chunks_exact_mut(states).take(chunk.steps).enumerate() {
            for (row, to) in to.chunks_exact_mut(width).enumerate() {
                let (sequence, direction) = (row / chunk.directions, row % chunk.directions);
                let length = lengths[sequence] as usize;
                let own = row * width;
                if resets.begin(sequence, chunk.first_step + step, length, direction >= chunk.first_reversed) {
                    to.copy_from_slice(&from[own..own + width]);
                }
                if let Some(left) = left {
                    to.iter_mut().enumerate().for_each(|(unit, h)| *h *= left.factor::<S>(own + unit));
                }
            }
        }
    }
    Ok(())
}
