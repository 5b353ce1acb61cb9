//! Mean squared error and its gradient: `L = Σ (y − t)² / N` and `dy = 2 (y − t) / N`, as `torch.nn.MSELoss`. With a
//! loss scale the gradient, not the loss, is multiplied by it.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `y` | `[N]` | read |
//! | `goal` | `[N]`, the values aimed at | read |
//! | `scale` | `[1]`, the loss scale | read, if there is one |
//! | `dy` | `[N]` | written, unless only the loss is asked for |
//! | `parts` | a sum for each workgroup | written, then summed into the loss |

use bytemuck::{Pod, Zeroable};

use super::op::{Launch, Op, Program, Target, cpu_op, distinct};
use super::scale;
use super::total::{self, Mode};
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, DType, Device, Element};
use crate::error::{Result, at_least_one};
use crate::gpu::Gpu;
use crate::shader::{Binding, Kernel, fragments};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "mse",
    fragments: fragments!["lib/reduce.wgsl", "loss/mse.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("y"),
        Binding::read("goal"),
        Binding::read("scale"),
        Binding::read_write("dy"),
        Binding::read_write("parts"),
    ],
    uniform_bytes: size_of::<Uniform>(),
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Uniform {
    count: u32,
    first_part: u32,
    share: f32,
    pad: u32,
}

/// Appends the loss of `y` against `goal` to `program`: `loss [1]`, and `dy` if it is there, times `scale [1]` if
/// that is.
pub fn mse(
    device: &Device,
    [y, goal, loss]: [&Buffer; 3],
    dy: Option<&Buffer>,
    scale: Option<&Buffer>,
    program: &mut Program,
) -> Result<()> {
    at_least_one("the number of values of a loss", y.len())?;
    y.check("the output", device, &[y.len()], DType::Float)?;
    goal.check("the target", device, &[y.len()], DType::Float)?;
    loss.check("the loss", device, &[1], DType::Float)?;
    if let Some(dy) = dy {
        dy.check("the gradient of the output", device, &[y.len()], DType::Float)?;
    }
    if let Some(scale) = scale {
        scale.check("the loss scale", device, &[1], DType::Float)?;
    }
    let written: Vec<&Buffer> = dy.into_iter().chain([loss]).collect();
    let read: Vec<&Buffer> = [y, goal].into_iter().chain(scale).collect();
    distinct("mse", &written, &read)?;
    match device.target() {
        Target::Gpu(gpu) => on_gpu(gpu, device, [y, goal, loss], [dy, scale], program),
        Target::Cpu(_, precision) => {
            let (buffers, dy, scale) = ([y, goal, loss].map(Buffer::clone), dy.cloned(), scale.cloned());
            program.push(cpu_op!(precision, "mse", on_cpu(buffers, dy, scale)));
            Ok(())
        }
    }
}

fn on_gpu(
    gpu: &Gpu,
    device: &Device,
    [y, goal, loss]: [&Buffer; 3],
    [dy, scale]: [Option<&Buffer>; 2],
    program: &mut Program,
) -> Result<()> {
    let caps = gpu.capabilities();
    let lanes = total::lanes(caps, y.len());
    let groups = |count: usize| total::groups(caps, count.div_ceil(lanes as usize));
    let pieces: Vec<_> = total::pieces(caps, y.len(), 1).collect();
    let parts = device.alloc("partial sums of a loss", pieces.iter().map(|piece| groups(piece.len())).sum())?;
    let [no_scale, no_dy] = device.nothing()?;
    let scaled = dy.is_some() && scale.is_some();
    let mut first_part = 0;
    for piece in pieces {
        let (count, groups) = (piece.len(), groups(piece.len()));
        let share = (2.0 / y.len() as f64) as f32;
        let uniform = Uniform { count: count as u32, first_part: first_part as u32, share, pad: 0 };
        let piece_of_dy = dy.map(|dy| dy.slice(piece.clone())).transpose()?;
        program.push(Op::gpu(
            gpu,
            &Launch {
                kernel: &KERNEL,
                cell: None,
                consts: vec![("LANES", lanes), ("GRADIENT", u32::from(dy.is_some())), ("SCALED", u32::from(scaled))],
                uniform: bytemuck::bytes_of(&uniform),
                buffers: &[
                    &y.slice(piece.clone())?,
                    &goal.slice(piece)?,
                    scale.unwrap_or(&no_scale),
                    piece_of_dy.as_ref().unwrap_or(&no_dy),
                    &parts,
                ],
                groups: [groups as u32, 1, 1],
                steps: None,
            },
        )?);
        first_part += groups;
    }
    program.push(total::total(gpu, device, &parts, &Mode::Scaled(1.0 / y.len() as f64), loss, 0)?);
    Ok(())
}

fn on_cpu<S: Scalar + Element>(
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
