//! What the numbers say, in two or three sentences.

use super::{Group, Results, groups};
use crate::base::numbers::{THIN, apart, bytes, number, share};
use crate::results::Run;
use crate::results::study::{FEWEST, Seeds, Verdict};

/// The summary, one sentence each.
pub fn sentences(results: &Results) -> Vec<String> {
    let groups = groups(results);
    let mut sentences = learning(results, &groups);
    sentences.extend(groups.iter().find_map(speed));
    sentences.extend(results.runs.iter().flat_map(mispredicted));
    let stopped = results.runs.iter().filter_map(|run| Some((run, run.stopped.as_ref()?)));
    sentences.extend(stopped.map(|(run, why)| {
        let why = why.trim_end_matches('.');
        format!("Training of {} ({}) ended after {} steps: {why}.", run.cell, run.group, run.training_steps)
    }));
    sentences
}

/// Time of a GRU training step over that of an LSTM step, in the first group that has both, and whether it is shown that they
/// differ.
pub fn step_ratio(results: &Results) -> Option<(f64, bool)> {
    groups(results).iter().find_map(of_steps)
}

/// How each net errs, which cell is shown to err least, and whether the naive forecast is beaten.
fn learning(results: &Results, groups: &[Group<'_>]) -> Vec<String> {
    let (unit, name, naive) = (&results.error_unit, &results.error_name, results.naive_error);
    let finite: Vec<&Run> = results.runs.iter().filter(|run| run.validation_error.is_finite()).collect();
    if finite.is_empty() {
        return vec![format!("No run reached a {name} that is a number.")];
    }
    // With the digits in which they differ.
    let errors = results.runs.iter().map(|run| run.validation_error).chain([naive]).collect::<Vec<_>>();
    let space = if unit.is_empty() { String::new() } else { THIN.to_string() };
    let mut written = apart(&errors).into_iter().map(|number| format!("{number}{space}{unit}"));
    let each = |group: &Group<'_>| {
        let errors = group.runs.iter().zip(&mut written).map(|(run, error)| format!("{} {error}", run.cell));
        format!("at {} {}", group.name, errors.collect::<Vec<_>>().join(", "))
    };
    let all = groups.iter().map(each).collect::<Vec<_>>().join("; ");
    let (seeds, last) = (results.seeds, written.next().unwrap_or_default());
    let mean = if seeds > 1 { format!(" (mean of {seeds} seeds)") } else { String::new() };
    let first = format!("Lowest {name}{mean}: {all}; the naive forecast, {}, {last}.", results.naive_name);
    vec![first, best(groups, seeds), beaten(&results.runs, naive)]
}

/// Which cell is shown to be best.
fn best(groups: &[Group<'_>], seeds: usize) -> String {
    match seeds {
        0 | 1 => return format!("One seed does not show which cell is best; --seeds {FEWEST} trains with as many."),
        few if few < FEWEST => return format!("Fewer than {FEWEST} seeds do not show which cell is best."),
        _ => {}
    }
    let each = |group: &Group<'_>| match group.winner() {
        Some(winner) => {
            format!("at {} every seed of the {} errs less than all of the others", group.name, group.runs[winner].cell)
        }
        None if group.runs.iter().all(|run| run.counts()) => {
            format!("at {} no cell is shown to be best, since seeds overlap", group.name)
        }
        None => format!("at {} no cell is shown to be best, since a training went wrong", group.name),
    };
    let mut sentence = groups.iter().map(each).collect::<Vec<_>>().join("; ") + ".";
    sentence[..1].make_ascii_uppercase();
    sentence
}

/// How the nets do beside the naive forecast.
fn beaten(runs: &[Run], naive: f64) -> String {
    // What is no number is not below.
    let below = |run: &&Run| run.validation_error < naive;
    let named = |run: &Run| format!("{} {} ({})", run.cell, run.hidden, run.group);
    let not: Vec<String> = runs.iter().filter(|run| !below(run)).map(named).collect();
    if not.len() == runs.len() {
        return "No net beats the naive forecast.".to_string();
    }
    if !not.is_empty() {
        return format!("The naive forecast is not beaten by {}.", not.join(", "));
    }
    let below_it = |run: &Run| 100.0 * (1.0 - run.validation_error / naive);
    let shares = Seeds::of(&runs.iter().map(below_it).collect::<Vec<_>>());
    let by = shares.map_or_else(String::new, |Seeds { least, most, .. }| match (share(least), share(most)) {
        (least, most) if least == most => format!(" by {least}"),
        (least, most) => format!(" by {least} to {most}"),
    });
    format!("Every net beats the naive forecast{by}.")
}

/// What a GRU costs beside an LSTM.
fn speed(group: &Group<'_>) -> Option<String> {
    let (time, differ) = of_steps(group)?;
    let parameters = ratio(group, |run| run.parameters as f64)?;
    let but = if differ { "" } else { " (not shown to be more than chance: their intervals overlap)" };
    Some(format!(
        "At {}, a training step of the GRU takes {} times as long as one of the LSTM{but}, with {} times its parameters.",
        group.name,
        number(time),
        number(parameters)
    ))
}

