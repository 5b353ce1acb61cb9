//! The gradient of a table on a GPU, in time that grows with tokens and entries, not with their product: rows are sorted by
//! token, in passes over the digits of the token that keep the order of rows, and each entry sums its own.
//!
//! ```text
//! tokens ─ for each digit: count ─ places ─ move ─► order ─ starts ─► where each entry's rows are ─ scatter ─► dweight
//! ```
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `order`, `sorted` | `[rows]`, u32 | rows before and after a pass, in turn |
//! | `counts` | `[DIGITS, runs]`, u32 | how many rows of a run have a digit, then where the next of them goes |
//! | `starts` | `[entries + 1]`, u32 | the place of each entry's first row |

use std::ops::Range;

use crate::device::{Buffer, Device, Nothing};
use crate::error::Result;
use crate::gpu::{Capabilities, Gpu, Work};
use crate::kernel::cuts::{element_lanes, index, linear_groups, runs};
use crate::kernel::op::{Launch, Op};
use crate::kernel::program::Program;
use crate::kernel::total;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};

/// Counts the digits of each run.
pub static COUNT: Kernel = Kernel {
    name: "embedding_count",
    fragments: fragments!["embed/sort.wgsl", "embed/count.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("tokens"), Binding::read("order"), Binding::read_write("counts")],
    uniform: SortUniform::MEMBERS,
};

/// Counts to places.
pub static PLACES: Kernel = Kernel {
    name: "embedding_places",
    fragments: fragments!["embed/places.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read_write("counts")],
    uniform: PlacesUniform::MEMBERS,
};

/// Sorts rows by one digit.
pub static MOVE: Kernel = Kernel {
    name: "embedding_move",
    fragments: fragments!["embed/sort.wgsl", "embed/move.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("tokens"),
        Binding::read("order"),
        Binding::read_write("counts"),
        Binding::read_write("sorted"),
    ],
    uniform: SortUniform::MEMBERS,
};

/// Finds where each entry's rows begin.
pub static STARTS: Kernel = Kernel {
    name: "embedding_starts",
    fragments: fragments!["embed/starts.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read("tokens"), Binding::read("order"), Binding::read_write("starts")],
    uniform: StartsUniform::MEMBERS,
};

/// Sums each entry's rows.
pub static SCATTER: Kernel = Kernel {
    name: "embedding_scatter",
    fragments: fragments!["embed/scatter.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("order"),
        Binding::read("starts"),
        Binding::read("dy").or_half(),
        Binding::read_write("dweight"),
    ],
    uniform: Uniform::MEMBERS,
};

uniform! {
    struct SortUniform {
        rows: u32,
        entries: u32,
        runs: u32,
        run: u32,
        first_run: u32,
        end_run: u32,
        shift: u32,
    }
}

uniform! {
    struct PlacesUniform {
        count: u32,
        each: u32,
    }
}

uniform! {
    struct StartsUniform {
        rows: u32,
        first: u32,
        end: u32,
    }
}

uniform! {
    struct Uniform {
        width: u32,
        first_entry: u32,
        end_entry: u32,
        first: u32,
        end: u32,
        begins: u32,
    }
}

/// Bits of a digit, and how many digits there are: few enough to count in, and few passes.
const DIGIT_BITS: u32 = 6;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Places of a run: of one invocation, one after another. Short ones have more counts than places, long ones leave a
/// device waiting.
const RUN: Range<usize> = 64..4096;
/// Runs that are enough to fill a device.
const ENOUGH: usize = 1024;

/// Places of each run of `rows`, and how many runs there are.
fn run_of(rows: usize) -> [usize; 2] {
    let run = rows.div_ceil(ENOUGH).clamp(RUN.start, RUN.end);
    [run, rows.div_ceil(run)]
}

/// Digits of the tokens of a table. The last key is `entries`, which stands for all tokens beyond it.
fn passes(entries: usize) -> usize {
    (usize::BITS - entries.leading_zeros()).div_ceil(DIGIT_BITS) as usize
}

/// u32 values of scratch that [`scatter`](super::scatter) allocates: none on the CPU.
pub fn scratch_len(device: &Device, entries: usize, rows: usize) -> usize {
    match device.gpu() {
        Some(_) => passes(entries).min(2) * rows + DIGITS * run_of(rows)[1] + entries + 1,
        None => 0,
    }
}

/// Lanes of a workgroup that sums rows of a gradient, or works on runs of them: no more than there are.
pub(in crate::kernel) fn scatter_lanes(caps: &Capabilities, count: usize) -> u32 {
    let most = u32::try_from(count.max(8)).ok().and_then(u32::checked_next_power_of_two).unwrap_or(u32::MAX);
    element_lanes(caps).min(most)
}

pub(super) fn on_gpu(
    device: &Device,
    gpu: &Gpu,
    [entries, width]: [usize; 2],
    [tokens, dy, dweight]: [&Buffer; 3],
    adds: bool,
    program: &mut Program,
) -> Result<()> {
    let rows = tokens.len();
    let order = sort(device, gpu, entries, tokens, program)?;
    let starts = device.alloc_u32("first rows of entries", entries + 1)?;
    let lanes = element_lanes(gpu.capabilities());
    let looks = f64::from(usize::BITS - rows.leading_zeros()) * 8.0;
    let work = |entries: usize| Work::moved(entries, looks, lanes);
    program.push(Op::of_dispatches(runs(gpu, entries + 1, 1, work).into_iter().map(|some| {
        let uniform = StartsUniform { rows: index(rows)?, first: index(some.start)?, end: index(some.end)? };
        Op::gpu(
            gpu,
            &Launch {
                kernel: &STARTS,
                recipe: None,
                consts: vec![("LANES", lanes)],
                uniform: &uniform.bytes(),
                buffers: &[tokens, &order, &starts],
                groups: [linear_groups(gpu, some.len(), lanes), 1, 1],
                steps: None,
                work: work(some.len()),
            },
        )
    }))?);

    let lanes = scatter_lanes(gpu.capabilities(), width);
    let across = width.div_ceil(lanes as usize);
    // All rows may have one token, and then as many workgroups as there are columns for do all the work.
    let size = dy.element_bytes() as f64;
    let work = |places: usize, entries: usize| Work {
        bytes: places as f64 * (width as f64 * size + 4.0) + entries as f64 * (width as f64 * 4.0 + 8.0),
        groups: across as f64,
        ..Work::default()
    };
    // Either has half of a dispatch.
    let places = runs(gpu, rows, 1, |places| work(2 * places, 0));
    let entries = runs(gpu, entries, 1, |entries| work(0, 2 * entries));
    let pieces = places.iter().flat_map(|places| entries.iter().map(move |entries| (places, entries)));
    program.push(Op::of_dispatches(pieces.map(|(places, entries)| {
        let uniform = Uniform {
            width: index(width)?,
            first_entry: index(entries.start)?,
            end_entry: index(entries.end)?,
            first: index(places.start)?,
            end: index(places.end)?,
            begins: u32::from(places.start == 0 && !adds),
        };
        let down = entries.len().min(gpu.capabilities().max_workgroups as usize);
        Op::gpu(
            gpu,
            &Launch {
                kernel: &SCATTER,
                recipe: None,
                consts: vec![("LANES", lanes)],
                uniform: &uniform.bytes(),
                buffers: &[&order, &starts, dy, dweight],
                groups: [index(across)?, index(down)?, 1],
                steps: None,
                work: work(places.len(), entries.len()),
            },
        )
    }))?);
    Ok(())
}

/// Appends what sorts rows by token, and returns where they are.
fn sort(device: &Device, gpu: &Gpu, entries: usize, tokens: &Buffer, program: &mut Program) -> Result<Buffer> {
    let caps = gpu.capabilities();
    let rows = tokens.len();
    let [run, all] = run_of(rows);
    let counts = device.alloc_u32("digits of tokens", DIGITS * all)?;
    let nothing = Nothing::of(gpu)?.read;
    let lanes = scatter_lanes(caps, all);
    // Places of a run are worked on one after another, and each waits for memory.
    let work = |runs: usize| Work {
        bytes: (runs * (run * 20 + DIGITS * 4)) as f64,
        groups: runs.div_ceil(lanes as usize) as f64,
        steps: run as f64 / 4.0,
        ..Work::default()
    };
    // Where a pass leaves rows, in turn.
    let passes = passes(entries);
    let rooms = (0..passes.min(2)).map(|_| device.alloc_u32("rows by token", rows));
    let rooms = rooms.collect::<Result<Vec<_>>>()?;
    let left_by = |pass: usize| &rooms[pass % rooms.len()];
    for pass in 0..passes {
        let source = if pass == 0 { &nothing } else { left_by(pass - 1) };
        let launch = |kernel: &'static Kernel, buffers: &[&Buffer]| {
            Op::of_dispatches(runs(gpu, all, 1, work).into_iter().map(|some| {
                let uniform = SortUniform {
                    rows: index(rows)?,
                    entries: index(entries)?,
                    runs: index(all)?,
                    run: index(run)?,
                    first_run: index(some.start)?,
                    end_run: index(some.end)?,
                    shift: index(pass)? * DIGIT_BITS,
                };
                Op::gpu(
                    gpu,
                    &Launch {
                        kernel,
                        recipe: None,
                        consts: vec![("LANES", lanes), ("FIRST", u32::from(pass == 0))],
                        uniform: &uniform.bytes(),
                        buffers,
                        groups: [index(some.len().div_ceil(lanes as usize))?, 1, 1],
                        steps: None,
                        work: work(some.len()),
                    },
                )
            }))
        };
        program.push(launch(&COUNT, &[tokens, source, &counts])?);
        let lanes = total::lanes(caps, DIGITS * all);
        let each = (DIGITS * all).div_ceil(lanes as usize);
        program.push(Op::gpu(
            gpu,
            &Launch {
                kernel: &PLACES,
                recipe: None,
                consts: vec![("LANES", lanes)],
                uniform: &PlacesUniform { count: index(DIGITS * all)?, each: index(each)? }.bytes(),
                buffers: &[&counts],
                groups: [1, 1, 1],
                steps: None,
                work: Work { bytes: (DIGITS * all * 12) as f64, ..Work::small() },
            },
        )?);
        program.push(launch(&MOVE, &[tokens, source, &counts, left_by(pass)])?);
    }
    Ok(left_by(passes - 1).clone())
}
