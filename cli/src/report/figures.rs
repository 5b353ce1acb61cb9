//! Which charts the page has: each with its legend, and the numbers behind it in a table.

use super::axis;
use super::bars::{self, Bar};
use super::charts::Role;
use super::html::{Table, escape};
use super::lines::{self, Line};
use super::{Group, groups};
use crate::base::numbers::{bytes, count, median, number, range, with_unit};
use crate::results::{Forecast, Point, Results, Run, Spread};
use anyhow::Result;
use std::collections::BTreeSet;
use std::ops::Range;

/// How the training loss and the validation error of each group went.
pub fn learning(results: &Results) -> Result<String> {
    let mut figures = String::new();
    for group in groups(results) {
        let loss = curves(results, &group, "Training loss", None, |point| point.train_loss)?;
        let title = format!("Validation: {}", with_unit_name(&results.error_name, &results.error_unit));
        let error = curves(results, &group, &title, Some(results.naive_error), |point| point.validation_error)?;
        figures += &format!("<h3>At {}</h3>\n<div class=\"charts\">\n{loss}{error}</div>\n", escape(group.name));
    }
    Ok(figures)
}

/// Parameters, memory and time of every run.
pub fn costs(results: &Results) -> Result<String> {
    let parameters = bar_figure(results, "Parameters of the recurrent layer", &["parameters"], &|run| {
        let value = count(run.parameters);
        Measured { parts: vec![run.parameters as f64], whisker: None, cells: vec![value.clone()], value }
    })?;
    let memory = bar_figure(results, "Memory of the recurrent layer", &["weights", "reserve", "workspace"], &|run| {
        let parts = [run.weight_bytes, run.reserve_bytes, run.workspace_bytes];
        let value = bytes(parts.iter().sum());
        let cells = parts.map(bytes).to_vec();
        Measured { parts: parts.map(|part| part as f64).to_vec(), whisker: None, value, cells }
    })?;
    let timed = |spread: &Spread| {
        let known = spread.runs > 1 && spread.min.is_finite() && spread.max.is_finite();
        let whisker = known.then_some(spread.min..spread.max);
        let cells = vec![median(spread), range(spread)];
        Measured { parts: vec![spread.median], whisker, value: median(spread), cells }
    };
    let columns = ["median", "smallest–largest (ms)"];
    let forward = bar_figure(results, "Time of a forward pass", &columns, &|run| timed(&run.forward_ms))?;
    let step = bar_figure(results, "Time of a training step", &columns, &|run| timed(&run.step_ms))?;
    Ok(format!("<div class=\"charts\">\n{parameters}{memory}{forward}{step}</div>\n"))
}

/// Each run's forecast against the truth, all on the same scale.
pub fn forecasts(forecast: &Forecast) -> Result<String> {
    let all =
        || forecast.predictions.iter().flat_map(|(_, values)| values).chain(&forecast.truth).chain(&forecast.naive);
    let vertical = lines::span(all().copied());
    let dates = axis::dates(&forecast.times, 4);
    let mut figures = String::new();
    for (name, values) in &forecast.predictions {
        let line = |role, width, values: &[f64]| {
            let points = values.iter().enumerate().map(|(index, &value)| (index as f64, value));
            Line { role, width, points: points.collect() }
        };
        let role = Role::of(name);
        let chart = lines::Chart {
            label: format!(
                "Line chart of {} over {} points in time: the truth, the naive forecast and the forecast of {name}",
                forecast.label,
                forecast.times.len()
            ),
            lines: vec![
                line(Role::Naive, 1.25, &forecast.naive),
                line(Role::Ink, 1.5, &forecast.truth),
                line(role, 2.0, values),
            ],
            horizontal: dates.clone(),
            covering: Vec::new(),
            vertical: vertical.clone(),
            powers: false,
        };
        let legend = legend([(role, "forecast"), (Role::Ink, "truth"), (Role::Naive, "naive")]);
        figures += &figure(name, &legend, chart.draw()?, "");
    }
    // Two columns side by side: the first half of the runs in one, the second in the other.
    let rows = forecast.predictions.len().div_ceil(2);
    let table = forecast_table(forecast).folded("Forecast and truth");
    Ok(format!("<div class=\"charts pairs\" style=\"--rows:{rows}\">\n{figures}</div>\n{table}\n"))
}

