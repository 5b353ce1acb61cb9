//! The Euclidean norm of a flat buffer, `√Σ g²`: the global norm of all gradients, as `torch.nn.utils.get_total_norm`.
//! On a GPU squares are summed in f32, so that a norm beyond 1.8e19 is infinite; NaN and infinity in the input come
//! through. Of gradients that are sums over batches it is the norm of their mean, of those that are multiplied by a loss scale
//! the norm without it: `√Σ (g · share / scale)²`.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `gradients` | `[n]` | read |
//! | `scale` | `[1]`, the loss scale | read, if there is one |
//! | `parts` | a sum for each workgroup | written, then summed |

use super::cuts::index;
use super::op::{Launch, Op, Target, cpu_op, distinct};
use super::program::Program;
use super::scale;
use super::total::{self, Mode};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Pool, for_each};
use crate::device::{Buffer, DType, Device, Element, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "norm",
    fragments: fragments!["lib/reduce.wgsl", "lib/scale.wgsl", "optim/norm.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("gradients"),
        Binding::read("scale"),
        Binding::read_write("parts"),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        count: u32,
        first_part: u32,
        share: f32,
    }
}

/// Appends `to[at] = √Σ (gradients · share / scale)²` to `program`. The scale may lie in the same allocation as `to`, which is
/// written after it is read.
pub fn norm(
    device: &Device,
    gradients: &Buffer,
    scale: Option<&Buffer>,
    share: f64,
    to: &Buffer,
    at: usize,
    program: &mut Program,
) -> Result<()> {
    gradients.check("the gradients", device, &[gradients.len()], DType::Float)?;
    to.check("the norm's buffer", device, &[to.len().max(at + 1)], DType::Float)?;
    if let Some(scale) = scale {
        scale.check("the loss scale", device, &[1], DType::Float)?;
    }
    distinct("norm", &[to], &[gradients])?;
    let gpu = match device.target() {
        Target::Gpu(gpu) => gpu,
        Target::Cpu(pool, precision) => {
            let (gradients, scale, to) = (gradients.clone(), scale.cloned(), to.clone());
            program.push(cpu_op!(precision, "norm", on_cpu(pool, gradients, scale, share, to, at)));
            return Ok(());
        }
    };
    let caps = gpu.capabilities();
    let lanes = total::lanes(caps, gradients.len());
    let groups = |count: usize| total::groups(caps, count.div_ceil(lanes as usize));
    let pieces: Vec<_> = total::pieces(caps, gradients.len(), 1).collect();
    let parts = device.alloc("partial sums of a norm", pieces.iter().map(|piece| groups(piece.len())).sum())?;
    let no_scale = Nothing::of(gpu)?.read;
    let mut first_part = 0;
    for piece in pieces {
        let groups = groups(piece.len());
        let uniform = Uniform { count: index(piece.len())?, first_part: index(first_part)?, share: share as f32 };
        let work = Work { groups: groups as f64, ..Work::moved(piece.len(), 4.0, lanes) };
        program.push(Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                recipe: None,
                consts: vec![("LANES", lanes), ("SCALED", u32::from(scale.is_some()))],
                uniform: &uniform.bytes(),
                buffers: &[&gradients.slice(piece)?, scale.unwrap_or(&no_scale), &parts],
                groups: [index(groups)?, 1, 1],
                steps: None,
                work,
            },
        )?);
        first_part += groups;
    }
    program.push(total::total(gpu, &parts, &Mode::Root, to, at)?);
    Ok(())
}

/// Elements of one sum, whatever the number of threads.
const BLOCK: usize = 1 << 14;

fn on_cpu<S: Scalar + Element>(
    pool: &Pool,
    gradients: &Buffer,
    scale: &Option<Buffer>,
    share: &f64,
    to: &Buffer,
    at: &usize,
) -> Result<()> {
    let unscale = share / scale.as_ref().map_or(Ok(1.0), scale::read::<S>)?;
    let gradients = gradients.read::<S>()?;
    let mut sums = vec![0.0; gradients.len().div_ceil(BLOCK)];
    let blocks = sums.iter_mut().zip(gradients.chunks(BLOCK)).collect();
    let threads = pool.threads_over(gradients.len());
    pool.run_on(threads, || {
        for_each(threads, blocks, |(sum, block): (&mut f64, &[S])| {
            *sum = total::sum_of(block, |g| (g * unscale) * (g * unscale));
        });
    });
    to.write::<S>()?[*at] = S::from_f64(sums.iter().sum::<f64>().sqrt());
    Ok(())
}
