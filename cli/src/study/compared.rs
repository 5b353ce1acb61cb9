//! Common claims about GRU and LSTM, and the same about other cells beside them, each with what one `compare` has measured. Sizes
//! are counted; one is faster than the other where the intervals of their medians do not overlap; how well they learn takes
//! several seeds.

use crate::base::numbers::{apart, bytes, count, interval, number};
use crate::results::study::{FEWEST, Verdict};
use crate::results::{Claim, Run};

/// How near three quarters the parameters must be.
pub const NEAR: f64 = 0.01;
/// How much worse an error may be and still count as good.
pub const AS_GOOD: f64 = 1.02;

/// Of what is counted and not measured.
fn counted(held: bool) -> Verdict {
    if held { Verdict::Held } else { Verdict::DidNotHold }
}

/// Whether the first cell is as good as the other, by the best errors of seeds that count: by their means, unless it is worse
/// by [`Verdict::below`].
pub fn as_good(one: &[f64], other: &[f64]) -> Verdict {
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    match Verdict::below(other, one) {
        _ if mean(one) <= AS_GOOD * mean(other) => Verdict::Held,
        Verdict::Held => Verdict::DidNotHold,
        _ => Verdict::NotShown,
    }
}

/// A cell, and the one that it is held against.
#[derive(Clone, Copy)]
struct Pair<'a> {
    one: &'a str,
    other: &'a str,
}

/// Who is held against whom: GRU against LSTM, and each cell that is neither nor an RNN against LSTM or, without one, GRU.
fn pairs(runs: &[Run]) -> Vec<Pair<'_>> {
    let mut cells: Vec<&str> = Vec::new();
    for run in runs {
        if !cells.contains(&run.cell.as_str()) {
            cells.push(&run.cell);
        }
    }
    let Some(other) = ["LSTM", "GRU"].into_iter().find(|cell| cells.contains(cell)) else { return Vec::new() };
    let held = cells.into_iter().filter(|cell| *cell != other && !cell.starts_with("RNN"));
    let mut pairs: Vec<Pair<'_>> = held.map(|one| Pair { one, other }).collect();
    pairs.sort_by_key(|pair| pair.one != "GRU");
    pairs
}

/// Weighs every claim by the runs of GRU and LSTM, and the same of other cells that were compared.
pub fn weigh(runs: &[Run], error_name: &str) -> Vec<Claim> {
    let of = |pair| costs(runs, pair).into_iter().chain(as_good_on(runs, error_name, pair));
    pairs(runs).into_iter().flat_map(of).collect()
}

fn find<'a>(runs: &'a [Run], cell: &str, group: &str) -> Option<&'a Run> {
    runs.iter().find(|run| run.cell == cell && run.group == group)
}

/// What the cells cost, at equal hidden size.
fn costs(runs: &[Run], Pair { one, other }: Pair<'_>) -> Vec<Claim> {
    let of = |cell| find(runs, cell, "equal hidden size");
    let Some((first, second)) = of(one).zip(of(other)) else { return Vec::new() };
    let ratio = first.parameters as f64 / second.parameters as f64;
    let quarters = (one, other) == ("GRU", "LSTM");
    let mut claims = vec![Claim {
        claim: match quarters {
            true => "GRU has three quarters of LSTM's parameters".to_string(),
            false => format!("{one} has fewer parameters than {other}"),
        },
        measured: format!(
            "At hidden size {} {one} has {} parameters and {other} {}: {ratio:.3} of them.",
            second.hidden,
            count(first.parameters),
            count(second.parameters)
        ),
        ratio,
        verdict: counted(if quarters { (ratio - 0.75).abs() <= NEAR } else { ratio < 1.0 }),
    }];
    // Of the pair that everybody compares the other need not be named.
    let than = if quarters { String::new() } else { format!(" than {other}") };
    let memory = |run: &Run| run.weight_bytes + run.reserve_bytes + run.workspace_bytes;
    let ratio = memory(first) as f64 / memory(second) as f64;
    claims.push(Claim {
        claim: format!("{one} needs less memory{than}"),
        measured: format!(
            "At hidden size {} {one} trains in {} of weights, reserve and workspace and {other} in {}: {ratio:.3} of it.",
            second.hidden,
            bytes(memory(first)),
            bytes(memory(second))
        ),
        ratio,
        verdict: counted(ratio < 1.0),
    });
    let times = [("predicts", first.forward_ms, second.forward_ms), ("trains", first.step_ms, second.step_ms)];
    for (what, time, by) in times {
        let ratio = time.median / by.median;
        claims.push(Claim {
            claim: format!("{one} {what} faster{than}"),
            measured: format!(
                "At hidden size {} one batch takes {one} {} and {other} {} (medians of {}, measured in turn, with their 95 % \
                 intervals): {} of the time.",
                second.hidden,
                interval(&time),
                interval(&by),
                by.runs,
                number(ratio)
            ),
            ratio,
            verdict: Verdict::faster(&time, &by),
        });
    }
    claims
}

