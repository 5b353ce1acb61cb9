//! Common claims about the cells, each weighed by what was measured.
//!
//! Each rule is stated with its claim; a claim that compares what seeds spread follows [`Verdict::below`]. Where there are
//! fewer seeds than [`FEWEST`](crate::results::study::FEWEST), or a training went wrong, nothing is shown.

use super::compared::{self, AS_GOOD, NEAR};
use crate::base::numbers::{bytes, count, interval, number};
use crate::results::study::{Measured, OfCell, Seeds, Verdict, Weighed, made};

/// Lags up to here are short.
const SHORT: usize = 30;

/// Weighs every claim: by the cells at equal parameters on each problem, and by what they cost at equal hidden size.
pub fn weigh(measured: &[Measured], equal_hidden: &[OfCell]) -> Vec<Weighed> {
    let mut all = Vec::new();
    if let Some(real) = measured.iter().find(|problem| problem.lag.is_none()) {
        let on = format!("{}, T = {}, B = {}", real.name, real.steps, real.batch);
        all.extend(costs("hidden size", &on, equal_hidden));
        all.extend(costs("parameters", &on, &real.cells).into_iter().skip(1));
    }
    for (name, problems) in made(measured) {
        all.push(farther(name, &problems));
        all.push(fewer_steps(name, &problems));
        all.push(short_lags(name, &problems));
        all.extend(longest_lag(name, &problems));
    }
    all.extend(measured.iter().filter(|problem| problem.lag.is_none()).filter_map(as_good));
    all
}

fn pair(cells: &[OfCell]) -> Option<(&OfCell, &OfCell)> {
    let find = |name: &str| cells.iter().find(|cell| cell.cell == name);
    find("GRU").zip(find("LSTM"))
}

/// Parameters, memory and time of the layers `on` one shape. One is faster where the intervals of
/// their medians do not overlap.
fn costs(equal: &str, on: &str, cells: &[OfCell]) -> Vec<Weighed> {
    let Some((gru, lstm)) = pair(cells) else { return Vec::new() };
    let of = |hidden: &OfCell| format!("{} (H = {})", hidden.cell, hidden.hidden);
    let less = |ratio: f64| if ratio < 1.0 { Verdict::Held } else { Verdict::DidNotHold };
    let parameters = gru.parameters as f64 / lstm.parameters as f64;
    let memory = gru.memory_bytes as f64 / lstm.memory_bytes as f64;
    let mut all = vec![
        Weighed {
            claim: format!("GRU has three quarters of LSTM's parameters, at equal {equal}"),
            verdict: if (parameters - 0.75).abs() <= NEAR { Verdict::Held } else { Verdict::DidNotHold },
            measured: format!(
                "{} has {} and {} has {}: {parameters:.3} of them.",
                of(gru),
                count(gru.parameters as u64),
                of(lstm),
                count(lstm.parameters as u64)
            ),
        },
        Weighed {
            claim: format!("GRU trains in less memory, at equal {equal}"),
            verdict: less(memory),
            measured: format!(
                "On {on}, {} takes {} of weights, reserve and workspace and {} takes {}: {memory:.3} of it.",
                of(gru),
                bytes(gru.memory_bytes),
                of(lstm),
                bytes(lstm.memory_bytes)
            ),
        },
    ];
    let times = [("predicts", gru.forward_ms, lstm.forward_ms), ("trains", gru.step_ms, lstm.step_ms)];
    for (what, gru_ms, lstm_ms) in times {
        all.push(Weighed {
            claim: format!("GRU {what} faster, at equal {equal}"),
            verdict: Verdict::faster(&gru_ms, &lstm_ms),
            measured: format!(
                "On {on}, one batch takes {} {} and {} {} (medians of {}, measured in turn, with their 95 % intervals): {} of \
                 the time.",
                of(gru),
                interval(&gru_ms),
                of(lstm),
                interval(&lstm_ms),
                lstm_ms.runs,
                number(gru_ms.median / lstm_ms.median)
            ),
        });
    }
    all
}

/// How many seeds learnt a problem, and after how many steps.
fn learnt(cell: &OfCell) -> String {
    let steps = cell.learnt();
    match Seeds::of(&steps) {
        None => format!("{} 0/{}", cell.cell, cell.trials.len()),
        Some(seeds) => format!("{} {}/{} after {}", cell.cell, steps.len(), cell.trials.len(), whole(seeds)),
    }
}

/// Mean and range of training steps.
fn whole(Seeds { mean, least, most, .. }: Seeds) -> String {
    if least == most { format!("{mean:.0}") } else { format!("{mean:.0} ({least:.0} to {most:.0})") }
}

