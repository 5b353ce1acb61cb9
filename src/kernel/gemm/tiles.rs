//! Which kernel makes a product, in which tiles: a table by adapter class and shape, or what was measured.
//!
//! Every tile here runs a sum in the same order, so a choice changes the time a product takes and no bit of it.
//! Cooperative matrices, which sum in an order of their own, are not among them: see `cooperative.rs`.

use super::cuts::{ends_soon, goes_on};
use super::staged::{SCALAR, VECTOR};
use super::{Gemm, Sum, direct};
use crate::error::{Error, Result};
use crate::gpu::{AdapterKind, Capabilities, Gpu};
use crate::shader::constants;

/// A kernel and the part of C that one workgroup makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// `direct.wgsl`: `lanes` invocations side by side, each with `rows × columns` sums.
    Direct {
        /// Invocations of a workgroup.
        lanes: u32,
        /// Rows of an invocation.
        rows: u32,
        /// Columns of an invocation.
        columns: u32,
    },
    /// `staged.wgsl`, one row of [`STAGED`].
    Staged(&'static Staged),
}

/// Sizes of the staged kernel, under the names of its constants.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Staged {
    /// How tunings call it.
    pub name: &'static str,
    /// Rows of C a workgroup.
    pub bm: u32,
    /// Columns of C a workgroup.
    pub bn: u32,
    /// How much of k is in workgroup memory at a time.
    pub bk: u32,
    /// Rows of C an invocation.
    pub tm: u32,
    /// Columns of C an invocation.
    pub tn: u32,
}

/// The staged tiles, largest first. All fit the 16 KiB of workgroup memory and the 256 invocations that every device
/// has, but for the first.
pub static STAGED: [Staged; 6] = [
    // Twice the block of the next: half its barriers, for devices with 32 KiB.
    Staged { name: "staged-128x128x16", bm: 128, bn: 128, bk: 16, tm: 8, tn: 8 },
    // 64 sums for 16 loads an invocation: the most work a load that registers allow.
    Staged { name: "staged-128x128x8", bm: 128, bn: 128, bk: 8, tm: 8, tn: 8 },
    // The same sums in workgroups of half the size, where there are fewer of them.
    Staged { name: "staged-128x64x16", bm: 128, bn: 64, bk: 16, tm: 8, tn: 8 },
    Staged { name: "staged-64x64x16", bm: 64, bn: 64, bk: 16, tm: 8, tn: 4 },
    // Few rows or columns: more workgroups, less of them beyond the edge.
    Staged { name: "staged-32x64x16", bm: 32, bn: 64, bk: 16, tm: 4, tn: 4 },
    Staged { name: "staged-32x32x8", bm: 32, bn: 32, bk: 8, tm: 4, tn: 4 },
];

impl Staged {
    /// Invocations of a workgroup.
    pub const fn lanes(&self) -> u32 {
        (self.bm / self.tm) * (self.bn / self.tn)
    }

    /// Bytes of workgroup memory.
    pub const fn memory(&self) -> u32 {
        self.bk * (self.bm + 4 + self.bn) * 4
    }

    /// The constants of its kernel.
    pub const fn constants(&self) -> [(&'static str, u32); 6] {
        let Self { bm, bn, bk, tm, tn, .. } = *self;
        [("LANES", self.lanes()), ("BM", bm), ("BN", bn), ("BK", bk), ("TM", tm), ("TN", tn)]
    }

    fn fits(&self, caps: &Capabilities) -> bool {
        self.memory() <= caps.workgroup_memory && self.lanes() <= caps.workgroup_invocations
    }

    /// Whether it fits, and its sums and loads stay in registers.
    fn suits(&self, caps: &Capabilities) -> bool {
        self.fits(caps) && self.registers() <= caps.class.registers().of(self.lanes())
    }

    /// Registers that an invocation needs: its sums, what it loads ahead, where its rows of A begin for either direction, and
    /// for indices as many as the tables of compilers' results show.
    const fn registers(&self) -> u32 {
        let a = (self.bm * self.bk).div_ceil(4 * self.lanes());
        let b = (self.bk * self.bn).div_ceil(4 * self.lanes());
        self.tm * self.tn + 4 * (a + b) + 8 * a + FOR_INDICES
    }
}

/// Workgroups that keep a large GPU busy: about two for each of its hundred-odd processors.
pub(super) const ENOUGH: usize = 256;

/// Registers of an invocation of a staged tile beside those that [`Staged::registers`] counts one by one: above what any
/// compiler of `benches/record/offline/` took.
const FOR_INDICES: u32 = 36;

/// Below this many rows a staged tile is mostly edge.
const FEW_ROWS: usize = 16;

impl Tile {
    /// As tunings call it.
    pub fn name(&self) -> String {
        match self {
            Self::Direct { lanes, rows, columns } => format!("direct-{lanes}x{rows}x{columns}"),
            Self::Staged(staged) => staged.name.to_string(),
        }
    }

