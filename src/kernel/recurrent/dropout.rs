//! Dropout between layers, and the draw that its masks come from.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `random` | the seed's two words, the draw, one to spare | read; counted up by `draw` |
//! | `lengths` | `[B]` | read |
//! | `source` | states in step order `[steps, B, D, H]` from an offset on | read; none: `to` itself, in time order |
//! | `to` | the same | written |

use crate::activation::Number;
use crate::cpu::random::threefry;
use crate::cpu::scalar::Scalar;
use crate::device::{Buffer, DType, Device, Element, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op, Target, cpu_op, distinct};
use crate::kernel::rows::other_side;
use crate::shader::{Binding, Kernel, Members, Uniform as _, fragments, uniform};

/// Masks values.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_dropout",
    fragments: fragments!["lib/rows.wgsl", "lib/random.wgsl", "recurrent/dropout.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("random"),
        Binding::read("lengths"),
        Binding::read("source").or_half(),
        Binding::read_write("to").or_half(),
    ],
    uniform: Uniform::MEMBERS,
};

/// Counts the draw up.
pub static DRAW: Kernel = Kernel {
    name: "recurrent_draw",
    fragments: fragments!["recurrent/draw.wgsl"],
    bindings: &[Binding::read_write("random")],
    uniform: Members::NONE,
};

uniform! {
    struct Uniform {
        batch: u32,
        width: u32,
        hidden: u32,
        first: u32,
        end: u32,
        first_row: u32,
        from_offset: u32,
        to_offset: u32,
        layer: u32,
        most: u32,
        first_reversed: u32,
        scale: f32,
    }
}

/// Words of `random`.
pub const RANDOM_WORDS: usize = 4;

/// What is dropped, and by which draw.
#[derive(Clone)]
pub struct Dropout {
    /// The probability that a value is dropped.
    pub probability: Number,
    /// [`RANDOM_WORDS`] of u32.
    pub random: Buffer,
    /// `[B]`.
    pub lengths: Buffer,
    /// The layer that gives the values.
    pub layer: usize,
    /// H.
    pub hidden: usize,
    /// D.
    pub directions: usize,
    /// The first direction that goes from the end.
    pub first_reversed: usize,
}

/// Rows of values: of steps, or of times.
#[derive(Clone)]
pub struct DroppedRows {
    /// Step or time of the first.
    pub first: usize,
    /// How many steps or times.
    pub count: usize,
    /// Where values in step order come from, with the element at which the rows begin; none: they are in `to`, in time order.
    pub source: Option<(Buffer, usize)>,
    /// Where they go, and from which element on.
    pub to: (Buffer, usize),
}

impl Dropout {
    /// A new draw, for all that is dropped until the next.
    pub fn draw(device: &Device, random: &Buffer) -> Result<Op> {
        random.check("the random state", device, &[RANDOM_WORDS], DType::U32)?;
        match device.target() {
            Target::Gpu(gpu) => {
                let launch = Launch {
                    kernel: &DRAW,
                    recipe: None,
                    consts: Vec::new(),
                    uniform: &[],
                    buffers: &[random],
                    groups: [1, 1, 1],
                    steps: None,
                    work: Work::moved(1, 8.0, 1),
                };
                Op::gpu(gpu, &launch)
            }
            Target::Cpu(_, precision) => {
                let random = random.clone();
                Ok(cpu_op!(precision, "recurrent_draw", draw_on_cpu(random)))
            }
        }
    }

    /// Words below which values are kept, and what those are multiplied by.
    fn kept(&self) -> (u32, f32) {
        let kept = 1.0 - f64::from(self.probability.get());
        let most = (kept * 4_294_967_296.0).round().min(f64::from(u32::MAX)) as u32;
        (most, if most == 0 { 0.0 } else { (1.0 / kept) as f32 })
    }