fn lag(problem: &Measured) -> usize {
    problem.lag.unwrap_or_default()
}

/// Gates are what learns long lags.
fn farther(name: &str, problems: &[&Measured]) -> Weighed {
    let each = problems.iter().filter_map(|one| Some((one, one.of("RNN")?, pair(&one.cells)?)));
    let (mut verdicts, mut told) = (Vec::new(), Vec::new());
    for (problem, rnn, (gru, lstm)) in each {
        let gated = (gru.all_or_none(), lstm.all_or_none());
        match (rnn.all_or_none(), gated) {
            (Some(false), (Some(true), Some(true))) => verdicts.push(Verdict::Held),
            (Some(true), (Some(false), _) | (_, Some(false))) => verdicts.push(Verdict::DidNotHold),
            _ => {}
        }
        told.push(format!("lag {}: {}, {}, {}", lag(problem), learnt(rnn), learnt(gru), learnt(lstm)));
    }
    Weighed {
        claim: format!("Gated cells learn lags that the plain RNN does not: {name}"),
        verdict: Verdict::all(verdicts),
        measured: format!("Seeds that learnt it, and the training steps it took them: {}.", told.join("; ")),
    }
}

/// GRU learns faster.
fn fewer_steps(name: &str, problems: &[&Measured]) -> Weighed {
    let both = problems.iter().filter_map(|one| Some((one, pair(&one.cells)?)));
    let all = |cell: &OfCell| cell.learnt().len() == cell.trials.len();
    let both = both.filter(|(_, (gru, lstm))| all(gru) && all(lstm));
    let (mut verdicts, mut told) = (Vec::new(), Vec::new());
    for (problem, (gru, lstm)) in both {
        let counts = gru.counts() && lstm.counts();
        let (gru, lstm) = (gru.learnt(), lstm.learnt());
        verdicts.push(if counts { Verdict::below(&gru, &lstm) } else { Verdict::NotShown });
        let of = |steps: &[f64]| Seeds::of(steps).map_or_else(String::new, whole);
        told.push(format!("lag {}: GRU {}, LSTM {}", lag(problem), of(&gru), of(&lstm)));
    }
    let measured = match told.is_empty() {
        true => "At no lag did all seeds of both learn it.".to_string(),
        false => format!("Training steps where all seeds of both learnt it: {}.", told.join("; ")),
    };
    Weighed { claim: format!("GRU learns in fewer training steps: {name}"), verdict: Verdict::all(verdicts), measured }
}

/// GRU does what LSTM does while lags are short: each learns it with every seed, or neither does.
fn short_lags(name: &str, problems: &[&Measured]) -> Weighed {
    let short = problems.iter().filter(|one| lag(one) <= SHORT).filter_map(|one| Some((one, pair(&one.cells)?)));
    let (mut verdicts, mut told) = (Vec::new(), Vec::new());
    for (problem, (gru, lstm)) in short {
        verdicts.push(match (gru.all_or_none(), lstm.all_or_none()) {
            (Some(true), Some(_)) => Verdict::Held,
            (Some(false), Some(true)) => Verdict::DidNotHold,
            _ => Verdict::NotShown,
        });
        told.push(format!("lag {}: {}, {}", lag(problem), learnt(gru), learnt(lstm)));
    }
    let measured = match told.is_empty() {
        true => format!("No lag of up to {SHORT} was measured."),
        false => format!("Seeds that learnt it, and the training steps it took them: {}.", told.join("; ")),
    };
    Weighed {
        claim: format!("GRU learns what LSTM learns at short lags: {name}"),
        verdict: Verdict::all(verdicts),
        measured,
    }
}

/// LSTM goes farther: at the longest lag it alone learns it with every seed, or it does so in fewer steps.
fn longest_lag(name: &str, problems: &[&Measured]) -> Option<Weighed> {
    let problem = problems.last()?;
    let (gru, lstm) = pair(&problem.cells)?;
    let verdict = match (lstm.all_or_none(), gru.all_or_none()) {
        (Some(true), Some(false)) => Verdict::Held,
        (Some(false), Some(true)) => Verdict::DidNotHold,
        (Some(true), Some(true)) => Verdict::below(&lstm.learnt(), &gru.learnt()),
        _ => Verdict::NotShown,
    };
    let errors = [gru, lstm].map(|cell| errors(cell, &problem.error_unit));
    Some(Weighed {
        claim: format!("LSTM is better at the longest lag: {name}"),
        verdict,
        measured: format!(
            "Lag {}: {}, {}; best {} {}.",
            lag(problem),
            learnt(gru),
            learnt(lstm),
            problem.error_name,
            errors.join(", ")
        ),
    })
}

