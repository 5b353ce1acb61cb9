//! What `classify` leaves: a page with the share of right answers, class by class, and every answer as CSV and JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::Cell;

use super::bars::{self, Bar};
use super::charts::Role;
use super::html::{Table, section};
use super::inside::Origin;
use crate::base::files::replace;
use crate::base::numbers::{NONE, number};
use crate::task::{Verdict, right};

/// Utterances with the classes that a model gave them.
pub struct Page<'a> {
    pub origin: Origin,
    pub cell: Cell,
    pub classes: &'a [String],
    pub verdicts: Vec<Verdict>,
    /// Accuracy in percent that others published for the same utterances.
    pub published: Option<f64>,
}

/// One utterance.
#[derive(Serialize)]
struct One<'a> {
    utterance: usize,
    /// If it is known.
    truth: Option<&'a str>,
    class: &'a str,
    probability: f32,
}

impl Page<'_> {
    /// Those of a class; none for those whose class is not known.
    fn of(&self, truth: Option<usize>) -> Vec<Verdict> {
        self.verdicts.iter().filter(|one| one.truth.map(|truth| truth as usize) == truth).copied().collect()
    }

    /// The classes that there are, and none, for what has none, last.
    fn truths(&self) -> Vec<Option<usize>> {
        let all = (0..self.classes.len()).map(Some).chain([None]);
        all.filter(|&truth| !self.of(truth).is_empty()).collect()
    }

    fn name(&self, class: Option<usize>) -> &str {
        class.and_then(|class| self.classes.get(class)).map_or("unknown", String::as_str)
    }

    /// Of each class how often which was said.
    fn confusion(&self) -> Table {
        let head = ["class".to_string(), "right".to_string()];
        let said = self.classes.iter().map(|class| format!("as {class}"));
        let row = |truth: Option<usize>| {
            let all = self.of(truth);
            let count = |class: usize| all.iter().filter(|one| one.class as usize == class).count();
            let right = truth.map_or_else(|| NONE.to_string(), |truth| format!("{}/{}", count(truth), all.len()));
            let fixed = [self.name(truth).to_string(), right];
            fixed.into_iter().chain((0..self.classes.len()).map(|class| count(class).to_string())).collect()
        };
        let rows = self.truths().into_iter().map(row).collect();
        Table { head: head.into_iter().chain(said).collect(), rows }
    }

    /// The table, for a terminal.
    pub fn table(&self) -> String {
        self.confusion().plain()
    }

    /// How many are right, and against what.
    pub fn sentence(&self) -> String {
        let (right, of) = right(&self.verdicts);
        if of == 0 {
            return format!("{} utterances whose classes are not known", self.verdicts.len());
        }
        let mut sentence = format!("accuracy: {:.1} % ({right} of {of})", 100.0 * right as f64 / of as f64);
        if let Some(published) = self.published {
            sentence += &format!("; the authors of these recordings published {published} %");
        }
        sentence
    }

    /// Writes `index.html`, `classes.csv` and `classes.json` into the folder `out`.
    pub fn write(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
        let one = |(index, one): (usize, &Verdict)| One {
            utterance: index + 1,
            truth: one.truth.map(|truth| self.name(Some(truth as usize))),
            class: self.name(Some(one.class as usize)),
            probability: one.probability,
        };
        let all: Vec<One<'_>> = self.verdicts.iter().enumerate().map(one).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        for one in &all {
            writer.serialize(one)?;
        }
        replace(&out.join("classes.json"), &(serde_json::to_string_pretty(&all)? + "\n"))?;
        replace(&out.join("classes.csv"), &String::from_utf8(writer.into_inner()?)?)?;
        replace(&out.join("index.html"), &self.html()?)
    }

    fn html(&self) -> Result<String> {
        let role = Role::of(self.cell.title());
        let bar = |name: String, detail: String, count: usize, of: usize| {
            let share = 100.0 * count as f64 / of as f64;
            let value = format!("{} %", number(share));
            Bar { role, name, detail, parts: vec![share], whisker: None, value }
        };
        let labelled = self.verdicts.iter().any(|one| one.truth.is_some());
        let (title, bars): (&str, Vec<Bar>) = match labelled {
            true => {
                let bar = |truth: Option<usize>| {
                    let (right, of) = right(&self.of(truth));
                    bar(self.name(truth).to_string(), format!("of {of}"), right, of)
                };
                let known = self.truths().into_iter().filter(Option::is_some);
                ("Right answers of each class", known.map(bar).collect())
            }
            false => {
                let of = self.verdicts.len();
                let count = |class: usize| self.verdicts.iter().filter(|one| one.class as usize == class).count();
                let bar = |class| bar(self.name(Some(class)).to_string(), String::new(), count(class), of);
                ("How often each class was said", (0..self.classes.len()).map(bar).collect())
            }
        };
        let told = bars.iter().map(|bar| format!("{}: {}", bar.name, bar.value)).collect::<Vec<_>>().join(", ");
        let chart = bars::Chart { label: format!("{title}: {told}"), groups: vec![(title.to_string(), bars)] };
        let figure = format!(
            "<div class=\"charts\">\n<figure>\n{}\n{}</figure>\n</div>\n",
            chart.draw()?,
            self.confusion().folded("How often each class was taken for which")
        );
        let body = section("classes", "Who was recognised", &self.sentence(), &figure);
        Ok(self.origin.page("classify", "Classes of utterances", &[], &body))
    }
}
