//! How the work of one time step is cut into workgroups.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Chunk, Pass};
use crate::error::{Error, Result};
use crate::gpu::{AdapterKind, Capabilities, Gpu, Work};
use crate::kernel::cuts::{index, rectangles};
use crate::kernel::op::Op;
use crate::recipe::{Operand, Phase, Recipe};
use crate::shader::{Kernel, constants};

/// Workgroups that fill a GPU: two for each of the 132 multiprocessors of the largest.
const ENOUGH: usize = 256;

/// What a workgroup does: some units of some sequences. With more lanes than units each sum is cut into slices, with
/// fewer a lane has several units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    lanes: usize,
    units: usize,
    rows: usize,
}

/// A kernel with either way to make its product.
pub(super) struct Variants {
    /// An invocation makes it alone.
    pub(super) alone: &'static Kernel,
    /// A workgroup shares it.
    pub(super) shared: &'static Kernel,
}

impl Tile {
    /// Tile of a step of `chunk` whose sums have `depth` terms: the best for the device, or a smaller one where something is
    /// known against that.
    pub(super) fn new(gpu: &Gpu, chunk: &Chunk, depth: usize, variants: &Variants) -> Self {
        let best = Self::of(gpu.capabilities(), chunk.batch, chunk.hidden, chunk.directions, depth);
        let trusted = |tile: &Self| {
            let variant = format!("{}, {}", chunk.recipe, constants(&tile.consts()));
            gpu.doubt_tile(tile.kernel(variants).name, &variant).is_none()
        };
        best.smaller().find(trusted).unwrap_or(best)
    }

    fn of(caps: &Capabilities, batch: usize, hidden: usize, directions: usize, depth: usize) -> Self {
        match caps.kind {
            AdapterKind::Software => Self::software(batch, hidden),
            AdapterKind::Gpu => Self::hardware(batch, hidden, directions, depth),
        }
    }
    /// This one, and others with ever fewer lanes and rows, down to those whose invocations make their sums alone.
    fn smaller(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |tile| {
            let Self { lanes, units, rows } = *tile;
            let slices = (lanes / units).max(1);
            match (slices, rows) {
                (1, 1) => None,
                (1, _) => Some(Self { rows: rows / 2, ..*tile }),
                // An invocation ends with one sequence at most.
                _ => Some(Self {
                    lanes: lanes / 2,
                    rows: if slices == 2 { rows } else { rows.min(slices / 2) },
                    ..*tile
                }),
            }
        })
    }

    /// What `make` makes with the best tile that the driver takes.
    pub(super) fn made(
        gpu: &Gpu,
        chunk: &Chunk,
        depth: usize,
        variants: &Variants,
        make: impl Fn(Self) -> Result<Op>,
    ) -> Result<Op> {
        let mut tile = Self::new(gpu, chunk, depth, variants);
        loop {
            let made = make(tile);
            let next = Self::new(gpu, chunk, depth, variants);
            if !matches!(made, Err(Error::Shader { .. })) || next == tile {
                return made;
            }
            tile = next;
        }
    }

    /// A software adapter runs the lanes of a workgroup in one vector register and has a few threads to fill: a
    /// register's worth of lanes, each weight used for as many sequences as there are, each state for two units.
    fn software(batch: usize, hidden: usize) -> Self {
        let units = hidden.next_power_of_two().clamp(8, 16);
        Self { lanes: 8, units, rows: batch.next_power_of_two().min(8) }
    }

    /// A GPU wants many workgroups first, since a step is short and waits for memory; then many sequences for each
    /// weight that it reads. So the tile starts large and is cut until there are enough: first in units, down to the 32
    /// bytes that memory is read by, which costs no more reads of weights, then in sequences.
    fn hardware(batch: usize, hidden: usize, directions: usize, depth: usize) -> Self {
        let mut units = hidden.next_power_of_two().clamp(8, 32);
        let mut rows = batch.next_power_of_two().min(8);
        let few = |units, rows| hidden.div_ceil(units) * batch.div_ceil(rows) * directions < ENOUGH;
        while units > 8 && few(units, rows) {
            units /= 2;
        }
        while rows > 1 && few(units, rows) {
            rows /= 2;
        }
        // The sums are cut, for more lanes to wait at once: into slices of 16 terms or more, but for the 64 lanes of the
        // widest subgroup at least and the 256 that every device has at most.
        let slices = (1 << (depth / 16).max(1).ilog2()).clamp(64 / units, 256 / units);
        // An invocation ends with one sequence at most.
        Self { lanes: units * slices, units, rows: rows.min(slices) }
    }

    /// The kernel that works so.
    pub(super) fn kernel(&self, variants: &Variants) -> &'static Kernel {
        if self.is_shared() { variants.shared } else { variants.alone }
    }

    fn is_shared(&self) -> bool {
        self.lanes > self.units
    }

    /// Its constants.
    pub(super) fn consts(&self) -> Vec<(&'static str, u32)> {
        vec![("LANES", self.lanes as u32), ("UNITS", self.units as u32), ("RB", self.rows as u32)]
    }

    /// What a dispatch does that makes so many groups of units for so many groups of sequences of one step of `chunk`, each of
    /// sums of so many terms in all.
    fn work(&self, chunk: &Chunk, terms: usize, units: usize, rows: usize) -> Work {
        let (units_done, rows_done) = (units * self.units, rows * self.rows);
        let terms = terms as f64;
        let cells = (units_done * rows_done * chunk.directions) as f64;
        let size = chunk.h().element_bytes() as f64;
        // Weights are read for each group of sequences, what they are multiplied with for each group of units.
        let read = terms * (units_done * rows + rows_done * units) as f64 * chunk.directions as f64;
        Work {
            multiply_adds: cells * terms,
            bytes: (read + cells * 2.0 * (chunk.recipe.saved() + chunk.recipe.states()) as f64) * size,
            functions: cells * 2.0 * chunk.recipe.gates() as f64,
            groups: (units * rows * chunk.directions) as f64,
            steps: 0.0,
        }
    }

    /// A step of `chunk`, cut into what is dispatched at once, for each of its `phases` in this order; the one behind the last is
    /// that of a projection.
    pub(super) fn cut(
        &self,
        gpu: &Gpu,
        chunk: &Chunk,
        pass: Pass,
        phases: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<(usize, StepPart)>> {
        let parts = phases.into_iter().flat_map(|phase| {
            let [units, terms] = phase_size(chunk, pass, phase);
            let groups = [chunk.batch.div_ceil(self.rows), units.div_ceil(self.units)];
            let pieces = rectangles(gpu, groups, [1, 1], |rows, units| self.work(chunk, terms, units, rows));
            pieces.into_iter().map(move |piece| (phase, units, terms, piece))
        });
        let part = |(phase, all, terms, [rows, units]): (usize, usize, usize, [Range<usize>; 2])| {
            let part = StepPart {
                units: index(units.start * self.units)?..index((units.end * self.units).min(all))?,
                rows: index(rows.start * self.rows)?..index((rows.end * self.rows).min(chunk.batch))?,
                groups: [index(units.len())?, index(rows.len())?, index(chunk.directions)?],
                work: self.work(chunk, terms, units.len(), rows.len()),
            };
            Ok((phase, part))
        };
        parts.map(part).collect()
    }
}

