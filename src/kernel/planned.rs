//! What is chosen on an adapter, found without a device: for tables of what its compiler makes of it, and for the test that
//! holds the choice against them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::recurrent::{FORWARD_REPACKED, Pass, SEQUENCE_BACKWARD, SEQUENCE_FORWARD, SequenceTile};
use super::variants::{self, Consts};
use crate::gpu::{Capabilities, Class};
use crate::recipe::Recipe;
use crate::shader::Spec;

/// Most units of the layers.
const MOST_HIDDEN: usize = 256;
/// Sequences of the layers: few, and so many that a workgroup takes two or four.
const BATCHES: [usize; 3] = [1, 200, 512];

/// Switches that only add to a kernel, with all on: rows of both factors found by a map, and norms of gradients.
const ADDING: [(&str, u32); 3] = [("MAPPED", 3), ("FLOW", 1), ("FACTORS", 1)];

/// Every distinct text that an adapter of a class may be given for layers of up to 256 units and 512 sequences: what steps,
/// sequences and products are made of with its own workgroups, and with those that WebGPU guarantees, which apps ask for;
/// of every other kernel one variant a cell. All is stored as f32 or, where the adapter has it, all that may be as f16.
///
/// Those that need the most stand for others: the layout with the most registers for sequences in workgroups of one size, the
/// largest workgroups for steps of as many sequences, and all on of switches that only add to a kernel. Without
/// cooperative matrices, which have no layouts to choose from.
pub fn planned(class: Class, invocations: u32, memory: u32, f16: bool) -> Vec<Spec> {
    let own = |[invocations, memory]: [u32; 2]| Capabilities { f16, ..variants::device(class, invocations, memory) };
    let devices = [[invocations, memory], variants::WORKGROUPS[0]].map(own);
    let (tiled, others): (Vec<Spec>, Vec<Spec>) = variants::on(devices.to_vec())
        .filter(|spec| !spec.kernel.is_cooperative() && !is_sequence(spec) && has_all(spec))
        // Only software adapters pack weights as they are needed.
        .filter(|spec| spec.kernel.name != FORWARD_REPACKED.name)
        .filter(is_plain)
        .partition(is_tiled);
    let sequences = [(Pass::Forward, &SEQUENCE_FORWARD), (Pass::Backward, &SEQUENCE_BACKWARD)];
    let sequences = sequences.into_iter().flat_map(|(pass, kernel)| {
        variants::with_sizes(kernel, |recipe| recipe.map(|recipe| layouts(&devices, pass, recipe)).unwrap_or_default())
    });
    let mut found = BTreeMap::new();
    for spec in fullest(widest(tiled).chain(sequences.filter(has_all).filter(is_plain)).collect(), f16) {
        found.insert((spec.kernel.name, spec.variant()), spec);
    }
    let others = others.into_iter().filter(|spec| spec.halves.is_empty());
    let others: HashMap<_, _> = others.map(|spec| ((spec.kernel.name, spec.recipe.map(Recipe::cell)), spec)).collect();
    found.extend(others.into_values().map(|spec| ((spec.kernel.name, spec.variant()), spec)));
    found.into_values().collect()
}

/// Those without anything stored as f16 and, with `f16`, those with the most that a kernel and cell may have.
fn fullest(specs: Vec<Spec>, f16: bool) -> Vec<Spec> {
    let mut most = HashMap::new();
    for spec in &specs {
        let most = most.entry((spec.kernel.name, spec.recipe.map(Recipe::cell))).or_insert(0);
        *most = spec.halves.len().max(*most);
    }
    let is_full = |spec: &Spec| spec.halves.len() == most[&(spec.kernel.name, spec.recipe.map(Recipe::cell))];
    specs.into_iter().filter(|spec| spec.halves.is_empty() || f16 && is_full(spec)).collect()
}

/// The constants of layouts of a sequence kernel: for each number of invocations and either place of the weights, the layout
/// that needs the most registers.
fn layouts(devices: &[Capabilities], pass: Pass, recipe: Recipe) -> BTreeSet<Consts> {
    let mut most: BTreeMap<(u32, bool), (u32, Consts)> = BTreeMap::new();
    for (caps, hidden) in devices.iter().flat_map(|caps| (1..=MOST_HIDDEN).map(move |hidden| (caps, hidden))) {
        for tile in BATCHES.iter().filter_map(|&batch| SequenceTile::new(caps, pass, recipe, hidden, 1, batch)) {
            let needs = (tile.registers(pass, recipe), tile.constants());
            let most = most.entry((tile.lanes, tile.held)).or_insert_with(|| needs.clone());
            *most = needs.max(most.clone());
        }
    }
    most.into_values().map(|(_, consts)| consts).collect()
}

/// Of steps' tiles with as many sequences, the one with the most invocations.
fn widest(specs: Vec<Spec>) -> impl Iterator<Item = Spec> {
    let mut most = HashMap::new();
    for spec in specs {
        let of = |name: &str| spec.consts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let size = [of("LANES"), of("UNITS")];
        // Tiles of products all stay.
        let rows = of("RB").map_or_else(|| Err(spec.variant()), Ok);
        let key = (spec.kernel.name, spec.recipe.map(Recipe::cell), spec.halves.clone(), rows);
        let most = most.entry(key).or_insert_with(|| (size, spec.clone()));
        if size > most.0 {
            *most = (size, spec);
        }
    }
    most.into_values().map(|(_, spec)| spec)
}

/// Whether its cell is as PyTorch has it, without options.
fn is_plain(spec: &Spec) -> bool {
    spec.recipe.is_none_or(Recipe::is_plain)
}

fn is_sequence(spec: &Spec) -> bool {
    [SEQUENCE_FORWARD.name, SEQUENCE_BACKWARD.name].contains(&spec.kernel.name)
}

/// Whether every switch of [`ADDING`] that it has is on.
fn has_all(spec: &Spec) -> bool {
    spec.consts.iter().all(|one| ADDING.iter().all(|adding| adding.0 != one.0 || adding.1 == one.1))
}

/// Whether its tile depends on the class of adapters or on a layer's sizes.
fn is_tiled(spec: &Spec) -> bool {
    ["RB", "RM", "BM"].iter().any(|name| spec.consts.iter().any(|(known, _)| known == name))
}
