//! The page of `flow`: charts of the norms of gradients, with the numbers as CSV and JSON beside it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::RnnConfig;
use wgpu_rnn::probe::{GONE, Memory, Trace, WILD};

use super::charts::{Role, standalone};
use super::html::{Table, escape, section};
use super::inside::{Origin, legend, of_layer, titled, when};
use super::lines::{Chart, Line};
use crate::base::files::replace;
use crate::base::numbers::NONE;

/// Everything that was looked at.
pub struct Page {
    pub origin: Origin,
    /// Whether the loss is of every step's output, not the last one's alone.
    pub at_every_step: bool,
    pub looks: Vec<Look>,
}

/// One net on sequences of one length.
pub struct Look {
    pub config: RnnConfig,
    pub layer: usize,
    /// Training steps before.
    pub trained: usize,
    /// T.
    pub steps: usize,
    pub trace: Trace,
}

/// What `flow.json` holds of a look.
#[derive(Serialize)]
struct Summary {
    cell: &'static str,
    hidden: usize,
    layer: usize,
    trained: usize,
    steps: usize,
    decay: Option<f64>,
    direct_decay: Option<f64>,
    mostly_direct: usize,
    one_e: Option<usize>,
    one_percent: Option<usize>,
    verdict: String,
    direct_share_of_the_first: Option<f64>,
}

impl Look {
    fn memory(&self) -> Memory {
        self.trace.memory()
    }

    /// The factor of one step back of what comes directly.
    fn direct_decay(&self) -> Option<f64> {
        Memory::of(&self.trace.direct).decay
    }

    /// Steps back over which what comes directly is between half the gradient and twice it.
    fn mostly_direct(&self) -> usize {
        let near = |share: &&Option<f64>| share.is_some_and(|share| (0.5..=2.0).contains(&share));
        self.trace.direct_share().iter().take_while(near).count().saturating_sub(1)
    }

    fn summary(&self) -> Summary {
        let Memory { decay, one_e, one_percent, verdict } = self.memory();
        Summary {
            cell: self.config.cell.name(),
            hidden: self.config.hidden,
            layer: self.layer,
            trained: self.trained,
            steps: self.steps,
            decay,
            direct_decay: self.direct_decay(),
            mostly_direct: self.mostly_direct(),
            one_e,
            one_percent,
            verdict: verdict.to_string(),
            direct_share_of_the_first: self.trace.direct_share().last().copied().flatten(),
        }
    }

    fn title(&self) -> String {
        titled(self.config, self.layer)
    }

    /// Name of the file of its chart.
    fn file(&self) -> String {
        let layer = if self.config.layers == 1 { String::new() } else { format!("-layer-{}", self.layer) };
        format!("norms-{}-after-{}{layer}.svg", self.steps, self.trained)
    }

    /// Cells of a table's row.
    fn row(&self) -> Vec<String> {
        let memory = self.memory();
        // Of sequences of unequal lengths the longest may be shorter than T.
        let far = self.trace.state().len().saturating_sub(1);
        let steps = |found: Option<usize>| found.map_or_else(|| format!("> {far}"), |steps| steps.to_string());
        let factor = |decay: Option<f64>| decay.map_or_else(|| NONE.to_string(), |decay| format!("{decay:.3}"));
        vec![
            self.title(),
            when(self.trained),
            self.steps.to_string(),
            factor(memory.decay),
            factor(self.direct_decay()),
            self.mostly_direct().to_string(),
            steps(memory.one_e),
            steps(memory.one_percent),
            memory.verdict.to_string(),
        ]
    }
}

const HEAD: [&str; 9] = [
    "cell",
    "weights",
    "T",
    "factor a step",
    "directly",
    "mostly direct for",
    "steps to 1/e",
    "steps to 1 %",
    "verdict",
];

impl Page {
    fn summary(&self) -> Table {
        Table { head: HEAD.map(str::to_string).to_vec(), rows: self.looks.iter().map(Look::row).collect() }
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        self.summary().plain()
    }

