//! The page of `gates`: what each gate and state does over a batch, and step by step on one sequence, with the numbers as
//! CSV and JSON beside it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::probe::{Activity, HIGH, LOW, Summary, Value, Values};
use wgpu_rnn::{RnnConfig, ValueKind};

use super::charts::{Role, standalone};
use super::heat::{self, Map, Under};
use super::html::{Table, escape, section};
use super::inside::{Origin, legend, of_layer, titled, when};
use super::lines::{Chart, Line};
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
    pub config: RnnConfig,
    pub layer: usize,
    /// Training steps before.
    pub trained: usize,
    pub activity: Activity,
    /// Of the batch's first sequence.
    pub values: Values,
    /// What that sequence shows.
    pub shown: Shown,
}

/// What `gates.json` holds of a gate or state.
#[derive(Serialize)]
struct Numbers {
    cell: &'static str,
    hidden: usize,
    layer: usize,
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
}

/// Steps and units of a heat map at most, so that each can be seen.
const DRAWN_STEPS: usize = 100;
const DRAWN_UNITS: usize = 32;

impl Look {
    /// Every value with what its units did together. What only backward needs is left out.
    fn summaries(&self) -> Vec<(Value, Summary)> {
        let values = self.activity.values().into_iter().filter(|value| value.name != "hn");
        values.filter_map(|value| Some((value, self.activity.summary(self.layer, 0, value)?))).collect()
    }

    /// The time constants, shortest first.
    fn time_constants(&self) -> Vec<f64> {
        let mut all = self.activity.time_constants(self.layer, 0);
        all.sort_unstable_by(f64::total_cmp);
        all
    }

    fn median_of(&self, value: Value) -> Option<f64> {
        let all = self.time_constants();
        (value.kind == ValueKind::Keep).then(|| all.get(all.len() / 2).copied()).flatten()
    }

    fn title(&self) -> String {
        titled(self.config, self.layer)
    }

    /// Name of the file of its heat maps.
    fn file(&self) -> String {
        let layer = if self.config.layers == 1 { String::new() } else { format!("-layer-{}", self.layer) };
        format!("{}-after-{}{layer}.svg", self.config.cell.name(), self.trained)
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
        Table { head: HEAD.map(str::to_string).to_vec(), rows: self.looks.iter().flat_map(Look::rows).collect() }
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        self.summary().plain()
    }

