//! Common claims about GRU and LSTM, each with what was measured here.

use crate::report::{bytes, count};
use crate::results::{Claim, Run};

/// How near three quarters the parameters must be.
pub const NEAR: f64 = 0.01;
/// How much worse an error may be and still count as good.
pub const AS_GOOD: f64 = 1.02;

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
            held: (ratio - 0.75).abs() <= NEAR,
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
            held: ratio < 1.0,
        });
        for (what, time) in [("predicts", gru.forward_ms.median), ("trains", gru.step_ms.median)] {
            let other = if what == "predicts" { lstm.forward_ms.median } else { lstm.step_ms.median };
            let ratio = time / other;
            claims.push(Claim {
                claim: format!("GRU {what} faster"),
                measured: format!(
                    "At hidden size {} one batch takes GRU {time:.2} ms and LSTM {other:.2} ms (medians, measured in \
                     turn): {ratio:.3} of the time.",
                    lstm.hidden
                ),
                ratio,
                held: ratio < 1.0,
            });
        }
    }
    for group in ["equal hidden size", "equal parameters"] {
        if let (Some(gru), Some(lstm)) = (find("GRU", group), find("LSTM", group)) {
            let ratio = gru.validation_error / lstm.validation_error;
            claims.push(Claim {
                claim: format!("GRU is as good on this data, at {group}"),
                measured: format!(
                    "On validation data ({error_name}) GRU reaches {:.3} and LSTM {:.3}: {ratio:.3} of it (up to {AS_GOOD} \
                     counts as good; one seed).",
                    gru.validation_error, lstm.validation_error
                ),
                ratio,
                held: ratio <= AS_GOOD,
            });
        }
    }
    claims
}