/// Time of a training step, GRU over LSTM, and whether their intervals are apart.
fn of_steps(group: &Group<'_>) -> Option<(f64, bool)> {
    let time = |cell: &str| group.runs.iter().find(|run| run.cell == cell).map(|run| &run.step_ms);
    let differ = Verdict::faster(time("GRU")?, time("LSTM")?) != Verdict::NotShown;
    Some((ratio(group, |run| run.step_ms.median)?, differ))
}

/// Memory that is not as large as was predicted.
fn mispredicted(run: &Run) -> impl Iterator<Item = String> {
    let sizes = [
        ("reserve", run.reserve_bytes, run.reserve_predicted),
        ("workspace", run.workspace_bytes, run.workspace_predicted),
    ];
    sizes.into_iter().filter(|(_, allocated, predicted)| allocated != predicted).map(|(name, allocated, predicted)| {
        let (allocated, predicted) = (bytes(allocated), bytes(predicted));
        format!("The {name} of {} ({}) takes {allocated}, where {predicted} was predicted.", run.cell, run.group)
    })
}

/// GRU over LSTM, if both are there and the ratio is a positive number.
fn ratio(group: &Group<'_>, of: impl Fn(&Run) -> f64) -> Option<f64> {
    let value = |cell: &str| group.runs.iter().find(|run| run.cell == cell).map(|run| of(run));
    Some(value("GRU")? / value("LSTM")?).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn says_who_is_best_and_what_it_costs() {
        let sentences: Vec<_> =
            sentences(&sample::results()).into_iter().map(|text| text.replace('\u{202f}', " ")).collect();
        assert_eq!(
            sentences,
            [
                "Lowest mean absolute error: at equal hidden size RNN 4.580 °F, GRU 4.210 °F, LSTM 4.120 °F; at equal parameters \
                 RNN 4.490 °F, GRU 4.050 °F, LSTM 4.120 °F; the naive forecast, the same temperature as 24 hours before, 5.600 °F.",
                "One seed does not show which cell is best; --seeds 3 trains with as many.",
                "Every net beats the naive forecast by 18 % to 28 %.",
                "At equal hidden size, a training step of the GRU takes 0.802 times as long as one of the LSTM, \
                 with 0.750 times its parameters.",
            ]
        );
    }

    #[test]
    fn says_what_went_wrong() {
        let mut results = sample::broken();
        let all = sentences(&results).join(" ");
        assert!(
            all.ends_with("Training of RNN (equal hidden size) ended after 40 steps: the loss is <not> a number."),
            "{all}"
        );
        let workspace =
            "The workspace of RNN (equal hidden size) takes 384\u{202f}KiB, where 1.00\u{202f}MiB was predicted.";
        assert!(all.contains(workspace), "{all}");
        results.runs.iter_mut().for_each(|run| run.validation_error = f64::NAN);
        assert_eq!(sentences(&results)[0], "No run reached a mean absolute error that is a number.");
        results.runs.clear();
        assert_eq!(sentences(&results).len(), 1);
    }

    #[test]
    fn a_cell_is_best_where_every_seed_is() {
        let mut results = sample::seeded([0.98, 1.0, 1.02]);
        let overlap = "At equal hidden size no cell is shown to be best, since seeds overlap; ";
        let none = "at equal parameters no cell is shown to be best, since seeds overlap.";
        assert_eq!(sentences(&results)[1], format!("{overlap}{none}"));
        results.runs[4].errors = vec![3.0, 3.1, 3.2];
        let gru = "at equal parameters every seed of the GRU errs less than all of the others.";
        assert_eq!(sentences(&results)[1], format!("{overlap}{gru}"));
        // Seeds of a training that went wrong show nothing.
        results.runs[3].stopped = Some("the loss is NaN".into());
        let wrong = "at equal parameters no cell is shown to be best, since a training went wrong.";
        assert_eq!(sentences(&results)[1], format!("{overlap}{wrong}"));
        results.seeds = 2;
        assert_eq!(sentences(&results)[1], "Fewer than 3 seeds do not show which cell is best.");
    }

    #[test]
    fn times_whose_intervals_overlap_are_said_to() {
        let mut results = sample::results();
        results.runs[1].step_ms.high = results.runs[2].step_ms.high;
        let said = sentences(&results).pop().unwrap();
        let overlap = "one of the LSTM (not shown to be more than chance: their intervals overlap), with 0.750";
        assert!(said.contains(overlap), "{said}");
    }

    #[test]
    fn what_does_not_beat_the_naive_forecast_is_named() {
        let mut results = sample::results();
        results.naive_error = 4.5;
        assert_eq!(sentences(&results)[2], "The naive forecast is not beaten by RNN 32 (equal hidden size).");
        results.naive_error = 5.6;
        results.runs[1].validation_error = f64::NAN;
        assert_eq!(sentences(&results)[2], "The naive forecast is not beaten by GRU 32 (equal hidden size).");
        results.naive_error = 1.0;
        assert_eq!(sentences(&results)[2], "No net beats the naive forecast.");
    }
}
