//! What commands leave to be looked at: pages, with their numbers as CSV and JSON beside them, and summaries to print.
//!
//! A page is one file that opens without a network: a sentence of result, the picture that shows it, then charts, then
//! tables, and at its end the device and the command. uPlot, which is in every page, draws the charts (`page.js`); maud writes
//! the HTML. Each file is written under another name in the same folder and then renamed, so that an interruption leaves the
//! old file or the new one, never half of one.

mod bars;
pub mod classes;
mod compare;
mod figure;
mod findings;
pub mod flow;
pub mod forecast;
pub mod gates;
pub mod judged;
mod page;
mod profile;
mod rows;
#[cfg(test)]
pub(crate) mod sample;
pub mod study;
pub mod sweep;
mod table;
mod text;
pub mod training;

pub use page::Origin;
pub use profile::Profiled;
pub use table::Table;
pub use text::summary;

use crate::base::files::replace;
use crate::net::{named, title};
use crate::results::study::Verdict;
use crate::results::{Results, Run, Spread};
use anyhow::{Context, Result};
use std::path::Path;
use wgpu_rnn::RnnConfig;

/// Writes `results.json` and `index.html` into the folder `out`, which is made if it does not exist.
pub fn write(results: &Results, out: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results).context("could not write the results as JSON")?;
    std::fs::create_dir_all(out).with_context(|| format!("{}: could not make the folder", out.display()))?;
    replace(&out.join("results.json"), &(json + "\n"))?;
    replace(&out.join("index.html"), &compare::render(results))
}

/// Writes the page of a profile to `path`, its folder being made if it does not exist.
pub fn write_profile(profiled: &Profiled<'_>, path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).with_context(|| format!("{}: could not make the folder", folder.display()))?;
    replace(path, &profile::render(profiled))
}

/// Rows as CSV, with the names of their fields above them.
fn write_csv(rows: &[impl serde::Serialize]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// What is looked at: a layer of a net, in one of its directions.
#[derive(Clone, Copy)]
pub struct Looked {
    pub config: RnnConfig,
    pub layer: usize,
    pub direction: usize,
}

impl Looked {
    /// Those of a net.
    pub fn all(config: RnnConfig) -> impl Iterator<Item = Self> {
        let of = move |layer| (0..config.directions()).map(move |direction| Self { config, layer, direction });
        (0..config.layers).flat_map(of)
    }

    /// Its net's name and what tells it from others.
    fn title(self) -> String {
        format!("{}{}", title(&self.config), self.ending())
    }

    /// The layer, numbered as in the names of its weights, where there are several, and whether it goes backwards: the end of a
    /// title.
    fn ending(self) -> String {
        let layer = if self.config.layers == 1 { String::new() } else { format!(", layer {}", self.layer) };
        if self.goes_back() { layer + ", backwards" } else { layer }
    }

    /// The same within a sentence.
    fn in_words(self) -> String {
        let cell = title(&self.config);
        match self.ending().strip_prefix(", ") {
            Some(ending) => format!("{cell} ({ending})"),
            None => cell,
        }
    }

    fn goes_back(self) -> bool {
        self.direction >= self.config.first_reversed()
    }

    /// Its direction's name in files.
    fn way(self) -> &'static str {
        if self.goes_back() { "backward" } else { "forward" }
    }
}

/// When a net was looked at.
fn when(trained: usize) -> String {
    match trained {
        0 => "untrained".to_string(),
        steps => format!("after {steps} steps"),
    }
}

/// Runs that share a measure, such as the hidden size.
struct Group<'a> {
    name: &'a str,
    runs: Vec<&'a Run>,
}

impl Group<'_> {
    /// The run that is shown to err less than every other of the group, if one is.
    fn winner(&self) -> Option<usize> {
        self.ahead(|run, other| run.beats(other))
    }

    /// The run whose time is shown to be below that of every other of the group, if one is.
    fn fastest(&self, time: impl Fn(&Run) -> &Spread) -> Option<usize> {
        self.ahead(|run, other| Verdict::faster(time(run), time(other)) == Verdict::Held)
    }

    /// The run that is better than every other, of several.
    fn ahead(&self, is_better: impl Fn(&Run, &Run) -> bool) -> Option<usize> {
        let others = |index: usize| self.runs.iter().enumerate().filter(move |(other, _)| *other != index);
        let leads = |&index: &usize| others(index).all(|(_, other)| is_better(self.runs[index], other));
        (0..self.runs.len()).find(|index| self.runs.len() > 1 && leads(index))
    }
}

/// The groups in the order in which their first runs come.
fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in &results.runs {
        match groups.iter_mut().find(|group| group.name == run.group) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { name: &run.group, runs: vec![run] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_both_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("deep/report");
        let results = sample::results();
        write(&results, &out).unwrap();
        write(&results, &out).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["index.html", "results.json"]);
        let page = std::fs::read_to_string(out.join("index.html")).unwrap();
        assert_eq!(page, compare::render(&results));
    }

    #[test]
    fn json_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let results = sample::results();
        write(&results, folder.path()).unwrap();
        let json = std::fs::read_to_string(folder.path().join("results.json")).unwrap();
        let back: Results = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{back:?}"), format!("{results:?}"));
    }

    #[test]
    fn json_with_holes_comes_back_as_not_a_number() {
        let json = serde_json::to_string(&sample::broken()).unwrap();
        let back: Results = serde_json::from_str(&json).unwrap();
        assert!(back.runs[0].validation_error.is_nan());
        assert!(back.runs[1].curve[3].train_loss.is_nan());
        assert!(back.runs[1].step_ms.max.is_nan());
        assert!(back.forecast.unwrap().predictions[0].1[2].is_nan());
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_report() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        write(&sample::results(), folder.path()).unwrap();
        let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode("index.html"), mode("plain"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = format!("{:#}", write(&sample::results(), &file).unwrap_err());
        assert!(error.contains("file: could not make the folder: "), "{error}");
    }

    #[test]
    fn groups_keep_their_order() {
        let results = sample::results();
        let groups = groups(&results);
        let names: Vec<_> = groups.iter().map(|group| (group.name, group.runs.len())).collect();
        assert_eq!(names, [("equal hidden size", 3), ("equal parameters", 3)]);
    }
}
