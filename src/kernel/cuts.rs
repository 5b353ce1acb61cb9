//! How the work of a kernel is cut into dispatches that each end soon: runs of what it does one after another, and
//! rectangles of what it makes. Where it is cut changes no bit.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::gpu::{AdapterKind, Capabilities, Gpu, Work};

/// Lanes of an element-wise kernel.
pub(crate) fn element_lanes(caps: &Capabilities) -> u32 {
    match caps.kind {
        AdapterKind::Software => 32,
        AdapterKind::Gpu => 64,
    }
}

/// Workgroups along x for a kernel that strides over `elements`.
pub(crate) fn linear_groups(gpu: &Gpu, elements: usize, lanes: u32) -> u32 {
    let caps = gpu.capabilities();
    // A software adapter gains nothing from more groups than it has threads, and pays for each.
    let most = match caps.kind {
        AdapterKind::Software => 256,
        AdapterKind::Gpu => 8192,
    };
    (elements.div_ceil(lanes as usize).max(1)).min(caps.max_workgroups.min(most) as usize) as u32
}

/// Runs of `0..count` in multiples of `granule`, each as long as one dispatch may work on, if `work` tells what so many are. One
/// empty run where there is nothing.
pub(crate) fn runs(gpu: &Gpu, count: usize, granule: usize, work: impl Fn(usize) -> Work) -> Vec<Range<usize>> {
    let granule = granule.max(1);
    let most = gpu.costs().most(count.div_ceil(granule), |granules| work((granules * granule).min(count)));
    cut(count, most.saturating_mul(granule))
}

/// Rows and columns of `rows × columns`, in multiples of two granules, that one dispatch may make: whole rows unless one run of
/// them is too much.
pub(crate) fn rectangles(
    gpu: &Gpu,
    [rows, columns]: [usize; 2],
    [high, wide]: [usize; 2],
    work: impl Fn(usize, usize) -> Work,
) -> Vec<[Range<usize>; 2]> {
    let costs = gpu.costs();
    let tall = costs.most(rows.div_ceil(high), |runs| work((runs * high).min(rows), columns)).saturating_mul(high);
    let across = match tall > high {
        true => columns.max(1),
        false => {
            let of = |runs: usize| work(high.min(rows), (runs * wide).min(columns));
            costs.most(columns.div_ceil(wide), of).saturating_mul(wide)
        }
    };
    let columns = cut(columns, across);
    cut(rows, tall)
        .into_iter()
        .flat_map(|rows| columns.iter().map(move |columns| [rows.clone(), columns.clone()]))
        .collect()
}

fn cut(count: usize, most: usize) -> Vec<Range<usize>> {
    match count {
        0 => std::iter::once(0..0).collect(),
        _ => (0..count).step_by(most.max(1)).map(|first| first..count.min(first.saturating_add(most))).collect(),
    }
}

/// `value` as kernels count; an error beyond 32 bits.
pub(crate) fn index(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Limit {
        what: "a size or place of a kernel's elements".to_string(),
        needed: value.to_string(),
        limit: u32::MAX.to_string(),
        device: "a 32-bit index".to_string(),
    })
}
