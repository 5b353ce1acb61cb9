//! How the sequence kernels are laid out over a workgroup, and how many steps one dispatch takes.

use crate::config::Precision;
use crate::error::{Error, Result};
use crate::gpu::{AdapterKind, Capabilities, Costs, Gpu, Subject, Work};
use crate::kernel::op::compile;
use crate::recipe::Recipe;
use crate::shader::{Kernel, Spec, constants};

/// Forward or backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// `h·W_hhᵀ`, a sum over H for each gate of a unit.
    Forward,
    /// `dG·W_hh`, a sum over G·H for each unit.
    Backward,
}

impl Pass {
    /// The kernel of many steps.
    fn kernel(self) -> &'static Kernel {
        match self {
            Self::Forward => &super::SEQUENCE_FORWARD,
            Self::Backward => &super::SEQUENCE_BACKWARD,
        }
    }
}

/// Weights that an invocation holds in registers at most, where its class of adapters has room for them.
const HELD: usize = 64;

/// Weights that a workgroup holds at most: three quarters of the 64 Ki registers of a large GPU's multiprocessor, and what its
/// largest workgroups of 1024 leave each invocation.
const HELD_BY_ALL: usize = 48 << 10;

/// Registers of an invocation beside those that [`SequenceTile::registers`] counts one by one, and for each row of its own:
/// above what any compiler of `benches/record/offline/` took.
const FOR_INDICES: u32 = 20;
const FOR_THE_CELL: u32 = 9;
/// And where something is drawn: a key, a counter and a sum. Estimated, not from the tables.
const FOR_A_DRAW: u32 = 6;

/// Layout of a workgroup that owns all units of some sequences of one direction. The names of the constants are the
/// shaders'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceTile {
    /// `LANES`: invocations.
    pub lanes: u32,
    /// `RB`: sequences.
    pub rows: u32,
    /// `UNITS_EACH`: units an invocation owns.
    pub units: u32,
    /// `TILE`: units summed at a time.
    pub tile: u32,
    /// `SPLIT`: invocations that share a unit, each with a slice of the sum.
    pub split: u32,
    /// `SLICE`: terms of a sum whose weights an invocation holds in registers; 1 when they are read at every step.
    pub slice: u32,
    /// `HELD`: whether they are held.
    pub held: bool,
    /// `ROLLED`: whether loops over units and rows stay loops, where unrolled they would be too much code, and what is kept
    /// from step to step is in arrays rather than registers.
    pub rolled: bool,
    /// Workgroup memory, bytes.
    pub memory: u32,
}

/// How units and sequences are dealt out to invocations, as in [`SequenceTile`].
struct Dealt {
    lanes: usize,
    rows: usize,
    units: usize,
    tile: usize,
    split: usize,
    held: bool,
    rolled: bool,
}

impl SequenceTile {
    /// The layout for a layer on a device, or none when not even one sequence fits its workgroups.
    pub fn new(
        caps: &Capabilities,
        pass: Pass,
        recipe: Recipe,
        hidden: usize,
        directions: usize,
        batch: usize,
    ) -> Option<Self> {
        Self::all(caps, pass, recipe, hidden, [directions, batch]).into_iter().next()
    }

    /// The first layout that nothing is known against on a device; else why there is none, if one fits at all.
    pub fn trusted(
        gpu: &Gpu,
        pass: Pass,
        recipe: Recipe,
        hidden: usize,
        directions: usize,
        batch: usize,
    ) -> std::result::Result<Self, Option<String>> {
        let mut doubt = None;
        for tile in Self::all(gpu.capabilities(), pass, recipe, hidden, [directions, batch]) {
            match gpu.doubt_tile(pass.kernel().name, &tile.variant(recipe)) {
                None => return Ok(tile),
                Some(why) => doubt = doubt.or(Some(why)),
            }
        }
        Err(doubt)
    }

    /// How the variants of its kernel begin.
    fn variant(&self, recipe: Recipe) -> String {
        format!("{recipe}, {}", constants(&self.constants()))
    }

    /// Every layout that fits a device and stays in its registers, the best first: one with fewer sequences needs fewer
    /// registers and less memory, one that holds no weights fewer registers still. Where none stays there, the least is left.
    fn all(
        caps: &Capabilities,
        pass: Pass,
        recipe: Recipe,
        hidden: usize,
        [directions, batch]: [usize; 2],
    ) -> Vec<Self> {
        let most_rows = match (caps.kind, batch.saturating_mul(directions)) {
            // One register's worth of lanes is one thread's; weights are read once for all rows.
            (AdapterKind::Software, _) => 8,
            // As many workgroups as a large GPU has room for before a workgroup takes more.
            (AdapterKind::Gpu, 0..=128) => 1,
            (AdapterKind::Gpu, 129..=256) => 2,
            (AdapterKind::Gpu, _) => 4,
        };
        let most = batch.next_power_of_two().min(most_rows);
        let rows = || std::iter::successors(Some(most), |rows| (*rows > 1).then_some(rows / 2));
        let tile = |rows: usize, holds: bool| match caps.kind {
            AdapterKind::Software => Some(Self::one_register(pass, recipe, hidden, rows)),
            AdapterKind::Gpu => Self::wide(caps, pass, recipe, hidden, rows, holds),
        };
        let mut all: Vec<Self> = Vec::new();
        for tile in rows().map(|rows| tile(rows, true)).chain(rows().map(|rows| tile(rows, false))).flatten() {
            if tile.fits(caps) && !all.contains(&tile) {
                all.push(tile);
            }
        }
        if all.is_empty() && caps.kind == AdapterKind::Gpu {
            let [_, read] = Self::wide_layouts(caps, pass, recipe, hidden, 1);
            all.extend(read.into_iter().rfind(|tile| tile.fits(caps)));
        }
        all
    }

