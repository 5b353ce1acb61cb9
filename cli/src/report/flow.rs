//! The page of `flow`: charts of the norms of gradients, with the numbers as CSV and JSON beside it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::probe::{GONE, Reach, Trace, WILD};
use wgpu_rnn::{StepOptions, Zoneout};

use super::figure::{Axis, Draw, Figure, Line, Lines, Role};
use super::page::{self, Origin, charts, section};
use super::table::Table;
use super::{Looked, named, when};
use crate::base::files::replace;
use crate::base::numbers::{NONE, plural};

/// What is said where options change what comes directly.
const OTHER_WAYS: &str = " With the options of this layer that is not the gates alone: through peepholes more comes directly, what stays of \
                          a state with zoneout comes past the gates, and nothing comes through a cell state that is clipped.";

/// What is said where sequences begin anew within the batch.
const ANEW: &str = " Sequences begin anew within the batch, and gradients end there: each line goes back as far as the longest sequence \
                    that has not, and factors, steps and verdicts are of that far.";
/// And of layers that go backwards.
const BACKWARDS: &str =
    " A layer that goes backwards begins at a sequence’s end: its last step is at the sequence’s first time.";

/// Everything that was looked at.
pub struct Page {
    pub origin: Origin,
    /// Whether the loss is of every step's output, not the last one's alone.
    pub at_every_step: bool,
    pub looks: Vec<Look>,
}

/// One net on sequences of one length.
pub struct Look {
    pub of: Looked,
    /// Training steps before.
    pub trained: usize,
    /// T.
    pub steps: usize,
    pub trace: Trace,
}

/// What `flow.json` holds of a look.
#[derive(Serialize)]
struct Summary {
    cell: String,
    hidden: usize,
    layer: usize,
    direction: &'static str,
    trained: usize,
    steps: usize,
    decay: Option<f64>,
    direct_decay: Option<f64>,
    mostly_direct: usize,
    one_e: Option<usize>,
    one_percent: Option<usize>,
    verdict: String,
    /// The norm at the first step over that at the last, and the direct part over the whole 1 and 10 steps back and there.
    left_at_the_first: Option<f64>,
    direct_share_1: Option<f64>,
    direct_share_10: Option<f64>,
    direct_share_of_the_first: Option<f64>,
}

impl Look {
    fn reach(&self) -> Reach {
        self.trace.reach()
    }

    /// The factor of one step back of what comes directly.
    fn direct_decay(&self) -> Option<f64> {
        Reach::of(&self.trace.direct).decay
    }

    /// Steps back over which what comes directly is between half the gradient and twice it.
    fn mostly_direct(&self) -> usize {
        let near = |share: &&Option<f64>| share.is_some_and(|share| (0.5..=2.0).contains(&share));
        self.trace.direct_share().iter().skip(self.begin()).take_while(near).count().saturating_sub(1)
    }

    /// The steps back before there is a gradient: with zoneout of c nothing reaches the last cell state, of which h saw another.
    fn begin(&self) -> usize {
        self.trace.state().iter().take_while(|norm| **norm == 0.0).count()
    }

    fn summary(&self) -> Summary {
        let Reach { decay, one_e, one_percent, verdict } = self.reach();
        Summary {
            cell: named(&self.of.config),
            hidden: self.of.config.hidden,
            layer: self.of.layer,
            direction: self.of.way(),
            trained: self.trained,
            steps: self.steps,
            decay,
            direct_decay: self.direct_decay(),
            mostly_direct: self.mostly_direct(),
            one_e,
            one_percent,
            verdict: verdict.to_string(),
            left_at_the_first: self
                .trace
                .state()
                .get(self.begin())
                .zip(self.trace.state().last())
                .map(|(last, first)| first / last),
            direct_share_1: self.trace.direct_share().get(1).copied().flatten(),
            direct_share_10: self.trace.direct_share().get(10).copied().flatten(),
            direct_share_of_the_first: self.trace.direct_share().last().copied().flatten(),
        }
    }

    fn title(&self) -> String {
        self.of.title()
    }