    /// The constants of its kernel.
    pub(crate) fn constants(&self) -> Vec<(&'static str, u32)> {
        match *self {
            Self::Direct { lanes, rows, columns } => vec![("LANES", lanes), ("RM", rows), ("RN", columns)],
            Self::Staged(staged) => staged.constants().to_vec(),
        }
    }

    /// An error unless a device can run it.
    pub(super) fn check(&self, caps: &Capabilities) -> Result<()> {
        let runs = match *self {
            Self::Direct { lanes, rows, columns } => {
                (1..=caps.workgroup_invocations).contains(&lanes) && (1..=128).contains(&rows.saturating_mul(columns))
            }
            Self::Staged(staged) => STAGED.contains(staged) && staged.fits(caps),
        };
        let error = || Error::invalid("the tile of a product", "one that the device can run", self.name());
        if runs { Ok(()) } else { Err(error()) }
    }

    /// Rows of C a workgroup makes, and columns.
    pub(super) fn extent(&self) -> [usize; 2] {
        let [rows, columns] = match *self {
            Self::Direct { lanes, rows, columns } => [rows, lanes * columns],
            Self::Staged(staged) => [staged.bm, staged.bn],
        };
        [rows as usize, columns as usize]
    }

    fn groups(&self, m: usize, n: usize) -> usize {
        let [rows, columns] = self.extent();
        m.div_ceil(rows) * n.div_ceil(columns)
    }

    /// Tiles worth measuring for `m` rows on a device: all give the same bits. A software adapter gains nothing from
    /// workgroup memory and takes seconds to compile a kernel that uses it.
    pub(crate) fn candidates(caps: &Capabilities, m: usize) -> Vec<Self> {
        if caps.kind == AdapterKind::Software {
            return [8, 16].map(|rows| Self::Direct { lanes: 8, rows, columns: 8 }).to_vec();
        }
        let staged = STAGED.iter().filter(|staged| staged.suits(caps)).map(Self::Staged);
        std::iter::once(Self::direct(caps, m)).chain(staged).collect()
    }

    /// A software adapter runs a workgroup in one vector register after another, so one register's worth of lanes with
    /// many sums each is best there, sixteen rows of them where few are beyond the edge, and nothing is gained from
    /// workgroup memory. Hardware hides latency with more lanes.
    pub(in crate::kernel) fn direct(caps: &Capabilities, m: usize) -> Self {
        let rows = m.next_power_of_two().clamp(1, 8) as u32;
        match caps.kind {
            AdapterKind::Software if m >= 64 => Self::Direct { lanes: 8, rows: 16, columns: 8 },
            AdapterKind::Software => Self::Direct { lanes: 8, rows, columns: 8 },
            AdapterKind::Gpu => Self::Direct { lanes: 64, rows, columns: 2 },
        }
    }

