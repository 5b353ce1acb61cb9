//! Every text that a kernel is composed as, on any class of device: for tests and tools that compile them all.
//!
//! A kernel's constants are sizes, which come together as its host file makes them for a device and a shape, and switches,
//! of which some exclude others. Sizes are taken from the functions that launch the
//! kernels, for the [devices] and for shapes of every class. Only those of the sequence kernels depend on H itself:
//! of these there are [layouts] of many sizes, not of all.
//!
//! Of a cell as PyTorch has it every combination is here. Of recipes with options, which [`Recipe::texts`] combines in pairs
//! already, there are as few as have every value of every size, and every pair of switches and ways to store: an option costs
//! tens of variants.

use std::collections::{BTreeSet, HashSet};

use super::cuts::element_lanes;
use super::embedding::{self, scatter_lanes};
use super::gemm::{self, Tile};
use super::optimizer;
use super::recurrent::{self, Pass, SequenceTile, repacked_rows, step_tiles};
use super::{column_sum, copy, cross_entropy, moments, norm, regression, total, transpose};
use crate::gpu::{Capabilities, Class};
use crate::recipe::Recipe;
use crate::shader::{Kernel, Spec};

/// Constants of a kernel by name.
pub(super) type Consts = Vec<(&'static str, u32)>;

/// Where a kernel's sizes come from.
#[derive(Clone, Copy)]
enum Sizes {
    /// Places in the optimiser's state, and nothing else.
    Places,
    /// None.
    Nothing,
    /// Lanes of an element-wise kernel.
    Elements,
    /// The same, and places in the optimiser's state.
    Update,
    /// Lanes over the width of an embedding, or over runs of its tokens.
    Width,
    /// Lanes that reduce so many elements at most.
    Reduction(usize),
    /// Lanes that reduce partial sums, however few.
    Total,
    /// Register tiles of a product.
    Direct,
    /// Staged tiles of a product.
    Staged,
    /// Lanes of one subgroup.
    Subgroup,
    /// How a step is cut, the sums of a unit having so many terms as a pass has: alone or shared.
    Step(Pass, bool),
    /// Sequences at a time.
    Repacked,
    /// How a workgroup owns sequences.
    Sequence(Pass),
}

/// Every kernel, and where its sizes come from.
const KERNELS: &[(&Kernel, Sizes)] = &[
    (&column_sum::KERNEL, Sizes::Elements),
    (&copy::KERNEL, Sizes::Elements),
    (&gemm::DIRECT, Sizes::Direct),
    (&gemm::SCALAR, Sizes::Staged),
    (&gemm::VECTOR, Sizes::Staged),
    (&gemm::SLICES, Sizes::Elements),
    (&gemm::COOPERATIVE_8, Sizes::Subgroup),
    (&gemm::COOPERATIVE_16, Sizes::Subgroup),
    (&transpose::KERNEL, Sizes::Elements),
    (&recurrent::DROPOUT, Sizes::Elements),
    (&recurrent::DRAW, Sizes::Nothing),
    (&recurrent::FORWARD, Sizes::Step(Pass::Forward, false)),
    (&recurrent::FORWARD_SHARED, Sizes::Step(Pass::Forward, true)),
    (&recurrent::FORWARD_REPACKED, Sizes::Repacked),
    (&recurrent::BACKWARD, Sizes::Step(Pass::Backward, false)),
    (&recurrent::BACKWARD_SHARED, Sizes::Step(Pass::Backward, true)),
    (&recurrent::FLOW, Sizes::Reduction(usize::MAX)),
    (&recurrent::LEFT, Sizes::Elements),
    (&recurrent::OUTPUT, Sizes::Elements),
    (&recurrent::PREPARE, Sizes::Elements),
    (&recurrent::SEEN, Sizes::Elements),
    (&recurrent::STATES, Sizes::Elements),
    (&recurrent::SCAN_FORWARD, Sizes::Elements),
    (&recurrent::SCAN_BACKWARD, Sizes::Elements),
    (&recurrent::SEQUENCE_FORWARD, Sizes::Sequence(Pass::Forward)),
    (&recurrent::SEQUENCE_BACKWARD, Sizes::Sequence(Pass::Backward)),
    (&recurrent::UPSTREAM, Sizes::Elements),
    (&total::KERNEL, Sizes::Total),
    (&regression::KERNEL, Sizes::Reduction(usize::MAX)),
    (&cross_entropy::COUNT, Sizes::Reduction(usize::MAX)),
    (&cross_entropy::KERNEL, Sizes::Reduction(cross_entropy::MOST_LANES)),
    (&embedding::GATHER, Sizes::Elements),
    (&embedding::COUNT, Sizes::Width),
    (&embedding::PLACES, Sizes::Reduction(usize::MAX)),
    (&embedding::MOVE, Sizes::Width),
    (&embedding::STARTS, Sizes::Elements),
    (&embedding::SCATTER, Sizes::Width),
    (&moments::KERNEL, Sizes::Reduction(usize::MAX)),
    (&norm::KERNEL, Sizes::Reduction(usize::MAX)),
    (&optimizer::ADVANCE, Sizes::Places),
    (&optimizer::UPDATE, Sizes::Update),
];

/// What else a kernel's WGSL may name: switches with their values.
const SWITCHES: &[(&str, &[u32])] = &[
    ("MAPPED", &[0, 1, 2, 3]),
    ("A_ALONG", &[0, 1]),
    ("FROM_SOURCE", &[0, 1, 2]),
    ("CARRIED", &[0, 1]),
    ("PHASE", &[0, 1]),
    ("FACTORS", &[0, 1]),
    ("FLOW", &[0, 1]),
    ("FIRST", &[0, 1]),
    ("GRADIENT", &[0, 1]),
    ("SCALED", &[0, 1]),
    ("QUANTILE", &[0, 1]),
    ("MODE", &[0, 1, 2]),
    ("DECAY", &[0, 1, 2, 3]),
    ("CLIPS", &[0, 1]),
    ("RULE", &[0, 1, 2]),
    ("MOMENTUM", &[0, 1]),
    ("NESTEROV", &[0, 1]),
];

/// Bindings that a layer owns: in one layer all of them are stored as f16, or none.
const OWN: [&str; 5] = ["w", "packed", "saved", "h", "c"];

/// Workgroups that devices allow, as `[invocations, bytes of workgroup memory]`: what WebGPU guarantees, a small
/// integrated GPU, and large ones.
pub const WORKGROUPS: [[u32; 2]; 4] = [[256, 16 << 10], [256, 32 << 10], [1024, 32 << 10], [1024, 48 << 10]];

/// Layers whose layouts are enumerated: fewer units than lanes and more, one sequence and many.
const HIDDEN: [usize; 9] = [1, 6, 33, 64, 100, 128, 256, 600, 1500];
const BATCHES: [usize; 6] = [1, 2, 5, 9, 200, 1000];

/// Every kernel.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().map(|(kernel, _)| *kernel)
}