    /// Cells of a table's row.
    fn row(&self) -> Vec<String> {
        let reach = self.reach();
        // Of sequences of unequal lengths the longest may be shorter than T.
        let far = self.trace.state().len().saturating_sub(1);
        let steps = |found: Option<usize>| found.map_or_else(|| format!("> {far}"), |steps| steps.to_string());
        let factor = |decay: Option<f64>| decay.map_or_else(|| NONE.to_string(), |decay| format!("{decay:.3}"));
        vec![
            self.title(),
            when(self.trained),
            self.steps.to_string(),
            factor(reach.decay),
            factor(self.direct_decay()),
            self.mostly_direct().to_string(),
            steps(reach.one_e),
            steps(reach.one_percent),
            reach.verdict.to_string(),
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
        Table::new(HEAD, self.looks.iter().map(Look::row).collect())
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        self.summary().plain()
    }

    /// Writes `index.html`, `flow.csv` and `flow.json` into the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
        let summaries: Vec<Summary> = self.looks.iter().map(Look::summary).collect();
        replace(&out.join("flow.json"), &(serde_json::to_string_pretty(&summaries)? + "\n"))?;
        replace(&out.join("flow.csv"), &self.csv()?)?;
        replace(&out.join("index.html"), &self.html())
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
            "direction",
        ])?;
        for look in &self.looks {
            for (back, (h, direct)) in look.trace.h.iter().zip(&look.trace.direct).enumerate() {
                let c = look.trace.c.get(back).map_or_else(String::new, |c| format!("{c:e}"));
                let fixed = [look.of.config.hidden, look.of.layer, look.trained, look.steps, back]
                    .map(|number| number.to_string());
                let numbers = [format!("{h:e}"), c, format!("{direct:e}"), look.of.way().to_string()];
                writer.write_record([named(&look.of.config)].into_iter().chain(fixed).chain(numbers))?;
            }
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    fn html(&self) -> String {
        let lead = format!(
            "The norm is that of the gradient of what the cell remembers, c of an LSTM and h of the others, over the steps back \
             from the last one. Vanishing: less than {GONE} of it is left at the first step. Exploding: it has grown beyond {WILD} \
             times, or is not finite. Directly is what came through the forget gates of an LSTM, or the update gates of a GRU, \
             alone; mostly direct for as many steps back as that is between half the gradient and twice it."
        );
        let adds = " Here every step has a loss of its own: what is new at a step adds to what comes back through it, and \
                    factors, lengths and verdicts say where the loss is as much as how gradients last.";
        let lead = if self.at_every_step { lead + adds } else { lead };
        let StepOptions { peephole, clip, zoneout, resets, .. } =
            self.looks.first().map_or(StepOptions::NONE, |look| look.of.config.options);
        let changes = peephole || clip.cell.is_some() || clip.cell_as_read.is_some() || zoneout != Zoneout::NONE;
        let back = self.looks.iter().any(|look| look.of.goes_back());
        let said = [(changes, OTHER_WAYS), (resets, ANEW), (back, BACKWARDS)];
        let lead = said.into_iter().filter(|(is, _)| *is).fold(lead, |lead, (_, more)| lead + more);
        let figures = self.figures();
        let main = self.main();
        let is_main = |looks: &[&Look]| looks.first().is_some_and(|look| Some(key(look)) == main);
        let picture = figures.iter().find(|looks| is_main(looks)).map(|looks| figure(looks).markup());
        let others = figures.iter().filter(|looks| !is_main(looks)).map(|looks| figure(looks).markup());
        let how = "Each line is one net, the dashed one what of its gradient came directly. The last step is at the left; what is \
                   too small for 32-bit numbers is left out.";
        let mut sections = Vec::new();
        if figures.len() > 1 {
            sections.push(section("norms", "At other lengths and moments", "", &charts(others)));
        }
        sections.push(section("memory", "How long they last", &lead, &self.summary().open("How long gradients last")));
        let loss = if self.at_every_step { "of every step's output" } else { "of the last step's output" };
        let page = page::Page {
            command: "flow",
            title: "How gradients flow back".to_string(),
            result: vec![self.sentence(), how.to_string()],
            picture: picture.unwrap_or_default(),
            sections,
            origin: &self.origin,
            facts: vec![("Loss", loss.to_string())],
        };
        page.render()
    }

    /// The chart that tells most: the longest sequences after training.
    fn main(&self) -> Option<[usize; 4]> {
        let place =
            |&[trained, steps, layer, direction]: &[usize; 4]| (trained, steps, std::cmp::Reverse([layer, direction]));
        self.looks.iter().map(key).max_by_key(place)
    }

    /// How far gradients come there.
    fn sentence(&self) -> String {
        let looks: Vec<&Look> = self.looks.iter().filter(|look| Some(key(look)) == self.main()).collect();
        let Some(first) = looks.first() else { return "Nothing was looked at.".to_string() };
        let far = |look: &&Look| {
            let steps = look.reach().one_percent;
            let end = look.trace.state().len().saturating_sub(1);
            let far = steps
                .map_or_else(|| format!("not within {end} steps"), |steps| format!("in {}", plural(steps, "step")));
            format!("those of the {} {far}", look.of.in_words())
        };
        let all: Vec<String> = looks.iter().map(far).collect();
        let when = match first.trained {
            0 => "Untrained".to_string(),
            steps => format!("After {}", plural(steps, "training step")),
        };
        format!("{when}, gradients fall to 1 % on their way back over {} steps: {}.", first.steps, all.join(", "))
    }

    /// The looks of each chart: those of one layer at one moment on sequences of one length.
    fn figures(&self) -> Vec<Vec<&Look>> {
        let mut keys: Vec<[usize; 4]> = self.looks.iter().map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|wanted| self.looks.iter().filter(|look| key(look) == wanted).collect()).collect()
    }
}

/// What looks of one chart have in common.
fn key(look: &Look) -> [usize; 4] {
    [look.trained, look.steps, look.of.layer, look.of.direction]
}

/// Norms over steps back.
fn figure(looks: &[&Look]) -> Figure {
    let normal = |(_, norm): &(usize, &f64)| **norm >= f64::from(f32::MIN_POSITIVE);
    let points =
        |norms: &[f64]| norms.iter().enumerate().filter(normal).map(|(back, norm)| (back as f64, *norm)).collect();
    let lines = |look: &&Look| {
        let (name, directly) = (look.title(), format!("{} directly", look.title()));
        let role = Role::of(&name);
        [
            Line::new(directly, role, Draw::Dashed, points(&look.trace.direct)),
            Line::new(name, role, Draw::Line, points(look.trace.state())),
        ]
    };
    let title = looks.first().map_or_else(String::new, |look| {
        format!("Gradient over {} steps back, {}{}", look.steps, when(look.trained), look.of.ending())
    });
    // Of a plain RNN nothing comes directly but what begins there, and with zoneout what stays.
    let drawn = looks.iter().flat_map(lines).filter(|line| line.points.len() > 1).collect();
    Figure::of(title, Lines::new(Axis::linear("steps back from the last"), Axis::log("norm of the gradient"), drawn))
}
