//! Made-up results for tests: a whole comparison, and one in which things went wrong.

use crate::results::study::Verdict;
use crate::results::*;

/// To five decimals, which JSON carries exactly.
fn round(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

/// Six runs that went well.
pub fn results() -> Results {
    let equal_size = [("RNN", 32, 1, 4.58), ("GRU", 32, 3, 4.21), ("LSTM", 32, 4, 4.12)];
    let equal_parameters = [("RNN", 64, 1, 4.49), ("GRU", 37, 3, 4.05), ("LSTM", 32, 4, 4.12)];
    let runs = [("equal hidden size", equal_size), ("equal parameters", equal_parameters)]
        .into_iter()
        .flat_map(|(group, runs)| runs.map(|(cell, hidden, gates, error)| run(cell, group, hidden, gates, error)))
        .collect::<Vec<_>>();
    Results {
        version: "0.1.0".into(),
        date: "2026-03-14".into(),
        command: "wgpu-rnn compare --data 'a<b>.csv'".into(),
        device: DeviceUsed {
            name: "Example GPU & Co".into(),
            kind: "gpu".into(),
            backend: "Vulkan".into(),
            why: "the fastest of 2 devices found".into(),
        },
        data: DataUsed {
            name: "weather-nyc-2013.csv".into(),
            task: "The temperature in 24 hours, from the last 72 hours of weather".into(),
            notes: vec!["8 705 hours read; 55 missing hours were put in.".into(), "Gusts <left out>.".into()],
            train: 6_913,
            validation: 1_657,
        },
        seed: 1,
        seeds: 1,
        batch: 64,
        steps: 72,
        input: 12,
        error_name: "mean absolute error".into(),
        error_unit: "°F".into(),
        loss_name: "mean squared error, standardised".into(),
        naive_name: "the same temperature as 24 hours before".into(),
        naive_error: 5.6,
        forecast: Some(forecast(&runs)),
        claims: claims(),
        runs,
    }
}

/// The same of three seeds, whose errors are as far apart as these shares of their mean.
pub fn seeded(shares: [f64; 3]) -> Results {
    let mut results = results();
    results.seeds = 3;
    for run in &mut results.runs {
        run.errors = shares.map(|share| run.validation_error * share).into();
    }
    results
}

/// The first run diverged at once, the second has holes.
pub fn broken() -> Results {
    let mut results = results();
    let run = &mut results.runs[0];
    run.stopped = Some("the loss is <not> a number.".into());
    run.training_steps = 40;
    run.validation_error = f64::NAN;
    run.errors = vec![f64::NAN];
    run.curve.clear();
    run.forward_ms = Spread::default();
    run.step_ms = Spread::default();
    run.sequences_per_second = f64::INFINITY;
    run.workspace_predicted = 1 << 20;
    let run = &mut results.runs[1];
    run.curve[3] = Point { step: 150, train_loss: f64::NAN, validation_loss: 0.5, validation_error: f64::INFINITY };
    run.curve[4].train_loss = 1e9;
    run.step_ms.max = f64::INFINITY;
    results.claims[0].ratio = f64::NAN;
    if let Some(forecast) = &mut results.forecast {
        forecast.predictions[0].1.fill(f64::NAN);
        forecast.predictions[1].1.truncate(5);
    }
    results
}

fn run(cell: &str, group: &str, hidden: usize, gates: usize, error: f64) -> Run {
    let parameters = gates * (hidden * 12 + hidden * hidden + 2 * hidden);
    let prefix = if gates == 1 { String::new() } else { format!("{gates}·") };
    let step = 1.5 + parameters as f64 / 1024.0;
    let reserve = (72 * 64 * hidden * (gates + 1) * 4) as u64;
    let curve = (0..=40).map(|point| {
        let (step, left) = (point * 50, (-(point as f64) / 9.0).exp());
        let wave = ((point * point * (gates + hidden)) as f64).sin() * 0.012;
        let train_loss = round(0.52 + 0.05 * (error - 4.0) + 0.6 * left + wave);
        let validation_loss = round(train_loss * 1.1);
        Point { step, train_loss, validation_loss, validation_error: round(error + 2.4 * left + 6.0 * wave.abs()) }
    });
    Run {
        cell: cell.into(),
        group: group.into(),
        hidden,
        gates,
        parameters,
        formula: format!("{prefix}({hidden}·12 + {hidden}·{hidden} + 2·{hidden})"),
        parameters_by_formula: parameters,
        model_parameters: parameters + hidden + 1,
        weight_bytes: parameters as u64 * 4,
        reserve_bytes: reserve,
        reserve_predicted: reserve,
        workspace_bytes: reserve / 3,
        workspace_predicted: reserve / 3,
        forward_ms: spread(step * 0.3),
        step_ms: spread(step),
        sequences_per_second: round(64_000.0 / step),
        training_steps: 2_000,
        curve: curve.collect(),
        validation_error: error,
        errors: vec![error],
        stopped: None,
    }
}

fn spread(median: f64) -> Spread {
    {
        let [min, low, high, max] = [0.95, 0.98, 1.05, 1.2].map(|share| round(median * share));
        Spread { median: round(median), min, max, low, high, runs: 20 }
    }
}

fn claims() -> Vec<Claim> {
    let claim = |claim: &str, measured: &str, ratio: f64, verdict: Verdict| Claim {
        claim: claim.into(),
        measured: measured.into(),
        ratio,
        verdict,
    };
    vec![
        claim(
            "A GRU has three quarters of an LSTM's parameters",
            "4 416 and 5 888 parameters at H = 32.",
            0.75,
            Verdict::Held,
        ),
        claim(
            "A GRU trains a quarter faster than an LSTM",
            "5.81 ms and 7.25 ms a step at H = 32.",
            0.802,
            Verdict::DidNotHold,
        ),
        claim("A GRU <forecasts> as well as an LSTM", "4.21 °F and 4.12 °F at H = 32.", 1.02, Verdict::NotShown),
    ]
}

fn forecast(runs: &[Run]) -> Forecast {
    let hours = 0..168;
    let truth: Vec<f64> = hours
        .clone()
        .map(|hour| {
            let hour = hour as f64;
            52.0 + 7.0 * (hour * 0.2618).sin() + 6.0 * (hour * 0.041).sin() + 1.3 * (hour * 1.7).sin()
        })
        .collect();
    let naive = hours.clone().map(|hour| if hour < 24 { 50.0 } else { truth[hour - 24] }).collect();
    let predict = |(index, run): (usize, &Run)| {
        let miss = |hour: usize| (hour as f64 * 0.13 + index as f64).sin() * 2.0 + 0.8;
        let values = hours.clone().map(|hour| truth[hour] + miss(hour)).collect();
        (format!("{}, {}", run.cell, run.group), values)
    };
    Forecast {
        label: "temperature (°F)".into(),
        times: hours.clone().map(|hour| format!("2013-11-{:02} {:02}:00", 2 + hour / 24, hour % 24)).collect(),
        naive,
        predictions: runs.iter().enumerate().map(predict).collect(),
        truth,
    }
}
