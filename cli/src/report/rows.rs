//! The table of a group: one column a run, one row a measure, the same on the page and in the terminal.

use super::{Group, Results};
use crate::base::numbers::{bytes, change, count, median, number, range, with_unit};
use crate::results::study::Seeds;
use crate::results::{Run, Spread};

/// Rows about one aspect.
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The rows.
    pub rows: Vec<Row>,
}

/// One measure of all runs.
pub struct Row {
    /// Its name.
    pub name: String,
    /// One cell a run.
    pub cells: Vec<Cell>,
}

/// One measured value.
pub struct Cell {
    /// The value.
    pub value: String,
    /// What else there is to say, such as the spread.
    pub note: String,
    /// Whether it is shown to be the best of its row.
    pub best: bool,
}

/// All rows of a group.
pub fn sections(results: &Results, group: &Group<'_>) -> Vec<Section> {
    let row = |name: &str, cell: &dyn Fn(&Run) -> (String, String)| {
        let cells = group.runs.iter().map(|run| cell(run)).map(|(value, note)| Cell { value, note, best: false });
        Row { name: name.to_owned(), cells: cells.collect() }
    };
    let alone = |value: String| (value, String::new());
    let error = |run: &Run| {
        let spread = Seeds::of(&run.errors).filter(|_| run.errors.len() > 1);
        let spread = spread.map(|seeds| format!("{} to {}", number(seeds.least), number(seeds.most)));
        (with_unit(run.validation_error, &results.error_unit), spread.unwrap_or_default())
    };
    let marked = |mut row: Row, best: Option<usize>| {
        best.into_iter().for_each(|best| row.cells[best].best = true);
        row
    };
    vec![
        Section {
            title: "Size",
            rows: vec![
                row("Hidden size", &|run| alone(count(run.hidden))),
                row("Gates", &|run| alone(count(run.gates))),
                row("Parameters, counted", &|run| alone(count(run.parameters))),
                row("Parameters, by formula", &|run| (count(run.parameters_by_formula), run.formula.clone())),
                row("With head and embedding", &|run| alone(count(run.model_parameters))),
            ],
        },
        Section {
            title: "Memory",
            rows: vec![
                row("Weights", &|run| alone(bytes(run.weight_bytes))),
                row("Reserve", &|run| allocated(run.reserve_bytes, run.reserve_predicted)),
                row("Workspace", &|run| allocated(run.workspace_bytes, run.workspace_predicted)),
            ],
        },
        Section {
            title: "Time",
            rows: vec![
                marked(row("Forward pass", &|run| timed(&run.forward_ms)), group.fastest(|run| &run.forward_ms)),
                marked(row("Training step", &|run| timed(&run.step_ms)), group.fastest(|run| &run.step_ms)),
                row("Sequences a second", &|run| alone(number(run.sequences_per_second))),
            ],
        },
        Section {
            title: "Learning",
            rows: vec![
                row("Training steps", &|run| {
                    let stopped = run.stopped.as_ref().map(|why| format!("stopped: {why}"));
                    (count(run.training_steps), stopped.unwrap_or_default())
                }),
                marked(row("Validation error", &error), group.winner()),
                row("Naive forecast", &|_| alone(with_unit(results.naive_error, &results.error_unit))),
                row("Against naive", &|run| alone(change(run.validation_error, results.naive_error))),
            ],
        },
    ]
}

fn timed(spread: &Spread) -> (String, String) {
    (median(spread), if spread.runs > 1 { range(spread) } else { String::new() })
}

fn allocated(allocated: u64, predicted: u64) -> (String, String) {
    let note =
        if allocated == predicted { "as predicted".to_owned() } else { format!("predicted {}", bytes(predicted)) };
    (bytes(allocated), note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{groups, sample};

    fn cells(results: &Results, name: &str) -> Vec<(String, String, bool)> {
        let groups = groups(results);
        let sections = sections(results, &groups[0]);
        let row = sections.into_iter().flat_map(|section| section.rows).find(|row| row.name == name).unwrap();
        row.cells.into_iter().map(|cell| (cell.value.replace('\u{202f}', "_"), cell.note, cell.best)).collect()
    }

    #[test]
    fn cells_follow_the_runs() {
        let results = sample::results();
        let parameters = cells(&results, "Parameters, by formula");
        assert_eq!(parameters[2].0, "5_888");
        assert_eq!(parameters[2].1, "4·(32·12 + 32·32 + 2·32)");
        let reserve = cells(&results, "Reserve");
        assert_eq!(reserve[0].1, "as predicted");
        let step = cells(&results, "Training step");
        assert_eq!(step.iter().map(|cell| cell.2).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(cells(&results, "Validation error")[2], ("4.12_°F".into(), String::new(), false));
        let seeded = sample::seeded([0.995, 1.0, 1.005]);
        assert_eq!(cells(&seeded, "Validation error")[2], ("4.12_°F".into(), "4.10 to 4.14".into(), true));
        assert_eq!(cells(&results, "Against naive")[2].0, "−26_%");
    }

    #[test]
    fn what_is_missing_is_a_dash_and_never_the_best() {
        let results = sample::broken();
        let error = cells(&results, "Validation error");
        assert_eq!((error[0].0.as_str(), error[0].2), ("–", false));
        assert_eq!(cells(&results, "Forward pass")[0].0, "–");
        assert_eq!(cells(&results, "Workspace")[0].1, "predicted 1.00\u{202f}MiB");
        assert_eq!(cells(&results, "Training steps")[0].1, "stopped: the loss is <not> a number.");
    }

    #[test]
    fn one_alone_is_not_the_best_and_none_is_where_intervals_overlap() {
        let mut results = sample::results();
        assert_eq!(cells(&results, "Training step").iter().position(|cell| cell.2), Some(0));
        results.runs[0].step_ms.high = results.runs[1].step_ms.high;
        assert_eq!(cells(&results, "Training step").iter().position(|cell| cell.2), None);
        results.runs.truncate(1);
        assert_eq!(cells(&results, "Training step").iter().position(|cell| cell.2), None);
    }
}
