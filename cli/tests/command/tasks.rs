//! Forecasts of series and classes of utterances, from training to the report.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::browser;
use super::compare::waves;
use super::{gpu, json, path, run};

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The columns of [`waves`].
fn level(row: usize) -> f64 {
    (row as f64 * 0.2618).sin() + 1.5 * (row as f64 * 0.0613).cos()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Two columns, two horizons, three quantiles: what comes after the last row is what the series' law says.
#[test]
fn a_series_is_forecast_with_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, model, out) = (at("waves.csv"), at("model"), at("report"));
    std::fs::write(&data, waves(1500)).unwrap();
    let what = ["--data", path(&data), "--column", "wind,level", "--horizons", "9,2", "--quantiles", "0.1,0.5,0.9"];
    let how = ["--steps", "30", "--updates", "600", "--hidden", "16", "--device", "cpu", "--out", path(&model)];
    let said = run(&[&["train"], &what[..], &how].concat()).succeeded();
    assert!(said.contains("`wind`, `level` 9, 2 rows ahead from the last 30 rows of 2 inputs"), "{said}");
    assert!(said.contains("best twice the quantile loss over the usual change: 0."), "{said}");
    let best = model.join("best.safetensors");

    let judged = at("judged");
    let said = run(&["eval", path(&best), "--device", "cpu", "--out", path(&judged)]).succeeded();
    // A stretch with its forecast, and bars.
    browser::check(&judged.join("index.html"), 2);
    for goal in ["`wind` in 9 rows: ", "`wind` in 2 rows: ", "`level` in 9 rows: ", "`level` in 2 rows: "] {
        let line = said.lines().find(|line| line.starts_with(goal)).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(" % lie in the 80 % interval, "), "{line}");
        let after = |words: &str| {
            let number = line.split_once(words).and_then(|(_, rest)| rest.split([' ', ',']).next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no number after `{words}`: {line}"))
        };
        let share = line
            .split_once(" % lie in the 80 % interval")
            .and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
        let (error, naive, share): (f64, f64, f64) =
            (after(&format!("{goal}mean absolute error ")), after("(naive: "), share.expect("a share"));
        assert!(error < 0.5 * naive && (79.0..=81.0).contains(&share), "{line}");
    }

    for device in ["cpu", gpu()] {
        let said = run(&["forecast", path(&best), "--device", device, "--out", path(&out)]).succeeded();
        assert!(said.contains("after h1499:") && said.contains("50 %"), "{said}");
        let found = json(&read(&out.join("forecast.json")));
        let found = found.as_array().expect("an array");
        assert_eq!((found.len(), read(&out.join("forecast.csv")).lines().count()), (12, 13));
        for values in found.chunks(3) {
            let (ahead, column) = (values[0]["rows_ahead"].as_u64().unwrap() as usize, &values[0]["column"]);
            let truth = level(1499 + ahead + if column == "wind" { 24 } else { 0 });
            let [low, middle, high] = [0, 1, 2].map(|level| number(&values[level]["value"]));
            assert!((middle - truth).abs() < 0.35, "{values:?}: {truth}");
            assert!(low < middle && middle < high && high - low < 2.0, "{values:?}");
            let levels: Vec<f64> = values.iter().map(|one| number(&one["level"])).collect();
            assert_eq!(levels, [0.1, 0.5, 0.9]);
        }
    }
    browser::check(&out.join("index.html"), 2);

    // From the end of other data of the same columns, however few.
    let (later, few, other) = (at("later.csv"), at("few.csv"), at("other.csv"));
    let rows = |count: usize| waves(count);
    std::fs::write(&later, rows(30)).unwrap();
    let said = run(&["forecast", path(&best), "--data", path(&later), "--out", path(&out)]).succeeded();
    assert!(said.contains("after h29:"), "{said}");
    std::fs::write(&few, rows(29)).unwrap();
    let said = run(&["forecast", path(&best), "--data", path(&few), "--out", path(&out)]).failed(1);
    assert!(said.contains("few.csv: expected at least the 30 rows that the model reads, got 29"), "{said}");
    // Columns are known by their names, wherever they are.
    let turned = |line: &str| line.split(',').rev().collect::<Vec<_>>().join(",") + "\n";
    std::fs::write(&other, rows(30).lines().map(turned).collect::<String>()).unwrap();
    let said = run(&["forecast", path(&best), "--data", path(&other), "--out", path(&out)]).succeeded();
    assert!(said.contains("after h29:"), "{said}");
    std::fs::write(&other, rows(30).replace("wind", "storm")).unwrap();
    let said = run(&["forecast", path(&best), "--data", path(&other), "--out", path(&out)]).failed(1);
    assert!(said.contains("expected a column named `wind`, got `hour`, `level`, `storm`"), "{said}");
}

