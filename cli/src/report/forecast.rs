//! What `forecast` leaves: a page with a chart of each column, and the numbers as CSV and JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::Cell;

use super::charts::Role;
use super::html::{Table, escape, section};
use super::inside::Origin;
use super::lines::{Chart, Line};
use super::replace;
use crate::data::series::Series;
use crate::task::{Ahead, middle};

/// Known rows that are drawn for each row ahead, and the fewest.
const BEFORE: usize = 3;
const FEWEST: usize = 48;

/// A forecast from the end of a series.
pub struct Page<'a> {
    pub origin: Origin,
    pub cell: Cell,
    pub series: &'a Series,
    /// Levels of the quantiles; none where the mean is forecast.
    pub levels: &'a [f64],
    pub ahead: Vec<Ahead>,
}

/// A share, with no more decimals than it has.
fn percent(share: f64) -> String {
    format!("{} %", (share * 1e6).round() / 1e4)
}

/// A value with five digits.
fn precise(value: f32, unit: &str) -> String {
    let before = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = (4 - before).clamp(0, 9) as usize;
    format!("{value:.decimals$} {unit}").trim_end().to_string()
}

/// One number that is forecast.
#[derive(Serialize)]
struct One<'a> {
    column: &'a str,
    unit: &'a str,
    /// The last known time, and how many rows after it.
    after: &'a str,
    rows_ahead: usize,
    /// None for the mean.
    level: Option<f64>,
    value: f32,
}

impl Page<'_> {
    fn last(&self) -> &str {
        self.series.times.last().map_or("", String::as_str)
    }

    /// Names of a forecast's numbers.
    fn names(&self) -> Vec<String> {
        match self.levels {
            [] => vec!["mean".to_string()],
            levels => levels.iter().map(|level| percent(*level)).collect(),
        }
    }

    fn summary(&self, column: Option<usize>) -> Table {
        let head = ["column".to_string(), format!("{}s ahead", self.series.step), "now".to_string()];
        let all = self.ahead.iter().filter(|one| column.is_none_or(|column| one.column == column));
        let row = |one: &Ahead| {
            let unit = self.series.units[one.column];
            let now = self.series.at(self.series.rows() - 1, one.column);
            let fixed = [self.series.columns[one.column].clone(), one.horizon.to_string()];
            let values = [now].into_iter().chain(one.values.iter().copied());
            fixed.into_iter().chain(values.map(|value| precise(value, unit))).collect()
        };
        Table { head: head.into_iter().chain(self.names()).collect(), rows: all.map(row).collect() }
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        format!("after {}:\n{}", self.last(), self.summary(None).plain())
    }

    fn all(&self) -> impl Iterator<Item = One<'_>> {
        self.ahead.iter().flat_map(move |one| {
            one.values.iter().enumerate().map(move |(place, &value)| One {
                column: &self.series.columns[one.column],
                unit: self.series.units[one.column],
                after: self.last(),
                rows_ahead: one.horizon,
                level: self.levels.get(place).copied(),
                value,
            })
        })
    }

    /// Writes `index.html`, `forecast.csv` and `forecast.json` into the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
        let all: Vec<One<'_>> = self.all().collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        for one in &all {
            writer.serialize(one)?;
        }
        replace(&out.join("forecast.json"), &(serde_json::to_string_pretty(&all)? + "\n"))?;
        replace(&out.join("forecast.csv"), &String::from_utf8(writer.into_inner()?)?)?;
        replace(&out.join("index.html"), &self.html()?)
    }

    fn html(&self) -> Result<String> {
        let mut charts = String::new();
        for &column in &self.series.targets {
            charts += &self.figure(column)?;
        }
        let lead = match self.levels {
            [low, .., high] => format!(
                "The thick line is the median. The outermost thin ones were learnt to hold {} of what comes; how much of the \
                 validation data they do hold is what `eval` says.",
                percent(high - low)
            ),
            _ => "The thick line is the forecast.".to_string(),
        };
        let body = section("forecast", "What comes next", &lead, &format!("<div class=\"charts\">\n{charts}</div>\n"));
        Ok(self.origin.page("forecast", "Forecast", &[("After", self.last())], &body))
    }

    /// The last known rows of a column, and what comes after them.
    fn figure(&self, column: usize) -> Result<String> {
        let mut ahead: Vec<&Ahead> = self.ahead.iter().filter(|one| one.column == column).collect();
        ahead.sort_by_key(|one| one.horizon);
        let (now, farthest) = (self.series.rows() - 1, ahead.last().map_or(1, |one| one.horizon));
        let value = |row: usize| f64::from(self.series.at(row, column));
        let first = now.saturating_sub((BEFORE * farthest).max(FEWEST));
        let known = (first..=now).map(|row| (row as f64 - now as f64, value(row))).collect();
        let mut lines = vec![Line { role: Role::Ink, width: 1.5, points: known }];
        let middle = middle(self.levels);
        for level in 0..self.levels.len().max(1) {
            let each = ahead.iter().map(|one| (one.horizon as f64, f64::from(one.values[level])));
            let points = [(0.0, value(now))].into_iter().chain(each).collect();
            let width = if level == middle { 2.5 } else { 1.0 };
            lines.push(Line { role: Role::of(self.cell.title()), width, points });
        }
        let (name, unit) = (&self.series.columns[column], self.series.units[column]);
        let title = if unit.is_empty() { name.clone() } else { format!("{name}, {unit}") };
        let step = self.series.step;
        let label = format!("{title}: the last known {step}s and the forecast, over {step}s from now");
        let chart = Chart { label, lines, horizontal: Vec::new(), covering: Vec::new(), vertical: None, powers: false };
        let svg = chart.draw()?.unwrap_or_default();
        let table = self.summary(Some(column)).folded(&title);
        let caption = escape(&format!("{title}, over {step}s from now"));
        Ok(format!("<figure>\n<figcaption>{caption}</figcaption>\n{svg}\n{table}</figure>\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_a_forecast_needs() {
        assert_eq!(
            [precise(1021.26, "mbar"), precise(-0.012345678, ""), precise(0.0, "")],
            ["1021.3 mbar", "-0.012346", "0.0000"]
        );
        assert_eq!([percent(0.05), percent(0.9500000001), percent(0.975)], ["5 %", "95 %", "97.5 %"]);
    }
}