/// Every variant of every kernel.
pub fn all() -> impl Iterator<Item = Spec> {
    on(devices().collect())
}

/// Every variant that one of these devices launches, features aside.
pub fn on(devices: Vec<Capabilities>) -> impl Iterator<Item = Spec> {
    KERNELS.iter().flat_map(move |&(kernel, sizes)| of(kernel, sizes, &devices))
}

/// Devices of every class and of all [`WORKGROUPS`], without any feature.
pub fn devices() -> impl Iterator<Item = Capabilities> {
    let of = |[invocations, memory]: [u32; 2]| Class::ALL.map(|class| device(class, invocations, memory));
    WORKGROUPS.into_iter().flat_map(of)
}

/// A device with workgroups of no more than these limits, else with what WebGPU guarantees.
pub fn device(class: impl Into<Class>, invocations: u32, memory: u32) -> Capabilities {
    let class = class.into();
    Capabilities {
        kind: class.kind(),
        class,
        max_buffer: 256 << 20,
        max_binding: 128 << 20,
        storage_buffers: 8,
        workgroup_memory: memory,
        workgroup_invocations: invocations,
        max_workgroups: 65_535,
        offset_alignment: 256,
        timestamps: false,
        f16: false,
        subgroups: false,
        subgroup_size: [8, 8],
        cooperative_matrix: false,
        cooperative_size: None,
        pipeline_cache: false,
    }
}

/// How a sequence kernel is laid out on a device for layers of many sizes.
pub fn layouts(caps: &Capabilities, pass: Pass, recipe: Recipe) -> impl Iterator<Item = SequenceTile> {
    let of = move |hidden| BATCHES.map(|batch| SequenceTile::new(caps, pass, recipe, hidden, 1, batch));
    HIDDEN.into_iter().flat_map(of).flatten()
}

