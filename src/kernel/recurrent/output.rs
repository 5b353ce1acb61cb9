//! States in step order to the output in time order.

use super::Chunk;
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, Device, Element};
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op, Target, cpu_op, distinct};
use crate::kernel::rows::other_side;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// States in step order to output in time order.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_output",
    fragments: fragments!["lib/direction.wgsl", "lib/rows.wgsl", "recurrent/output.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("h").or_half(),
        Binding::read("lengths"),
        Binding::read_write("y").or_half(),
    ],
    uniform: OutputUniform::MEMBERS,
};

uniform! {
    struct OutputUniform {
        batch: u32,
        hidden: u32,
        directions: u32,
        first_step: u32,
        steps: u32,
        first_time: u32,
        first: u32,
        end: u32,
        first_reversed: u32,
    }
}

impl Chunk {
    /// Writes `y`, which holds `times` times from `first_time` on, where their steps are in this chunk.
    pub fn output(&self, device: &Device, y: &Buffer, first_time: usize, times: usize) -> Result<Op> {
        self.check(device)?;
        let width = self.width(0);
        y.check_floats("y", device, &[times, self.batch, self.directions * width])?;
        distinct("recurrent_output", &[y], &[self.h(), &self.lengths])?;
        match device.target() {
            Target::Gpu(gpu) => {
                let lanes = element_lanes(gpu.capabilities());
                let elements = times * self.batch * self.directions * width;
                let bytes = (self.h().element_bytes() + y.element_bytes()) as f64;
                let work = |elements: usize| Work::moved(elements, bytes, lanes);
                Op::of_dispatches(runs(gpu, elements, 1, work).into_iter().map(|elements| {
                    let uniform = OutputUniform {
                        batch: index(self.batch)?,
                        hidden: index(width)?,
                        directions: index(self.directions)?,
                        first_step: index(self.first_step)?,
                        steps: index(self.steps)?,
                        first_time: index(first_time)?,
                        first: index(elements.start)?,
                        end: index(elements.end)?,
                        first_reversed: index(self.first_reversed)?,
                    };
                    Op::gpu(
                        gpu,
                        &Launch {
                            kernel: &KERNEL,
                            recipe: None,
                            consts: vec![("LANES", lanes)],
                            uniform: &uniform.bytes(),
                            buffers: &[self.h(), &self.lengths, y],
                            groups: [linear_groups(gpu, elements.len(), lanes), 1, 1],
                            steps: None,
                            work: work(elements.len()),
                        },
                    )
                }))
            }
            Target::Cpu(_, precision) => {
                let (chunk, y) = (self.clone(), y.clone());
                Ok(cpu_op!(precision, "recurrent_output", output_cpu(chunk, y, first_time)))
            }
        }
    }
}

/// Twin of `recurrent/output.wgsl`.
fn output_cpu<S: Scalar + Element>(chunk: &Chunk, y: &Buffer, first_time: &usize) -> Result<()> {
    let width = chunk.width(0);
    let (h, lengths, mut y) = (chunk.h().read::<S>()?, chunk.lengths.read::<u32>()?, y.write::<S>()?);
    for (row, y) in y.chunks_exact_mut(chunk.directions * width).enumerate() {
        let (time, sequence) = (first_time + row / chunk.batch, row % chunk.batch);
        let length = lengths[sequence] as usize;
        for (direction, y) in y.chunks_exact_mut(width).enumerate() {
            let step = other_side(time, length, direction >= chunk.first_reversed);
            let Some(local) = step.checked_sub(chunk.first_step).filter(|&local| local < chunk.steps) else { continue };
            if time >= length {
                y.fill(S::ZERO);
                continue;
            }
            let state = ((local + 1) * chunk.batch + sequence) * chunk.directions + direction;
            y.copy_from_slice(&h[state * width..][..width]);
        }
    }
    Ok(())
}
