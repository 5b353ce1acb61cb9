//! Common claims about GRU and LSTM, each with what one `compare` has measured. Sizes are counted; one is faster than the other
//! where the intervals of their medians do not overlap; how well they learn takes several seeds.

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

/// Weighs every claim by the runs of GRU and LSTM.
pub fn weigh(runs: &[Run], error_name: &str) -> Vec<Claim> {
    let find = |cell: &str, group: &str| runs.iter().find(|run| run.cell == cell && run.group == group);
    let mut claims = Vec::new();
    if let (Some(gru), Some(lstm)) = (find("GRU", "equal hidden size"), find("LSTM", "equal hidden size")) {
        let ratio = gru.parameters as f64 / lstm.parameters as f64;
        claims.push(Claim {
            claim: "GRU has three quarters of LSTM's parameters".to_string(),
            measured: format!(
                "At hidden size {} GRU has {} parameters and LSTM {}: {ratio:.3} of them.",
                lstm.hidden,
                count(gru.parameters),
                count(lstm.parameters)
            ),
            ratio,
            verdict: counted((ratio - 0.75).abs() <= NEAR),
        });
        let memory = |run: &Run| run.weight_bytes + run.reserve_bytes + run.workspace_bytes;
        let ratio = memory(gru) as f64 / memory(lstm) as f64;
        claims.push(Claim {
            claim: "GRU needs less memory".to_string(),
            measured: format!(
                "At hidden size {} GRU trains in {} of weights, reserve and workspace and LSTM in {}: {ratio:.3} of it.",
                lstm.hidden,
                bytes(memory(gru)),
                bytes(memory(lstm))
            ),
            ratio,
            verdict: counted(ratio < 1.0),
        });
        let times = [("predicts", gru.forward_ms, lstm.forward_ms), ("trains", gru.step_ms, lstm.step_ms)];
        for (what, time, other) in times {
            let ratio = time.median / other.median;
            claims.push(Claim {
                claim: format!("GRU {what} faster"),
                measured: format!(
                    "At hidden size {} one batch takes GRU {} and LSTM {} (medians of {}, measured in turn, with their 95 % \
                     intervals): {} of the time.",
                    lstm.hidden,
                    interval(&time),
                    interval(&other),
                    other.runs,
                    number(ratio)
                ),
                ratio,
                verdict: Verdict::faster(&time, &other),
            });
        }
    }
    for group in ["equal hidden size", "equal parameters"] {
        if let (Some(gru), Some(lstm)) = (find("GRU", group), find("LSTM", group)) {
            let ratio = gru.validation_error / lstm.validation_error;
            let errors = apart(&[gru.validation_error, lstm.validation_error]);
            let few = match gru.errors.len() {
                1 => format!(" One seed shows nothing: --seeds {FEWEST} trains with as many."),
                seeds if seeds < FEWEST => format!(" Fewer than {FEWEST} seeds show nothing."),
                seeds => format!(" Both are means of {seeds} seeds."),
            };
            claims.push(Claim {
                claim: format!("GRU is as good on this data, at {group}"),
                measured: format!(
                    "On validation data ({error_name}) GRU reaches {} and LSTM {}: {} of it.{few}",
                    errors[0],
                    errors[1],
                    number(ratio)
                ),
                ratio,
                verdict: if gru.counts() && lstm.counts() {
                    as_good(&gru.errors, &lstm.errors)
                } else {
                    Verdict::NotShown
                },
            });
        }
    }
    claims
}