    /// Writes `index.html`, `flow.csv`, `flow.json` and each chart as a file of its own into the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
        let summaries: Vec<Summary> = self.looks.iter().map(Look::summary).collect();
        for looks in self.figures() {
            let (Some(first), Some(svg)) = (looks.first(), chart(&looks)?) else { continue };
            let names: Vec<String> = looks.iter().map(|look| look.title()).collect();
            let legend: Vec<(Role, &str)> = names.iter().map(|name| (Role::of(name), name.as_str())).collect();
            let title = format!("Gradient over steps back, {}", caption(first));
            replace(&out.join(first.file()), &standalone(&svg, &title, &legend))?;
        }
        replace(&out.join("flow.json"), &(serde_json::to_string_pretty(&summaries)? + "\n"))?;
        replace(&out.join("flow.csv"), &self.csv()?)?;
        replace(&out.join("index.html"), &self.html()?)
    }

    fn csv(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "cell",
            "hidden",
            "layer",
            "trained",
            "T",
            "steps_back",
            "norm_h",
            "norm_c",
            "norm_direct",
        ])?;
        for look in &self.looks {
            for (back, (h, direct)) in look.trace.h.iter().zip(&look.trace.direct).enumerate() {
                let c = look.trace.c.get(back).map_or_else(String::new, |c| format!("{c:e}"));
                let fixed =
                    [look.config.hidden, look.layer, look.trained, look.steps, back].map(|number| number.to_string());
                let numbers = [format!("{h:e}"), c, format!("{direct:e}")];
                writer.write_record([look.config.cell.name().to_string()].into_iter().chain(fixed).chain(numbers))?;
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    fn html(&self) -> Result<String> {
        let lead = format!(
            "Norms of the gradient of what the cell remembers, c of an LSTM and h of the others, over the steps back from \
             the last one. Vanishing: less than {GONE} of it is left at the first step. Exploding: it has grown beyond \
             {WILD} times, or is not finite. Directly is what came through the forget gates of an LSTM, or the update \
             gates of a GRU, alone; mostly direct for as many steps back as that is between half the gradient and twice it."
        );
        let adds = " Here every step has a loss of its own: what is new at a step adds to what comes back through it, and \
                    factors, lengths and verdicts say where the loss is as much as how gradients last.";
        let lead = if self.at_every_step { lead + adds } else { lead };
        let mut body = section("memory", "How long they last", &lead, &self.summary().open("How long gradients last"));
        let charts = self.figures().iter().map(|looks| figure(looks)).collect::<Result<String>>()?;
        let lead = "Each line is one net, the thinner one what of it came directly. The last step is at the left; what is too \
                    small for 32-bit numbers is left out.";
        body += &section("norms", "Norms, step by step", lead, &format!("<div class=\"charts\">\n{charts}</div>\n"));
        let loss = if self.at_every_step { "of every step's output" } else { "of the last step's output" };
        Ok(self.origin.page("flow", "How gradients flow back", &[("Loss", loss)], &body))
    }

    /// The looks of each chart: those of one layer at one moment on sequences of one length.
    fn figures(&self) -> Vec<Vec<&Look>> {
        let key = |look: &Look| [look.trained, look.steps, look.layer];
        let mut keys: Vec<[usize; 3]> = self.looks.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|wanted| self.looks.iter().filter(|look| key(look) == wanted).collect()).collect()
    }
}

fn caption(look: &Look) -> String {
    format!("T = {}, {}{}", look.steps, when(look.trained), of_layer(look.config, look.layer))
}

/// Norms over steps back.
fn chart(looks: &[&Look]) -> Result<Option<String>> {
    let normal = |(_, norm): &(usize, &f64)| **norm >= f64::from(f32::MIN_POSITIVE);
    let line = |look: &Look, width: f64, norms: &[f64]| Line {
        role: Role::of(&look.title()),
        width,
        points: norms.iter().enumerate().filter(normal).map(|(back, norm)| (back as f64, norm.log10())).collect(),
    };
    let lines =
        looks.iter().flat_map(|look| [line(look, 1.0, &look.trace.direct), line(look, 2.0, look.trace.state())]);
    let title = looks.first().map_or_else(String::new, |look| caption(look));
    let chart = Chart {
        label: format!("Norms of gradients over steps back from the last, {title}"),
        lines: lines.collect(),
        horizontal: Vec::new(),
        covering: Vec::new(),
        vertical: None,
        powers: true,
    };
    chart.draw()
}

fn figure(looks: &[&Look]) -> Result<String> {
    let Some(first) = looks.first() else { return Ok(String::new()) };
    let title = caption(first);
    let legend = legend(looks.iter().map(|look| look.title()));
    let svg = chart(looks)?.unwrap_or_else(|| "<p class=\"nothing\">There is no number to draw.</p>".to_string());
    let columns = looks.iter().flat_map(|look| [look.title(), format!("{} directly", look.title())]);
    let head = ["steps back".to_string()].into_iter().chain(columns);
    let norm = |norms: &[f64], back: usize| match norms.get(back) {
        None => String::new(),
        Some(&norm) if norm > 0.0 && norm < f64::from(f32::MIN_POSITIVE) => "too small for f32".to_string(),
        Some(norm) => format!("{norm:.3e}"),
    };
    let rows = (0..first.steps).map(|back| {
        let both = |look: &&Look| [norm(look.trace.state(), back), norm(&look.trace.direct, back)];
        [back.to_string()].into_iter().chain(looks.iter().flat_map(both)).collect()
    });
    let table = Table { head: head.collect(), rows: rows.collect() };
    Ok(format!(
        "<figure>\n<figcaption>{}</figcaption>\n{legend}\n{svg}\n{}</figure>\n",
        escape(&title),
        table.folded(&title)
    ))
}
