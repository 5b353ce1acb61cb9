//! Dropout of outputs between layers, of inputs and of weights, and the draw that masks come from.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `lengths` | `[B]`, and from a place on the seed's two words, the draw, one to spare | read; the draw is counted up by `draw` |
//! | `source` | rows `[rows, B, D·H]` from an offset on | read; none: `to` itself |
//! | `to` | the same | written |

use crate::activation::Number;
use crate::cpu::random::{Leaves, Masked, Masks, RANDOM_WORDS};
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Pool, for_each};
use crate::device::{Buffer, Device, Element, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op, Target, cpu_op, distinct};
use crate::kernel::rows::other_side;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// Masks values.
pub static KERNEL: Kernel = Kernel {
    name: "recurrent_dropout",
    fragments: fragments!["lib/direction.wgsl", "lib/rows.wgsl", "lib/random.wgsl", "recurrent/dropout.wgsl"],
    bindings: &[
        Binding::uniform("u"),
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
    bindings: &[Binding::uniform("u"), Binding::read_write("lengths")],
    uniform: DrawUniform::MEMBERS,
};

uniform! {
    struct DrawUniform {
        random: u32,
    }
}

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
        below: u32,
        first_reversed: u32,
        random: u32,
        scale: f32,
        per_row: u32,
        adds: u32,
    }
}

/// Where the seed and the draw are.
#[derive(Clone)]
pub struct Draws {
    /// Words of u32, behind the lengths.
    pub lengths: Buffer,
    /// The first of [`RANDOM_WORDS`] of them.
    pub random: usize,
}

/// What is dropped, and by which draw.
#[derive(Clone)]
pub struct Dropout {
    /// The probability that a value is dropped.
    pub probability: Number,
    /// What is dropped: inputs have one mask at all steps.
    pub masked: Masked,
    /// The draw.
    pub draws: Draws,
    /// B; of weights 1.
    pub batch: usize,
    /// The layer whose outputs, inputs or weights these are.
    pub layer: usize,
    /// H; of what has no directions all of a row.
    pub hidden: usize,
    /// D.
    pub directions: usize,
    /// The first direction that goes from the end.
    pub first_reversed: usize,
}

/// Rows of values: of steps, of times, or of directions.
#[derive(Clone)]
pub struct DroppedRows {
    /// Step, time or direction of the first.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Where the values come from.
    pub from: Given,
    /// Where they go, and from which element on.
    pub to: (Buffer, usize),
    /// Whether they are added to what is there.
    pub adds: bool,
}

/// Where values come from that are masked.
#[derive(Clone)]
pub enum Given {
    /// Where they go.
    There,
    /// Rows in step order, those of outputs, with the element at which they begin; their masks are in time order.
    Steps(Buffer, usize),
    /// Rows as they are, likewise.
    Rows(Buffer, usize),
}

impl Given {
    /// `FROM_SOURCE` of the shader.
    const fn constant(&self) -> u32 {
        match self {
            Self::There => 0,
            Self::Steps(..) => 1,
            Self::Rows(..) => 2,
        }
    }

    const fn source(&self) -> Option<(&Buffer, usize)> {
        match self {
            Self::There => None,
            Self::Steps(buffer, offset) | Self::Rows(buffer, offset) => Some((buffer, *offset)),
        }
    }
}

impl Draws {
    /// A new draw, for all masks until the next.
    pub fn draw(&self, device: &Device) -> Result<Op> {
        self.lengths.slice(self.random..self.random + RANDOM_WORDS)?;
        match device.target() {
            Target::Gpu(gpu) => {
                let launch = Launch {
                    kernel: &DRAW,
                    recipe: None,
                    consts: Vec::new(),
                    uniform: &DrawUniform { random: index(self.random)? }.bytes(),
                    buffers: &[&self.lengths],
                    groups: [1, 1, 1],
                    steps: None,
                    work: Work::moved(1, 8.0, 1),
                };
                Op::gpu(gpu, &launch)
            }
            Target::Cpu(_, precision) => {
                let draws = self.clone();
                Ok(cpu_op!(precision, "recurrent_draw", draw_on_cpu(draws)))
            }
        }
    }
}

impl Dropout {
    /// Whether the rows' masks differ.
    const fn has_mask_per_row(&self) -> bool {
        !matches!(self.masked, Masked::Inputs)
    }

