//! What losses and norms end with: one number out of the partial sums that workgroups left. Two stages of fixed size,
//! so that the same inputs give the same bits.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `parts` | `[n]` | read |
//! | `count` | `[1]` | read by a mean over what was counted |
//! | `result` | any | written at one place |

use std::ops::Range;

use super::cuts::index;
use super::op::{Launch, Op};
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, Nothing};
use crate::error::Result;
use crate::gpu::{AdapterKind, Capabilities, Gpu, Work};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "total",
    fragments: fragments!["lib/reduce.wgsl", "loss/total.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("parts"), Binding::read("count"), Binding::read_write("result")],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        parts: u32,
        at: u32,
        scale: f32,
    }
}

/// What is made of the sum.
pub(super) enum Mode<'a> {
    /// `scale · Σ`.
    Scaled(f64),
    /// `Σ / count[0]`.
    MeanOver(&'a Buffer),
    /// `√Σ`.
    Root,
}

/// Writes `result[at]`.
pub(super) fn total(gpu: &Gpu, parts: &Buffer, mode: &Mode<'_>, result: &Buffer, at: usize) -> Result<Op> {
    let nothing = Nothing::of(gpu)?.read;
    let (scale, count, mode) = match mode {
        Mode::Scaled(scale) => (*scale as f32, &nothing, 0),
        Mode::MeanOver(count) => (1.0, *count, 1),
        Mode::Root => (1.0, &nothing, 2),
    };
    let uniform = Uniform { parts: index(parts.len())?, at: index(at)?, scale };
    Op::gpu(
        gpu,
        &Launch {
            kernel: &KERNEL,
            recipe: None,
            consts: vec![("LANES", lanes(gpu.capabilities(), usize::MAX)), ("MODE", mode)],
            uniform: &uniform.bytes(),
            buffers: &[parts, count, result],
            groups: [1, 1, 1],
            steps: None,
            work: Work { bytes: parts.len() as f64 * 4.0, ..Work::small() },
        },
    )
}

/// Lanes of a workgroup that reduces `elements`, a power of two.
pub(super) fn lanes(caps: &Capabilities, elements: usize) -> u32 {
    let most = match caps.kind {
        AdapterKind::Software => 32,
        AdapterKind::Gpu => 256,
    };
    elements.clamp(8, most).next_power_of_two() as u32
}

/// Workgroups that leave a partial sum each.
pub(super) fn groups(caps: &Capabilities, work: usize) -> usize {
    let most = match caps.kind {
        AdapterKind::Software => 32,
        AdapterKind::Gpu => 1024,
    };
    work.clamp(1, most)
}

/// Ranges of `count` items of `width` elements, such that a range fits one binding, starts where one may start, and is
/// summed soon. What is summed a workgroup depends on them, so they depend on the class of the adapter alone.
pub(super) fn pieces(caps: &Capabilities, count: usize, width: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    // 64 elements are 256 bytes, the largest alignment there is.
    let bound = usize::try_from(caps.binding_bytes() / 4).unwrap_or(usize::MAX);
    let most = bound.min(caps.summed_at_once()) / width.max(1);
    let step = (most / 64 * 64).max(64);
    (0..count).step_by(step).map(move |first| first..(first + step).min(count))
}

/// `Σ f(x)` in f64, in eight sums side by side so that a processor's vectors can take them.
pub(super) fn sum_of<S: Scalar>(values: &[S], f: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&x| f(x.to_f64())).sum();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += f(x.to_f64()));
    }
    sums.iter().sum::<f64>() + rest
}
