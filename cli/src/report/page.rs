//! The page, from top to bottom.

use super::html::{self, escape, list, section};
use super::rows::{Cell, Section, sections};
use super::{Group, figures, findings, groups};
use crate::base::numbers::{bytes, count, number, with_unit};
use crate::results::{Claim, Results};
use anyhow::Result;

/// The whole page as one HTML document.
pub fn render(results: &Results) -> Result<String> {
    let mut body = header(results);
    body += &tables(results);
    body += &claims(&results.claims);
    let lead =
        "Measured while training: the loss that each network minimises, and its error on data it never learns from.";
    body += &section("learning", "How they learnt", lead, &figures::learning(results)?);
    if let Some(forecast) = &results.forecast {
        let lead = format!("A stretch of validation data: {}. All charts have the same scale.", forecast.label);
        body += &section("forecast", "Forecast and truth", &lead, &figures::forecasts(forecast)?);
    }
    let lead = "One bar a run, named by cell and hidden size; a thin line reaches from the fastest to the slowest measurement.";
    body += &section("costs", "What they cost", lead, &figures::costs(results)?);
    body += &data(results);
    body += &method(results);
    let title = format!("{} on {}", cells(results), results.data.name);
    let footer = format!(
        "Made by wgpu-rnn {}. The same numbers are in <a href=\"results.json\">results.json</a>.",
        escape(&results.version)
    );
    Ok(html::document(&title, &body, &footer))
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

fn header(results: &Results) -> String {
    let device = &results.device;
    let shape = format!(
        "{} sequences of {} steps and {} inputs",
        count(results.batch),
        count(results.steps),
        count(results.input)
    );
    let facts = [
        ("Device", format!("{} ({}, {})", device.name, device.kind, device.backend)),
        ("Why this device", device.why.clone()),
        ("Data", results.data.name.clone()),
        ("Batch", shape),
        ("Date", results.date.clone()),
        (html::COMMAND, results.command.clone()),
    ];
    let sentences = findings::sentences(results)
        .iter()
        .map(|sentence| format!("<p>{}</p>\n", escape(sentence)))
        .collect::<String>();
    format!(
        "<header>\n<p class=\"eyebrow\">wgpu-rnn compare</p>\n<h1>{} on the same data</h1>\n<p class=\"lead\">{}</p>\n\
         {}<div class=\"summary\">\n{sentences}</div>\n{}</header>\n",
        escape(&cells(results)),
        escape(&results.data.task),
        tiles(results),
        html::facts(facts)
    )
}

/// The three numbers to take home.
fn tiles(results: &Results) -> String {
    let unit = &results.error_unit;
    let best = findings::best(&results.runs).map(|run| {
        let who = format!("{}, H {}, {}", run.cell, run.hidden, run.group);
        (format!("Lowest {}", results.error_name), with_unit(run.validation_error, unit), who)
    });
    let naive = ("Naive forecast".to_owned(), with_unit(results.naive_error, unit), results.naive_name.clone());
    let ratio = findings::step_ratio(results).map(|ratio| {
        (
            "GRU step / LSTM step".to_owned(),
            format!("{}×", number(ratio)),
            "time of a training step at equal hidden size".to_owned(),
        )
    });
    html::tiles(best.into_iter().chain([naive]).chain(ratio))
}

fn tables(results: &Results) -> String {
    let content = groups(results).iter().map(|group| table(results, group)).collect::<String>();
    let lead = format!("The naive forecast is {}. The best of a row is in bold.", results.naive_name);
    section("results", "Results", &lead, &content)
}

fn table(results: &Results, group: &Group<'_>) -> String {
    let heads = group.runs.iter().map(|run| {
        let class = super::charts::Role::of(&run.cell).class();
        format!("<th scope=\"col\" class=\"key-{class}\">{}</th>", escape(&run.cell))
    });
    let columns = group.runs.len() + 1;
    let body = sections(results, group).iter().map(|section| table_section(section, columns)).collect::<String>();
    let stopped = group.runs.iter().filter_map(|run| {
        let why = run.stopped.as_ref()?;
        Some(format!(
            "<p class=\"stopped\"><strong>{} stopped early:</strong> {}</p>\n",
            escape(&run.cell),
            escape(why)
        ))
    });
    format!(
        "<h3>At {0}</h3>\n{1}<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Results at {0}\">\
         <table class=\"results\">\n<thead><tr><td></td>{2}</tr></thead>\n{body}</table></div>\n",
        escape(group.name),
        stopped.collect::<String>(),
        heads.collect::<String>()
    )
}

fn table_section(section: &Section, columns: usize) -> String {
    let rows = section.rows.iter().map(|row| {
        let cells = row.cells.iter().map(table_cell).collect::<String>();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(&row.name))
    });
    format!(
        "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"{columns}\">{}</th></tr>\n{}</tbody>\n",
        section.title,
        rows.collect::<String>()
    )
}