    fn fits(&self, caps: &Capabilities) -> bool {
        self.memory <= caps.workgroup_memory && self.lanes <= caps.workgroup_invocations
    }

    /// Eight lanes, which are one register of a software adapter's thread: barriers cost nothing then. It would compile what
    /// is unrolled for seconds.
    fn one_register(pass: Pass, recipe: Recipe, hidden: usize, rows: usize) -> Self {
        let units = hidden.div_ceil(8);
        let tile = match pass {
            Pass::Forward => 4 / recipe.gates(),
            Pass::Backward => 4,
        };
        let tile = tile.clamp(1, units);
        let units = units.next_multiple_of(tile);
        Self::of(pass, recipe, hidden, Dealt { lanes: 8, rows, units, tile, split: 1, held: false, rolled: true })
    }

    /// Of so many rows the layout with the most lanes whose weights stay in registers, if any may be held, or else the one
    /// with the most lanes that have registers enough for all but the weights. None where even the fewest lanes have not.
    fn wide(caps: &Capabilities, pass: Pass, recipe: Recipe, hidden: usize, rows: usize, holds: bool) -> Option<Self> {
        let registers = caps.class.registers();
        let stays = |tile: &Self| {
            tile.rolled || tile.slice <= registers.unrolled && tile.registers(pass, recipe) <= registers.of(tile.lanes)
        };
        let [held, read] = Self::wide_layouts(caps, pass, recipe, hidden, rows);
        let held = held.into_iter().filter(|_| holds);
        held.chain(read).find(|tile| tile.fits(caps) && stays(tile))
    }

    /// A lane a unit where there are enough, or several lanes a unit where there are more: layouts that hold weights and
    /// layouts that read them, the most lanes first.
    fn wide_layouts(caps: &Capabilities, pass: Pass, recipe: Recipe, hidden: usize, rows: usize) -> [Vec<Self>; 2] {
        let most = caps.workgroup_invocations as usize;
        let columns = if hidden < 32 { hidden.next_power_of_two() } else { hidden.next_multiple_of(32) };
        if columns > most {
            let units = hidden.div_ceil(most);
            let lanes = hidden.div_ceil(units).next_multiple_of(32);
            let dealt = Dealt { lanes, rows, units, tile: 1, split: 1, held: false, rolled: true };
            return [vec![], vec![Self::of(pass, recipe, hidden, dealt)]];
        }
        // Slices of at least eight terms of every gate: shorter ones cost more to bring together than to sum.
        let mut split = 1;
        while columns * split * 2 <= most && hidden >= split * 16 {
            split *= 2;
        }
        let splits = || std::iter::successors(Some(split), |split| (*split > 1).then_some(split / 2));
        let of = |split, held| {
            let dealt = Dealt { lanes: columns * split, rows, units: 1, tile: 1, split, held, rolled: false };
            Self::of(pass, recipe, hidden, dealt)
        };
        // Backward holds the weights of one product alone.
        let may_hold = pass == Pass::Forward || recipe.phases().len() == 1;
        let holds = |split: &usize| {
            let held = (hidden * recipe.gates()).div_ceil(*split);
            may_hold && held <= HELD && held * columns * split <= HELD_BY_ALL
        };
        [
            splits().filter(holds).map(|split| of(split, true)).collect(),
            splits().map(|split| of(split, false)).collect(),
        ]
    }

    /// Registers that an invocation needs where loops over units and rows are unrolled: its weights, sums, state and what it
    /// loads ahead, and for indices and the cell's own work as many as the tables of compilers' results show.
    pub(in crate::kernel) fn registers(&self, pass: Pass, recipe: Recipe) -> u32 {
        let (gates, saved, carried) = (recipe.gates() as u32, recipe.saved() as u32, recipe.states() as u32 - 1);
        let own = self.rows.div_ceil(self.split);
        let [sums, row] = match pass {
            Pass::Forward => [gates, if recipe.phases().len() > 1 { saved } else { gates } + carried],
            Pass::Backward => [1, saved + 3 + 3 * carried],
        };
        let weights = sums * if self.held { self.slice } else { 1 };
        // h itself where products read another; sums for initial states; what is drawn.
        let for_options = match pass {
            Pass::Forward => u32::from(recipe.options().recurrent_dropout.is_some()),
            Pass::Backward if recipe.resets() => 2,
            Pass::Backward => 0,
        } + if recipe.zones() { FOR_A_DRAW } else { 0 };
        FOR_INDICES + weights + self.rows * sums + own * (row + FOR_THE_CELL + for_options)
    }

