//! The page of `gates`: what each gate and state does over a batch, and step by step on one sequence, with the numbers as
//! CSV and JSON beside it.

use std::path::Path;

use anyhow::{Context, Result};
use maud::html;
use serde::Serialize;
use wgpu_rnn::probe::{Activity, HIGH, LOW, Summary, Value, Values};
use wgpu_rnn::{RnnConfig, StepOptions, ValueKind};

use super::figure::{Axis, Draw, Figure, Heat, Line, Lines, Plot, Role};
use super::page::{self, Origin, charts, section};
use super::table::Table;
use super::{Looked, named, when};
use crate::base::files::replace;
use crate::base::numbers::{NONE, number, share};
use crate::task::Shown;

/// Everything that was looked at.
pub struct Page {
    pub origin: Origin,
    pub looks: Vec<Look>,
}

/// One net on one batch.
pub struct Look {
    pub of: Looked,
    /// Training steps before.
    pub trained: usize,
    pub activity: Activity,
    /// Of the batch's first sequence, in time order.
    pub values: Values,
    /// What that sequence shows.
    pub shown: Shown,
}

/// What `gates.json` holds of a gate or state.
#[derive(Serialize)]
struct Numbers {
    cell: String,
    hidden: usize,
    layer: usize,
    direction: &'static str,
    trained: usize,
    value: &'static str,
    mean: f64,
    spread: f64,
    near_minus_one: f64,
    near_zero: f64,
    near_one: f64,
    units_always_near_zero: usize,
    units_always_near_one: usize,
    time_constant_median: Option<f64>,
    time_constant_longest: Option<f64>,
}

/// Steps and units of a heat map at most, so that each can be seen.
const DRAWN_STEPS: usize = 100;
const DRAWN_UNITS: usize = 32;

/// Whether a value is more than a part of another, which backward needs apart.
fn is_shown(value: &Value) -> bool {
    !["hn", "rh"].contains(&value.name)
}

impl Look {
    /// Every value with what its units did together. What only backward needs is left out.
    fn summaries(&self) -> Vec<(Value, Summary)> {
        let values = self.activity.values().into_iter().filter(is_shown);
        let Looked { layer, direction, .. } = self.of;
        values.filter_map(|value| Some((value, self.activity.summary(layer, direction, value)?))).collect()
    }

    /// The time constants, shortest first.
    fn time_constants(&self) -> Vec<f64> {
        let mut all = self.activity.time_constants(self.of.layer, self.of.direction);
        all.sort_unstable_by(f64::total_cmp);
        all
    }

    fn median_of(&self, value: Value) -> Option<f64> {
        let all = self.time_constants();
        (value.kind == ValueKind::Keep).then(|| all.get(all.len() / 2).copied()).flatten()
    }

    fn title(&self) -> String {
        self.of.title()
    }

    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.summaries().into_iter().map(|(value, all)| {
            let near = |of: f64| share(of * 100.0);
            // Gates are never negative; what is free is not saturated at one.
            let free = value.kind == ValueKind::Free;
            let gate = !free && value.kind != ValueKind::Squashed;
            let unless = |not: bool, text: String| if not { NONE.to_string() } else { text };
            vec![
                self.title(),
                when(self.trained),
                value.name.to_string(),
                number(all.mean),
                number(all.spread),
                unless(gate || free, near(all.near_minus_one)),
                near(all.near_zero),
                unless(free, near(all.near_one)),
                format!("{} of {}", all.always_zero, all.units),
                unless(!gate, format!("{} of {}", all.always_one, all.units)),
                self.median_of(value).map_or_else(|| NONE.to_string(), steps),
            ]
        })
    }
}

const HEAD: [&str; 11] = [
    "cell",
    "weights",
    "value",
    "mean",
    "spread",
    "near −1",
    "near 0",
    "near 1",
    "always 0",
    "always 1",
    "time constant",
];

impl Page {
    fn summary(&self) -> Table {
        Table::new(HEAD, self.looks.iter().flat_map(Look::rows).collect())
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        self.summary().plain()
    }

