//! Losses of numbers against numbers, with their gradients. With a loss scale the gradient, not the loss, is multiplied by
//! it.
//!
//! - Mean squared error: `L = Σ (y − t)² / N` and `dy = 2 (y − t) / N`, as `torch.nn.MSELoss`.
//! - Quantile loss (Koenker and Bassett, 1978), for Q levels τ of each value aimed at: `L = Σ max(τ·(t − y), (τ − 1)·(t − y))
//!   / N`, and `dy = −τ / N` where y is below t, `(1 − τ) / N` above, 0 where it is t. What is learnt of t for the level τ is
//!   the value that it stays below with that probability.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `y` | `[N]`; quantiles: `[N / Q, Q]` | read |
//! | `goal` | `[N]`, the values aimed at; quantiles: `[N / Q]` | read |
//! | `levels` | `[Q]` | read by the quantile loss |
//! | `scale` | `[1]`, the loss scale | read, if there is one |
//! | `dy` | as `y` | written, unless only the loss is asked for |
//! | `parts` | a sum for each workgroup | written, then summed into the loss |

use super::cuts::index;
use super::op::{Launch, Op, Target, cpu_op, distinct};
use super::program::Program;
use super::scale;
use super::total::{self, Mode};
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, DType, Device, Element, Nothing};
use crate::error::{Result, at_least_one};
use crate::gpu::{Gpu, Work};
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "regression",
    fragments: fragments!["lib/float.wgsl", "lib/reduce.wgsl", "loss/regression.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("y"),
        Binding::read("goal"),
        Binding::read("levels"),
        Binding::read("scale"),
        Binding::read_write("dy"),
        Binding::read_write("parts"),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        count: u32,
        first_part: u32,
        share: f32,
        levels: u32,
    }
}

/// Appends the mean squared error of `y` against `goal` to `program`: `loss [1]`, and `dy` if it is there, times `scale [1]` if
/// that is.
pub fn mse(
    device: &Device,
    [y, goal, loss]: [&Buffer; 3],
    dy: Option<&Buffer>,
    scale: Option<&Buffer>,
    program: &mut Program,
) -> Result<()> {
    append(device, [y, goal, loss], None, [dy, scale], program)
}

/// Appends the quantile loss of `y [N / Q, Q]` against `goal [N / Q]` for `levels [Q]`, as [`mse`] does.
pub fn quantile(
    device: &Device,
    [y, goal, loss]: [&Buffer; 3],
    levels: &Buffer,
    dy: Option<&Buffer>,
    scale: Option<&Buffer>,
    program: &mut Program,
) -> Result<()> {
    append(device, [y, goal, loss], Some(levels), [dy, scale], program)
}

fn append(
    device: &Device,
    [y, goal, loss]: [&Buffer; 3],
    levels: Option<&Buffer>,
    [dy, scale]: [Option<&Buffer>; 2],
    program: &mut Program,
) -> Result<()> {
    let each = levels.map_or(1, Buffer::len);
    at_least_one("the number of values of a loss", y.len())?;
    at_least_one("the number of levels of a loss", each)?;
    y.check("the output", device, &[goal.len() * each], DType::Float)?;
    goal.check("the target", device, &[y.len() / each], DType::Float)?;
    loss.check("the loss", device, &[1], DType::Float)?;
    if let Some(levels) = levels {
        levels.check("the levels", device, &[each], DType::Float)?;
    }
    if let Some(dy) = dy {
        dy.check("the gradient of the output", device, &[y.len()], DType::Float)?;
    }
    if let Some(scale) = scale {
        scale.check("the loss scale", device, &[1], DType::Float)?;
    }
    let written: Vec<&Buffer> = dy.into_iter().chain([loss]).collect();
    let read: Vec<&Buffer> = [y, goal].into_iter().chain(levels).chain(scale).collect();
    distinct(if levels.is_some() { "quantile" } else { "mse" }, &written, &read)?;
    match device.target() {
        Target::Gpu(gpu) => on_gpu(gpu, device, [y, goal, loss], levels, [dy, scale], program),
        Target::Cpu(_, precision) => {
            let (buffers, dy, scale) = ([y, goal, loss].map(Buffer::clone), dy.cloned(), scale.cloned());
            program.push(match levels.cloned() {
                None => cpu_op!(precision, "mse", mse_on_cpu(buffers, dy, scale)),
                Some(levels) => cpu_op!(precision, "quantile", quantile_on_cpu(buffers, levels, dy, scale)),
            });
            Ok(())
        }
    }
}