fn table_cell(cell: &Cell) -> String {
    let value = escape(&cell.value);
    let value = if cell.best { format!("<strong>{value}</strong>") } else { value };
    let note = if cell.note.is_empty() { String::new() } else { format!("<small>{}</small>", escape(&cell.note)) };
    format!("<td>{value}{note}</td>")
}

fn claims(claims: &[Claim]) -> String {
    if claims.is_empty() {
        return String::new();
    }
    let row = |claim: &Claim| {
        let (class, verdict) = (claim.verdict.class(), claim.verdict.marked());
        format!(
            "<tr><th scope=\"row\">{}</th><td data-name=\"Measured\">{}</td><td data-name=\"GRU / LSTM\">{}</td>\
             <td class=\"{class}\" data-name=\"Here it\">{verdict}</td></tr>\n",
            escape(&claim.claim),
            escape(&claim.measured),
            number(claim.ratio)
        )
    };
    let content = format!(
        "<table class=\"claims\">\n<thead><tr><th scope=\"col\">Claim</th><th scope=\"col\">Measured</th>\
         <th scope=\"col\">GRU / LSTM</th><th scope=\"col\">Here it</th></tr></thead>\n<tbody>\n{}</tbody></table>",
        claims.iter().map(row).collect::<String>()
    );
    section("claims", "Claims, tested", "What people say about the cells, and what was measured here.", &content)
}

fn data(results: &Results) -> String {
    let data = &results.data;
    let split = format!("{} for training, {} for validation.", count(data.train), count(data.validation));
    let notes = [split].into_iter().chain(data.notes.iter().cloned());
    section(
        "data",
        "The data and its repairs",
        &format!("{}: {}.", data.name, data.task.trim_end_matches('.')),
        &list(notes),
    )
}

fn method(results: &Results) -> String {
    let repeats = results.runs.iter().map(|run| run.step_ms.runs).max().unwrap_or(0);
    let weights = results.runs.iter().map(|run| run.weight_bytes).max().unwrap_or(0);
    let notes = [
        format!("All runs saw the same data; weights and batches come from seed {}.", results.seed),
        "Three networks have an equal hidden size; three have as nearly equal a number of parameters as whole \
         hidden units allow."
            .to_owned(),
        "Parameters are counted from the recurrent layer’s tensors and, apart from that, computed by formula: gates · \
         (H·I + H·H + biases)."
            .to_owned(),
        format!(
            "Memory is as allocated: the weights (at most {}), the reserve that the forward pass keeps for the \
             backward pass, and the workspace that both need while they run. Predicted sizes are computed beforehand.",
            bytes(weights)
        ),
        format!(
            "Times are medians of up to {} measurements after warming up, with the smallest and largest; a forward \
             pass is one batch through the whole model, a training step is forward, backward, clipping and update.",
            count(repeats)
        ),
        "Sequences a second follow from the median training step.".to_owned(),
        "The validation error is the lowest on the curve; the curve’s loss is that of the batch trained on last."
            .to_owned(),
    ];
    section("method", "How it was measured", "", &list(notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn all_is_there_and_nothing_comes_from_elsewhere() {
        let results = sample::results();
        let html = render(&results).unwrap();
        for foreign in ["http", "src=", "@import", "url(", "<script"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        for run in &results.runs {
            assert!(html.contains(&escape(&run.formula)), "{}", run.formula);
        }
        assert_eq!(html.matches("class=\"results\"").count(), 2);
        for id in ["results", "claims", "learning", "forecast", "costs", "data", "method"] {
            assert!(html.contains(&format!("<section id=\"{id}\"")), "{id}");
        }
        assert_eq!(html.matches("<svg").count(), html.matches("role=\"img\" aria-label=\"").count());
        assert!(html.contains("RNN, GRU and LSTM on the same data"));
        assert!(html.contains("✓ held") && html.contains("✗ did not hold"));
    }

    #[test]
    fn every_text_from_data_is_escaped() {
        let html = render(&sample::broken()).unwrap();
        for name in ["<b>", "GPU & Co", "<left out>", "<forecasts>", "<not>"] {
            assert!(!html.contains(name), "{name}");
            assert!(html.contains(&escape(name)), "{name}");
        }
    }

    #[test]
    fn what_stopped_is_said() {
        let html = render(&sample::broken()).unwrap();
        assert!(html.contains("<strong>RNN stopped early:</strong> the loss is &lt;not&gt; a number."));
        assert!(!html.contains("NaN"));
    }

    #[test]
    fn a_page_without_runs_is_a_page() {
        let mut results = sample::results();
        results.runs.clear();
        results.claims.clear();
        results.forecast = None;
        let html = render(&results).unwrap();
        assert!(html.contains("Nothing on the same data") && !html.contains("id=\"claims\""));
    }

    #[test]
    fn tags_are_balanced() {
        let html = render(&sample::results()).unwrap();
        for tag in ["section", "table", "tbody", "tr", "td", "figure", "details", "svg", "div", "ul", "li", "p", "dl"] {
            let open = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(open, html.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
