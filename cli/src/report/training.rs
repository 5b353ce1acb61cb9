//! The page that `train` leaves beside a model: how it learnt, and how fast.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::figure::{Axis, Draw, Figure, Line, Lines, Role};
use super::page::{self, Origin, charts, list, section};
use super::write_csv;
use crate::base::files::replace;
use crate::base::numbers::{beside, number, plural, quantity};
use crate::learn::{About, Pulse};
use crate::results::Point;
use crate::task::Score;

/// A training, over or not.
pub struct Page<'a> {
    pub origin: &'a Origin,
    pub about: &'a About,
    pub score: &'a Score,
    /// Whether sequences have lengths of their own.
    pub lengths: bool,
    /// Parameters of the model.
    pub parameters: usize,
    /// Sequences trained on in a second, validation not counted, up to these steps.
    pub speeds: &'a [(usize, f64)],
    /// What was done to the data.
    pub notes: &'a [String],
}

/// The table of the page, from which a training that goes on takes how fast it was before.
pub use crate::base::files::TRAINING as TABLE;
pub const PAGE: &str = "index.html";

/// How fast a training was until `step`, as its table in the folder says; nothing where there is none.
pub fn speeds(folder: &Path, step: usize) -> Vec<(usize, f64)> {
    let rows = csv::Reader::from_path(folder.join(TABLE)).into_iter().flat_map(csv::Reader::into_deserialize::<Row>);
    let speed = |row: Row| Some((row.step, row.sequences_per_second?));
    rows.filter_map(|row| speed(row.ok()?)).filter(|(at, _)| *at <= step).collect()
}

/// A row of `training.csv`.
#[derive(Deserialize, Serialize)]
struct Row {
    step: usize,
    training_loss: f64,
    validation_loss: f64,
    validation_error: f64,
    learning_rate: Option<f64>,
    gradient_norm: Option<f64>,
    sequences_per_second: Option<f64>,
}

impl Page<'_> {
    fn curve(&self) -> &[Point] {
        &self.about.state.curve
    }

    fn pulse(&self, step: usize) -> Option<&Pulse> {
        self.about.state.pulses.iter().find(|pulse| pulse.step == step)
    }

    /// Writes `index.html` and `training.csv` into the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        let row = |point: &Point| {
            let pulse = self.pulse(point.step);
            Row {
                step: point.step,
                training_loss: point.train_loss,
                validation_loss: point.validation_loss,
                validation_error: point.validation_error,
                learning_rate: pulse.map(|pulse| pulse.rate),
                gradient_norm: pulse.map(|pulse| pulse.gradient_norm),
                sequences_per_second: self.speeds.iter().find(|(step, _)| *step == point.step).map(|(_, speed)| *speed),
            }
        };
        replace(&out.join(TABLE), &write_csv(&self.curve().iter().map(row).collect::<Vec<_>>())?)?;
        replace(&out.join(PAGE), &self.html())
    }

    /// How good the best is.
    fn sentence(&self) -> String {
        let (state, rule, score) = (&self.about.state, &self.about.rule, self.score);
        let Some((error, at)) = state.best else { return "Nothing was validated yet.".to_string() };
        let so_far = match state.step < rule.updates {
            true => format!(", of {} so far", plural(state.step, "step")),
            false => format!(" of {}", rule.updates),
        };
        let unbeaten = if error < score.naive { "" } else { "The model does not beat the naive forecast. " };
        format!(
            "{unbeaten}Best on validation data: {}, after step {at}{so_far}; {} the naive forecast’s {} ({}).",
            score.named(error),
            beside(error, score.naive),
            score.as_text(score.naive),
            score.naive_name
        )
    }

    fn html(&self) -> String {
        let (net, rule, state) = (&self.about.net, &self.about.rule, &self.about.state);
        let role = self.about.config().map_or(Role::Ink, |config| Role::of(config.cell.title()));
        let last = self.curve().last().map_or(0.0, |point| point.step as f64);
        let over = |of: fn(&Point) -> f64| self.curve().iter().map(|point| (point.step as f64, of(point))).collect();
        let step = || Axis::linear("training step");
        let score = self.score;
        let naive =
            Line::new("naive", Role::Naive, Draw::Dashed, vec![(0.0, score.naive), (last.max(1.0), score.naive)]);
        let error = Line::new("validation", role, Draw::Line, over(|point| point.validation_error));
        let picture = Figure::of(
            "Validation error",
            Lines::new(step(), Axis::linear(quantity(score.name, &score.unit)), vec![naive, error]).of_any_size(),
        );
        let losses = vec![
            Line::new("training batch", Role::Ink, Draw::Thin, over(|point| point.train_loss)),
            Line::new("validation", role, Draw::Line, over(|point| point.validation_loss)),
        ];
        let figure = |title: &str, y: Axis, points: Vec<(f64, f64)>| {
            let line = Line::new(y.title.clone(), role, Draw::Line, points);
            Figure::of(title, Lines::new(step(), y, vec![line])).markup()
        };
        let pulse = |title: &str, y: Axis, of: fn(&Pulse) -> f64| {
            figure(title, y, state.pulses.iter().map(|pulse| (pulse.step as f64, of(pulse))).collect())
        };
        let loss = Figure::of("Loss", Lines::new(step(), Axis::linear(score.loss), losses).of_any_size()).markup();
        let norm = pulse("Norm of the gradients, before clipping", Axis::log("norm"), |pulse| pulse.gradient_norm);
        let rate = pulse("Learning rate", Axis::linear("rate of a step"), |pulse| pulse.rate);
        let speeds = self.speeds.iter().map(|(step, speed)| (*step as f64, *speed)).collect();
        let speed = figure("Throughput", Axis::linear("sequences a second"), speeds);
        let several = match rule.accumulate {
            1 => String::new(),
            count => format!(", and of its last batch of {count}"),
        };
        let lead = format!(
            "Training minimises the loss; the batch’s is that of the step before validation{several}. Where the validation loss rises \
                    while the training loss falls, the model learns by heart. Throughput leaves validation out."
        );
        let mut sections = vec![section("learning", "How it learnt", &lead, &charts([loss, norm, rate, speed]))];
        if !state.remarks.is_empty() {
            sections.push(section("warnings", "What was noticed inside", "", &list(&state.remarks)));
        }
        sections.push(section("data", "The data", "", &list(self.notes)));
        let name = self.about.config().map_or_else(|_| net.cell.clone(), |config| config.cell.title().to_string());
        let half = if rule.half { ", half precision" } else { "" };
        let turned = if rule.batch_first { ", batch first" } else { "" };
        let up_to = if self.lengths { "up to " } else { "" };
        let order = if self.about.data.carries { ", each from where the one before ended" } else { "" };
        let of_batches = if rule.accumulate > 1 { format!("{} ", rule.accumulate) } else { String::new() };
        let page = page::Page {
            command: "train",
            title: format!("{name} on {}", self.about.data.name),
            result: vec![self.sentence()],
            picture: picture.markup(),
            sections,
            origin: self.origin,
            facts: vec![
                ("Model", format!("{}, {}", net.words(), plural(self.parameters, "parameter"))),
                (
                    "Training",
                    format!(
                        "{of_batches}batches of {} sequences of {up_to}{} steps{order}, learning rate {}, seed {}{half}{turned}",
                        self.about.data.batch,
                        self.about.data.steps,
                        number(rule.learning_rate),
                        rule.seed
                    ),
                ),
            ],
        };
        page.render()
    }
}