    /// Masks rows of `[B, D·H]`. Errors: buffers that are too small, or that share an allocation.
    pub fn op(&self, device: &Device, rows: &DroppedRows) -> Result<Op> {
        let (batch, width) = (self.lengths.len(), self.directions * self.hidden);
        let elements = rows.count * batch * width;
        let (to, to_offset) = &rows.to;
        to.slice(*to_offset..to_offset + elements)?;
        if let Some((source, offset)) = &rows.source {
            source.slice(*offset..offset + elements)?;
            distinct(KERNEL.name, &[to], &[source])?;
        }
        match device.target() {
            Target::Gpu(gpu) => {
                let (lanes, nothing) = (element_lanes(gpu.capabilities()), Nothing::of(gpu)?);
                let (most, scale) = self.kept();
                let bytes = 2.0 * to.element_bytes() as f64;
                let work = |elements: usize| Work { functions: elements as f64, ..Work::moved(elements, bytes, lanes) };
                let source = rows.source.as_ref();
                Op::in_pieces(runs(gpu, elements, 1, work).into_iter().map(|elements| {
                    let uniform = Uniform {
                        batch: index(batch)?,
                        width: index(width)?,
                        hidden: index(self.hidden)?,
                        first: index(elements.start)?,
                        end: index(elements.end)?,
                        first_row: index(rows.first)?,
                        from_offset: index(source.map_or(0, |(_, offset)| *offset))?,
                        to_offset: index(*to_offset)?,
                        layer: index(self.layer)?,
                        most,
                        first_reversed: index(self.first_reversed)?,
                        scale,
                    };
                    let launch = Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes), ("FROM_SOURCE", u32::from(source.is_some()))],
                        uniform: &uniform.bytes(),
                        buffers: &[&self.random, &self.lengths, source.map_or(&nothing.read, |(buffer, _)| buffer), to],
                        groups: [linear_groups(gpu, elements.len(), lanes), 1, 1],
                        steps: None,
                        work: work(elements.len()),
                    };
                    Op::gpu(gpu, &launch)
                }))
            }
            Target::Cpu(_, precision) => {
                let (dropout, rows) = (self.clone(), rows.clone());
                Ok(cpu_op!(precision, "recurrent_dropout", on_cpu(dropout, rows)))
            }
        }
    }
}

/// Twin of `recurrent/draw.wgsl`.
fn draw_on_cpu<S: Scalar + Element>(random: &Buffer) -> Result<()> {
    let mut random = random.write::<u32>()?;
    if let Some(draw) = random.get_mut(2) {
        *draw = draw.wrapping_add(1);
    }
    Ok(())
}

/// Twin of `recurrent/dropout.wgsl`.
fn on_cpu<S: Scalar + Element>(dropout: &Dropout, rows: &DroppedRows) -> Result<()> {
    let (random, lengths) = (dropout.random.read::<u32>()?, dropout.lengths.read::<u32>()?);
    let source = rows.source.as_ref().map(|(source, _)| source.read::<S>()).transpose()?;
    let from = source.as_deref().zip(rows.source.as_ref()).map(|(values, (_, offset))| &values[*offset..]);
    let mut to = rows.to.0.write::<S>()?;
    let (batch, width) = (lengths.len(), dropout.directions * dropout.hidden);
    let [low, high, draw, ..] = random[..] else { return Ok(()) };
    let key = [low, high ^ dropout.layer as u32];
    let (most, scale) = dropout.kept();
    let scale = S::from_f64(f64::from(scale));
    let to = &mut to[rows.to.1..][..rows.count * batch * width];
    for (at, to) in to.chunks_exact_mut(dropout.hidden).enumerate() {
        let (row, direction) = (at / dropout.directions, at % dropout.directions);
        let (step, sequence) = (rows.first + row / batch, row % batch);
        let reversed = direction >= dropout.first_reversed;
        let time = if from.is_some() { other_side(step, lengths[sequence] as usize, reversed) } else { step };
        let place = (time * batch + sequence) * width + direction * dropout.hidden;
        for (unit, to) in to.iter_mut().enumerate() {
            let value = from.map_or(*to, |from| from[at * dropout.hidden + unit]);
            let [word, _] = threefry(key, [(place + unit) as u32, draw]);
            *to = if word < most { value * scale } else { S::ZERO };
        }
    }
    Ok(())
}