/// How well they learn, in either group.
fn as_good_on(runs: &[Run], error_name: &str, Pair { one, other }: Pair<'_>) -> Vec<Claim> {
    let than = if (one, other) == ("GRU", "LSTM") { String::new() } else { format!(" as {other}") };
    let in_group = |group: &str| {
        let (first, second) = find(runs, one, group).zip(find(runs, other, group))?;
        let ratio = first.validation_error / second.validation_error;
        let errors = apart(&[first.validation_error, second.validation_error]);
        let few = match first.errors.len() {
            1 => format!(" One seed shows nothing: --seeds {FEWEST} trains with as many."),
            seeds if seeds < FEWEST => format!(" Fewer than {FEWEST} seeds show nothing."),
            seeds => format!(" Both are means of {seeds} seeds."),
        };
        Some(Claim {
            claim: format!("{one} is as good{than} on this data, at {group}"),
            measured: format!(
                "On validation data ({error_name}) {one} reaches {} and {other} {}: {} of it.{few}",
                errors[0],
                errors[1],
                number(ratio)
            ),
            ratio,
            verdict: match first.counts() && second.counts() {
                true => as_good(&first.errors, &second.errors),
                false => Verdict::NotShown,
            },
        })
    };
    ["equal hidden size", "equal parameters"].into_iter().filter_map(in_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn others_are_held_against_the_lstm_or_else_the_gru() {
        let named = |cells: [&str; 3]| {
            let mut runs = sample::results().runs;
            for (run, cell) in runs.iter_mut().zip(cells.into_iter().cycle()) {
                run.cell = cell.to_string();
            }
            weigh(&runs, "error").into_iter().map(|claim| claim.claim).collect::<Vec<_>>()
        };
        let usual = named(["RNN", "GRU", "LSTM"]);
        assert_eq!(usual.len(), 6);
        assert!(
            usual[0] == "GRU has three quarters of LSTM's parameters" && usual[1] == "GRU needs less memory",
            "{usual:?}"
        );
        let others = named(["minGRU", "LSTM", "GRU"]);
        assert_eq!(others[..6], usual[..]);
        assert_eq!(
            others[6..],
            [
                "minGRU has fewer parameters than LSTM",
                "minGRU needs less memory than LSTM",
                "minGRU predicts faster than LSTM",
                "minGRU trains faster than LSTM",
                "minGRU is as good as LSTM on this data, at equal hidden size",
                "minGRU is as good as LSTM on this data, at equal parameters",
            ]
        );
        let without = named(["SRU", "GRU (reset_before)", "GRU"]);
        assert_eq!((without.len(), without[0].as_str()), (12, "SRU has fewer parameters than GRU"));
        assert!(named(["RNN", "SRU", "IndRNN"]).is_empty());
    }
}