fn errors(cell: &OfCell, unit: &str) -> String {
    let Some(Seeds { mean, least, most, .. }) = Seeds::of(&cell.errors()) else { return cell.cell.clone() };
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    format!("{} {mean:.4}{unit} ({least:.4} to {most:.4})", cell.cell)
}

/// GRU is as good on real data.
fn as_good(problem: &Measured) -> Option<Weighed> {
    let (gru, lstm) = pair(&problem.cells)?;
    let (of_gru, of_lstm) = (gru.errors(), lstm.errors());
    let ratio = Seeds::of(&of_gru)?.mean / Seeds::of(&of_lstm)?.mean;
    let counts = gru.counts() && lstm.counts();
    let verdict = if counts { compared::as_good(&of_gru, &of_lstm) } else { Verdict::NotShown };
    Some(Weighed {
        claim: format!("GRU is as good on real data, at equal parameters: {}", problem.name),
        verdict,
        measured: format!(
            "Best validation {} of {} seeds, mean (best to worst): {}, {}; {ratio:.3} of it, of which up to {AS_GOOD} counts \
             as good.",
            problem.error_name,
            gru.trials.len(),
            errors(gru, &problem.error_unit),
            errors(lstm, &problem.error_unit)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Spread;
    use crate::results::study::Trial;

    fn cell(name: &str, outcomes: &[(Option<usize>, f64)]) -> OfCell {
        let trials = outcomes.iter().map(|&(learnt_after, error)| Trial {
            seed: 1,
            learnt_after,
            updates: 100,
            error,
            seconds: 1.0,
            curve: Vec::new(),
            stopped: None,
        });
        let ms = |median: f64| Spread::of(vec![median; 15]);
        let (parameters, time) = if name == "GRU" { (75, 2.0) } else { (100, 3.0) };
        OfCell {
            cell: name.to_string(),
            hidden: 4,
            parameters,
            memory_bytes: 10 * parameters as u64,
            forward_ms: ms(time),
            step_ms: ms(time),
            trials: trials.collect(),
        }
    }

    fn problem(lag: Option<usize>, cells: Vec<OfCell>) -> Measured {
        Measured {
            name: "adding".into(),
            task: String::new(),
            lag,
            steps: 1,
            batch: 1,
            error_name: "error".into(),
            error_unit: String::new(),
            naive_name: String::new(),
            naive_error: 1.0,
            learnt_below: None,
            updates: 100,
            rate: 1e-3,
            data: None,
            goals: None,
            cells,
        }
    }

    fn learnt(name: &str, after: [usize; 3]) -> OfCell {
        cell(name, &after.map(|steps| (Some(steps), 0.0)))
    }

    fn never(name: &str) -> OfCell {
        cell(name, &[(None, 0.1), (None, 0.2), (None, 0.3)])
    }

    fn verdict(claims: &[Weighed], begins: &str) -> Verdict {
        claims.iter().find(|one| one.claim.starts_with(begins)).unwrap_or_else(|| panic!("{begins}")).verdict
    }

    fn real(gru: [f64; 3], lstm: [f64; 3]) -> Measured {
        let of = |name: &str, errors: [f64; 3]| cell(name, &errors.map(|error| (None, error)));
        problem(None, vec![of("RNN", [9.0; 3]), of("GRU", gru), of("LSTM", lstm)])
    }

    fn weighed(short: [OfCell; 3], long: [OfCell; 3]) -> Vec<Weighed> {
        let problems = [problem(Some(10), short.into()), problem(Some(100), long.into()), real([1.0; 3], [1.0; 3])];
        weigh(&problems, &[cell("GRU", &[]), cell("LSTM", &[])])
    }

    fn quick() -> [OfCell; 3] {
        [learnt("RNN", [50, 55, 60]), learnt("GRU", [10, 15, 20]), learnt("LSTM", [30, 35, 40])]
    }

    #[test]
    fn what_is_learnt_decides() {
        let claims = weighed(quick(), [never("RNN"), learnt("GRU", [40, 45, 50]), learnt("LSTM", [20, 25, 30])]);
        for (begins, wanted) in [
            ("GRU has three quarters", Verdict::Held),
            ("GRU trains in less memory", Verdict::Held),
            ("GRU trains faster", Verdict::Held),
            ("Gated cells", Verdict::Held),
            ("GRU learns in fewer", Verdict::NotShown),
            ("GRU learns what LSTM learns at short", Verdict::Held),
            ("LSTM is better", Verdict::Held),
            ("GRU is as good on real", Verdict::Held),
        ] {
            assert_eq!(verdict(&claims, begins), wanted, "{begins}");
        }
        let claims = weighed(quick(), [never("RNN"), never("GRU"), never("LSTM")]);
        assert_eq!(verdict(&claims, "Gated cells"), Verdict::NotShown);
        assert_eq!(verdict(&claims, "GRU learns in fewer"), Verdict::Held);
        assert_eq!(verdict(&claims, "LSTM is better"), Verdict::NotShown);
        let claims = weighed(
            [never("RNN"), never("GRU"), learnt("LSTM", [1, 2, 3])],
            [learnt("RNN", [1, 2, 3]), learnt("GRU", [3, 4, 5]), never("LSTM")],
        );
        assert_eq!(verdict(&claims, "Gated cells"), Verdict::DidNotHold);
        assert_eq!(verdict(&claims, "GRU learns what LSTM learns at short"), Verdict::DidNotHold);
        assert_eq!(verdict(&claims, "LSTM is better"), Verdict::DidNotHold);
        // Some seeds do, some don't.
        let some = cell("GRU", &[(Some(5), 0.0), (None, 1.0), (Some(7), 0.0)]);
        let claims =
            weighed([never("RNN"), some.clone(), learnt("LSTM", [1, 2, 3])], [never("RNN"), some, never("LSTM")]);
        assert_eq!(verdict(&claims, "GRU learns what LSTM learns at short"), Verdict::NotShown);
        assert_eq!(verdict(&claims, "LSTM is better"), Verdict::NotShown);
    }

    #[test]
    fn too_few_seeds_and_trainings_gone_wrong_show_nothing() {
        let mut wrong = learnt("LSTM", [30, 35, 40]);
        wrong.trials[1].stopped = Some("the loss is NaN".into());
        let few = cell("LSTM", &[(Some(30), 0.0), (Some(40), 0.0)]);
        for lstm in [wrong, few] {
            let cells = || [never("RNN"), learnt("GRU", [10, 15, 20]), lstm.clone()];
            let claims = weighed(cells(), cells());
            for begins in
                ["Gated cells", "GRU learns in fewer", "GRU learns what LSTM learns at short", "LSTM is better"]
            {
                assert_eq!(verdict(&claims, begins), Verdict::NotShown, "{begins}");
            }
            let mut real = real([1.0; 3], [9.0; 3]);
            real.cells[2] = OfCell { trials: lstm.trials.clone(), ..real.cells[2].clone() };
            assert_eq!(as_good(&real).unwrap().verdict, Verdict::NotShown);
        }
    }

    #[test]
    fn costs_are_weighed_in_both_directions() {
        let of = |gru: (usize, u64, [f64; 2]), lstm: (usize, u64, [f64; 2])| {
            let cell = |name: &str, (parameters, memory_bytes, [min, median]): (usize, u64, [f64; 2])| {
                let ms = Spread { min, median, max: 9.0, low: min, high: median, runs: 15 };
                OfCell { parameters, memory_bytes, forward_ms: ms, step_ms: ms, ..cell(name, &[]) }
            };
            let claims = costs("hidden size", "data", &[cell("GRU", gru), cell("LSTM", lstm)]);
            let verdicts: Vec<Verdict> = claims.iter().map(|one| one.verdict).collect();
            <[Verdict; 4]>::try_from(verdicts).unwrap()
        };
        use Verdict::{DidNotHold, Held, NotShown};
        assert_eq!(of((75, 8, [1.0, 2.0]), (100, 9, [2.5, 3.0])), [Held; 4]);
        assert_eq!(of((90, 9, [2.5, 3.0]), (100, 8, [1.0, 2.0])), [DidNotHold; 4]);
        assert_eq!(of((75, 8, [1.0, 2.0]), (100, 9, [1.5, 3.0]))[2..], [NotShown; 2]);
    }

    #[test]
    fn worse_on_real_data_is_said_only_where_seeds_agree() {
        let of = |gru| as_good(&real(gru, [1.0, 1.05, 1.1])).unwrap().verdict;
        assert_eq!(of([1.0, 1.05, 1.1]), Verdict::Held);
        assert_eq!(of([1.2, 1.25, 1.3]), Verdict::DidNotHold);
        assert_eq!(of([1.07, 1.2, 1.3]), Verdict::NotShown);
    }
}