    /// Writes `index.html`, `gates.csv`, `sequence.csv` and `gates.json` into the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
        replace(&out.join("gates.json"), &(serde_json::to_string_pretty(&self.numbers())? + "\n"))?;
        replace(&out.join("gates.csv"), &self.units()?)?;
        replace(&out.join("sequence.csv"), &self.sequence()?)?;
        replace(&out.join("index.html"), &self.html())
    }

    fn numbers(&self) -> Vec<Numbers> {
        let of = |look: &Look| -> Vec<Numbers> {
            let numbers = |(value, all): (Value, Summary)| Numbers {
                cell: named(&look.of.config),
                hidden: look.of.config.hidden,
                layer: look.of.layer,
                direction: look.of.way(),
                trained: look.trained,
                value: value.name,
                mean: all.mean,
                spread: all.spread,
                near_minus_one: all.near_minus_one,
                near_zero: all.near_zero,
                near_one: all.near_one,
                units_always_near_zero: all.always_zero,
                units_always_near_one: all.always_one,
                time_constant_median: look.median_of(value).filter(|median| median.is_finite()),
                time_constant_longest: (value.kind == ValueKind::Keep)
                    .then(|| look.time_constants().last().copied())
                    .flatten()
                    .filter(|longest| longest.is_finite()),
            };
            look.summaries().into_iter().map(numbers).collect()
        };
        self.looks.iter().flat_map(of).collect()
    }

    fn units(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let numbers = ["mean", "spread", "near_minus_one", "near_zero", "near_one", "time_constant"];
        let about = ["cell", "hidden", "layer", "trained", "value", "unit"];
        writer.write_record(about.into_iter().chain(numbers).chain(["direction"]))?;
        for look in &self.looks {
            let Looked { config, layer, direction } = look.of;
            let constants = look.activity.time_constants(layer, direction);
            for (value, _) in look.summaries() {
                for (index, unit) in look.activity.units(layer, direction, value).into_iter().enumerate() {
                    let constant = constants.get(index).filter(|_| value.kind == ValueKind::Keep);
                    let numbers = [unit.mean, unit.spread, unit.near_minus_one, unit.near_zero, unit.near_one];
                    let named = [named(&config), config.hidden.to_string()];
                    let at = [layer, look.trained].map(|number| number.to_string());
                    let fixed = at.into_iter().chain([value.name.to_string(), index.to_string()]);
                    let numbers = numbers.map(|number| number.to_string()).into_iter();
                    let constant = constant.map_or_else(String::new, f64::to_string);
                    writer.write_record(
                        named.into_iter().chain(fixed).chain(numbers).chain([constant, look.of.way().to_string()]),
                    )?;
                }
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    fn sequence(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let head = ["cell", "hidden", "layer", "trained", "step", "input", "value", "unit", "number", "direction"];
        writer.write_record(head)?;
        for look in &self.looks {
            for (value, numbers) in look.values.all() {
                let width = look.values.width(*value);
                for (index, number) in numbers.iter().enumerate() {
                    let (step, unit) = (index / width, index % width);
                    writer.write_record([
                        named(&look.of.config),
                        look.of.config.hidden.to_string(),
                        look.of.layer.to_string(),
                        look.trained.to_string(),
                        step.to_string(),
                        input(&look.shown, step),
                        value.name.to_string(),
                        unit.to_string(),
                        number.to_string(),
                        look.of.way().to_string(),
                    ])?;
                }
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    fn html(&self) -> String {
        let lead = format!(
            "Over all units, steps and sequences of a batch. Near 0: within {LOW}; near ±1: beyond {HIGH}. A gate that is always \
             near 0 is never open, one that is always near 1 never shut; a state that is always near 0 is dead. The time constant \
             is the median over units of −1 / mean(ln f), f being the gate that keeps the state, f of an LSTM and z of a GRU: steps \
             until what a unit keeps by its gate alone has fallen to 1/e."
        );
        let config = self.looks.first().map(|look| look.of.config);
        let lead = lead + &config.map_or_else(String::new, |config| changes(&config));
        let last = self.looks.iter().map(|look| look.trained).max().unwrap_or(0);
        let trained = || self.looks.iter().filter(|look| look.trained == last);
        let maps = html! { @for look in trained() { (figure(look).markup()) } };
        let mut constants = self.constants();
        // A plain RNN has no gates that keep: its states are the picture.
        let first = constants.pop();
        let picture = match (&first, trained().next()) {
            (None, Some(look)) => figure(look).markup(),
            (first, _) => first.as_ref().map(Figure::markup).unwrap_or_default(),
        };
        let how = "Each line is one net, its units in the order of their time constants.";
        let by_step = "A row is a unit, a column a step of one sequence; what the sequence shows is under it. Blue is positive, orange \
                       negative, nothing zero.";
        let mut sections = Vec::new();
        if !constants.is_empty() {
            let constants = charts(constants.iter().map(Figure::markup));
            sections.push(section("constants", "How long units keep, elsewhere and before", "", &constants));
        }
        if first.is_some() {
            sections.push(section("steps", "Step by step", by_step, &maps));
        }
        sections.push(section("gates", "What they do", &lead, &self.summary().open("What gates and states do")));
        let page = page::Page {
            command: "gates",
            title: "What gates keep and discard".to_string(),
            result: vec![sentence(trained()), if first.is_some() { how } else { by_step }.to_string()],
            picture,
            sections,
            origin: &self.origin,
            facts: Vec::new(),
        };
        page.render()
    }

    /// Time constants of every net that has them, before training and after.
    fn constants(&self) -> Vec<Figure> {
        let key = |look: &Look| [look.trained, look.of.layer, look.of.direction];
        let mut groups: Vec<[usize; 3]> = self.looks.iter().map(key).collect();
        // The first layer after training is the last, of its directions the first.
        groups.sort_unstable_by_key(|&[trained, layer, direction]| (trained, std::cmp::Reverse([layer, direction])));
        groups.dedup();
        let figure = |group| {
            let looks = self.looks.iter().filter(|look| key(look) == group);
            let looks: Vec<(&Look, Vec<f64>)> = looks.map(|look| (look, look.time_constants())).collect();
            let looks: Vec<_> = looks.into_iter().filter(|(_, constants)| !constants.is_empty()).collect();
            let (first, _) = looks.first()?;
            let title = format!("Time constants, {}{}", when(first.trained), first.of.ending());
            let units = (0..first.of.config.hidden).map(|unit| unit.to_string()).collect();
            let line = |(look, constants): &(&Look, Vec<f64>)| {
                let points = constants.iter().enumerate().map(|(unit, steps)| (unit as f64, *steps)).collect();
                Line::of(&look.title(), points)
            };
            let (x, y) = (Axis::names("unit, by its time constant", units), Axis::log("time constant, steps"));
            let chart = Lines { reach: vec![1.0, 10.0], ..Lines::new(x, y, looks.iter().map(line).collect()) };
            Some(Figure::of(title, chart))
        };
        groups.into_iter().filter_map(figure).collect()
    }
}

/// How long half of the units of each net keep what they hold.
fn sentence<'a>(looks: impl Iterator<Item = &'a Look>) -> String {
    let mut gated = false;
    let looks = looks.inspect(|look| gated |= look.of.config.recipe().gates() > 1);
    let half = |look: &Look| {
        let all = look.time_constants();
        let (median, longest) = (all.get(all.len() / 2)?, all.last()?);
        let (median, longest) = (steps(*median), steps(*longest));
        Some(format!(
            "half of the units of the {} for {median} steps or longer, the longest for {longest}",
            look.of.in_words()
        ))
    };
    let all: Vec<String> = looks.filter_map(half).collect();
    match (all.is_empty(), gated) {
        (true, false) => "A cell without gates has no time constants.".to_string(),
        (true, true) => "Gates of a function that leaves 0 to 1 have no time constants.".to_string(),
        (false, _) => {
            format!("By their gates alone units keep what they hold, until it has fallen to 1/e: {}.", all.join("; "))
        }
    }
}

/// What options of a layer change about what its values mean, each with a space before it.
fn changes(config: &RnnConfig) -> String {
    let StepOptions { peephole, coupled, reset_before, projection, clip, resets, zoneout, .. } = config.options;
    let mut said = String::new();
    let names = config.recipe().values();
    if config.recipe().gates() > 1 && names.iter().all(|(_, kind)| *kind != ValueKind::Keep) {
        said += " The gates of this layer have another function than one from 0 to 1: none of them is a share that is kept, and there are \
                 no time constants.";
    }
    if let Some(limit) = clip.inputs {
        said += &format!(
            " Arguments of gates are clipped at ±{}: a gate stays within what its function makes of that, and where it is clipped it \
             has no gradient, though it is near neither end.",
            limit.get()
        );
    }
    for (limit, when) in [(clip.cell, "when it is stored"), (clip.cell_as_read, "when it is read")] {
        if let Some(limit) = limit {
            said += &format!(
                " The cell state is clipped at ±{} {when}: what is beyond is lost, whatever the forget gate keeps.",
                limit.get()
            );
        }
    }
    if peephole {
        said += " Gates see the cell state too, through peepholes.";
    }
    if let Some(size) = projection {
        said += &format!(" h is a projection to {size} elements of m, which is what the units make.");
    }
    if coupled {
        said += " The input gate is 1 − f, and has no row of its own.";
    }
    if reset_before {
        said += " The reset gate r acts on h before the candidate’s weights read it.";
    }
    for (share, state) in [(zoneout.h, "h"), (zoneout.c, "c")] {
        if let Some(share) = share {
            said += &format!(
                " With zoneout a unit’s {state} stays as it was with probability {}, whatever the step makes.",
                share.get()
            );
        }
    }
    if config.recipe().stays() > 0.0 {
        said += " The state that the gate keeps is asked for it that much less often, and time constants are longer by as much: the mean \
                 logarithm is multiplied by the probability that the state does not stay.";
    }
    if names.iter().any(|(name, _)| ["c_made", "h_made"].contains(name)) {
        said += " c_made and h_made are what a step makes, be it left or not.";
    }
    if resets {
        said += " Sequences begin anew within the batch: what units held is gone there, whatever a gate says.";
    }
    if config.is_reversed() {
        said += " A layer that goes backwards reads a sequence from its end; its values stand beside the inputs that they belong to.";
    }
    said
}

/// A time constant as people read it.
fn steps(constant: f64) -> String {
    if constant == f64::INFINITY { "∞".to_string() } else { number(constant) }
}

/// What was shown at a step.
fn input(shown: &Shown, step: usize) -> String {
    match shown {
        Shown::Values(_, values) => values.get(step).map_or_else(String::new, |value| (*value as f32).to_string()),
        Shown::Characters(all) => all.get(step).map_or_else(String::new, |&found| letter(found)),
    }
}

/// A character that can be seen.
fn letter(character: Option<char>) -> String {
    match character {
        Some('\n') => "↵".to_string(),
        Some('\t') => "⇥".to_string(),
        Some(' ') => "␣".to_string(),
        Some(other) if !other.is_control() => other.to_string(),
        _ => "�".to_string(),
    }
}

/// Heat maps of every gate and state of a net on one sequence, above what it shows.
fn figure(look: &Look) -> Figure {
    let hidden = look.values.hidden();
    let drawn = look.values.all().iter().filter(|(value, _)| is_shown(value));
    let steps = look.values.all().first().map_or(0, |(_, numbers)| numbers.len() / hidden.max(1));
    let (some_steps, some) = (steps.min(DRAWN_STEPS), hidden.min(DRAWN_UNITS));
    let names: Vec<String> = match &look.shown {
        Shown::Values(..) => (0..some_steps).map(|step| step.to_string()).collect(),
        Shown::Characters(all) => all.iter().take(some_steps).map(|&found| letter(found)).collect(),
    };
    let map = |(value, numbers): &(Value, Vec<f64>)| {
        let largest = numbers.iter().copied().filter(|number| number.is_finite()).fold(0.0, |a: f64, b| a.max(b.abs()));
        // What has no bounds has a scale of its own.
        let most = if value.kind == ValueKind::Free && largest > 0.0 { largest } else { 1.0 };
        let rows = numbers.chunks_exact(look.values.width(*value)).take(some_steps);
        let unit = |unit: usize| rows.clone().map(|step| step[unit]).collect();
        Plot::Heat(Heat {
            name: value.name.to_string(),
            steps: names.clone(),
            units: (0..some.min(look.values.width(*value))).map(unit).collect(),
            most,
            signed: matches!(value.kind, ValueKind::Free | ValueKind::Squashed),
        })
    };
    let mut plots: Vec<Plot> = drawn.clone().map(map).collect();
    if let Shown::Values(name, values) = &look.shown {
        let points = values.iter().take(some_steps).enumerate().map(|(step, &value)| (step as f64, value)).collect();
        let line = Line::new(name, Role::Ink, Draw::Line, points);
        plots.push(Plot::Lines(Lines::new(Axis::names("step", names), Axis::linear(name), vec![line])));
    }
    let mut asides = Vec::new();
    if steps > DRAWN_STEPS || hidden > DRAWN_UNITS {
        asides.push(format!("{some_steps} of {steps} steps and {some} of {hidden} units are drawn."));
    }
    let columns = drawn.clone().map(|(value, _)| format!("{}, mean of units", value.name));
    let head = ["step", "input"].map(str::to_string).into_iter().chain(columns);
    let mean = |value: Value, numbers: &[f64], step: usize| {
        let units = numbers.chunks_exact(look.values.width(value)).nth(step).unwrap_or_default();
        number(units.iter().sum::<f64>() / units.len() as f64)
    };
    let rows = (0..some_steps).map(|step| {
        let means = drawn.clone().map(|(value, numbers)| mean(*value, numbers, step));
        [step.to_string(), input(&look.shown, step)].into_iter().chain(means).collect()
    });
    let title = format!("{}, {}: gates and states, step by step", look.title(), when(look.trained));
    Figure { title, plots, asides, table: Table::new(head, rows.collect()) }
}