    /// Writes `index.html`, `gates.csv`, `sequence.csv`, `gates.json` and each net's heat maps as a file of their own into
    /// the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
        for look in &self.looks {
            if let Heat { title, svg: Some(svg), .. } = heat(look)? {
                replace(&out.join(look.file()), &standalone(&svg, &title, &[]))?;
            }
        }
        replace(&out.join("gates.json"), &(serde_json::to_string_pretty(&self.numbers())? + "\n"))?;
        replace(&out.join("gates.csv"), &self.units()?)?;
        replace(&out.join("sequence.csv"), &self.sequence()?)?;
        replace(&out.join("index.html"), &self.html()?)
    }

    fn numbers(&self) -> Vec<Numbers> {
        let of = |look: &Look| -> Vec<Numbers> {
            let numbers = |(value, all): (Value, Summary)| Numbers {
                cell: look.config.cell.name(),
                hidden: look.config.hidden,
                layer: look.layer,
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
            };
            look.summaries().into_iter().map(numbers).collect()
        };
        self.looks.iter().flat_map(of).collect()
    }

    fn units(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let numbers = ["mean", "spread", "near_minus_one", "near_zero", "near_one", "time_constant"];
        writer.write_record(["cell", "hidden", "layer", "trained", "value", "unit"].into_iter().chain(numbers))?;
        for look in &self.looks {
            let constants = look.activity.time_constants(look.layer, 0);
            for (value, _) in look.summaries() {
                for (index, unit) in look.activity.units(look.layer, 0, value).into_iter().enumerate() {
                    let constant = constants.get(index).filter(|_| value.kind == ValueKind::Keep);
                    let numbers = [unit.mean, unit.spread, unit.near_minus_one, unit.near_zero, unit.near_one];
                    let named = [look.config.cell.name().to_string(), look.config.hidden.to_string()];
                    let at = [look.layer, look.trained].map(|number| number.to_string());
                    let fixed = at.into_iter().chain([value.name.to_string(), index.to_string()]);
                    let numbers = numbers.map(|number| number.to_string()).into_iter();
                    let constant = constant.map_or_else(String::new, f64::to_string);
                    writer.write_record(named.into_iter().chain(fixed).chain(numbers).chain([constant]))?;
                }
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    fn sequence(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["cell", "hidden", "layer", "trained", "step", "input", "value", "unit", "number"])?;
        for look in &self.looks {
            let hidden = look.config.hidden;
            for (value, numbers) in look.values.all() {
                for (index, number) in numbers.iter().enumerate() {
                    let (step, unit) = (index / hidden, index % hidden);
                    writer.write_record([
                        look.config.cell.name().to_string(),
                        hidden.to_string(),
                        look.layer.to_string(),
                        look.trained.to_string(),
                        step.to_string(),
                        input(&look.shown, step),
                        value.name.to_string(),
                        unit.to_string(),
                        number.to_string(),
                    ])?;
                }
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    fn html(&self) -> Result<String> {
        let lead = format!(
            "Over all units, steps and sequences of a batch. Near 0: within {LOW}; near ±1: beyond {HIGH}. A gate that is \
             always near 0 is never open, one that is always near 1 never shut; a state that is always near 0 is dead. \
             The time constant is the median over units of −1/ln of the mean of the gate that keeps the state, f of an \
             LSTM and z of a GRU: steps until what a unit remembers falls to 1/e."
        );
        let mut body = section("gates", "What they do", &lead, &self.summary().open("What gates and states do"));
        let lead = "Each line is one net, its units in the order of their time constants, in steps.";
        body += &section("constants", "How long units remember", lead, &self.constants()?);
        let last = self.looks.iter().map(|look| look.trained).max().unwrap_or(0);
        let mut maps = String::new();
        for look in self.looks.iter().filter(|look| look.trained == last) {
            maps += &figure(look)?;
        }
        let lead = "A row is a unit, a column a step of one sequence; what the sequence shows is under it. Blue is \
                    positive, orange negative, nothing zero.";
        body += &section("steps", "Step by step", lead, &maps);
        Ok(self.origin.page("gates", "What gates keep and discard", &[], &body))
    }

    /// Time constants of every net that has them, before training and after.
    fn constants(&self) -> Result<String> {
        let mut figures = String::new();
        let mut groups: Vec<[usize; 2]> = self.looks.iter().map(|look| [look.trained, look.layer]).collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let looks = self.looks.iter().filter(|look| [look.trained, look.layer] == group);
            let looks: Vec<(&Look, Vec<f64>)> = looks.map(|look| (look, look.time_constants())).collect();
            let looks: Vec<_> = looks.into_iter().filter(|(_, constants)| !constants.is_empty()).collect();
            let Some((first, _)) = looks.first() else { continue };
            let title = format!("Time constants, {}{}", when(first.trained), of_layer(first.config, first.layer));
            let lines = looks.iter().map(|(look, constants)| Line {
                role: Role::of(&look.title()),
                width: 2.0,
                points: constants.iter().enumerate().map(|(unit, steps)| (unit as f64, steps.log10())).collect(),
            });
            let chart = Chart {
                label: title.clone(),
                lines: lines.collect(),
                horizontal: Vec::new(),
                covering: vec![0.0, 1.0],
                vertical: None,
                powers: true,
            };
            let names = looks.iter().map(|(look, _)| look.title());
            let legend = legend(names.clone());
            let head = ["unit, by its time constant".to_string()].into_iter().chain(names).collect();
            let units = looks.iter().map(|(_, constants)| constants.len()).max().unwrap_or(0);
            let rows = (0..units).map(|unit| {
                let cells =
                    looks.iter().map(|(_, constants)| constants.get(unit).copied().map_or_else(String::new, steps));
                [unit.to_string()].into_iter().chain(cells).collect()
            });
            figures += &format!(
                "<figure>\n<figcaption>{title}</figcaption>\n{legend}\n{}\n{}</figure>\n",
                chart.draw()?.unwrap_or_default(),
                Table { head, rows: rows.collect() }.folded(&title)
            );
        }
        Ok(format!("<div class=\"charts\">\n{figures}</div>\n"))
    }
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
        None => "�".to_string(),
        Some('\n') => "↵".to_string(),
        Some('\t') => "⇥".to_string(),
        Some(' ') => "␣".to_string(),
        Some(other) if other.is_control() => "�".to_string(),
        Some(other) => other.to_string(),
    }
}

/// Heat maps of every gate and state of a net.
struct Heat {
    title: String,
    svg: Option<String>,
    /// What has no bounds, and how far it reaches.
    scaled: Vec<String>,
}

fn heat(look: &Look) -> Result<Heat> {
    let hidden = look.values.hidden();
    let drawn = look.values.all().iter().filter(|(value, _)| value.name != "hn");
    let mut scaled = Vec::new();
    let maps = drawn.map(|(value, numbers)| {
        let largest = numbers.iter().copied().filter(|number| number.is_finite()).fold(0.0, |a: f64, b| a.max(b.abs()));
        // What has no bounds is drawn as a share of its largest.
        let unit = if value.kind == ValueKind::Free && largest > 0.0 { largest } else { 1.0 };
        if value.kind == ValueKind::Free {
            scaled.push(format!("{} reaches ±{}", value.name, number(largest)));
        }
        let steps = numbers.chunks_exact(hidden).take(DRAWN_STEPS);
        let steps = steps.map(|units| units.iter().take(DRAWN_UNITS).map(|number| number / unit).collect());
        Map { name: value.name.to_string(), steps: steps.collect() }
    });
    let (name, under) = match &look.shown {
        Shown::Values(name, values) => (name.clone(), Under::Line(values.clone())),
        Shown::Characters(all) => ("the characters".into(), Under::Letters(all.iter().map(|&c| letter(c)).collect())),
    };
    let maps: Vec<Map> = maps.collect();
    let title = format!("{}, {}: gates and states, and {name} under them", look.title(), when(look.trained));
    let chart = heat::Chart { label: title.clone(), maps, under };
    let svg = chart.draw()?;
    Ok(Heat { title, svg, scaled })
}

fn figure(look: &Look) -> Result<String> {
    let Heat { title, svg, scaled: mut aside } = heat(look)?;
    let svg = svg.unwrap_or_else(|| "<p class=\"nothing\">There is no step to draw.</p>".to_string());
    let hidden = look.values.hidden();
    let drawn = look.values.all().iter().filter(|(value, _)| value.name != "hn");
    let steps = look.values.all().first().map_or(0, |(_, numbers)| numbers.len() / hidden.max(1));
    if steps > DRAWN_STEPS || hidden > DRAWN_UNITS {
        let (some_steps, some) = (steps.min(DRAWN_STEPS), hidden.min(DRAWN_UNITS));
        aside.push(format!("{some_steps} of {steps} steps and {some} of {hidden} units are drawn"));
    }
    let aside = match aside.is_empty() {
        true => String::new(),
        false => format!("<p class=\"aside\">{}.</p>", escape(&aside.join("; "))),
    };
    let names: Vec<&str> = drawn.clone().map(|(value, _)| value.name).collect();
    let head = ["step", "input"].into_iter().chain(names).map(str::to_string).collect();
    let mean = |numbers: &[f64], step: usize| {
        let units = numbers.chunks_exact(hidden).nth(step).unwrap_or_default();
        number(units.iter().sum::<f64>() / units.len() as f64)
    };
    let rows = (0..steps.min(DRAWN_STEPS)).map(|step| {
        let means = drawn.clone().map(|(_, numbers)| mean(numbers, step));
        [step.to_string(), input(&look.shown, step)].into_iter().chain(means).collect()
    });
    let table = Table { head, rows: rows.collect() };
    Ok(format!(
        "<figure class=\"wide\">\n<figcaption>{}</figcaption>\n<div class=\"across\" tabindex=\"0\" role=\"region\" \
         aria-label=\"{}\">{svg}</div>{aside}\n{}</figure>\n",
        escape(&title),
        escape(&title),
        table.folded(&format!("{title}, means over units"))
    ))
}