#[test]
fn goals_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("waves.csv"), folder.path().join("model"));
    std::fs::write(&data, waves(600)).unwrap();
    let refused = |rest: &[&str], code: i32| {
        let said = run(&[&["train", "--device", "cpu", "--out", path(&out)], rest].concat()).failed(code);
        assert!(!out.exists(), "something was left");
        said
    };
    let series = ["--data", path(&data), "--column", "level"];
    for quantiles in ["0.5,0.1", "0,0.5", "0.5,1", "0.05,0.95", "half", ""] {
        let said = refused(&[&series[..], &["--quantiles", quantiles]].concat(), 2);
        assert!(said.contains("expected ascending numbers between 0 and 1 with 0.5 among them, or `none`"), "{said}");
    }
    let said = refused(&[&series[..], &["--horizons", "0"]].concat(), 2);
    assert!(said.contains("at least 1"), "{said}");
    let said = refused(&[&series[..], &["--horizons", "3,4,3"]].concat(), 1);
    assert!(said.contains("expected every horizon once, got 3 again"), "{said}");
    let said = refused(&[&series[..], &["--horizons", "18446744073709551615"]].concat(), 1);
    assert!(said.contains("got 600 rows with 0 training and 0 validation windows"), "{said}");
    let said = refused(&[&series[..], &["--horizons", "4000000000"]].concat(), 1);
    assert!(said.contains("expected at least 20000000356 rows"), "{said}");
    let said = refused(&["--task", "speech", "--steps", "9"], 1);
    assert!(said.contains("utterances are as long as they are"), "{said}");
    let said = refused(&["--data", path(&data), "--column", "level,level"], 1);
    assert!(said.contains("once, got `level` again"), "{said}");
    let said = refused(&["--task", "speech", "--horizons", "3"], 1);
    assert!(said.contains("expected a series"), "{said}");
    let said = refused(&["--task", "speech", "--column", "level"], 1);
    assert!(said.contains("expected a series"), "{said}");
    let said = refused(&["--task", "text"], 1);
    assert!(said.contains("expected a text file"), "{said}");
    let said = refused(&["--task", "series", "--data", path(&data)], 1);
    assert!(said.contains("expected a column to forecast"), "{said}");
}

/// The bundled recordings: far better than chance, and said beside what their authors reached.
#[test]
fn speakers_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, out) = (at("model"), at("report"));
    let how = ["--hidden", "24", "--updates", "150", "--look-every", "50", "--device", "cpu", "--out", path(&model)];
    let said = run(&[&["train", "--task", "speech", "--cell", "gru"], &how[..]].concat()).succeeded();
    assert!(said.contains("one of 9 classes from 7 to 26 steps of 12 numbers (216 training, 54 validation)"), "{said}");
    let best = model.join("best.safetensors");
    let said = run(&["eval", path(&best), "--device", "cpu"]).succeeded();
    assert!(said.contains(" of 54)") && said.contains("naive (any class): 3.170 bits"), "{said}");
    let mut answers = Vec::new();
    for device in ["cpu", gpu()] {
        let said = run(&["classify", path(&best), "--device", device, "--out", path(&out)]).succeeded();
        assert!(said.contains("published 94.1 %"), "{said}");
        let found = json(&read(&out.join("classes.json")));
        let found = found.as_array().expect("an array").clone();
        let right = found.iter().filter(|one| one["truth"] == one["class"]).count();
        assert!(said.contains(&format!("({right} of 370)")) && right > 300, "{said}");
        assert!(found.iter().all(|one| (1.0 / 9.0..=1.0).contains(&number(&one["probability"]))));
        assert_eq!((found.len(), read(&out.join("classes.csv")).lines().count()), (370, 371));
        answers.push(found.iter().map(|one| one["class"].clone()).collect::<Vec<_>>());
    }
    assert!(answers[0] == answers[1], "devices disagree");
    browser::check(&out.join("index.html"), 1);
    for command in ["flow", "gates"] {
        let said = run(&[command, "--model", path(&best), "--device", "cpu", "--out", path(&at(command))]).succeeded();
        assert!(said.contains("GRU"), "{said}");
    }
    let said = run(&["forecast", path(&best), "--out", path(&out)]).failed(1);
    assert!(said.contains("expected a model of a series, got one of utterances"), "{said}");
    let said = run(&["sample", path(&best)]).failed(1);
    assert!(said.contains("expected a model of a text, got one of utterances"), "{said}");
}