    /// Masks rows of `[B, D·H]`. Errors: buffers that are too small, or that share an allocation.
    pub fn op(&self, device: &Device, rows: &DroppedRows) -> Result<Op> {
        let (batch, width) = (self.batch, self.directions * self.hidden);
        let Draws { lengths, random } = &self.draws;
        lengths.slice(0..batch)?;
        lengths.slice(*random..random + RANDOM_WORDS)?;
        let elements = rows.count * batch * width;
        let (to, to_offset) = &rows.to;
        to.slice(*to_offset..to_offset + elements)?;
        if let Some((source, offset)) = rows.from.source() {
            source.slice(offset..offset + elements)?;
            distinct(KERNEL.name, &[to], &[source])?;
        }
        match device.target() {
            Target::Gpu(gpu) => {
                let (lanes, nothing) = (element_lanes(gpu.capabilities()), Nothing::of(gpu)?);
                let Leaves { below, scale } = Leaves::of(self.probability.get());
                let bytes = 2.0 * to.element_bytes() as f64;
                let work = |elements: usize| Work { functions: elements as f64, ..Work::moved(elements, bytes, lanes) };
                let source = rows.from.source();
                Op::of_dispatches(runs(gpu, elements, 1, work).into_iter().map(|elements| {
                    let uniform = Uniform {
                        batch: index(batch)?,
                        width: index(width)?,
                        hidden: index(self.hidden)?,
                        first: index(elements.start)?,
                        end: index(elements.end)?,
                        first_row: index(rows.first)?,
                        from_offset: index(source.map_or(0, |(_, offset)| offset))?,
                        to_offset: index(*to_offset)?,
                        layer: self.masked.of_layer(self.layer),
                        below,
                        first_reversed: index(self.first_reversed)?,
                        random: index(*random)?,
                        scale,
                        per_row: u32::from(self.has_mask_per_row()),
                        adds: u32::from(rows.adds),
                    };
                    let launch = Launch {
                        kernel: &KERNEL,
                        recipe: None,
                        consts: vec![("LANES", lanes), ("FROM_SOURCE", rows.from.constant())],
                        uniform: &uniform.bytes(),
                        buffers: &[lengths, source.map_or(&nothing.read, |(buffer, _)| buffer), to],
                        groups: [linear_groups(gpu, elements.len(), lanes), 1, 1],
                        steps: None,
                        work: work(elements.len()),
                    };
                    Op::gpu(gpu, &launch)
                }))
            }
            Target::Cpu(pool, precision) => {
                let (dropout, rows) = (self.clone(), rows.clone());
                Ok(cpu_op!(precision, "recurrent_dropout", on_cpu(dropout, rows, pool)))
            }
        }
    }
}

/// Elements that a thread takes at a time.
const AT_ONCE: usize = 1 << 14;

/// Twin of `recurrent/draw.wgsl`.
fn draw_on_cpu<S: Scalar + Element>(draws: &Draws) -> Result<()> {
    let mut words = draws.lengths.write::<u32>()?;
    if let Some(draw) = words.get_mut(draws.random + 2) {
        *draw = draw.wrapping_add(1);
    }
    Ok(())
}

/// Twin of `recurrent/dropout.wgsl`.
fn on_cpu<S: Scalar + Element>(dropout: &Dropout, rows: &DroppedRows, pool: &Pool) -> Result<()> {
    let words = dropout.draws.lengths.read::<u32>()?;
    let (lengths, random) = (&words[..dropout.batch], &words[dropout.draws.random..][..RANDOM_WORDS]);
    let masks = Masks::new(random, dropout.masked, dropout.layer)?;
    let source = rows.from.source();
    let values = source.map(|(source, _)| source.read::<S>()).transpose()?;
    let values = values.as_deref().zip(source).map(|(values, (_, offset))| &values[offset..]);
    let mut to = rows.to.0.write::<S>()?;
    let (batch, width) = (dropout.batch, dropout.directions * dropout.hidden);
    let leaves = Leaves::of(dropout.probability.get());
    let to = &mut to[rows.to.1..][..rows.count * batch * width];
    let (hidden, elements) = (dropout.hidden, to.len());
    // Some elements, those of each direction's rows together.
    let some = |(index, to): (usize, &mut [S])| {
        let mut rest = to;
        let mut first = index * AT_ONCE;
        while !rest.is_empty() {
            let (at, unit) = (first / hidden, first % hidden);
            let (now, after) = rest.split_at_mut((hidden - unit).min(rest.len()));
            let (row, direction) = (at / dropout.directions, at % dropout.directions);
            let (row, sequence) = (rows.first + row / batch, row % batch);
            let row = match &rows.from {
                _ if !dropout.has_mask_per_row() => 0,
                Given::Steps(..) => other_side(row, lengths[sequence] as usize, direction >= dropout.first_reversed),
                Given::There | Given::Rows(..) => row,
            };
            let place = (row * batch + sequence) * width + direction * hidden + unit;
            let values = values.map(|values| &values[first..][..now.len()]);
            masks.drop(place, leaves, values, now, rows.adds);
            first += now.len();
            rest = after;
        }
    };
    // A mask takes the time of some dozens of multiply-adds.
    let threads = pool.threads_for(elements.saturating_mul(32));
    pool.run_on(threads, || for_each(threads, to.chunks_mut(AT_ONCE).enumerate().collect(), some));
    Ok(())
}
