//! What `compare --claims` leaves: a page, the same as Markdown, JSON, and every training as CSV.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use maud::Markup;

use super::figure::{Axis, Draw, Figure, Line, Lines, Role};
use super::page::{self, Judged, Origin, charts, list, section, verdicts};
use super::table::Table;
use crate::base::files::replace;
use crate::base::numbers::{NONE, bytes, number, quantity};
use crate::results::study::{FEWEST, Measured, OfCell, Seeds, Study, Verdict, made};

/// The file that a later run goes on from.
const JSON: &str = "claims.json";

/// The cells in the order in which they are drawn.
const CELLS: [&str; 3] = ["RNN", "GRU", "LSTM"];

/// What the verdicts mean.
fn rule(study: &Study) -> String {
    // Of 2n seeds in a row, the first n are all of one cell.
    let n = study.seeds as u64;
    let ways = (1..=n).fold(1.0, |ways, k| ways * (n + k) as f64 / k as f64);
    if study.seeds < FEWEST {
        return format!("With fewer than {FEWEST} seeds nothing is shown where seeds are compared.");
    }
    format!(
        "Where seeds are compared, one cell is better only if its worst seed is better than the other's best; cells that \
         are alike do that, one way or the other, once in {:.0} times with {n} seeds, and there are {} rows. All cells \
         see the same batches. Times: one is faster if the 95 % intervals of the medians do not overlap. As good: see the row. \
         Fewer than {FEWEST} seeds, or a training that went wrong, show nothing.",
        ways / 2.0,
        study.claims.len()
    )
}

/// How the nets were trained.
fn conditions(study: &Study) -> String {
    let each = study.measured.iter().map(|one| {
        let lag = one.lag.map_or_else(String::new, |lag| format!(" {lag}"));
        format!("{}{lag}: T = {}, B = {}, {} steps from {}", one.name, one.steps, one.batch, one.updates, one.rate)
    });
    format!(
        "Adam with gradients clipped to a norm of 1 and a learning rate that falls along a cosine, one rate for all cells \
         and tuned for none; W_hh orthogonal. On made problems the gates of GRU and LSTM begin with memories of 1 to lag − 1 \
         steps (chrono initialisation), so they are told the lag and the plain RNN, which has no gates, is not; elsewhere \
         the LSTM's forget bias is 1. A problem is looked at every 50 steps and training ends when it is learnt. Equal \
         parameters are those of the recurrent layer. Memory is its weights, reserve and workspace, without gradients and \
         the optimiser's moments. Validation chose the weights whose error is told. {}.",
        each.collect::<Vec<_>>().join("; ")
    )
}

/// The mean, with the smallest and largest where they differ.
fn spread(values: &[f64]) -> String {
    match Seeds::of(values) {
        None => NONE.to_string(),
        Some(Seeds { mean, least, most, .. }) if least == most => number(mean),
        Some(Seeds { mean, least, most, .. }) => format!("{} ({} to {})", number(mean), number(least), number(most)),
    }
}

