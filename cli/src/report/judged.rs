//! The page that `eval` leaves: how well a model does on data, part by part.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::Cell;

use super::bars::{Bar, Bars};
use super::compare::forecasts;
use super::figure::Role;
use super::page::{self, Origin, list, section};
use crate::base::files::replace;
use crate::base::numbers::{apart, beside, change};
use crate::results::Forecast;
use crate::task::{Detail, Score};

/// A model and how it did.
pub struct Page<'a> {
    pub origin: Origin,
    pub cell: Cell,
    pub score: &'a Score,
    pub error: f64,
    pub details: &'a [Detail],
    /// A stretch of the data with the model's forecast.
    pub forecast: Option<Forecast>,
    /// What else is to be known of how it was judged.
    pub notes: Vec<String>,
}

/// What `eval.json` holds.
#[derive(Serialize)]
struct Numbers<'a> {
    name: &'a str,
    unit: &'a str,
    error: f64,
    naive_name: &'a str,
    naive: f64,
    details: &'a [Detail],
}

impl Page<'_> {
    /// Writes `index.html` and `eval.json` into the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
        let Score { name, unit, naive_name, naive, .. } = self.score;
        let (error, naive, details) = (self.error, *naive, self.details);
        let numbers = Numbers { name, unit, error, naive_name, naive, details };
        replace(&out.join("eval.json"), &(serde_json::to_string_pretty(&numbers)? + "\n"))?;
        replace(&out.join("index.html"), &self.html())
    }

    fn html(&self) -> String {
        let score = self.score;
        let mut result = vec![format!(
            "On these data: {}; {} the naive forecast’s {} ({}).",
            score.named(self.error),
            beside(self.error, score.naive),
            score.as_text(score.naive),
            score.naive_name
        )];
        result.extend(score.unbeaten(self.error).map(|sentence| format!("Mind: {sentence}.")));
        let said = list(self.details.iter().map(|detail| &detail.said));
        let mut sections = Vec::new();
        if let Some(forecast) = &self.forecast {
            let lead = format!("A stretch of what it was judged by: {}.", forecast.label);
            sections.push(section("forecast", "Forecast and truth", &lead, &forecasts(forecast)));
        }
        if !self.details.is_empty() {
            sections.push(section("parts", "Part by part", "", &said));
        }
        sections.push(section("data", "The data", "", &list(&self.notes)));
        let page = page::Page {
            command: "eval",
            title: format!("How well the {} does", self.cell.title()),
            result,
            picture: self.bars(),
            sections,
            origin: &self.origin,
            facts: Vec::new(),
        };
        page.render()
    }

    /// The model's errors beside the naive forecast's: of each goal, or of all.
    fn bars(&self) -> maud::Markup {
        let pair = |error: f64, naive: f64, unit: &str| {
            let numbers = apart(&[error, naive]);
            let bar = |role: Role, name: &str, value: f64, text: &str, cell: String| Bar {
                role,
                name: name.to_string(),
                parts: vec![value],
                whisker: None,
                value: format!("{text} {unit}").trim_end().to_string(),
                cells: vec![cell],
            };
            vec![
                bar(Role::of(self.cell.title()), "model", error, &numbers[0], change(error, naive)),
                bar(Role::Naive, "naive", naive, &numbers[1], String::new()),
            ]
        };
        let of_goals: Vec<(String, Vec<Bar>)> = self
            .details
            .iter()
            .filter_map(|detail| detail.goal.as_ref())
            .map(|goal| (goal.name.clone(), pair(goal.error, goal.naive, &goal.unit)))
            .collect();
        // Goals of several units have no common scale.
        let first = self.details.iter().find_map(|detail| detail.goal.as_ref()).map(|goal| &goal.unit);
        let alike = self.details.iter().filter_map(|detail| detail.goal.as_ref()).all(|goal| Some(&goal.unit) == first);
        let (title, groups) = match of_goals.is_empty() || !alike {
            true => (self.score.name, vec![(String::new(), pair(self.error, self.score.naive, &self.score.unit))]),
            false => ("Mean absolute error of each goal", of_goals),
        };
        let columns = vec!["error", "beside naive"];
        Bars { title: title.to_string(), parts: Vec::new(), columns, groups, aside: "" }.markup()
    }
}
