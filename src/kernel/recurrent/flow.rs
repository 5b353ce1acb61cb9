//! Norms of the gradients of each step's states, for those who want to see how they flow.
//!
//! On a GPU backward leaves the gradients themselves behind the carried ones (`follow.wgsl`), and this kernel the norms of
//! its rows; the CPU's backward makes them step by step.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `dh` | [`carry_len`]; gradients `[steps, B, D, flows, H]` at its end | read |
//! | `norms` | `[steps, B, D, flows]` | written |

use super::{Chunk, ChunkGradients};
use crate::cpu::recurrent::{self as cpu, LayerShape};
use crate::device::Device;
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::cuts::{index, runs};
use crate::kernel::op::{Launch, Op};
use crate::kernel::total;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_flow",
    fragments: fragments!["lib/float.wgsl", "lib/reduce.wgsl", "recurrent/flow.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("carry"), Binding::read_write("norms")],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        rows: u32,
        hidden: u32,
        first: u32,
        to: u32,
    }
}

/// Elements of the carried gradients: those of the states themselves, `[states, B, D, H]`; with resets the initial states
/// and then their gradients, `[states, B, D, H]` each; and where norms are wanted, on a
/// GPU those that come directly, `[states, B, D, H]`, and what the norms are of, `[steps, B, D, flows, H]`; on the CPU for
/// each row those that come directly, and room to work.
pub fn carry_len(device: &Device, layer: &LayerShape, norms: bool) -> usize {
    let state = layer.state_len(0);
    match (norms, device.gpu()) {
        (false, _) => direct_from(layer),
        (true, Some(_)) => first(layer) + layer.batch.steps * state * cpu::flows(layer.recipe),
        (true, None) => direct_from(layer) + layer.direct_len(),
    }
}

/// Where the initial states begin that backward needs with resets.
pub const fn initial_from(layer: &LayerShape) -> usize {
    layer.all_states_len()
}

/// Where their gradients begin.
pub const fn initial_gradients_from(layer: &LayerShape) -> usize {
    initial_from(layer) * 2
}

/// Where the gradients that come directly begin, where norms are wanted.
pub const fn direct_from(layer: &LayerShape) -> usize {
    let of_each = layer.all_states_len();
    if layer.recipe.resets() { initial_gradients_from(layer) + of_each } else { of_each }
}

/// Where, on a GPU, the gradients that norms are of begin.
const fn first(layer: &LayerShape) -> usize {
    direct_from(layer) + layer.all_states_len()
}

impl Chunk {
    /// [`carry_len`] of its steps, where norms are wanted.
    pub fn carry_len(&self, device: &Device) -> usize {
        carry_len(device, &self.layer(), true)
    }

    /// What follows a chunk's backward on a GPU where norms are wanted. None where there is nothing to do.
    pub fn flow(&self, device: &Device, gradients: &ChunkGradients) -> Result<Option<Op>> {
        let (Some(gpu), Some(norms)) = (device.gpu(), &gradients.norms) else { return Ok(None) };
        let (layer, caps) = (self.layer(), gpu.capabilities());
        let lanes = total::lanes(caps, self.hidden);
        let work = |rows: usize| Work {
            bytes: (rows * self.hidden) as f64 * 8.0,
            functions: (rows * self.hidden) as f64,
            groups: rows as f64,
            ..Work::default()
        };
        let pieces = runs(gpu, layer.norms_len(), 1, work).into_iter().map(|rows| {
            let uniform = Uniform {
                rows: index(rows.len())?,
                hidden: index(self.hidden)?,
                first: index(first(&layer) + rows.start * self.hidden)?,
                to: index(norms.offset + rows.start)?,
            };
            let launch = Launch {
                kernel: &KERNEL,
                recipe: None,
                consts: vec![("LANES", lanes)],
                uniform: &uniform.bytes(),
                buffers: &[&gradients.carry, &norms.buffer],
                groups: [index(total::groups(caps, rows.len()))?, 1, 1],
                steps: None,
                work: work(rows.len()),
            };
            Op::gpu(gpu, &launch)
        });
        Op::of_dispatches(pieces).map(Some)
    }
}
