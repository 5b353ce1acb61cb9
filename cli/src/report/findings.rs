//! What the numbers say, in two or three sentences.

use super::{Group, Results, groups};
use crate::base::numbers::{THIN, apart, beside, bytes, number};
use crate::results::Run;

/// The summary, one sentence each.
pub fn sentences(results: &Results) -> Vec<String> {
    let groups = groups(results);
    let mut sentences = vec![learning(results, &groups)];
    sentences.extend(groups.iter().find_map(speed));
    sentences.extend(results.runs.iter().flat_map(mispredicted));
    let stopped = results.runs.iter().filter_map(|run| Some((run, run.stopped.as_ref()?)));
    sentences.extend(stopped.map(|(run, why)| {
        let why = why.trim_end_matches('.');
        format!("Training of {} ({}) ended after {} steps: {why}.", run.cell, run.group, run.training_steps)
    }));
    sentences
}

/// The run with the lowest finite validation error.
pub fn best<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Option<&'a Run> {
    let finite = runs.into_iter().filter(|run| run.validation_error.is_finite());
    finite.min_by(|a, b| a.validation_error.total_cmp(&b.validation_error))
}

/// Time of a GRU training step over that of an LSTM step, in the first group that has both.
pub fn step_ratio(results: &Results) -> Option<f64> {
    groups(results).iter().find_map(|group| ratio(group, |run| run.step_ms.median))
}

/// Which cell errs least in each group, and by how much less than the naive forecast.
fn learning(results: &Results, groups: &[Group<'_>]) -> String {
    let unit = &results.error_unit;
    let space = if unit.is_empty() { String::new() } else { THIN.to_string() };
    let united = |number: String| format!("{number}{space}{unit}");
    let phrases: Vec<_> = groups
        .iter()
        .filter_map(|group| Some((group, best(group.runs.iter().copied())?)))
        .enumerate()
        .map(|(index, (group, run))| {
            // With the digits in which they differ.
            let all = group.runs.iter().map(|run| run.validation_error).chain([results.naive_error]);
            let mut written = apart(&all.collect::<Vec<_>>());
            let naive = united(written.pop().unwrap_or_default());
            let each = || group.runs.iter().zip(&written);
            let own = each().find(|(other, _)| other.cell == run.cell);
            let error = united(own.map_or_else(String::new, |(_, error)| error.clone()));
            let others = each().filter(|(other, _)| other.cell != run.cell);
            let others: Vec<String> =
                others.map(|(other, error)| format!("{} {}", other.cell, united(error.clone()))).collect();
            let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
            let beside = beside(run.validation_error, results.naive_error);
            let cell = &run.cell;
            if index == 0 {
                let name = &results.error_name;
                format!(
                    "At {}, with one seed, the {cell} has the lowest {name}: {error}{others}, {beside} the naive forecast’s {naive}",
                    group.name
                )
            } else {
                format!("at {}, it is the {cell}: {error}{others}, {beside} it", group.name)
            }
        })
        .collect();
    if phrases.is_empty() {
        return format!("No run reached a {} that is a number.", results.error_name);
    }
    format!("{}.", phrases.join("; "))
}

/// What a GRU costs beside an LSTM.
fn speed(group: &Group<'_>) -> Option<String> {
    let time = ratio(group, |run| run.step_ms.median)?;
    let parameters = ratio(group, |run| run.parameters as f64)?;
    Some(format!(
        "At {}, a training step of the GRU takes {} times as long as one of the LSTM, with {} times its parameters.",
        group.name,
        number(time),
        number(parameters)
    ))
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
                "At equal hidden size, with one seed, the LSTM has the lowest mean absolute error: 4.120 °F (RNN 4.580 °F, GRU \
                 4.210 °F), 26 % below the naive forecast’s 5.600 °F; at equal parameters, it is the GRU: 4.050 °F (RNN 4.490 °F, \
                 LSTM 4.120 °F), 28 % below it.",
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
    fn above_the_naive_forecast_is_said_too() {
        assert_eq!(beside(6.0, 5.0), "20\u{202f}% above");
        assert_eq!(beside(6.0, 0.0), "beside");
    }
}