/// Utterances of one's own: two classes that differ in what comes first, however long they last.
#[test]
fn utterances_of_ones_own_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, model, out) = (at("own.ts"), at("model"), at("report"));
    let file = |first: usize, count: usize, classes: &str| {
        let mut text = format!("@classLabel true {classes}\n@data\n");
        for index in first..first + count {
            let (class, steps) = (index % 2, 3 + index * 7 % 9);
            let of = |sign: f64| {
                let value = |step: usize| match step {
                    0 => sign * (2 * class) as f64 - sign,
                    _ => (((index * 31 + step * 17) % 13) as f64 - 6.0) / 6.0,
                };
                (0..steps).map(|step| format!("{:.3}", value(step))).collect::<Vec<_>>().join(",")
            };
            writeln!(text, "{}:{}:{}", of(1.0), of(-0.5), if class == 0 { "low" } else { "high" }).unwrap();
        }
        text
    };
    std::fs::write(&data, file(0, 80, "low high")).unwrap();
    let how = ["--hidden", "8", "--batch", "16", "--updates", "200", "--device", "cpu", "--out", path(&model)];
    let said = run(&[&["train", "--data", path(&data)], &how[..]].concat()).succeeded();
    assert!(said.contains("one of 2 classes from 3 to 11 steps of 2 numbers (64 training, 16 validation)"), "{said}");
    let best = model.join("best.safetensors");
    let said = run(&["eval", path(&best), "--device", "cpu"]).succeeded();
    assert!(said.contains("accuracy: 100.0 % (16 of 16)"), "{said}");
    // Finished is finished.
    let again = run(&["train", "--resume", "--device", "cpu", "--out", path(&model)]).succeeded();
    assert!(again.contains("best cross-entropy"), "{again}");

    let (new, others) = (at("new.ts"), at("others.ts"));
    std::fs::write(&new, file(80, 30, "low high")).unwrap();
    let said =
        run(&["classify", path(&best), "--data", path(&new), "--device", "cpu", "--out", path(&out)]).succeeded();
    assert!(said.contains("accuracy: 100.0 % (30 of 30)") && !said.contains("published"), "{said}");
    // Whose classes nobody knows are classified all the same, and can't be judged by.
    let unknown = at("unknown.ts");
    let text = file(80, 30, "low high").replace("@classLabel true low high", "@classLabel false");
    std::fs::write(&unknown, text.replace(":low\n", "\n").replace(":high\n", "\n")).unwrap();
    let said = run(&["classify", path(&best), "--data", path(&unknown), "--device", "cpu", "--out", path(&out)]);
    assert!(said.succeeded().contains("30 utterances whose classes are not known"));
    let found = json(&read(&out.join("classes.json")));
    for (index, one) in found.as_array().expect("an array").iter().enumerate() {
        assert!(one["truth"].is_null() && one["class"] == if index % 2 == 0 { "low" } else { "high" }, "{one}");
    }
    browser::check(&out.join("index.html"), 1);
    let said = run(&["eval", path(&best), "--data", path(&unknown)]).failed(1);
    assert!(said.contains("unknown.ts: expected utterances whose classes are known"), "{said}");
    std::fs::write(&others, file(80, 30, "high low")).unwrap();
    let said = run(&["classify", path(&best), "--data", path(&others), "--out", path(&out)]).failed(1);
    assert!(said.contains("others.ts: expected the classes low, high of 2 numbers a step, got high, low"), "{said}");
    let said = run(&["classify", path(&best), "--out", path(&out)]).failed(1);
    assert!(said.contains("expected utterances to classify, got none (--data)"), "{said}");
}

