//! The page of `compare`.

use super::bars::{Bar, Bars};
use super::figure::{Axis, Draw, Figure, Line, Lines, Role};
use super::page::{Judged, Origin, Page, charts, list, section, tiles, verdicts};
use super::rows::{Cell, Section, sections};
use super::{Group, findings, groups};
use crate::base::numbers::{NONE, THIN, apart, bytes, change, count, median, number, plural, quantity, with_unit};
use crate::results::study::Seeds;
use crate::results::{Forecast, Point, Results, Run, Spread};
use maud::{Markup, html};

/// The whole page as one HTML document.
pub fn render(results: &Results) -> String {
    let mut all = vec![tiles(take_home(results))];
    let lead = "The loss that each network minimises, of the batch trained on last, and its error on data it never learns from.";
    all.push(section("learning", "How they learnt", lead, &learning(results)));
    if let Some(forecast) = &results.forecast {
        let lead = format!("A stretch of validation data: {}.", forecast.label);
        all.push(section("forecast", "Forecast and truth", &lead, &forecasts(forecast)));
    }
    let lead = "One bar a run, named by cell and hidden size.";
    all.push(section("costs", "What they cost", lead, &costs(results)));
    if !results.claims.is_empty() {
        let claims = results.claims.iter().map(|one| Judged {
            claim: &one.claim,
            verdict: one.verdict,
            measured: &one.measured,
            ratio: Some(one.ratio),
        });
        let lead = "What people say about the cells, and what was measured here.";
        all.push(section("claims", "Claims, tested", lead, &verdicts(claims)));
    }
    let lead =
        format!("The naive forecast is {}. What is shown to be the best of a row is in bold.", results.naive_name);
    all.push(section("results", "Results", &lead, &tables(results)));
    let data = &results.data;
    let split = format!("{} for training, {} for validation.", count(data.train), count(data.validation));
    let notes = list(std::iter::once(&split).chain(&data.notes));
    let lead = format!("{}: {}.", data.name, data.task.trim_end_matches('.'));
    all.push(section("data", "The data and its repairs", &lead, &notes));
    all.push(section("method", "How it was measured", "", &method(results)));
    let device = &results.device;
    let origin = Origin {
        version: results.version.clone(),
        date: results.date.clone(),
        command: results.command.clone(),
        device: format!("{} ({}, {})", device.name, device.kind, device.backend),
        data: data.name.clone(),
    };
    let shape = [results.batch, results.steps, results.input].map(|size: usize| count(size));
    let batch = format!("{} sequences of {} steps and {} inputs", shape[0], shape[1], shape[2]);
    let facts =
        vec![("Why this device", device.why.clone()), ("Batch", batch), ("Numbers", "results.json".to_string())];
    let title = format!("{} on {}", cells(results), data.name);
    let result = findings::sentences(results);
    Page { command: "compare", title, result, picture: errors(results), sections: all, origin: &origin, facts }.render()
}

