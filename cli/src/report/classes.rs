//! What `classify` leaves: a page with the share of right answers, class by class, and every answer as CSV and JSON.

use std::path::Path;

use anyhow::{Context, Result};
use maud::{Markup, html};
use serde::Serialize;
use wgpu_rnn::Cell;

use super::bars::{Bar, Bars};
use super::figure::Role;
use super::page::{self, Origin, section};
use super::table::Table;
use super::write_csv;
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
        Table::new(head.into_iter().chain(said), self.truths().into_iter().map(row).collect())
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
        replace(&out.join("classes.json"), &(serde_json::to_string_pretty(&all)? + "\n"))?;
        replace(&out.join("classes.csv"), &write_csv(&all)?)?;
        replace(&out.join("index.html"), &self.html())
    }

    fn html(&self) -> String {
        let labelled = self.verdicts.iter().any(|one| one.truth.is_some());
        let mut sections = Vec::new();
        if labelled {
            let lead = "Rows are true classes, columns the model’s answers.";
            sections.push(section("confusion", "Which was taken for which", lead, &self.matrix()));
        }
        let page = page::Page {
            command: "classify",
            title: "Classes of utterances".to_string(),
            result: vec![capital(&self.sentence()) + "."],
            picture: self.shares(labelled),
            sections,
            origin: &self.origin,
            facts: Vec::new(),
        };
        page.render()
    }

    /// Right answers of each class, or, where truths are not known, how often each was said.
    fn shares(&self, labelled: bool) -> Markup {
        let role = Role::of(self.cell.title());
        let bar = |name: &str, count: usize, of: usize| {
            let share = 100.0 * count as f64 / of as f64;
            let (value, cells) = (format!("{} %", number(share)), vec![format!("{count} of {of}")]);
            Bar { role, name: name.to_string(), parts: vec![share], whisker: None, value, cells }
        };
        let (title, bars): (&str, Vec<Bar>) = match labelled {
            true => {
                let bar = |truth: Option<usize>| {
                    let (right, of) = right(&self.of(truth));
                    bar(self.name(truth), right, of)
                };
                let known = self.truths().into_iter().filter(Option::is_some);
                ("Right answers of each class", known.map(bar).collect())
            }
            false => {
                let count = |class: usize| self.verdicts.iter().filter(|one| one.class as usize == class).count();
                let bar = |class| bar(self.name(Some(class)), count(class), self.verdicts.len());
                ("How often each class was said", (0..self.classes.len()).map(bar).collect())
            }
        };
        let (groups, columns) = (vec![(String::new(), bars)], vec!["share", "utterances"]);
        Bars { title: title.to_string(), parts: Vec::new(), columns, groups, aside: "" }.markup()
    }

    /// The confusion matrix, the more of a class the deeper the colour.
    fn matrix(&self) -> Markup {
        let count = |truth: Option<usize>, class: usize| {
            self.of(truth).iter().filter(|one| one.class as usize == class).count()
        };
        html! {
            div.scroll tabindex="0" role="region" aria-label="Confusion matrix" {
                table.matrix {
                    thead { tr {
                        th scope="col" { "class" }
                        @for class in self.classes { th scope="col" { (class) } }
                    } }
                    tbody { @for truth in self.truths() {
                        @let all = self.of(truth).len();
                        tr {
                            th scope="row" { (self.name(truth)) }
                            @for class in 0..self.classes.len() {
                                @let count = count(truth, class);
                                @let share = 100 * count / all.max(1);
                                td.right[truth == Some(class)] style=(format!("--share:{share}%")) { @if count > 0 { (count) } }
                            }
                        }
                    } }
                }
            }
        }
    }
}

/// A sentence begins with a capital.
fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