fn on_gpu(
    gpu: &Gpu,
    device: &Device,
    [y, goal, loss]: [&Buffer; 3],
    levels: Option<&Buffer>,
    [dy, scale]: [Option<&Buffer>; 2],
    program: &mut Program,
) -> Result<()> {
    let caps = gpu.capabilities();
    let each = levels.map_or(1, Buffer::len);
    let lanes = total::lanes(caps, y.len());
    let groups = |count: usize| total::groups(caps, count.div_ceil(lanes as usize));
    // By the values aimed at.
    let pieces: Vec<_> = total::pieces(caps, goal.len(), each).collect();
    let parts = device.alloc("partial sums of a loss", pieces.iter().map(|piece| groups(piece.len() * each)).sum())?;
    let Nothing { read: nothing, written: [no_dy, ..] } = Nothing::of(gpu)?;
    let scaled = dy.is_some() && scale.is_some();
    let mut first_part = 0;
    for piece in pieces {
        let outputs = piece.start * each..piece.end * each;
        let (count, groups) = (outputs.len(), groups(outputs.len()));
        let share = (if levels.is_some() { 1.0 } else { 2.0 } / y.len() as f64) as f32;
        let uniform = Uniform { count: index(count)?, first_part: index(first_part)?, share, levels: index(each)? };
        let bytes = if dy.is_some() { 12.0 } else { 8.0 };
        let work = Work { groups: groups as f64, ..Work::moved(count, bytes, lanes) };
        let piece_of_dy = dy.map(|dy| dy.slice(outputs.clone())).transpose()?;
        program.push(Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                recipe: None,
                consts: vec![
                    ("LANES", lanes),
                    ("GRADIENT", u32::from(dy.is_some())),
                    ("SCALED", u32::from(scaled)),
                    ("QUANTILE", u32::from(levels.is_some())),
                ],
                uniform: &uniform.bytes(),
                buffers: &[
                    &y.slice(outputs)?,
                    &goal.slice(piece)?,
                    levels.unwrap_or(&nothing),
                    scale.unwrap_or(&nothing),
                    piece_of_dy.as_ref().unwrap_or(&no_dy),
                    &parts,
                ],
                groups: [index(groups)?, 1, 1],
                steps: None,
                work,
            },
        )?);
        first_part += groups;
    }
    program.push(total::total(gpu, &parts, &Mode::Scaled(1.0 / y.len() as f64), loss, 0)?);
    Ok(())
}

fn mse_on_cpu<S: Scalar + Element>(
    [y, goal, loss]: &[Buffer; 3],
    dy: &Option<Buffer>,
    scale: &Option<Buffer>,
) -> Result<()> {
    let (y, goal) = (y.read::<S>()?, goal.read::<S>()?);
    let squares = |(&y, &goal): (&S, &S)| (y - goal).to_f64() * (y - goal).to_f64();
    let sum: f64 = y.iter().zip(&goal[..]).map(squares).sum();
    if let Some(dy) = dy {
        let mut dy = dy.write::<S>()?;
        let scale = scale.as_ref().map_or(Ok(1.0), scale::read::<S>)?;
        let share = S::from_f64(2.0 / y.len() as f64 * scale);
        dy.iter_mut().zip(y.iter().zip(&goal[..])).for_each(|(dy, (&y, &goal))| *dy = share * (y - goal));
    }
    loss.write::<S>()?[0] = S::from_f64(sum / y.len() as f64);
    Ok(())
}

fn quantile_on_cpu<S: Scalar + Element>(
    [y, goal, loss]: &[Buffer; 3],
    levels: &Buffer,
    dy: &Option<Buffer>,
    scale: &Option<Buffer>,
) -> Result<()> {
    let (y, goal, levels) = (y.read::<S>()?, goal.read::<S>()?, levels.read::<S>()?);
    let aimed = || goal.iter().flat_map(|goal| levels.iter().map(move |level| (*goal, *level)));
    let miss = |(&y, (goal, level)): (&S, (S, S))| {
        let (above, level) = ((y - goal).to_f64(), level.to_f64());
        if above > 0.0 { (1.0 - level) * above } else { -level * above }
    };
    let sum: f64 = y.iter().zip(aimed()).map(miss).sum();
    if let Some(dy) = dy {
        let mut dy = dy.write::<S>()?;
        let scale = scale.as_ref().map_or(Ok(1.0), scale::read::<S>)?;
        let share = S::from_f64(scale / y.len() as f64);
        for ((dy, &y), (goal, level)) in dy.iter_mut().zip(y.iter()).zip(aimed()) {
            *dy = match y.partial_cmp(&goal) {
                Some(std::cmp::Ordering::Less) => -level * share,
                Some(std::cmp::Ordering::Equal) => S::ZERO,
                Some(std::cmp::Ordering::Greater) => (S::ONE - level) * share,
                None => y - goal,
            };
        }
    }
    loss.write::<S>()?[0] = S::from_f64(sum / y.len() as f64);
    Ok(())
}