/// Common claims, on a small scale: every training is in the CSV, and every claim has its numbers.
#[test]
fn claims_are_weighed_by_what_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("waves.csv"), folder.path().join("claims"));
    std::fs::write(&data, waves(700)).unwrap();
    let what = ["compare", "--claims", "--lags", "6,3", "--seeds", "2", "--updates", "100"];
    let of_data = ["--csv", path(&data), "--column", "level", "--steps", "48", "--horizons", "12"];
    let where_ = [&of_data[..], &["--device", "cpu", "--out", path(&out)]].concat();
    let said = run(&[&what[..], &where_].concat()).succeeded();
    assert!(said.contains("GRU has three quarters of LSTM's parameters, at equal hidden size"), "{said}");
    let study = json(&read(&out.join("claims.json")));
    let problems = study["measured"].as_array().expect("problems");
    let lags: Vec<Option<u64>> = problems.iter().map(|one| one["lag"].as_u64()).collect();
    assert_eq!(lags, [Some(3), Some(6), Some(3), Some(6), None, None]);
    assert!(problems[4]["steps"] == 48 && problems[4]["task"].as_str().unwrap().contains("12 rows ahead"), "{said}");
    for problem in problems {
        let cells = problem["cells"].as_array().expect("cells");
        assert_eq!(cells.iter().map(|cell| cell["cell"].as_str().unwrap()).collect::<Vec<_>>(), ["RNN", "GRU", "LSTM"]);
        let parameters: Vec<f64> = cells.iter().map(|cell| number(&cell["parameters"])).collect();
        assert!(parameters.iter().all(|count| (count / parameters[2] - 1.0).abs() < 0.03), "{parameters:?}");
        for cell in cells {
            let trials = cell["trials"].as_array().expect("trials");
            assert_eq!(trials.iter().map(|trial| trial["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
            for trial in trials {
                let learnt = problem["learnt_below"].as_f64().is_some_and(|below| number(&trial["error"]) <= below);
                assert_eq!(trial["learnt_after"].is_u64(), learnt, "{trial}");
            }
        }
    }
    assert_eq!(read(&out.join("claims.csv")).lines().count(), 1 + 6 * 3 * 2);
    let (page, claims) = (read(&out.join("README.md")), study["claims"].as_array().expect("claims"));
    assert_eq!(claims.len(), 4 + 3 + 2 * 4 + 2);
    for claim in claims {
        assert!(page.contains(claim["claim"].as_str().unwrap()), "{claim}");
        assert!(["held", "did_not_hold", "not_shown"].contains(&claim["verdict"].as_str().unwrap()), "{claim}");
    }
    // What a row says is what the trainings gave.
    let errors = |cell: usize| -> f64 {
        let trials = problems[4]["cells"][cell]["trials"].as_array().expect("trials");
        trials.iter().map(|trial| number(&trial["error"])).sum::<f64>() / 2.0
    };
    let (gru, lstm) = (errors(1), errors(2));
    let row = claims.iter().find(|one| one["claim"].as_str().unwrap().ends_with("waves.csv")).expect("a row");
    let measured = row["measured"].as_str().unwrap();
    assert!(measured.contains(&format!("GRU {gru:.4} (")) && measured.contains(&format!("; {:.3} of it", gru / lstm)));
    // Two seeds show nothing.
    assert_eq!(row["verdict"], "not_shown");
    for chart in ["##-adding-problem:", "##-delayed-copy:", "##-waves-csv:", "##-japanese-vowels-train-ts:"] {
        assert!(page.to_lowercase().replace([' ', '.'], "-").contains(chart), "{chart}");
    }
    browser::check(&out.join("index.html"), 4);
    // What was measured is kept; a longer lag is measured, and the rest as it was.
    let again = ["compare", "--claims", "--keep", "--lags", "3,6", "--seeds", "2", "--updates", "100"];
    let said = run(&[&again[..], &where_].concat()).succeeded();
    assert_eq!(said.matches("kept as it was measured").count(), 6, "{said}");
    assert_eq!(json(&read(&out.join("claims.json")))["measured"], study["measured"]);
    // Other data are measured anew, even under the same name; the rest is kept.
    std::fs::write(&data, waves(700).replace(",0.", ",1.")).unwrap();
    let said = run(&[&again[..], &where_].concat()).succeeded();
    assert_eq!(said.matches("kept as it was measured").count(), 5, "{said}");
    // What another device measured is neither taken for this one's nor written over.
    let before = read(&out.join("claims.json"));
    let other = ["compare", "--claims", "--keep", "--device", gpu(), "--out", path(&out)];
    let said = run(&other).failed(1);
    assert!(said.contains("--keep: expected what version") && said.contains("on CPU"), "{said}");
    assert!(read(&out.join("claims.json")) == before, "something was written");
    let said = run(&["compare", "--claims", "--lags", "2", "--out", path(&out)]).failed(1);
    assert!(said.contains("--lags: expected at least 3 steps, got 2"), "{said}");
    let said = run(&["compare", "--lags", "3"]).failed(2);
    assert!(said.contains("--claims"), "{said}");
}
