//! What the values of each column do over steps and sequences, padding left out: mean, spread, how often they are near −1, 0
//! and 1, and the mean of their logarithms.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `lengths` | `[B]`, u32 | read |
//! | `values` | `[steps·B, columns]` | read |
//! | `moments` | `[7, columns]`, see the shader | written, or added to |

use super::cuts::{index, runs};
use super::gemm::Matrix;
use super::op::{Launch, Op, Target, cpu_op, distinct};
use super::total;
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, DType, Device, Element};
use crate::error::{Result, at_least_one};
use crate::gpu::Work;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// The kernel's files and buffer table.
pub static KERNEL: Kernel = Kernel {
    name: "moments",
    fragments: fragments!["lib/float.wgsl", "probe/moments.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("lengths"),
        Binding::read("values").or_half(),
        Binding::read_write("moments"),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct Uniform {
        rows: u32,
        columns: u32,
        first: u32,
        end: u32,
        batch: u32,
        first_step: u32,
        offset: u32,
        to: u32,
        begins: u32,
    }
}

/// Numbers of a column.
pub const MOMENTS: usize = 7;
/// A value nearer to zero than this is counted as near zero.
pub const LOW: f64 = 0.05;
/// One beyond this, on either side, as near ±1.
pub const HIGH: f64 = 0.95;
/// Of smaller values the logarithm is that of this.
const LEAST: f64 = 1e-30;

/// Columns of a workgroup.
const TILE_COLUMNS: usize = 8;

/// The moments of some steps' values.
#[derive(Clone)]
pub struct Moments {
    /// Steps.
    pub steps: usize,
    /// B.
    pub batch: usize,
    /// Steps of the sequences before these.
    pub first_step: usize,
    /// Columns.
    pub columns: usize,
    /// Length of each sequence, `[B]`, u32, at least 1.
    pub lengths: Buffer,
    /// The values, rows without gaps.
    pub values: Matrix,
    /// Where the moments go, without gaps.
    pub to: Matrix,
    /// Whether nothing is there yet; else these steps are added to those before.
    pub begins: bool,
}

impl Moments {
    /// The op; an error when a size is zero, when a matrix does not lie in its buffer, or both share one.
    pub fn op(self, device: &Device) -> Result<Op> {
        at_least_one("the steps", self.steps)?;
        at_least_one("the batch", self.batch)?;
        at_least_one("the columns", self.columns)?;
        let rows = self.steps * self.batch;
        self.lengths.check("the lengths", device, &[self.batch], DType::U32)?;
        self.values.check("the values", rows, self.columns, 1)?;
        self.to.check("the moments", MOMENTS, self.columns, 1)?;
        distinct("moments", &[&self.to.buffer], &[&self.values.buffer, &self.lengths])?;
        match device.target() {
            Target::Gpu(gpu) => {
                let caps = gpu.capabilities();
                let lanes = total::lanes(caps, rows.saturating_mul(TILE_COLUMNS));
                let bytes = self.values.buffer.element_bytes() as f64;
                let work = |columns: usize| Work {
                    multiply_adds: (rows * columns) as f64,
                    bytes: (rows * columns) as f64 * bytes,
                    groups: columns.div_ceil(TILE_COLUMNS) as f64,
                    ..Work::default()
                };
                Op::of_dispatches(runs(gpu, self.columns, TILE_COLUMNS, work).into_iter().map(|columns| {
                    let uniform = Uniform {
                        rows: index(rows)?,
                        columns: index(self.columns)?,
                        first: index(columns.start)?,
                        end: index(columns.end)?,
                        batch: index(self.batch)?,
                        first_step: index(self.first_step)?,
                        offset: index(self.values.offset)?,
                        to: index(self.to.offset)?,
                        begins: u32::from(self.begins),
                    };
                    let launch = Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes)],
                        uniform: &uniform.bytes(),
                        buffers: &[&self.lengths, &self.values.buffer, &self.to.buffer],
                        groups: [index(total::groups(caps, columns.len().div_ceil(TILE_COLUMNS)))?, 1, 1],
                        steps: None,
                        work: work(columns.len()),
                    };
                    Op::gpu(gpu, &launch)
                }))
            }
            Target::Cpu(_, precision) => {
                let call = self;
                Ok(cpu_op!(precision, "moments", on_cpu(call)))
            }
        }
    }
}

fn on_cpu<S: Scalar + Element>(call: &Moments) -> Result<()> {
    let lengths = call.lengths.read::<u32>()?;
    let values = call.values.buffer.read::<S>()?;
    let mut moments = call.to.buffer.write::<S>()?;
    let [low, high, least] = [LOW, HIGH, LEAST].map(S::from_f64);
    let moments = &mut moments[call.to.offset..][..MOMENTS * call.columns];
    let rows = values[call.values.offset..].chunks_exact(call.columns);
    if call.begins {
        moments.fill(S::ZERO);
        let first = rows.clone().next().unwrap_or_default();
        moments.iter_mut().zip(first).for_each(|(to, first)| *to = *first);
    }
    let (first, found) = moments.split_at_mut(call.columns);
    let runs = |index: usize| call.first_step + index / call.batch < lengths[index % call.batch] as usize;
    for (_, row) in rows.take(call.steps * call.batch).enumerate().filter(|(index, _)| runs(*index)) {
        let mut add = |moment: usize, of: &dyn Fn(S, S) -> S| {
            let sums = &mut found[moment * call.columns..][..call.columns];
            sums.iter_mut().zip(row).zip(&*first).for_each(|((sum, value), first)| *sum += of(*value, *first));
        };
        let one_if = |is: bool| if is { S::ONE } else { S::ZERO };
        add(0, &|value, first| value - first);
        add(1, &|value, first| (value - first) * (value - first));
        add(2, &|value, _| one_if(value < -high));
        add(3, &|value, _| one_if(value.abs() < low));
        add(4, &|value, _| one_if(value > high));
        add(5, &|value, _| value.max(least).ln());
    }
    Ok(())
}