fn of(kernel: &'static Kernel, sizes: Sizes, devices: &[Capabilities]) -> Vec<Spec> {
    let on = |devices: &[Capabilities]| {
        with_sizes(kernel, |recipe| devices.iter().flat_map(|caps| sizes.on(caps, recipe)).collect())
    };
    let (mut plain, varied): (Vec<Spec>, Vec<Spec>) =
        on(devices).into_iter().partition(|spec| spec.recipe.is_none_or(Recipe::is_plain));
    if !varied.is_empty() {
        // The same whatever the devices, as far as these launch them.
        let all: Vec<Capabilities> = self::devices().collect();
        let launched: HashSet<Spec> = varied.into_iter().collect();
        let varied = on(&all).into_iter().filter(|spec| spec.recipe.is_some_and(|recipe| !recipe.is_plain()));
        plain.extend(in_pairs(varied).filter(|spec| launched.contains(spec)));
    }
    plain
}

/// Every variant of a kernel that has these sets of sizes.
pub(super) fn with_sizes(kernel: &'static Kernel, sizes: impl Fn(Option<Recipe>) -> BTreeSet<Consts>) -> Vec<Spec> {
    let by_cell = kernel.fragments.iter().any(|fragment| fragment.name == "lib/cell.wgsl");
    // Scans are of recipes without a product, and all others of those with one.
    let scans = [recurrent::SCAN_FORWARD.name, recurrent::SCAN_BACKWARD.name].contains(&kernel.name);
    // Steps alone have projections, with weights that are packed.
    let unprojected =
        [recurrent::SEQUENCE_FORWARD.name, recurrent::SEQUENCE_BACKWARD.name, recurrent::FORWARD_REPACKED.name];
    let projects = !unprojected.contains(&kernel.name);
    let own = Recipe::texts().filter(|recipe| recipe.has_product() != scans);
    let own = own.filter(|recipe| projects || recipe.projection().is_none());
    let cells: Vec<Option<Recipe>> = if by_cell { own.map(Some).collect() } else { vec![None] };
    let mut specs = Vec::new();
    for recipe in cells {
        let tiles = sizes(recipe);
        for (halves, consts) in stored(kernel, recipe).iter().flat_map(|halves| tiles.iter().map(move |c| (halves, c)))
        {
            specs.push(Spec { kernel, recipe, consts: consts.clone(), halves: halves.clone() });
        }
    }
    for &(name, values) in SWITCHES.iter().filter(|(name, _)| kernel.names(name)) {
        let with = |spec: &Spec, value| {
            let consts = spec.consts.iter().copied().chain([(name, value)]).collect();
            Spec { consts, ..spec.clone() }
        };
        specs = specs.iter().flat_map(|spec| values.iter().map(move |&value| with(spec, value))).collect();
    }
    specs.retain(is_launched);
    specs
}

/// Of each recipe those that have something new: a value of a size, or a pair of a way to store and of switches' values.
fn in_pairs(specs: impl Iterator<Item = Spec>) -> impl Iterator<Item = Spec> {
    let mut seen = BTreeSet::new();
    specs.filter(move |spec| {
        let recipe = spec.recipe.map(|recipe| recipe.to_string());
        let is_switch = |name: &str| SWITCHES.iter().any(|(switch, _)| *switch == name);
        let (switches, sizes): (Consts, Consts) = spec.consts.iter().partition(|(name, _)| is_switch(name));
        let stored = [("stored", spec.halves.join(" "))].into_iter();
        let chosen: Vec<_> = stored.chain(switches.iter().map(|(name, value)| (*name, value.to_string()))).collect();
        let alone = sizes.iter().map(|(name, value)| [(*name, value.to_string()), ("", String::new())]);
        let pairs = chosen.iter().enumerate().flat_map(|(at, one)| {
            let others = chosen[at + 1..].iter().cloned().chain((chosen.len() == 1).then(|| ("", String::new())));
            others.map(move |other| [one.clone(), other])
        });
        // All of them are noted, so no short cut.
        alone.chain(pairs).fold(false, |new, found| seen.insert((recipe.clone(), found)) | new)
    })
}