    /// What makes a product: what was asked for, what was measured, or the table's. And which of these it is, as a clause.
    /// Where its sums must be whole in one dispatch, only tiles that make them soon enough are taken.
    pub(super) fn of(gpu: &Gpu, call: &Gemm, sum: &Sum<'_>) -> (Self, &'static str) {
        if let Some(tile) = call.tile {
            return (tile, "its tile was asked for");
        }
        let (costs, k) = (gpu.costs(), sum.slice.min(call.k));
        let ends = |tile: &Self| goes_on(call, sum) || ends_soon(&costs, tile.extent(), k);
        if let Some(tile) = Self::measured(gpu, call).filter(ends) {
            return (tile, "its tile was measured to be the fastest for such sizes");
        }
        let why = match gpu.capabilities().kind {
            AdapterKind::Software => "its tile is the table's for software adapters",
            AdapterKind::Gpu => "its tile is the table's: the largest of which there are enough to fill a GPU",
        };
        let table = Self::table(gpu.capabilities(), call, ends);
        if table.is_trusted(gpu) {
            return (table, why);
        }
        // The next smaller ones, then what stages nothing with ever fewer rows, then whatever else there is.
        let caps = gpu.capabilities();
        let staged: Vec<Self> = STAGED.iter().filter(|staged| staged.suits(caps)).map(Self::Staged).collect();
        let (larger, smaller) = staged.split_at(staged.iter().position(|tile| *tile == table).unwrap_or(staged.len()));
        let direct = std::iter::successors(Some(Self::direct(caps, call.m)), Self::fewer_rows);
        let others = smaller.iter().copied().chain(direct).chain(larger.iter().rev().copied());
        let trusted = others.into_iter().find(|tile| ends(tile) && tile.is_trusted(gpu));
        trusted.map_or((table, why), |tile| (tile, "the table's tile is not trusted on this adapter"))
    }

    /// The same with half of its rows, of those that stage nothing.
    fn fewer_rows(&self) -> Option<Self> {
        match *self {
            Self::Direct { lanes, rows: rows @ 2.., columns } => Some(Self::Direct { lanes, rows: rows / 2, columns }),
            _ => None,
        }
    }

    /// Whether nothing is known against it on a device.
    fn is_trusted(&self, gpu: &Gpu) -> bool {
        let kernels = match self {
            Self::Direct { .. } => [direct::KERNEL.name; 2],
            Self::Staged(_) => [SCALAR.name, VECTOR.name],
        };
        let tile = constants(&self.constants());
        kernels.iter().all(|kernel| gpu.doubt_tile(kernel, &tile).is_none())
    }

    fn measured(gpu: &Gpu, call: &Gemm) -> Option<Self> {
        let name = gpu.tuned(&class(call.m, call.n, call.k, call.a.column != 1))?;
        let all = Self::candidates(gpu.capabilities(), call.m).into_iter();
        all.filter(|tile| tile.is_trusted(gpu)).find(|tile| tile.name() == name)
    }

    /// | adapter | product | tile |
    /// |---|---|---|
    /// | software | any | direct |
    /// | GPU | fewer rows than 16, or a device too small for any staged tile | direct |
    /// | GPU | else | the largest staged tile of which there are enough to fill the device, or the smallest |
    fn table(caps: &Capabilities, call: &Gemm, ends: impl Fn(&Self) -> bool) -> Self {
        let mut direct = Self::direct(caps, call.m);
        while !ends(&direct)
            && let Some(smaller) = direct.fewer_rows()
        {
            direct = smaller;
        }
        if caps.kind == AdapterKind::Software || call.m < FEW_ROWS {
            return direct;
        }
        let parallel = call.directions.len() * call.parallel_slices();
        let suiting = || STAGED.iter().filter(|staged| staged.suits(caps)).map(Self::Staged);
        let enough = |tile: &Self| tile.groups(call.m, call.n) * parallel >= ENOUGH;
        let found = suiting().filter(&ends).find(enough);
        found.or_else(|| suiting().rfind(&ends)).unwrap_or(direct)
    }
}

/// The class of sizes that one measurement stands for: each rounded up to a power of two, and whether A is transposed.
pub(super) fn class(m: usize, n: usize, k: usize, transposed: bool) -> String {
    let [m, n, k] = [m, n, k].map(|size| size.checked_next_power_of_two().unwrap_or(size));
    format!("{m}x{n}x{k}{}", if transposed { "t" } else { "" })
}