fn curves(
    results: &Results,
    group: &Group<'_>,
    title: &str,
    naive: Option<f64>,
    of: impl Fn(&Point) -> f64,
) -> Result<String> {
    let last = group.runs.iter().flat_map(|run| &run.curve).map(|point| point.step).max().unwrap_or(0);
    let naive = naive.filter(|value| value.is_finite());
    let level =
        naive.map(|value| Line { role: Role::Naive, width: 1.5, points: vec![(0.0, value), (last as f64, value)] });
    let curve = |run: &&Run| Line {
        role: Role::of(&run.cell),
        width: 2.0,
        points: run.curve.iter().map(|point| (point.step as f64, of(point))).collect(),
    };
    let cells: Vec<_> = group.runs.iter().map(|run| run.cell.as_str()).collect();
    let chart = lines::Chart {
        label: format!("Line chart of {title} over {last} training steps for {} at {}", cells.join(", "), group.name),
        lines: level.into_iter().chain(group.runs.iter().map(curve)).collect(),
        horizontal: Vec::new(),
        covering: naive.into_iter().collect(),
        vertical: None,
        powers: false,
    };
    let mark = |run: &&Run| {
        let drawn = run.curve.iter().any(|point| of(point).is_finite());
        (Role::of(&run.cell), if drawn { run.cell.clone() } else { format!("{} (no number)", run.cell) })
    };
    let mut marks: Vec<_> = group.runs.iter().map(mark).collect();
    marks.extend(naive.map(|value| (Role::Naive, format!("naive {}", with_unit(value, &results.error_unit)))));
    Ok(figure(title, &legend(marks), chart.draw()?, &curve_table(group, of).folded(title)))
}

/// What a bar shows of a run.
struct Measured {
    parts: Vec<f64>,
    whisker: Option<Range<f64>>,
    value: String,
    /// The run's cells in the table behind the chart.
    cells: Vec<String>,
}

fn bar_figure(results: &Results, title: &str, columns: &[&str], of: &dyn Fn(&Run) -> Measured) -> Result<String> {
    let mut head = vec!["run".to_owned()];
    head.extend(columns.iter().map(|column| (*column).to_owned()));
    let mut table = Table { head, rows: Vec::new() };
    let mut stacked = false;
    let groups = groups(results);
    let mut bar_groups = Vec::new();
    for group in &groups {
        let mut bars = Vec::new();
        for run in &group.runs {
            let Measured { parts, whisker, value, mut cells } = of(run);
            stacked |= parts.len() > 1;
            cells.insert(0, format!("{} H {}, {}", run.cell, run.hidden, run.group));
            table.rows.push(cells);
            let (name, detail) = (run.cell.clone(), run.hidden.to_string());
            bars.push(Bar { role: Role::of(&run.cell), name, detail, parts, whisker, value });
        }
        bar_groups.push((format!("At {}", group.name), bars));
    }
    let values =
        bar_groups.iter().flat_map(|(_, bars)| bars).map(|bar| format!("{} {}: {}", bar.name, bar.detail, bar.value));
    let label = format!("Bar chart of {title}: {}", values.collect::<Vec<_>>().join(", "));
    let svg = bars::Chart { label, groups: bar_groups }.draw()?;
    let legend = if stacked { shades(columns) } else { String::new() };
    Ok(figure(title, &legend, Some(svg), &table.folded(title)))
}