impl Sizes {
    /// Every set of sizes on a device.
    fn on(self, caps: &Capabilities, recipe: Option<Recipe>) -> Vec<Consts> {
        let lanes = |lanes: u32| vec![("LANES", lanes)];
        let powers = || (0..14).map(|power| 1_usize << power);
        match (self, recipe) {
            (Self::Places, _) => vec![optimizer::all_slots()],
            (Self::Nothing, _) => vec![Vec::new()],
            (Self::Elements, _) => vec![lanes(element_lanes(caps))],
            (Self::Update, _) => vec![[optimizer::slots(), lanes(element_lanes(caps))].concat()],
            (Self::Width, _) => powers().map(|width| lanes(scatter_lanes(caps, width))).collect(),
            (Self::Reduction(most), _) => powers().map(|count| lanes(total::lanes(caps, count.min(most)))).collect(),
            (Self::Total, _) => vec![lanes(total::lanes(caps, usize::MAX))],
            (Self::Direct, _) => products(caps).filter(is_direct).map(|tile| tile.constants()).collect(),
            (Self::Staged, _) => products(caps).filter(|tile| !is_direct(tile)).map(|tile| tile.constants()).collect(),
            (Self::Subgroup, _) => gemm::SUBGROUPS.map(lanes).to_vec(),
            (Self::Step(pass, shared), Some(recipe)) => step_tiles(caps, pass, recipe, shared),
            (Self::Repacked, _) => powers().map(repacked_rows).collect(),
            (Self::Sequence(pass), Some(recipe)) => layouts(caps, pass, recipe).map(|tile| tile.constants()).collect(),
            (Self::Step(..) | Self::Sequence(_), None) => Vec::new(),
        }
    }
}

/// Tiles of products with any number of rows.
fn products(caps: &Capabilities) -> impl Iterator<Item = Tile> {
    let of = |rows| Tile::candidates(caps, rows).into_iter().chain([Tile::direct(caps, rows)]);
    (0..14).map(|power| 1_usize << power).flat_map(of)
}

fn is_direct(tile: &Tile) -> bool {
    matches!(tile, Tile::Direct { .. })
}

/// What a kernel may find stored as f16: all that a layer owns or nothing of it, and each of the others.
fn stored(kernel: &Kernel, recipe: Option<Recipe>) -> BTreeSet<Vec<&'static str>> {
    let halves = || kernel.bindings.iter().filter(|binding| binding.or_half).map(|binding| binding.name);
    if kernel.is_cooperative() {
        return BTreeSet::from([halves().collect()]);
    }
    // Cells without c bind a stand-in, which is f32; kernels without a cell serve both.
    let [with_c, without_c] = recipe.map_or([true, true], |recipe| [recipe.has_c(), !recipe.has_c()]);
    // Backward reads the parameters themselves, which are f32.
    let packed = kernel.bindings.iter().all(|binding| binding.name != "dy");
    let owned = |name: &str, c: bool| OWN.contains(&name) && (name != "c" || c) && (name != "w" || packed);
    let others: Vec<_> = halves().filter(|name| !OWN.contains(name)).collect();
    let mut sets = BTreeSet::new();
    for (own, c) in [(false, false), (true, false), (true, true)] {
        if own && !(if c { with_c } else { without_c }) {
            continue;
        }
        for chosen in 0..1_u32 << others.len() {
            let other = |name: &str| others.iter().position(|one| *one == name).is_some_and(|at| chosen >> at & 1 == 1);
            sets.insert(halves().filter(|name| own && owned(name, c) || other(name)).collect());
        }
    }
    sets
}

/// Whether its switches go together. Each line is a rule of a host file.
fn is_launched(spec: &Spec) -> bool {
    let of = |name: &str| spec.consts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let on = |name: &str| of(name).is_some_and(|value| value != 0);
    let not = |name: &str| of(name).is_some_and(|value| value == 0);
    // A loss has a scale only where it has a gradient.
    let scaled_without_gradient = on("SCALED") && not("GRADIENT");
    // Adam has both moments, and Nesterov's momentum is one.
    let adam = on("RULE") && (not("MOMENTUM") || on("NESTEROV"));
    let nesterov_without_momentum = on("NESTEROV") && not("MOMENTUM");
    // Rows that lie along k are read in vectors only where they are not mapped.
    let mapped_along = spec.kernel.name == gemm::VECTOR.name && on("A_ALONG") && of("MAPPED") == Some(1);
    // States are carried in f32 where they are stored as f16.
    let carried = on("CARRIED") != (of("CARRIED").is_some() && spec.halves.contains(&"h"));
    // Weights are packed as they are needed only where nothing is f16.
    let repacked = spec.kernel.name == recurrent::FORWARD_REPACKED.name && !spec.halves.is_empty();
    // A phase that the recipe has, or behind them a projection.
    let phases = spec.recipe.map_or(1, Recipe::step_products);
    let no_phase = of("PHASE").is_some_and(|phase| phase as usize >= phases);
    // Of a projection no norms are left.
    let no_flow = on("FLOW") && spec.recipe.is_some_and(|recipe| recipe.projection().is_some());
    // Without factors a stand-in is bound, which is f32.
    let factors = not("FACTORS") && spec.halves.contains(&"factors");
    !(factors
        || no_phase
        || no_flow
        || scaled_without_gradient
        || adam
        || nesterov_without_momentum
        || mapped_along
        || carried
        || repacked)
}