    fn of(pass: Pass, recipe: Recipe, hidden: usize, dealt: Dealt) -> Self {
        let Dealt { lanes, rows, units, tile, split, held, rolled } = dealt;
        let gates = recipe.gates();
        let (terms, sums) = match pass {
            Pass::Forward => (hidden, gates),
            Pass::Backward => (hidden * gates, 1),
        };
        let slice = if held { terms.div_ceil(split) } else { 1 };
        let owned = lanes / split * units;
        let states = match pass {
            // What products read of h before and after a step, and what later phases read.
            Pass::Forward => (1 + recipe.phases().len()) * owned.max(slice * split),
            Pass::Backward => (owned * gates).max(slice * split),
        };
        let parts = if split > 1 { lanes * rows * sums } else { 0 };
        let [lanes, rows, units, tile, split, slice, memory] =
            [lanes, rows, units, tile, split, slice, (states * rows + parts) * 4]
                .map(|value| u32::try_from(value).unwrap_or(u32::MAX));
        Self { lanes, rows, units, tile, split, slice, held, rolled, memory }
    }

    /// As the shaders' constants.
    pub fn constants(&self) -> Vec<(&'static str, u32)> {
        let Self { lanes, rows, units, tile, split, slice, held, rolled, .. } = *self;
        let (held, rolled) = (u32::from(held), u32::from(rolled));
        vec![
            ("LANES", lanes),
            ("RB", rows),
            ("UNITS_EACH", units),
            ("TILE", tile),
            ("SPLIT", split),
            ("SLICE", slice),
            ("HELD", held),
            ("ROLLED", rolled),
        ]
    }

    /// What so many workgroups of each direction do in so many steps.
    pub(super) fn work(&self, layer: &Recurrence, groups: usize, steps: usize) -> Work {
        let Recurrence { recipe, hidden, directions, .. } = *layer;
        let groups = (groups * directions) as f64;
        let rows = groups * f64::from(self.rows) * steps as f64;
        let cells = rows * hidden as f64;
        Work {
            multiply_adds: cells * (recipe.gates() * hidden) as f64,
            bytes: cells * 8.0 * (recipe.saved() + recipe.states()) as f64,
            functions: cells * 2.0 * recipe.gates() as f64,
            groups,
            steps: steps as f64,
        }
    }

    /// Steps that one dispatch takes: so many that it ends soon even on a slow adapter of its kind. Drivers end a
    /// dispatch after seconds, and a screen waits for it.
    pub(super) fn span(&self, costs: &Costs, layer: &Recurrence) -> usize {
        let groups = layer.batch.div_ceil(self.rows as usize);
        costs.most(MOST_STEPS, |steps| self.work(layer, groups, steps))
    }
}

/// Compiles the kernel of a pass in the layout that a plan will bind, where y and its gradient are stored as f32; in the next
/// one where the driver refuses it. Whether there is one that it takes.
pub fn compile_sequence(
    gpu: &Gpu,
    pass: Pass,
    recipe: Recipe,
    [hidden, directions, batch]: [usize; 3],
    precision: Precision,
    flow: bool,
) -> Result<bool> {
    if gpu.plans_only() {
        return Ok(true);
    }
    let half = precision == Precision::Half;
    let (switch, stored) = match pass {
        Pass::Forward => (("CARRIED", u32::from(half)), &["w", "saved", "h", "c"][..]),
        Pass::Backward => (("FLOW", u32::from(flow)), &["h", "c", "saved"][..]),
    };
    let stored = stored.iter().filter(|&&name| half && (name != "c" || recipe.has_c()));
    let halves: Vec<&'static str> = stored.copied().collect();
    while let Ok(tile) = SequenceTile::trusted(gpu, pass, recipe, hidden, directions, batch) {
        let mut consts = tile.constants();
        consts.push(switch);
        let spec = Spec { kernel: pass.kernel(), recipe: Some(recipe), consts, halves: halves.clone() };
        match compile(gpu, &spec) {
            Ok(_) => return Ok(true),
            Err(Error::Shader { .. }) if gpu.doubt(&Subject::variant(spec.kernel.name, spec.variant())).is_some() => {}
            Err(other) => return Err(other),
        }
    }
    Ok(false)
}

/// Steps of a dispatch at most, however little there is to do in each.
const MOST_STEPS: usize = 1 << 20;

/// What a step's work depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recurrence {
    pub(super) recipe: Recipe,
    pub(super) hidden: usize,
    pub(super) directions: usize,
    pub(super) batch: usize,
}
