//! What `forecast` leaves: a page with a chart of each column, and the numbers as CSV and JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::Cell;

use super::charts::Role;
use super::html::{Table, escape, section};
use super::inside::Origin;
use super::lines::{Chart, Line};
use crate::base::files::replace;
use crate::base::numbers::apart;
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

/// One number that is forecast.
#[derive(Serialize)]
struct One<'a> {
    column: &'a str,
    unit: &'a str,
    /// The last known time, and how many rows after it.
    after: &'a str,
    rows_ahead: usize,
    /// When that is, where times are known.
    time: Option<&'a str>,
    /// None for the mean.
    level: Option<f64>,
    value: f64,
}

impl Page<'_> {
    fn last(&self) -> &str {
        self.series.last()
    }

    /// Names of a forecast's numbers.
    fn names(&self) -> Vec<String> {
        match self.levels {
            [] => vec!["mean".to_string()],
            levels => levels.iter().map(|level| percent(*level)).collect(),
        }
    }

    fn summary(&self, column: Option<usize>) -> Table {
        let head =
            ["column".to_string(), format!("{}s ahead", self.series.step), "time".to_string(), "now".to_string()];
        let dated = self.ahead.iter().any(|one| one.time.is_some());
        let all = self.ahead.iter().filter(|one| column.is_none_or(|column| one.column == column));
        let row = |one: &Ahead| {
            let unit = self.series.units[one.column];
            // Of one column all are written alike, so that they can be compared.
            let now = self.series.at(self.series.rows() - 1, one.column);
            let alike = self.ahead.iter().filter(|other| other.column == one.column);
            let place = alike.clone().position(|other| std::ptr::eq(other, one)).unwrap_or(0);
            let numbers =
                apart(&[now].into_iter().chain(alike.flat_map(|one| one.values.iter().copied())).collect::<Vec<_>>());
            let own = &numbers[1 + place * one.values.len()..][..one.values.len()];
            let fixed = [self.series.layout.columns[one.column].clone(), one.horizon.to_string()];
            let time = dated.then(|| one.time.clone().unwrap_or_default());
            let values =
                [&numbers[0]].into_iter().chain(own).map(|value| format!("{value} {unit}").trim_end().to_string());
            let held = one.coverage.map(|share| format!("{:.1} %", 100.0 * share));
            fixed.into_iter().chain(time).chain(values).chain(held).collect()
        };
        let head = head.into_iter().filter(|name| dated || name != "time");
        let held = self.ahead.iter().any(|one| one.coverage.is_some()).then(|| "interval held".to_string());
        Table { head: head.chain(self.names()).chain(held).collect(), rows: all.map(row).collect() }
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        format!("after {}:\n{}", self.last(), self.summary(None).plain())
    }

    fn all(&self) -> impl Iterator<Item = One<'_>> {
        self.ahead.iter().flat_map(move |one| {
            one.values.iter().enumerate().map(move |(place, &value)| One {
                column: &self.series.layout.columns[one.column],
                unit: self.series.units[one.column],
                after: self.last(),
                rows_ahead: one.horizon,
                time: one.time.as_deref(),
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
        for &column in &self.series.layout.targets {
            charts += &self.figure(column)?;
        }
        let lead = match self.levels {
            [low, .., high] => format!(
                "The thick line is the median. Between the outermost thin ones lies {} of what comes, as far as the validation \
                 data tell, on which they were calibrated: how much of those they held stands beside them.",
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
        let value = |row: usize| self.series.at(row, column);
        let first = now.saturating_sub((BEFORE * farthest).max(FEWEST));
        let known = (first..=now).map(|row| (row as f64 - now as f64, value(row))).collect();
        let mut lines = vec![Line { role: Role::Ink, width: 1.5, points: known }];
        let middle = middle(self.levels);
        for level in 0..self.levels.len().max(1) {
            let each = ahead.iter().map(|one| (one.horizon as f64, one.values[level]));
            let points = [(0.0, value(now))].into_iter().chain(each).collect();
            let width = if level == middle { 2.5 } else { 1.0 };
            lines.push(Line { role: Role::of(self.cell.title()), width, points });
        }
        let (name, unit) = (&self.series.layout.columns[column], self.series.units[column]);
        let title = if unit.is_empty() { name.clone() } else { format!("{name}, {unit}") };
        let step = &self.series.step;
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
    fn shares_have_no_more_decimals_than_they_need() {
        assert_eq!([percent(0.05), percent(0.9500000001), percent(0.975)], ["5 %", "95 %", "97.5 %"]);
    }
}
