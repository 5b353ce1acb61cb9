//! Splitting a long sequence so that every binding stays within the device's limit.
//!
//! Buffers that a layer owns are split into *chunks* of steps, each with buffers of its own. Sequences that the caller
//! owns (x, y and their gradients) stay whole and are bound in *windows* of times.

use std::ops::Range;

use crate::config::{BatchShape, RnnConfig};
use crate::device::Device;
use crate::error::{Error, Result};

/// Chunks of steps: as few as the device's bindings allow. The CPU executor has no such limit.
pub fn chunks(device: &Device, config: &RnnConfig, shape: BatchShape) -> Result<Vec<Range<usize>>> {
    let units = shape.batch * config.directions() * config.hidden;
    // A chunk's states have one slot more than it has steps; its saved values are `saved` times as wide.
    let elements = |steps: usize| (steps * config.cell.saved()).max(steps + 1) * units;
    split(device, shape.steps, "one step's gates", 1, elements)
}

/// Windows of times of a sequence with `row` elements a time, each starting where a binding may.
pub fn windows(device: &Device, steps: usize, row: usize) -> Result<Vec<Range<usize>>> {
    let alignment = device.gpu().map_or(1, |gpu| gpu.capabilities().offset_alignment as usize / 4);
    let unit = alignment / gcd(alignment, row);
    let what = match unit {
        1 => "one step of a sequence".to_string(),
        _ => format!("a run of {unit} steps of a sequence, the least that starts where a binding may,"),
    };
    split(device, steps, &what, unit, |times| times * row)
}

/// Cuts `0..steps` into runs of a multiple of `unit` whose `elements` fit a binding.
fn split(
    device: &Device,
    steps: usize,
    what: &str,
    unit: usize,
    elements: impl Fn(usize) -> usize,
) -> Result<Vec<Range<usize>>> {
    let most = match device.gpu() {
        None => usize::MAX,
        Some(gpu) => usize::try_from(gpu.capabilities().max_binding / 4).unwrap_or(usize::MAX),
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
            needed: format!("{} bytes", elements(unit).saturating_mul(4)),
            limit: format!("{} bytes a binding", most.saturating_mul(4)),
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
