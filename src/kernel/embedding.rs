//! Rows of a table by token, as `torch.nn.Embedding`: `y[r] = weight[token[r]]`, and backward
//! `dweight[v] = Σ dy[r]` over the rows r whose token is v, in row order and with every entry written. A token beyond
//! the table, which [`check_tokens`] finds on the host, reads as zeros and has no gradient.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `weight` | `[entries, width]` | read by forward |
//! | `tokens` | `[rows]`, u32 | read |
//! | `y` | `[rows, width]` | written by forward |
//! | `dy` | `[rows, width]` | read by backward |
//! | `dweight` | `[entries, width]` | written by backward |

mod scatter;

use super::cuts::{element_lanes, index, linear_groups, runs};
use super::op::{Launch, Op, Target, cpu_op, distinct};
use super::program::Program;
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, DType, Device, Element};
use crate::error::{Error, Result, at_least_one};
use crate::gpu::Work;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};
pub(super) use scatter::scatter_lanes;
pub use scatter::{COUNT, MOVE, PLACES, SCATTER, STARTS, scratch_len};

/// Forward.
pub static GATHER: Kernel = Kernel {
    name: "embedding_gather",
    fragments: fragments!["embed/gather.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("weight"),
        Binding::read("tokens"),
        Binding::read_write("y").or_half(),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        width: u32,
        entries: u32,
        first: u32,
        end: u32,
    }
}

/// An error naming the first token that is not in a table of `entries`.
pub fn check_tokens(entries: usize, tokens: &[u32]) -> Result<()> {
    match tokens.iter().position(|&token| token as usize >= entries) {
        None => Ok(()),
        Some(row) => {
            let expected = format!("below {entries}, the entries of the table");
            Err(Error::invalid(format!("token {row}"), expected, tokens[row]))
        }
    }
}

fn check(device: &Device, [entries, width]: [usize; 2], weight: &Buffer, tokens: &Buffer, y: &Buffer) -> Result<()> {
    at_least_one("the entries of an embedding", entries)?;
    at_least_one("the width of an embedding", width)?;
    at_least_one("the number of tokens", tokens.len())?;
    weight.check("the embedding's weight", device, &[entries, width], DType::Float)?;
    tokens.check("the tokens", device, &[tokens.len()], DType::U32)?;
    y.check_floats("the embedding's output", device, &[tokens.len(), width])
}

/// `y[r] = weight[token[r]]`.
pub fn gather(device: &Device, size: [usize; 2], weight: &Buffer, tokens: &Buffer, y: &Buffer) -> Result<Op> {
    check(device, size, weight, tokens, y)?;
    distinct("gather", &[y], &[weight, tokens])?;
    let [entries, width] = size;
    match device.target() {
        Target::Gpu(gpu) => {
            let lanes = element_lanes(gpu.capabilities());
            let bytes = (8 + y.element_bytes()) as f64;
            let work = |elements: usize| Work::moved(elements, bytes, lanes);
            Op::of_dispatches(runs(gpu, tokens.len() * width, 1, work).into_iter().map(|elements| {
                let uniform = Uniform {
                    width: index(width)?,
                    entries: index(entries)?,
                    first: index(elements.start)?,
                    end: index(elements.end)?,
                };
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel: &GATHER,
                        recipe: None,
                        consts: vec![("LANES", lanes)],
                        uniform: &uniform.bytes(),
                        buffers: &[weight, tokens, y],
                        groups: [linear_groups(gpu, elements.len(), lanes), 1, 1],
                        steps: None,
                        work: work(elements.len()),
                    },
                )
            }))
        }
        Target::Cpu(_, precision) => {
            let buffers = [weight.clone(), tokens.clone(), y.clone()];
            Ok(cpu_op!(precision, "embedding_gather", gather_on_cpu(width, buffers)))
        }
    }
}

/// Appends `dweight[v] = Σ dy[r]` over the rows whose token is v to `program`; where it `adds`, to what is there.
pub fn scatter(
    device: &Device,
    size: [usize; 2],
    tokens: &Buffer,
    dy: &Buffer,
    dweight: &Buffer,
    adds: bool,
    program: &mut Program,
) -> Result<()> {
    check(device, size, dweight, tokens, dy)?;
    distinct("scatter", &[dweight], &[dy, tokens])?;
    match device.target() {
        Target::Gpu(gpu) => scatter::on_gpu(device, gpu, size, [tokens, dy, dweight], adds, program),
        Target::Cpu(_, precision) => {
            let [_, width] = size;
            let buffers = [tokens.clone(), dy.clone(), dweight.clone()];
            program.push(cpu_op!(precision, "embedding_scatter", scatter_on_cpu(width, adds, buffers)));
            Ok(())
        }
    }
}

fn gather_on_cpu<S: Scalar + Element>(width: &usize, [weight, tokens, y]: &[Buffer; 3]) -> Result<()> {
    let (weight, tokens, mut y) = (weight.read::<S>()?, tokens.read::<u32>()?, y.write::<S>()?);
    for (y, &token) in y.chunks_exact_mut(*width).zip(&tokens[..]) {
        match weight.chunks_exact(*width).nth(token as usize) {
            Some(entry) => y.copy_from_slice(entry),
            None => y.fill(S::ZERO),
        }
    }
    Ok(())
}

fn scatter_on_cpu<S: Scalar + Element>(width: &usize, adds: &bool, [tokens, dy, dweight]: &[Buffer; 3]) -> Result<()> {
    let (tokens, dy, mut dweight) = (tokens.read::<u32>()?, dy.read::<S>()?, dweight.write::<S>()?);
    if !adds {
        dweight.fill(S::ZERO);
    }
    for (dy, &token) in dy.chunks_exact(*width).zip(&tokens[..]) {
        if let Some(entry) = dweight.chunks_exact_mut(*width).nth(token as usize) {
            entry.iter_mut().zip(dy).for_each(|(sum, &dy)| *sum += dy);
        }
    }
    Ok(())
}