/// Units that a phase of a step makes, and terms of all sums of one.
fn phase_size(chunk: &Chunk, pass: Pass, phase: usize) -> [usize; 2] {
    let (hidden, width) = (chunk.hidden, chunk.width(0));
    match (chunk.recipe.phases().nth(phase), pass) {
        (Some(Phase { gates, operand: Operand::H }), Pass::Forward) => [hidden, gates.len() * width],
        (Some(Phase { gates, operand: Operand::H }), Pass::Backward) => [width, gates.len() * hidden],
        (Some(Phase { gates, .. }), _) => [hidden, gates.len() * hidden],
        (None, Pass::Forward) => [width, hidden],
        (None, Pass::Backward) => [hidden, width],
    }
}

/// Sizes of layers that have every tile that there is.
const SIZES: [usize; 18] = [1, 2, 4, 8, 16, 32, 64, 100, 128, 200, 256, 257, 512, 1000, 1024, 2048, 4096, 16384];

/// The constants of every tile that a device's layers have, of whatever size, or fall back to, with sums that are made alone or
/// shared.
pub(in crate::kernel) fn step_tiles(
    caps: &Capabilities,
    pass: Pass,
    recipe: Recipe,
    shared: bool,
) -> Vec<Vec<(&'static str, u32)>> {
    let gates = match pass {
        Pass::Forward => 1,
        Pass::Backward => recipe.gates(),
    };
    let mut all = BTreeSet::new();
    for (batch, hidden) in SIZES.iter().flat_map(|&batch| SIZES.map(|hidden| (batch, hidden))) {
        let of = |directions| Tile::of(caps, batch, hidden, directions, gates * hidden);
        let tiles = [1, 2].map(of).into_iter().flat_map(Tile::smaller);
        all.extend(tiles.filter(|tile| tile.is_shared() == shared).map(|tile| tile.consts()));
    }
    all.into_iter().collect()
}

/// What one dispatch does of a step.
pub(super) struct StepPart {
    pub(super) units: Range<u32>,
    /// Sequences.
    pub(super) rows: Range<u32>,
    pub(super) groups: [u32; 3],
    pub(super) work: Work,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::variants;

    /// Whatever the sizes: constants that are enumerated, a workgroup that every device takes, one sequence for each
    /// invocation to end with, and no more cut off than reaches enough workgroups.
    #[test]
    fn tiles_keep_to_what_the_kernels_take() {
        let sizes = [1, 2, 3, 7, 8, 9, 31, 32, 33, 48, 64, 100, 257, 512, 777, 1024, 3000, 4096];
        for (pass, recipe) in
            [Pass::Forward, Pass::Backward].iter().flat_map(|pass| Recipe::texts().map(move |recipe| (pass, recipe)))
        {
            let known = [AdapterKind::Software, AdapterKind::Gpu].map(|kind| {
                let caps = variants::device(kind, 256, 16 << 10);
                [false, true].map(|shared| step_tiles(&caps, *pass, recipe, shared)).concat()
            });
            let gates = if *pass == Pass::Forward { 1 } else { recipe.gates() };
            for (batch, hidden) in sizes.iter().flat_map(|&batch| sizes.map(|hidden| (batch, hidden))) {
                for directions in [1, 2] {
                    let tile = Tile::hardware(batch, hidden, directions, gates * hidden);
                    let what = format!("B{batch} H{hidden} D{directions} G{gates}: {tile:?}");
                    for (tile, known) in [Tile::software(batch, hidden), tile].iter().zip(&known) {
                        for tile in tile.smaller() {
                            assert!(known.contains(&tile.consts()), "{what}");
                            assert!(tile.lanes <= 256, "{what}");
                            assert!(!tile.is_shared() || tile.rows <= tile.lanes / tile.units, "{what}");
                        }
                    }
                    let groups = hidden.div_ceil(tile.units) * batch.div_ceil(tile.rows) * directions;
                    assert!(groups >= ENOUGH || tile.units == 8 && tile.rows == 1, "{what}: {groups} workgroups");
                }
            }
        }
    }
}