/// The cells that were compared, such as `RNN, GRU and LSTM`.
fn cells(results: &Results) -> String {
    let mut cells: Vec<&str> = Vec::new();
    for run in &results.runs {
        if !cells.contains(&run.cell.as_str()) {
            cells.push(&run.cell);
        }
    }
    match cells.split_last() {
        None => "Nothing".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The three numbers to take home.
fn take_home(results: &Results) -> impl Iterator<Item = (String, String, String)> {
    let unit = &results.error_unit;
    let errors = results.runs.iter().map(|run| run.validation_error).filter(|error| error.is_finite());
    let errors: Vec<f64> = errors.collect();
    let trained = plural(errors.len(), "run");
    let errors = Seeds::of(&errors).map(|Seeds { least, most, .. }| {
        let numbers = apart(&[least, most]);
        let value = format!("{} to {}{THIN}{unit}", numbers[0], numbers[1]).trim_end().to_string();
        (results.error_name.clone(), value, format!("best to worst of {trained}"))
    });
    let naive = ("Naive forecast".to_owned(), with_unit(results.naive_error, unit), results.naive_name.clone());
    let ratio = findings::step_ratio(results).map(|(ratio, differ)| {
        let overlap = if differ { "" } else { "; their intervals overlap" };
        let note = format!("time of a training step at equal hidden size{overlap}");
        ("GRU step / LSTM step".to_owned(), format!("{}×", number(ratio)), note)
    });
    errors.into_iter().chain([naive]).chain(ratio)
}

/// The lowest validation error of every run, and the naive forecast's.
fn errors(results: &Results) -> Markup {
    let all: Vec<f64> = results.runs.iter().map(|run| run.validation_error).chain([results.naive_error]).collect();
    let mut written = apart(&all).into_iter();
    let bar = |run: &Run, value: Option<String>| Bar {
        role: Role::of(&run.cell),
        name: format!("{} {}", run.cell, run.hidden),
        parts: vec![run.validation_error],
        whisker: None,
        value: value.unwrap_or_default(),
        cells: vec![change(run.validation_error, results.naive_error)],
    };
    let mut bars: Vec<(String, Vec<Bar>)> = groups(results)
        .iter()
        .map(|group| {
            let bars = group.runs.iter().map(|run| bar(run, written.next())).collect();
            (format!("At {}", group.name), bars)
        })
        .collect();
    let naive = Bar {
        role: Role::Naive,
        name: "naive".to_string(),
        parts: vec![results.naive_error],
        whisker: None,
        value: written.next().unwrap_or_default(),
        cells: vec![NONE.to_string()],
    };
    bars.push((format!("Naive forecast: {}", results.naive_name), vec![naive]));
    let title = format!("Lowest validation error: {}", quantity(&results.error_name, &results.error_unit));
    Bars { title, parts: Vec::new(), columns: vec!["error", "against naive"], groups: bars, aside: "" }.markup()
}

/// How the training loss and the validation error of each group went.
fn learning(results: &Results) -> Markup {
    let curves = |group: &Group<'_>| {
        let error = quantity(&results.error_name, &results.error_unit);
        let loss = curve(results, group, ("Training loss", &results.loss_name), None, |point| point.train_loss);
        let title = format!("Validation: {}", results.error_name);
        let error = curve(results, group, (&title, &error), Some(results.naive_error), |point| point.validation_error);
        html! { h3 { "At " (group.name) } (charts([error, loss])) }
    };
    html! { @for group in groups(results) { (curves(&group)) } }
}

fn curve(
    results: &Results,
    group: &Group<'_>,
    (title, of_what): (&str, &str),
    naive: Option<f64>,
    of: impl Fn(&Point) -> f64,
) -> Markup {
    let last = group.runs.iter().flat_map(|run| &run.curve).map(|point| point.step).max().unwrap_or(0);
    let naive = naive.filter(|value| value.is_finite());
    let level = naive.map(|value| {
        let name = format!("naive, {}", with_unit(value, &results.error_unit));
        Line::new(name, Role::Naive, Draw::Dashed, vec![(0.0, value), (last.max(1) as f64, value)])
    });
    let line = |run: &&Run| Line::of(&run.cell, run.curve.iter().map(|point| (point.step as f64, of(point))).collect());
    let lines = level.into_iter().chain(group.runs.iter().map(line)).collect();
    let title = format!("{title}, at {}", group.name);
    let chart = Lines::new(Axis::linear("training step"), Axis::linear(of_what), lines).of_any_size();
    Figure::of(title, chart).markup()
}

/// Each forecast against the truth.
pub fn forecasts(forecast: &Forecast) -> Markup {
    let points = |values: &[f64]| values.iter().enumerate().map(|(index, &value)| (index as f64, value)).collect();
    let all =
        || forecast.predictions.iter().flat_map(|(_, values)| values).chain(&forecast.truth).chain(&forecast.naive);
    let finite = || all().copied().filter(|value| value.is_finite());
    // One scale for all of them.
    let reach: Vec<f64> = [finite().reduce(f64::min), finite().reduce(f64::max)].into_iter().flatten().collect();
    let figure = |(name, values): &(String, Vec<f64>)| {
        let lines = vec![
            Line::new("naive", Role::Naive, Draw::Dashed, points(&forecast.naive)),
            Line::new("truth", Role::Ink, Draw::Thin, points(&forecast.truth)),
            Line::of(name, points(values)),
        ];
        let x = Axis::names("time", forecast.times.clone());
        let chart = Lines { reach: reach.clone(), ..Lines::new(x, Axis::linear(&forecast.label), lines) };
        Figure::of(format!("Forecast of the {name}"), chart).markup()
    };
    charts(forecast.predictions.iter().map(figure))
}

/// Parameters, memory and time of every run.
fn costs(results: &Results) -> Markup {
    type Measured = (Vec<f64>, Option<std::ops::Range<f64>>, String, Vec<String>);
    let bars = |title: &str, parts: &[&'static str], columns: &[&'static str], of: &dyn Fn(&Run) -> Measured| {
        let bar = |run: &&Run| {
            let (parts, whisker, value, cells) = of(run);
            Bar {
                role: Role::of(&run.cell),
                name: format!("{} {}", run.cell, run.hidden),
                parts,
                whisker,
                value,
                cells,
            }
        };
        let groups = groups(results);
        let groups = groups.iter().map(|group| (format!("At {}", group.name), group.runs.iter().map(bar).collect()));
        let aside = if columns.len() > 1 && parts.is_empty() { "The line is the median's interval." } else { "" };
        let (parts, columns) = (parts.to_vec(), columns.to_vec());
        Bars { title: title.to_string(), parts, columns, groups: groups.collect(), aside }.markup()
    };
    let parameters = bars("Parameters of the recurrent layer", &[], &["count"], &|run| {
        (vec![run.parameters as f64], None, count(run.parameters), Vec::new())
    });
    let memory = bars("Memory of the recurrent layer", &["weights", "reserve", "workspace"], &["in all"], &|run| {
        let parts = [run.weight_bytes, run.reserve_bytes, run.workspace_bytes];
        (parts.map(|part| part as f64).to_vec(), None, bytes(parts.iter().sum()), Vec::new())
    });
    let timed = |spread: &Spread| {
        let known = spread.low.is_finite() && spread.high.is_finite();
        let interval =
            if known { format!("{} to {}", number(spread.low), number(spread.high)) } else { NONE.to_string() };
        (vec![spread.median], known.then_some(spread.low..spread.high), median(spread), vec![interval])
    };
    let columns = ["median", "95 % interval"];
    let forward = bars("Time of a forward pass", &[], &columns, &|run| timed(&run.forward_ms));
    let step = bars("Time of a training step", &[], &columns, &|run| timed(&run.step_ms));
    charts([step, forward, memory, parameters])
}

fn tables(results: &Results) -> Markup {
    let cell = |Cell { value, note, best }: &Cell| {
        html! { td { @if *best { strong { (value) } } @else { (value) } @if !note.is_empty() { small { (note) } } } }
    };
    let rows = |Section { title, rows }: &Section, columns: usize| {
        html! {
            tbody {
                tr { th scope="rowgroup" colspan=(columns) { (title) } }
                @for row in rows { tr { th scope="row" { (row.name) } @for one in &row.cells { (cell(one)) } } }
            }
        }
    };
    html! {
        @for group in groups(results) {
            h3 { "At " (group.name) }
            @for run in &group.runs {
                @if let Some(why) = &run.stopped { p.stopped { strong { (run.cell) " stopped early:" } " " (why) } }
            }
            div.scroll tabindex="0" role="region" aria-label=(format!("Results at {}", group.name)) {
                table.results {
                    thead { tr { td {} @for run in &group.runs { th scope="col" { span.key.(Role::of(&run.cell).name()) {} (run.cell) } } } }
                    @for section in sections(results, &group) { (rows(&section, group.runs.len() + 1)) }
                }
            }
        }
    }
}

fn method(results: &Results) -> Markup {
    let seeds = match results.seeds {
        0 | 1 => format!("seed {}", results.seed),
        seeds => {
            format!("{seeds} seeds, from {} on; curves and forecasts are of the first, errors are means", results.seed)
        }
    };
    let repeats = results.runs.iter().map(|run| run.step_ms.runs).max().unwrap_or(0);
    list([
        format!("All runs saw the same data; weights and batches come from {seeds}."),
        "The validation error of a run is the lowest of all its validations, and so lower than on data that it was not chosen \
         by."
            .to_owned(),
        "One network of each cell has the LSTM’s hidden size; another has as nearly its number of parameters as whole hidden \
         units allow."
            .to_owned(),
        "Parameters are counted from the recurrent layer’s tensors and, apart from that, computed by formula: gates · (H·I + \
         H·H + biases), without H·H where no step multiplies h with weights."
            .to_owned(),
        "Memory is as allocated: the weights, the reserve that the forward pass keeps for the backward pass, and the workspace \
         that both need while they run. Predicted sizes are computed beforehand."
            .to_owned(),
        format!(
            "Times are medians of up to {} measurements, taken in turn after warming up, with an interval that holds the true \
             median in 95 of 100 cases; a forward pass is one batch through the whole model, a training step is forward, \
             backward, clipping and update.",
            count(repeats)
        ),
        "Sequences a second follow from the median training step.".to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// What is seen: without styles and scripts.
    fn seen(results: &Results) -> String {
        let page = render(results);
        page.split_once("<body>").unwrap().1.split_once("</footer>").unwrap().0.to_string()
    }

    #[test]
    fn all_is_there_and_nothing_comes_from_elsewhere() {
        let results = sample::seeded([0.999, 1.0, 1.001]);
        let page = seen(&results);
        for text in [
            "<h1>RNN, GRU and LSTM on weather-nyc-2013.csv</h1>",
            "<p class=\"result\">Lowest mean absolute error (mean of 3 seeds): at equal hidden size RNN 4.58",
            "Lowest validation error: mean absolute error, °F",
            "<strong>4.12\u{202f}°F</strong>",
        ] {
            assert!(page.contains(text), "{text}");
        }
        for foreign in ["http", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(results.runs.iter().all(|run| page.contains(&run.formula)));
        assert_eq!(page.matches("class=\"results\"").count(), 2);
        // A loss and an error for each group, and a forecast for each run.
        assert_eq!(page.matches("<div class=\"plot\"").count(), 2 * 2 + 6);
        // Errors with the naive one, parameters, times, and memory in three parts.
        assert_eq!(page.matches("<i class=").count(), 7 + 6 * (1 + 3 + 1 + 1));
        assert_eq!(page.matches("<tr><th scope=\"row\">2013-11-").count(), 6 * 168);
    }

    #[test]
    fn the_result_is_before_its_picture_and_tables_come_last() {
        let page = seen(&sample::results());
        let places = ["class=\"result\"", "class=\"picture\"", "id=\"learning\"", "id=\"costs\"", "id=\"results\""];
        let places: Vec<_> = places.map(|text| page.find(text).unwrap_or_else(|| panic!("{text}"))).into();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn every_text_from_data_is_escaped() {
        let page = seen(&sample::broken());
        for [name, escaped] in [
            ["<b>", "&lt;b&gt;"],
            ["GPU & Co", "GPU &amp; Co"],
            ["<left out>", "&lt;left out&gt;"],
            ["<forecasts>", "&lt;forecasts&gt;"],
            ["<not>", "&lt;not&gt;"],
        ] {
            assert!(!page.contains(name) && page.contains(escaped), "{name}");
        }
    }

    #[test]
    fn what_stopped_is_said_and_holes_are_dashes() {
        let page = seen(&sample::broken());
        assert!(page.contains("<strong>RNN stopped early:</strong> the loss is &lt;not&gt; a number."));
        assert!(page.contains("<td>–</td>") && !page.contains("NaN") && !page.contains("inf<"));
    }

    #[test]
    fn a_page_without_runs_is_a_page() {
        let page = seen(&Results { runs: Vec::new(), claims: Vec::new(), forecast: None, ..sample::results() });
        assert!(page.contains("Nothing on weather-nyc-2013.csv") && !page.contains("id=\"claims\""));
    }
}
