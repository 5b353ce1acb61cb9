//! Cutting a sequence, so that every binding stays within the device's limit and so that less is kept.
//!
//! Buffers that a layer owns are split into *sections* of steps, each with buffers of its own. Steps are computed a
//! *chunk* at a time: a whole section, or a part of one where chunks share their buffers, since backward computes them
//! again or there is no backward. Sequences that the caller owns (x, y and their gradients) stay whole and are bound in
//! *windows* of times.
//!
//! Sums over steps must not depend on the chunks. They run from the last step to the first, chunk after chunk, and what
//! is summed in parts is summed in parts of a [`granule`] of steps, which no chunk cuts.

use std::ops::Range;

use crate::config::{BatchShape, RnnConfig};
use crate::cpu::recurrent as native;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::AdapterKind;
use crate::kernel::{column_sum, gemm, recurrent};
use crate::plan::Mode;

/// Rows of one native product: enough to keep its packing small beside its work.
const NATIVE_ROWS: usize = 512;

/// The steps of a layer, cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// Runs of steps with buffers of their own: as few as the device's bindings allow. The CPU executor has no limit.
    pub sections: Vec<Range<usize>>,
    /// What is computed at once, in order.
    pub chunks: Vec<PlannedChunk>,
    /// Steps of a chunk where all chunks share one buffer: with backward the states before each are kept and the rest is
    /// computed again. None where sections have buffers for all their steps.
    pub shared: Option<usize>,
}

/// A chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChunk {
    /// Its steps.
    pub steps: Range<usize>,
    /// The section that they lie in.
    pub section: usize,
    /// Its place among the section's chunks.
    pub place: usize,
}

impl Cuts {
    /// Cuts a layer's steps, with chunks of `shared` steps if there is such a number: rounded up to a multiple of a
    /// [`granule`], and down to the longest section. Floats are stored in `size` bytes. `flow` says whether backward leaves
    /// norms.
    pub fn new(
        device: &Device,
        config: &RnnConfig,
        shape: BatchShape,
        mode: Mode,
        flow: bool,
        shared: Option<usize>,
        size: usize,
    ) -> Result<Self> {
        let rows = shape.batch.saturating_mul(config.directions());
        // A section's states have one slot more than it has steps.
        let (recipe, hidden, directions) = (config.recipe(), config.hidden, config.directions());
        let widest = hidden.max(recipe.width(0, hidden));
        let kept = |steps: usize| {
            let of_states = (steps + 1).saturating_mul(widest);
            steps.saturating_mul(recipe.saved_width(hidden)).max(of_states).saturating_mul(rows)
        };
        // What backward leaves of gradients to see is f32, and follows those that it carries in one buffer.
        let carried = |steps: usize| {
            let layer = native::LayerShape {
                recipe,
                hidden,
                directions,
                first_reversed: config.first_reversed(),
                batch: BatchShape::new(steps, shape.batch),
            };
            recurrent::carry_len(device, &layer, flow).saturating_mul(4).div_ceil(size)
        };
        let elements = |steps: usize| kept(steps).max(carried(steps));
        let sections = split(device, shape.steps, "one step's gates", 1, size, elements)?;
        let longest = sections.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let rounded = |steps: usize| {
            let granule = granule(device, shape);
            steps.max(1).div_ceil(granule).saturating_mul(granule).min(longest)
        };
        // Without backward a chunk that has all steps shares with none.
        let shared = shared.map(rounded).filter(|&steps| mode == Mode::Train || steps < shape.steps);
        let chunks = sections.iter().enumerate().flat_map(|(section, steps)| {
            let length = shared.unwrap_or(steps.len()).max(1);
            let part = move |(place, first): (usize, usize)| {
                let end = steps.end.min(first.saturating_add(length));
                PlannedChunk { steps: first..end, section, place }
            };
            steps.clone().step_by(length).enumerate().map(part)
        });
        let chunks = chunks.collect();
        Ok(Self { sections, chunks, shared })
    }

    /// Steps of the longest chunk.
    pub fn longest(&self) -> usize {
        self.chunks.iter().map(|part| part.steps.len()).max().unwrap_or(0)
    }

    /// How many of the chunks lie in a section.
    pub fn chunks_of(&self, section: usize) -> usize {
        self.chunks.iter().filter(|part| part.section == section).count()
    }
}

/// Steps whose rows make whole partial sums. What is summed over steps in parts has its parts within runs of this many
/// steps, counted from the first of a section, so sums are the same bits for all chunks that are made of such runs. On a
/// software adapter these are the partial sums of bias gradients, on a GPU the slices of weight gradients as well; on the CPU the
/// products of gradients, whose library sums in blocks of its own.
pub fn granule(device: &Device, shape: BatchShape) -> usize {
    let rows = match device.gpu().map(|gpu| gpu.capabilities().kind) {
        Some(AdapterKind::Software) => column_sum::PART,
        Some(AdapterKind::Gpu) => gemm::SLICE,
        None => NATIVE_ROWS,
    };
    rows.div_ceil(shape.batch.max(1))
}

/// Windows of times of a sequence with `row` elements of `size` bytes a time, each starting where a binding may.
pub fn windows(device: &Device, steps: usize, row: usize, size: usize) -> Result<Vec<Range<usize>>> {
    let unit = unit(device, row, size);
    let what = match unit {
        1 => "one step of a sequence".to_string(),
        _ => format!("a run of {unit} steps of a sequence, the least that starts where a binding may,"),
    };
    split(device, steps, &what, unit, size, |times| times.saturating_mul(row))
}

/// Times of a window and, where no binding may start at the first of them, some before.
pub fn bindable(device: &Device, row: usize, size: usize, times: &Range<usize>) -> Range<usize> {
    let unit = unit(device, row, size);
    times.start / unit * unit..times.end
}

/// A binding may start at every time that is a multiple of this, of a sequence with `row` elements of `size` bytes a time.
fn unit(device: &Device, row: usize, size: usize) -> usize {
    let alignment = device.gpu().map_or(1, |gpu| gpu.capabilities().offset_alignment as usize / size).max(1);
    alignment / gcd(alignment, row)
}

/// Cuts `0..steps` into runs of a multiple of `unit` whose `elements` fit a binding.
fn split(
    device: &Device,
    steps: usize,
    what: &str,
    unit: usize,
    size: usize,
    elements: impl Fn(usize) -> usize,
) -> Result<Vec<Range<usize>>> {
    let most = match device.gpu() {
        None => usize::MAX,
        Some(gpu) => usize::try_from(gpu.capabilities().binding_bytes() / size as u64).unwrap_or(usize::MAX),
    };
    if elements(steps) <= most {
        return Ok(std::iter::once(0..steps).collect());
    }
    // The largest multiple of `unit` that fits, by bisection over a monotonic size.
    let (mut fits, mut too_many) = (0, steps.div_ceil(unit));
    while too_many - fits > 1 {
        let middle = fits.midpoint(too_many);
        if elements(middle * unit) <= most { fits = middle } else { too_many = middle }
    }
    if fits == 0 {
        return Err(Error::Limit {
            what: what.to_string(),
            needed: format!("{} bytes", elements(unit).saturating_mul(size)),
            limit: format!("{} bytes a binding", most.saturating_mul(size)),
            device: device.name(),
        });
    }
    let length = fits * unit;
    Ok((0..steps).step_by(length).map(|first| first..(first + length).min(steps)).collect())
}

/// `range` seen from the other end of `0..steps`.
pub fn reversed(range: &Range<usize>, steps: usize) -> Range<usize> {
    steps - range.end..steps - range.start
}

/// Whether the two have an element in common.
pub fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
