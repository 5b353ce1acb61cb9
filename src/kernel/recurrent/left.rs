//! Which elements of h dropout leaves where products of steps read it.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `lengths` | from a place on the random state, then `⌈B·D·H/32⌉` words of bits | the bits are written |

use super::dropout::Draws;
use crate::activation::Number;
use crate::cpu::random::{Leaves, Masked, Masks, RANDOM_WORDS, left_words};
use crate::cpu::scalar::Scalar;
use crate::device::{Device, Element};
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op, Target, cpu_op};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_left",
    fragments: fragments!["lib/random.wgsl", "recurrent/left.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read_write("lengths")],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        first: u32,
        end: u32,
        layer: u32,
        below: u32,
        random: u32,
    }
}

impl Draws {
    /// The bits of `states` elements of a layer, of which each is dropped with `probability`.
    pub fn leave(&self, device: &Device, layer: usize, states: usize, probability: Number) -> Result<Op> {
        let words = left_words(states);
        self.lengths.slice(self.random..self.random + RANDOM_WORDS + words)?;
        match device.target() {
            Target::Gpu(gpu) => {
                let lanes = element_lanes(gpu.capabilities());
                let work = |words: usize| Work { functions: 32.0 * words as f64, ..Work::moved(words, 4.0, lanes) };
                Op::of_dispatches(runs(gpu, words, 1, work).into_iter().map(|words| {
                    let uniform = Uniform {
                        first: index(words.start)?,
                        end: index(words.end)?,
                        layer: Masked::Read.of_layer(layer),
                        below: Leaves::of(probability.get()).below,
                        random: index(self.random)?,
                    };
                    let launch = Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes)],
                        uniform: &uniform.bytes(),
                        buffers: &[&self.lengths],
                        groups: [linear_groups(gpu, words.len(), lanes), 1, 1],
                        steps: None,
                        work: work(words.len()),
                    };
                    Op::gpu(gpu, &launch)
                }))
            }
            Target::Cpu(_, precision) => {
                let draws = self.clone();
                Ok(cpu_op!(precision, "recurrent_left", on_cpu(draws, layer, states, probability)))
            }
        }
    }
}

/// Twin of `recurrent/left.wgsl`.
fn on_cpu<S: Scalar + Element>(draws: &Draws, layer: &usize, states: &usize, probability: &Number) -> Result<()> {
    let mut words = draws.lengths.write::<u32>()?;
    let (random, bits) = words[draws.random..].split_at_mut(RANDOM_WORDS);
    let masks = Masks::new(random, Masked::Read, *layer)?;
    let Leaves { below, .. } = Leaves::of(probability.get());
    for (word, bits) in bits.iter_mut().take(left_words(*states)).enumerate() {
        let bit = |bit: usize| u32::from(masks.words(word * 32 + bit)[0] < below) << bit;
        *bits = (0..32).map(bit).sum();
    }
    Ok(())
}
