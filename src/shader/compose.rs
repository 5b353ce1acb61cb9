//! [`Spec`] → WGSL text.

use std::fmt::Write;

use super::fragment::{Fragment, Kernel, cell_fragment, fragments, function_fragment};
use crate::recipe::{Operand, Phase, Recipe};

/// What decides a kernel's text: the kernel, the recipe, and its constants. It is the pipeline's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The recipe whose equations it runs, for recurrent kernels.
    pub recipe: Option<Recipe>,
    /// `const NAME: u32 = value;`, tile sizes and switches.
    pub consts: Vec<(&'static str, u32)>,
    /// Bindings whose floats are stored as f16.
    pub halves: Vec<&'static str>,
}

impl Spec {
    /// The recipe and the constants in words, such as `lstm, LANES 32, RB 2`.
    pub fn variant(&self) -> String {
        let recipe = self.recipe.map(|recipe| recipe.to_string());
        let consts = (!self.consts.is_empty()).then(|| constants(&self.consts));
        let halves = self.halves.iter().map(|name| format!("{name} f16"));
        recipe.into_iter().chain(consts).chain(halves).collect::<Vec<_>>().join(", ")
    }
}

/// Constants as [`Spec::variant`] has them.
pub(crate) fn constants(consts: &[(&'static str, u32)]) -> String {
    let consts = consts.iter().map(|(name, value)| format!("{name} {value}"));
    consts.collect::<Vec<_>>().join(", ")
}

/// Composed WGSL and where each line came from.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The text.
    pub source: String,
    /// First line (from 1) of each part.
    parts: Vec<(usize, &'static str)>,
}

/// The files that a recipe brings into a kernel: its cell, what comes between its phases, what becomes of the states that it
/// makes, and the functions that it calls, each once.
pub fn recipe_fragments(recipe: Recipe) -> Vec<Fragment> {
    let mut all: Vec<Fragment> = vec![cell_fragment(recipe)];
    if recipe.phases().len() < 2 {
        all.extend(fragments!["hook/one_phase.wgsl"]);
    }
    let hooks: &[Fragment] = match recipe.zones() {
        true => fragments!["lib/random.wgsl", "hook/zoneout.wgsl"],
        false => fragments!["hook/cell_alone.wgsl"],
    };
    all.extend(hooks);
    for (_, activation) in recipe.activations().by_role() {
        let fragment = function_fragment(activation.function());
        if !all.contains(&fragment) {
            all.push(fragment);
        }
    }
    all
}

/// The WGSL of `spec`: header, the recipe's cell and functions, fragments.
pub fn compose(spec: &Spec) -> Composed {
    let mut source = String::new();
    let mut parts = vec![(1, "header")];
    let line = |source: &mut String, text: std::fmt::Arguments<'_>| {
        // Writing to a String can't fail.
        let _ = writeln!(source, "{text}");
    };
    if !spec.halves.is_empty() {
        line(&mut source, format_args!("enable f16;"));
    }
    if spec.kernel.is_cooperative() {
        line(&mut source, format_args!("enable wgpu_cooperative_matrix;"));
    }
    for binding in spec.kernel.bindings.iter().filter(|binding| binding.or_half) {
        let stored = if spec.halves.contains(&binding.name) { "f16" } else { "f32" };
        line(&mut source, format_args!("alias {}_t = {stored};", binding.name));
    }
    for (name, value) in &spec.consts {
        line(&mut source, format_args!("const {name}: u32 = {value}u;"));
    }
    let mut fragments = Vec::new();
    if let Some(recipe) = spec.recipe {
        line(&mut source, format_args!("const GATES: u32 = {}u;", recipe.gates()));
        line(&mut source, format_args!("const SAVED: u32 = {}u;", recipe.saved()));
        line(&mut source, format_args!("const HAS_C: bool = {};", recipe.has_c()));
        // Four bits an entry, as lib/cell.wgsl reads them.
        let mut hidden_slots = 0u32;
        let mut slot_gates = u32::MAX;
        for (gate, &slot) in recipe.hidden_slots().iter().enumerate() {
            hidden_slots |= (slot as u32) << (4 * gate);
            slot_gates ^= (15 ^ gate as u32) << (4 * slot);
        }
        let (mut bounds, mut operands) = (0u32, 0u32);
        for (index, Phase { gates, operand }) in recipe.phases().enumerate() {
            bounds |= (gates.end as u32) << (4 * (index + 1));
            operands |= match operand {
                Operand::H => 15,
                Operand::Saved(slot) => slot as u32,
            } << (4 * index);
        }
        line(&mut source, format_args!("const PHASES: u32 = {}u;", recipe.phases().len()));
        line(&mut source, format_args!("const PHASE_BOUNDS: u32 = {bounds:#x}u;"));
        line(&mut source, format_args!("const PHASE_OPERANDS: u32 = {operands:#x}u;"));
        line(&mut source, format_args!("const HIDDEN_SLOTS: u32 = {hidden_slots:#x}u;"));
        line(&mut source, format_args!("const SLOT_GATES: u32 = {slot_gates:#x}u;"));
        let options = recipe.options();
        let numbers = options.numbers().map(|(name, number)| (name, number.is_some()));
        let projection = [("projection", recipe.projection().is_some())];
        for (name, on) in options.switches().into_iter().chain(projection).chain(numbers) {
            line(&mut source, format_args!("const {}: bool = {on};", name.replace("clip_", "clips_").to_uppercase()));
        }
        // Each role calls its function; what another recipe calls is not in the text.
        for (role, activation) in recipe.activations().by_role() {
            let name = activation.function().name();
            for what in ["value", "slope"] {
                let numbers = format!("u.recipe.{role}_alpha, u.recipe.{role}_beta");
                let call = format!("{name}_{what}(x, {numbers})");
                line(&mut source, format_args!("fn {role}_{what}(x: f32) -> f32 {{ return {call}; }}"));
            }
        }
        fragments = recipe_fragments(recipe);
    }
    // A cell may use the library fragments, so they come first; order does not matter to WGSL.
    fragments.extend(spec.kernel.fragments);
    for fragment in fragments {
        parts.push((source.lines().count() + 1, fragment.name));
        source.push_str(fragment.source);
        if !source.ends_with('\n') {
            source.push('\n');
        }
    }
    Composed { source, parts }
}

impl Composed {
    /// `fragment:line` of a line (from 1) of the text.
    pub fn locate(&self, line: usize) -> String {
        let part = self.parts.iter().rev().find(|(first, _)| *first <= line).unwrap_or(&self.parts[0]);
        format!("{}:{}", part.1, (line + 1).saturating_sub(part.0))
    }
}
