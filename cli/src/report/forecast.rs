//! What `forecast` leaves: a page with a chart of each column, and the numbers as CSV and JSON.

use std::path::Path;

use anyhow::{Context, Result};
use maud::{Markup, html};
use serde::Serialize;
use wgpu_rnn::Cell;

use super::figure::{Axis, Draw, Figure, Line, Lines, Role};
use super::page::{self, Origin, charts, list, section};
use super::table::Table;
use super::write_csv;
use crate::base::files::replace;
use crate::base::numbers::{NONE, apart, plural, quantity};
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
        let halves = self.ahead.iter().any(|one| one.halved.is_some());
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
            let share = |share: Option<f64>| share.map(|share| format!("{:.1} %", 100.0 * share));
            let held = share(one.coverage);
            let halved = halves.then(|| share(one.halved).unwrap_or_else(|| NONE.to_string()));
            fixed.into_iter().chain(time).chain(values).chain(held).chain(halved).collect()
        };
        let head = head.into_iter().filter(|name| dated || name != "time");
        let held = self.ahead.iter().any(|one| one.coverage.is_some()).then(|| "interval held".to_string());
        let halved = halves.then(|| "later half".to_string());
        Table::new(head.chain(self.names()).chain(held).chain(halved), all.map(row).collect())
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
        replace(&out.join("forecast.json"), &(serde_json::to_string_pretty(&all)? + "\n"))?;
        replace(&out.join("forecast.csv"), &write_csv(&all)?)?;
        replace(&out.join("index.html"), &self.html())
    }

    fn html(&self) -> String {
        let targets = &self.series.layout.targets;
        let lead = match self.levels {
            [low, .., high] => format!(
                "The points are medians. The tinted band is to hold {} of what comes. It was calibrated on the validation data; how \
                 much of those it held stands in the table, and, which says more, how much of their later half when calibrated on \
                 the earlier.",
                percent(high - low)
            ),
            _ => "The points are the forecast.".to_string(),
        };
        let mut figures: Vec<Markup> = targets.iter().map(|&column| self.figure(column).markup()).collect();
        let picture = html! { (figures.remove(0)) p.lead { (lead) } };
        let mut sections = Vec::new();
        if !figures.is_empty() {
            sections.push(section("others", "The other columns", "", &charts(figures)));
        }
        let table = self.summary(None).open("What comes next");
        sections.push(section("forecast", "What comes next", "", &table));
        sections.push(section("data", "The data", "", &list(&self.series.notes)));
        let page = page::Page {
            command: "forecast",
            title: format!("What comes after {}", self.last()),
            result: targets.iter().filter_map(|&column| self.sentence(column)).collect(),
            picture,
            sections,
            origin: &self.origin,
            facts: vec![("After", self.last().to_string())],
        };
        page.render()
    }

    /// What is forecast of a column farthest ahead.
    fn sentence(&self, column: usize) -> Option<String> {
        let one = self.ahead.iter().filter(|one| one.column == column).max_by_key(|one| one.horizon)?;
        let now = self.series.at(self.series.rows() - 1, column);
        let numbers = apart(&[now].into_iter().chain(one.values.iter().copied()).collect::<Vec<_>>());
        let (name, unit) = (&self.series.layout.columns[column], self.series.units[column]);
        let when = one.time.as_ref().map_or_else(String::new, |time| format!(" ({time})"));
        let ahead = plural(one.horizon, &self.series.step);
        let value = format!("{} {unit}", numbers[1 + middle(self.levels)]);
        let interval = match self.levels {
            [low, .., high] => {
                format!(", {} interval {} to {}", percent(high - low), numbers[1], numbers[numbers.len() - 1])
            }
            _ => String::new(),
        };
        Some(format!("`{name}` in {ahead}{when}: {}{interval}; now {}.", value.trim_end(), numbers[0]))
    }

    /// The last known rows of a column, and what comes after them.
    fn figure(&self, column: usize) -> Figure {
        let mut ahead: Vec<&Ahead> = self.ahead.iter().filter(|one| one.column == column).collect();
        ahead.sort_by_key(|one| one.horizon);
        let (now, farthest) = (self.series.rows() - 1, ahead.last().map_or(1, |one| one.horizon));
        let first = now.saturating_sub((BEFORE * farthest).max(FEWEST));
        let place = |row: usize| (row - first) as f64;
        let known = (first..=now).map(|row| (place(row), self.series.at(row, column))).collect();
        let role = Role::of(self.cell.title());
        let of_level = |level: usize| ahead.iter().map(move |one| (place(now + one.horizon), one.values[level]));
        let middle = middle(self.levels);
        let mut lines = vec![Line::new("known", Role::Ink, Draw::Line, known)];
        for (level, name) in self.names().into_iter().enumerate() {
            // A thin line from what is known.
            let draw = if level == middle { Draw::Points } else { Draw::Thin };
            let points = [(place(now), self.series.at(now, column))].into_iter().chain(of_level(level));
            lines.push(Line::new(name, role, draw, points.collect()));
        }
        let bands = if self.levels.len() > 1 { vec![[self.levels.len(), 1]] } else { Vec::new() };
        let (name, unit) = (&self.series.layout.columns[column], self.series.units[column]);
        let title = quantity(name, unit);
        let step = &self.series.step;
        let times = (first..=now).map(|row| self.series.labels[row].clone());
        let coming = |rows: usize| self.series.ahead(rows).unwrap_or_else(|| format!("{} ahead", plural(rows, step)));
        let x = Axis::names("time", times.chain((1..=farthest).map(coming)).collect());
        let horizons = ahead.iter().map(|one| now + one.horizon - first);
        let marks = [0, now - first].into_iter().chain(horizons).collect();
        let chart = Lines { bands, marks, ..Lines::new(x, Axis::linear(&title), lines) };
        Figure::with(title, chart, self.summary(Some(column)))
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