/// Training steps until each lag of a made problem was learnt.
fn learning(name: &str, problems: &[&Measured]) -> Figure {
    let budget = problems.first().map_or(0, |one| one.updates) as f64;
    let taken = |cell: &OfCell| {
        cell.trials.iter().map(|one| one.learnt_after.map_or(budget, |steps| steps as f64)).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    let mut bands = Vec::new();
    for cell in CELLS {
        let of = |one: &Measured| one.of(cell).and_then(|cell| Seeds::of(&taken(cell)));
        let each: Vec<(f64, Seeds)> =
            (0..).zip(problems).filter_map(|(x, one)| Some((f64::from(x), of(one)?))).collect();
        let line = |name: String, draw: Draw, value: fn(&Seeds) -> f64| {
            Line::new(name, Role::of(cell), draw, each.iter().map(|(x, seeds)| (*x, value(seeds))).collect())
        };
        // From the fastest seed to the slowest.
        bands.push([lines.len(), lines.len() + 1]);
        lines.push(line(format!("{cell}, slowest"), Draw::Thin, |seeds| seeds.most));
        lines.push(line(format!("{cell}, fastest"), Draw::Thin, |seeds| seeds.least));
        lines.push(line(cell.to_string(), Draw::Line, |seeds| seeds.median));
    }
    let x = Axis::names("lag, steps", problems.iter().map(|one| one.lag.unwrap_or(0).to_string()).collect());
    let chart = Lines { bands, reach: vec![0.0, budget], ..Lines::new(x, Axis::linear("training steps"), lines) };
    let head = ["lag", "cell", "H", "learnt", "training steps", "seconds", "best error", "memory", "training step, ms"];
    let row = |one: &Measured, cell: &OfCell| {
        let seconds: Vec<f64> = cell.trials.iter().map(|trial| trial.seconds).collect();
        vec![
            one.lag.unwrap_or(0).to_string(),
            cell.cell.clone(),
            cell.hidden.to_string(),
            format!("{}/{}", cell.learnt().len(), cell.trials.len()),
            spread(&cell.learnt()),
            spread(&seconds),
            spread(&cell.errors()),
            bytes(cell.memory_bytes),
            number(cell.step_ms.median),
        ]
    };
    let rows = problems.iter().flat_map(|one| one.cells.iter().map(move |cell| row(one, cell))).collect();
    Figure::with(format!("{name}: training steps until learnt, over the lag"), chart, Table::new(head, rows))
}

/// The validation error of the real data while training, the mean of all seeds.
fn curves(one: &Measured) -> Figure {
    let mean = |cell: &OfCell| -> Vec<(f64, f64)> {
        let shortest = cell.trials.iter().map(|trial| trial.curve.len()).min().unwrap_or(0);
        let count = cell.trials.len() as f64;
        let at = |index: usize| {
            let sum: f64 = cell.trials.iter().map(|trial| trial.curve[index].validation_error).sum();
            (cell.trials[0].curve[index].step as f64, sum / count)
        };
        (0..shortest).map(at).collect()
    };
    let lines = one.cells.iter().map(|cell| Line::of(&cell.cell, mean(cell))).collect();
    let chart =
        Lines::new(Axis::linear("training step"), Axis::linear(quantity(&one.error_name, &one.error_unit)), lines);
    let head = ["cell", "H", "parameters", "best error", "seconds", "memory", "forward, ms", "training step, ms"];
    let row = |cell: &OfCell| {
        let seconds: Vec<f64> = cell.trials.iter().map(|trial| trial.seconds).collect();
        vec![
            cell.cell.clone(),
            cell.hidden.to_string(),
            cell.parameters.to_string(),
            spread(&cell.errors()),
            spread(&seconds),
            bytes(cell.memory_bytes),
            number(cell.forward_ms.median),
            number(cell.step_ms.median),
        ]
    };
    let mut rows: Vec<Vec<String>> = one.cells.iter().map(row).collect();
    let naive = [&format!("naive: {}", one.naive_name), "", "", &number(one.naive_error), "", "", "", ""];
    rows.push(naive.map(str::to_string).to_vec());
    Figure::with(format!("{}: {}, over training steps", one.name, one.error_name), chart, Table::new(head, rows))
}

/// Of made problems first, then of real data.
fn figures(study: &Study) -> Vec<Figure> {
    let made = made(&study.measured);
    let real = study.measured.iter().filter(|one| one.lag.is_none());
    made.iter().map(|(name, problems)| learning(name, problems)).chain(real.map(curves)).collect()
}

/// The trainings that went wrong, if any did.
fn wrong(study: &Study) -> Option<Vec<String>> {
    let all: Vec<String> = study.measured.iter().flat_map(Measured::stopped).collect();
    (!all.is_empty()).then_some(all)
}

fn claims(study: &Study) -> Table {
    let row = |one: &crate::results::study::Weighed| {
        vec![one.claim.clone(), one.verdict.title().to_string(), one.measured.clone()]
    };
    Table::new(["Claim", "Here it", "Measured"], study.claims.iter().map(row).collect())
}

/// What is printed.
pub fn summary(study: &Study) -> String {
    let line = |one: &crate::results::study::Weighed| {
        format!("{:<14}  {}\n{:16}{}\n", one.verdict.title(), one.claim, "", one.measured)
    };
    study.claims.iter().map(line).collect()
}

/// How many claims held.
fn sentence(study: &Study) -> String {
    let count = |verdict: Verdict| study.claims.iter().filter(|one| one.verdict == verdict).count();
    let [held, failed, open] = [Verdict::Held, Verdict::DidNotHold, Verdict::NotShown].map(count);
    format!(
        "Of {} common claims {held} held here, {failed} did not, and {open} could not be shown either way.",
        study.claims.len()
    )
}

fn page(study: &Study) -> String {
    let mut figures: Vec<Markup> = figures(study).iter().map(Figure::markup).collect();
    let picture = if figures.is_empty() { Markup::default() } else { figures.remove(0) };
    let claims = study.claims.iter().map(|one| Judged {
        claim: &one.claim,
        verdict: one.verdict,
        measured: &one.measured,
        ratio: None,
    });
    let lead = "Of made problems the median of all seeds, within a band from the fastest to the slowest; what is at the top was not \
                learnt. Of real data the mean of all seeds.";
    let sections = vec![
        section("learning", "How they learn", lead, &charts(figures)),
        section("claims", "Common claims", &rule(study), &verdicts(claims)),
        section("conditions", "Conditions", &conditions(study), &wrong(study).map_or_else(Markup::default, list)),
    ];
    let names: Vec<&str> = study.measured.iter().filter(|one| one.lag.is_none()).map(|one| one.name.as_str()).collect();
    let origin = Origin {
        version: env!("CARGO_PKG_VERSION").to_string(),
        date: study.date.clone(),
        command: study.command.clone(),
        device: format!("{} ({}, {})", study.device.name, study.device.kind, study.device.backend),
        data: format!("adding problem, delayed copy, {}", names.join(", ")),
    };
    let page = page::Page {
        command: "compare --claims",
        title: "GRU or LSTM?".to_string(),
        result: vec![sentence(study)],
        picture,
        sections,
        origin: &origin,
        facts: vec![("Seeds", study.seeds.to_string())],
    };
    page.render()
}

fn markdown(study: &Study) -> String {
    let mut page = format!(
        "# Common claims about the cells, measured\n\nMeasured {} on {} ({}, {}) by `{}`, with {} seeds of each cell on each \
         problem, all at equal parameters unless a row says otherwise. {}\n\n{}\n{}\n{}",
        study.date,
        study.device.name,
        study.device.kind,
        study.device.backend,
        study.command,
        study.seeds,
        rule(study),
        claims(study).markdown(),
        conditions(study),
        wrong(study)
            .map_or_else(String::new, |all| all.iter().map(|one| format!("\n- {one}")).collect::<String>() + "\n")
    );
    for Figure { title, table, .. } in figures(study) {
        let _ = write!(page, "\n## {title}\n\n{}", table.markdown());
    }
    page.push_str("\nEvery training: [claims.csv](claims.csv).\n");
    page
}

fn rows(study: &Study) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = "problem,lag,T,B,cell,H,parameters,seed,learnt_after,updates,error,error_name,seconds,memory_bytes,\
                forward_ms,step_ms,stopped,device,date";
    writer.write_record(head.split(','))?;
    for one in &study.measured {
        for cell in &one.cells {
            for trial in &cell.trials {
                writer.write_record([
                    &one.name,
                    &one.lag.map_or_else(String::new, |lag| lag.to_string()),
                    &one.steps.to_string(),
                    &one.batch.to_string(),
                    &cell.cell,
                    &cell.hidden.to_string(),
                    &cell.parameters.to_string(),
                    &trial.seed.to_string(),
                    &trial.learnt_after.map_or_else(String::new, |steps| steps.to_string()),
                    &trial.updates.to_string(),
                    &format!("{:.6}", trial.error),
                    &one.error_name,
                    &format!("{:.3}", trial.seconds),
                    &cell.memory_bytes.to_string(),
                    &format!("{:.4}", cell.forward_ms.median),
                    &format!("{:.4}", cell.step_ms.median),
                    trial.stopped.as_deref().unwrap_or_default(),
                    &study.device.name,
                    &study.date,
                ])?;
            }
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Writes `index.html`, `README.md`, `claims.csv` and `claims.json` into the folder `out`.
pub fn write(study: &Study, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
    replace(&out.join(JSON), &(serde_json::to_string_pretty(study)? + "\n"))?;
    replace(&out.join("claims.csv"), &rows(study)?)?;
    replace(&out.join("README.md"), &markdown(study))?;
    replace(&out.join("index.html"), &page(study))
}

/// What an earlier one left in the folder.
pub fn read(out: &Path) -> Result<Study> {
    let file = out.join(JSON);
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{}: could not read the file", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: expected what `compare --claims` wrote", file.display()))
}