fn curve_table(group: &Group<'_>, of: impl Fn(&Point) -> f64) -> Table {
    let steps: BTreeSet<usize> = group.runs.iter().flat_map(|run| &run.curve).map(|point| point.step).collect();
    let value = |run: &Run, step: usize| {
        let point = run.curve.iter().find(|point| point.step == step);
        number(point.map_or(f64::NAN, &of))
    };
    let head = ["step"].into_iter().chain(group.runs.iter().map(|run| run.cell.as_str()));
    let row = |step| [count(step)].into_iter().chain(group.runs.iter().map(|run| value(run, step))).collect();
    Table { head: head.map(str::to_owned).collect(), rows: steps.into_iter().map(row).collect() }
}

fn forecast_table(forecast: &Forecast) -> Table {
    let names = forecast.predictions.iter().map(|(name, _)| name.as_str());
    let head = ["time", "truth", "naive forecast"].into_iter().chain(names).map(str::to_owned).collect();
    let columns: Vec<&[f64]> = [&forecast.truth, &forecast.naive]
        .into_iter()
        .chain(forecast.predictions.iter().map(|(_, values)| values))
        .map(Vec::as_slice)
        .collect();
    let row = |(index, time): (usize, &String)| {
        let values = columns.iter().map(|values| number(values.get(index).map_or(f64::NAN, |&value| value)));
        [time.clone()].into_iter().chain(values).collect()
    };
    Table { head, rows: forecast.times.iter().enumerate().map(row).collect() }
}

fn figure(title: &str, legend: &str, svg: Option<String>, table: &str) -> String {
    let svg = svg.unwrap_or_else(|| "<p class=\"nothing\">There is no number to draw.</p>".to_owned());
    format!("<figure>\n<figcaption>{}</figcaption>\n{legend}{svg}\n{table}</figure>\n", escape(title))
}

fn legend<S: AsRef<str>>(marks: impl IntoIterator<Item = (Role, S)>) -> String {
    let item = |(role, name): (Role, S)| format!("<li class=\"key-{}\">{}</li>", role.class(), escape(name.as_ref()));
    format!("<ul class=\"legend\">{}</ul>\n", marks.into_iter().map(item).collect::<String>())
}

/// The legend of bars whose parts grow paler.
fn shades(parts: &[&str]) -> String {
    let item = |(part, shade): (&&str, f64)| {
        format!("<li class=\"key-shade\" style=\"--shade:{shade}\">{}</li>", escape(part))
    };
    format!("<ul class=\"legend\">{}</ul>\n", parts.iter().zip(bars::SHADES).map(item).collect::<String>())
}

fn with_unit_name(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_group_has_a_loss_and_an_error_chart() {
        let html = learning(&sample::results()).unwrap();
        assert_eq!(html.matches("<svg").count(), 4);
        assert_eq!(html.matches("<details>").count(), 4);
        // The naive error is a line of two validation charts, not of the loss charts.
        assert_eq!(html.matches("class=\"stroke-naive\"").count(), 2);
        assert!(html.contains("aria-label=\"Line chart of Training loss over 2000 training steps for RNN, GRU, LSTM"));
    }

    #[test]
    fn every_run_has_a_bar_of_each_cost() {
        let html = costs(&sample::results()).unwrap();
        assert_eq!(html.matches("<svg").count(), 4);
        let rows = html.matches("<tr><th scope=\"row\">").count();
        assert_eq!(rows, 4 * 6);
        // One part for parameters and times, three for memory.
        assert_eq!(html.matches("<rect").count(), 6 * (1 + 3 + 1 + 1));
    }

    #[test]
    fn every_run_has_a_forecast() {
        let results = sample::results();
        let forecast = results.forecast.unwrap();
        let html = forecasts(&forecast).unwrap();
        assert_eq!(html.matches("<svg").count(), 6);
        assert_eq!(html.matches("<tr><th scope=\"row\">2013-11-").count(), 168);
    }

    #[test]
    fn holes_are_dashes() {
        let results = sample::broken();
        let html = learning(&results).unwrap() + &costs(&results).unwrap();
        assert!(html.contains("<td>–</td>") && !html.contains("NaN") && !html.contains("inf"));
        let html = forecasts(&results.forecast.unwrap()).unwrap();
        assert!(!html.contains("NaN"));
    }
}
