//! How the work of one time step is cut into workgroups.

use super::Chunk;
use crate::gpu::{AdapterKind, Capabilities};
use crate::shader::Kernel;

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
    /// Tile of a step of `chunk` whose sums have `depth` terms.
    pub(super) fn new(caps: &Capabilities, chunk: &Chunk, depth: usize) -> Self {
        match caps.kind {
            AdapterKind::Software => Self::software(chunk.batch, chunk.hidden),
            AdapterKind::Gpu => Self::hardware(chunk.batch, chunk.hidden, chunk.directions, depth),
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
        if self.lanes > self.units { variants.shared } else { variants.alone }
    }

    /// Its constants.
    pub(super) fn consts(&self) -> Vec<(&'static str, u32)> {
        vec![("LANES", self.lanes as u32), ("UNITS", self.units as u32), ("RB", self.rows as u32)]
    }

    /// Workgroups of a step of `chunk`.
    pub(super) fn groups(&self, chunk: &Chunk) -> [u32; 3] {
        let units = chunk.hidden.div_ceil(self.units) as u32;
        [units, chunk.batch.div_ceil(self.rows) as u32, chunk.directions as u32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::CONSTANTS;

    /// Whatever the sizes: constants that are validated, a workgroup that every device takes, one sequence for each
    /// invocation to end with, and no more cut off than reaches enough workgroups.
    #[test]
    fn tiles_keep_to_what_the_kernels_take() {
        let sizes = [1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 100, 257, 512, 1024, 4096];
        for (batch, hidden, directions, gates) in sizes
            .iter()
            .flat_map(|&batch| sizes.iter().map(move |&hidden| (batch, hidden)))
            .flat_map(|(batch, hidden)| [(1, 1), (1, 4), (2, 3)].map(|(d, gates)| (batch, hidden, d, gates)))
        {
            let tile = Tile::hardware(batch, hidden, directions, gates * hidden);
            let what = format!("B{batch} H{hidden} D{directions} G{gates}: {tile:?}");
            for tile in [tile, Tile::software(batch, hidden)] {
                for (name, value) in tile.consts() {
                    let known = CONSTANTS.iter().find(|(known, _)| *known == name).map(|(_, values)| *values);
                    assert!(known.is_some_and(|values| values.contains(&value)), "{what}: {name} {value}");
                }
                assert!(tile.lanes <= 256, "{what}");
                assert!(tile.lanes <= tile.units || tile.rows <= tile.lanes / tile.units, "{what}");
            }
            let groups = hidden.div_ceil(tile.units) * batch.div_ceil(tile.rows) * directions;
            assert!(groups >= ENOUGH || tile.units == 8 && tile.rows == 1, "{what}: {groups} workgroups");
        }
    }
}
