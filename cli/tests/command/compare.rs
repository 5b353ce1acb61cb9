use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{Ran, browser, gpu, json, path, run};

/// A folder with input files and, later, a report.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("deep/report")
    }

    fn compare(&self, arguments: &[&str]) -> Ran {
        let out = self.out();
        run(&[&["compare", "--out", path(&out)], arguments].concat())
    }

    fn results(&self) -> Value {
        json(&std::fs::read_to_string(self.out().join("results.json")).unwrap())
    }

    /// Names of the files in the report's folder.
    fn written(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.out()) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Two waves of a day and a half-week, with a second column that leads the first.
pub fn waves(rows: usize) -> String {
    let mut csv = "hour,level,wind\n".to_string();
    for row in 0..rows {
        let at = |row: f64| (row * 0.2618).sin() + 1.5 * (row * 0.0613).cos();
        writeln!(csv, "h{row},{:.4},{:.4}", at(row as f64), at(row as f64 + 24.0)).unwrap();
    }
    csv
}

const REPORT: [&str; 2] = ["index.html", "results.json"];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Everything that a report must hold.
fn check(place: &Place, device: &str, seed: u64) -> Value {
    assert_eq!(place.written(), REPORT);
    let results = place.results();
    assert_eq!(results["device"]["kind"], device);
    assert_eq!(results["seed"], seed);
    assert!(results["command"].as_str().unwrap().starts_with("wgpu-rnn compare --out "));
    assert!(number(&results["naive_error"]) > 0.0);
    let input = results["input"].as_u64().unwrap() as usize;
    let runs = results["runs"].as_array().unwrap();
    let names: Vec<_> =
        runs.iter().map(|run| (run["cell"].as_str().unwrap(), run["group"].as_str().unwrap())).collect();
    let (hidden, parameters) = ("equal hidden size", "equal parameters");
    assert_eq!(
        names,
        [
            ("RNN", hidden),
            ("GRU", hidden),
            ("LSTM", hidden),
            ("RNN", parameters),
            ("GRU", parameters),
            ("LSTM", parameters)
        ]
    );
    for run in runs {
        let size = |key: &str| run[key].as_u64().unwrap_or_else(|| panic!("{key} of {run}")) as usize;
        let (gates, saved, states) = match run["cell"].as_str().unwrap() {
            "LSTM" => (4, 4, 2),
            "GRU" => (3, 4, 1),
            _ => (1, 1, 1),
        };
        let hidden = size("hidden");
        let formula = gates * (hidden * input + hidden * hidden + 2 * hidden);
        assert_eq!((size("gates"), size("parameters"), size("parameters_by_formula")), (gates, formula, formula));
        assert_eq!(run["formula"], format!("{gates}·({hidden}·{input} + {hidden}·{hidden} + 2·{hidden})"));
        assert!(size("model_parameters") > formula);
        assert_eq!(size("weight_bytes"), 4 * formula);
        assert_eq!(size("reserve_bytes"), size("reserve_predicted"));
        assert_eq!(size("workspace_bytes"), size("workspace_predicted"));
        let (steps, batch) = (results["steps"].as_u64().unwrap(), results["batch"].as_u64().unwrap());
        let (steps, batch) = (steps as usize, batch as usize);
        assert_eq!(size("reserve_bytes"), 4 * batch * hidden * (steps * saved + (steps + 1) * states));
        for spread in [&run["forward_ms"], &run["step_ms"]] {
            let [min, median, max] = ["min", "median", "max"].map(|key| number(&spread[key]));
            assert!(0.0 < min && min <= median && median <= max && number(&spread["runs"]) > 1.0, "{spread}");
        }
        let per_second = batch as f64 / (number(&run["step_ms"]["median"]) * 1e-3);
        assert!((number(&run["sequences_per_second"]) / per_second - 1.0).abs() < 1e-9);
        let curve = run["curve"].as_array().unwrap();
        assert!(curve.len() >= 2 && curve[0]["step"] == 0);
        assert_eq!(curve.last().unwrap()["step"], run["training_steps"]);
        let errors = curve.iter().map(|point| number(&point["validation_error"]));
        assert_eq!(errors.fold(f64::INFINITY, f64::min), number(&run["validation_error"]));
        assert!(curve.iter().all(|point| number(&point["train_loss"]) > 0.0));
        assert!(run["stopped"].is_null());
    }
    // As nearly equal as whole units allow.
    let parameters = |run: &Value| number(&run["parameters"]);
    for run in &runs[3..] {
        assert!((parameters(run) / parameters(&runs[5]) - 1.0).abs() < 0.05, "{run}");
    }
    assert!(runs[..3].iter().all(|run| run["hidden"] == runs[2]["hidden"]));

    let claims = results["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 6);
    for claim in claims {
        assert!(
            number(&claim["ratio"]) > 0.0
                && ["held", "did_not_hold", "not_shown"].contains(&claim["verdict"].as_str().unwrap())
        );
        assert!(
            claim["claim"].as_str().unwrap().starts_with("GRU ") && claim["measured"].as_str().unwrap().ends_with('.')
        );
    }
    assert!(
        (number(&claims[0]["ratio"]) - 0.75).abs() < 1e-12
            && claims[0]["verdict"] == "held"
            && claims[5]["verdict"] == "not_shown"
    );
    let page = std::fs::read_to_string(place.out().join("index.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n") && page.contains("class=\"plot\""));
    assert!(!page.contains("src=") && !page.contains("url("), "the page needs nothing else");
    results
}

/// What a run learnt: everything but times.
fn learnt(results: &Value) -> Vec<Value> {
    let run = |run: &Value| {
        let keys = ["cell", "hidden", "training_steps", "curve", "validation_error"];
        keys.iter().map(|key| run[*key].clone()).collect::<Value>()
    };
    let runs = results["runs"].as_array().unwrap().iter().map(run);
    runs.chain([results["forecast"].clone(), results["naive_error"].clone()]).collect()
}

#[test]
fn the_default_beats_the_naive_forecast() {
    let place = Place::new();
    let text = place.compare(&["--device", "cpu"]).succeeded();
    let results = check(&place, "cpu", 1);
    assert_eq!(results["data"]["name"], "weather-nyc-2013.csv");
    assert_eq!((&results["error_unit"], &results["steps"]), (&Value::from("°F"), &Value::from(72)));
    let naive = number(&results["naive_error"]);
    for run in results["runs"].as_array().unwrap() {
        let (cell, error) = (&run["cell"], number(&run["validation_error"]));
        assert!(cell == "RNN" || error < 0.9 * naive, "{cell} errs by {error}, the naive forecast by {naive}");
    }
    // Plain lines where there is no terminal, and what was found.
    assert!(text.contains("[1/6] RNN H=32 (equal hidden size) step 0: loss "), "{text}");
    assert!(text.contains("(as predicted)") && text.contains("✓ held."), "{text}");
    assert!(text.ends_with(&format!("report: {}\n", place.out().join("index.html").display())), "{text}");
    assert!(!text.contains('\x1b') && !text.contains('\r'));
    let forecast = &results["forecast"];
    let length = forecast["times"].as_array().unwrap().len();
    assert_eq!((length, forecast["predictions"].as_array().unwrap().len()), (240, 6));
}

#[test]
fn a_file_of_ones_own_twice_gives_the_same_numbers() {
    let place = Place::new();
    let csv = place.file("waves.csv", &waves(560));
    let compare = |seed: &str| {
        place.compare(&["--device", "cpu", "--csv", path(&csv), "--column", "level", "--seed", seed]).succeeded()
    };
    compare("7");
    let first = check(&place, "cpu", 7);
    assert_eq!(first["data"]["name"], "waves.csv");
    assert_eq!(first["input"], 2);
    let errors = first["runs"].as_array().unwrap().iter().map(|run| number(&run["validation_error"]));
    assert!(errors.fold(0.0, f64::max) < number(&first["naive_error"]), "the waves can be foretold");
    // The second run replaces the report of the first.
    std::fs::write(place.out().join("results.json"), "old").unwrap();
    compare("7");
    let second = check(&place, "cpu", 7);
    assert_eq!(learnt(&first), learnt(&second));
}

#[test]
fn a_text_is_modelled_in_bits_per_character() {
    let place = Place::new();
    let text =
        place.file("poem.txt", &"the sea, the sea, the open sea! the blue, the fresh, the ever free. ".repeat(330));
    place.compare(&["--device", "cpu", "--text", path(&text), "--seed", "2"]).succeeded();
    let results = check(&place, "cpu", 2);
    assert_eq!(
        (&results["error_name"], &results["error_unit"]),
        (&Value::from("bits per character"), &Value::from("bits"))
    );
    assert!(results["forecast"].is_null());
    let naive = number(&results["naive_error"]);
    assert!(naive > 1.2 && naive < 1.4, "{naive}");
    assert_eq!(results["naive_name"], "characters by their frequency after the one before");
    for run in results["runs"].as_array().unwrap() {
        assert!(number(&run["validation_error"]) < naive, "{run}");
        // Loss and error are in the same unit: of a text that repeats itself they are nearly the same, the more so of a
        // model that has learnt nothing yet. The loss is that of one batch, which with other seeds strays by more.
        let curve = run["curve"].as_array().unwrap();
        for (point, range) in [(&curve[0], 0.99..1.01), (&curve[curve.len() - 1], 0.8..1.25)] {
            let ratio = number(&point["train_loss"]) / number(&point["validation_error"]);
            assert!(range.contains(&ratio), "{point}");
        }
    }
}

#[test]
fn time_is_kept_to() {
    let place = Place::new();
    let csv = place.file("waves.csv", &waves(500));
    let ran = place.compare(&["--device", "cpu", "--csv", path(&csv), "--column", "wind", "--seconds", "2"]);
    assert!(ran.took < Duration::from_secs(40), "{:?}", ran.took);
    ran.succeeded();
    check(&place, "cpu", 1);
}

#[test]
fn a_gpu_gives_the_same_report() {
    let place = Place::new();
    let csv = place.file("waves.csv", &waves(500));
    let arguments = ["--device", gpu(), "--csv", path(&csv), "--column", "wind", "--seconds", "3"];
    place.compare(&arguments).succeeded();
    check(&place, gpu(), 1);
    // Loss and error of two groups, a forecast of each of six runs, and four costs.
    browser::check(&place.out().join("index.html"), 4 + 6 + 5);
}

#[test]
fn a_short_series_is_compared_with_smaller_windows() {
    let place = Place::new();
    let csv: String =
        (0..60).map(|row| format!("{:.4}\n", (f64::from(row) * 0.7).sin() + f64::from(row % 5))).collect();
    let csv = place.file("short.csv", &format!("level\n{csv}"));
    let arguments = ["--device", "cpu", "--csv", path(&csv), "--column", "level"];
    let refused = place.compare(&arguments).failed(1);
    assert!(refused.contains("--steps, --horizons and --batch ask for less"), "{refused}");
    let less = ["--steps", "6", "--batch", "8", "--horizons", "1,2", "--view", "level"];
    let three = ["--seconds", "2", "--seeds", "3"];
    let said = place.compare(&[&arguments[..], &less, &three].concat()).succeeded();
    assert!(said.contains("Errors are of 5 validation windows alone: they say little."), "{said}");
    let results = place.results();
    let sizes = ["steps", "batch", "seeds"].map(|name| results[name].as_u64());
    assert_eq!(sizes, [Some(6), Some(8), Some(3)]);
    for one in results["runs"].as_array().unwrap() {
        let errors: Vec<f64> = one["errors"].as_array().unwrap().iter().map(number).collect();
        assert!(errors.len() == 3 && errors[0] != errors[1], "{errors:?}");
        assert!((errors.iter().sum::<f64>() / 3.0 - number(&one["validation_error"])).abs() < 1e-9);
    }
    // So is what is inside.
    let data = ["--device", "cpu", "--data", path(&csv), "--column", "level", "--train", "0", "--batch", "8"];
    for look in ["flow", "gates"] {
        let out = place.0.path().join(look);
        let sizes = ["--steps", "6", "--horizons", "1", "--out", path(&out)];
        run(&[&[look][..], &data, &sizes].concat()).succeeded();
        assert!(out.join("index.html").exists());
    }
    let refused = run(&["gates", "--adding", "20", "--horizons", "1"]).failed(2);
    assert!(refused.contains("--horizons"), "{refused}");
}

#[test]
fn a_loss_that_is_not_finite_ends_training_and_keeps_the_best() {
    let place = Place::new();
    let mut csv = "level,far,off\n".to_string();
    for row in 0..500 {
        // In the part that is validated on, one value is so far from the others that f32 can't hold the distance.
        let far = if row == 450 { 1e300 } else { f64::from(row % 3) };
        writeln!(csv, "{},{far},{far}", (f64::from(row) * 0.26).sin()).unwrap();
    }
    let csv = place.file("far.csv", &csv);
    let ran = place.compare(&["--device", "cpu", "--csv", path(&csv), "--column", "level", "--view", "level"]);
    assert!(ran.out.contains(" stopped: the "), "{}", ran.out);
    let sentence = ran.failed(1);
    assert!(
        sentence.starts_with("training stopped early, and the report has the best weights until then; "),
        "{sentence}"
    );
    assert!(sentence.contains("LSTM H=32 (equal hidden size): the "), "{sentence}");
    assert!(sentence.contains(" is NaN, expected a finite number"), "{sentence}");
    assert_eq!(place.written(), REPORT);
    let results = place.results();
    let stopped = results["runs"].as_array().unwrap().iter().filter(|run| run["stopped"].is_string());
    for run in stopped {
        assert!(run["stopped"].as_str().unwrap().contains("expected a finite number"));
        assert!(run["validation_error"].is_null() && run["training_steps"].as_u64().unwrap() < 300);
    }
}

#[test]
fn files_that_cannot_be_learnt_from_are_refused() {
    let place = Place::new();
    let good = waves(500);
    let csv = |content: &str, column: &str| {
        let file = place.file("mine.csv", content);
        let sentence = place.compare(&["--device", "cpu", "--csv", path(&file), "--column", column]).failed(1);
        assert!(sentence.contains("mine.csv"), "{sentence}");
        sentence
    };
    let ends = |sentence: &str, end: &str| assert!(sentence.ends_with(end), "{sentence}");
    ends(&csv(&good, "lvel"), "line 1: expected a column named `lvel`, got `hour`, `level`, `wind`");
    ends(&csv(&good, "hour"), "line 2, column `hour`: expected a number, got `h0`");
    ends(&csv("", "level"), "expected text, got an empty file");
    ends(&csv("hour,level\n", "level"), "expected rows of numbers below the header, got none");
    ends(&csv(&good.replacen("h7,", "h7,warm,", 1), "level"), "line 9: expected 3 fields, got 4");
    let third = |with: &str| {
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        lines[3] = format!("h2,{with},0");
        lines.join("\n")
    };
    ends(
        &csv(&third("warm"), "level"),
        "line 4, column `level`: expected a finite number or a missing value, got `warm`",
    );
    for not_finite in ["inf", "1e999"] {
        let end = format!("line 4, column `level`: expected a finite number or a missing value, got `{not_finite}`");
        ends(&csv(&third(not_finite), "level"), &end);
    }
    let few = csv(&waves(60), "level");
    assert!(
        few.contains("got 60 rows with 0 training and 0 validation windows; where nets are trained --steps"),
        "{few}"
    );
    let flat = (0..500).map(|row| format!("h{row},1\n")).collect::<String>();
    let flat = csv(&format!("hour,level\n{flat}"), "level");
    assert!(flat.contains("column `level`: expected changes in the part that is trained on"), "{flat}");
    let huge = (0..500).map(|row| format!("{}1.7e308\n", if row % 48 < 24 { "" } else { "-" })).collect::<String>();
    let huge = csv(&format!("level\n{huge}"), "level");
    assert!(huge.contains("column `level`: expected values whose changes are finite"), "{huge}");
    let missing = place.compare(&["--csv", "no/such.csv", "--column", "level"]).failed(1);
    assert!(missing.starts_with("no/such.csv: could not read the file: "), "{missing}");

    let text = |file: &Path| place.compare(&["--device", "cpu", "--text", path(file)]).failed(1);
    ends(&text(&place.file("short.txt", "short")), "sequences of 64 characters, got 5");
    ends(&text(&place.file("empty.txt", "")), "expected text, got an empty file");
    let binary = place.0.path().join("binary.txt");
    std::fs::write(&binary, b"ab\ncd\xfe").unwrap();
    ends(&text(&binary), "line 2: expected UTF-8 text, got the byte 0xFE");
    assert!(text(&place.0.path().join("none.txt")).contains("could not read the file: "));
    assert!(text(place.0.path()).contains("could not read the file: "));
    assert_eq!(place.written(), [""; 0], "nothing was written");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_before_training() {
    let place = Place::new();
    let file = place.file("file", "mine");
    for out in [file.clone(), file.join("report")] {
        let ran = run(&["compare", "--device", "cpu", "--out", path(&out)]);
        assert!(!ran.out.contains("step 0"), "{}", ran.out);
        let sentence = ran.failed(1);
        let begin = format!("{}: could not write into this folder: ", out.display());
        assert!(sentence.starts_with(&begin), "{sentence}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_what_was_there() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    for (signal, old) in [("INT", false), ("TERM", true)] {
        let place = Place::new();
        let out = place.out();
        if old {
            std::fs::create_dir_all(&out).unwrap();
            std::fs::write(out.join("results.json"), "old").unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_wgpu-rnn"))
            .args(["compare", "--device", "cpu", "--out", path(&out)])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The first line of training is the sign that it has begun.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("step 25: loss ")));
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
        assert!(!rest.iter().any(|line| line.starts_with("report: ")));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: interrupted; nothing was written\n");
        assert_eq!(place.written(), if old { vec!["results.json"] } else { Vec::new() });
        if old {
            assert_eq!(std::fs::read_to_string(out.join("results.json")).unwrap(), "old");
        }
    }
}

#[test]
fn other_cells_are_compared() {
    let place = Place::new();
    let csv = place.file("waves.csv", &waves(500));
    let with = |cells: &str| {
        let csv = path(&csv);
        place.compare(&["--device", "cpu", "--csv", csv, "--column", "wind", "--seconds", "3", "--cells", cells])
    };
    with("gru,gru").failed(1).contains("--cells names GRU twice");
    with("gru,lstm+resets").failed(1).contains("`resets` would have no effect");
    with("lstm+reset_before").failed(2).contains("`reset_before` is not available for LSTM, which has no reset gate");
    let text = with("gru+reset_before,min_gru").succeeded();
    assert!(text.contains("[1/4] GRU (reset_before) H=32 (equal hidden size)"), "{text}");
    let results = place.results();
    let runs = results["runs"].as_array().unwrap();
    let names: Vec<_> = runs.iter().map(|run| run["cell"].as_str().unwrap()).collect();
    assert_eq!(names, ["GRU (reset_before)", "minGRU"].repeat(2));
    let input = results["input"].as_u64().unwrap();
    for run in runs {
        let (hidden, gates) = (run["hidden"].as_u64().unwrap(), run["gates"].as_u64().unwrap());
        let of_h = if run["cell"] == "minGRU" { hidden } else { hidden * hidden + 2 * hidden };
        assert_eq!(
            (gates, &run["parameters"]),
            (if run["cell"] == "minGRU" { 2 } else { 3 }, &run["parameters_by_formula"])
        );
        assert_eq!(run["parameters"], gates * (hidden * input + of_h), "{run}");
    }
    // What is weighed is about GRU and LSTM.
    assert_eq!(results["claims"].as_array().map(Vec::len), Some(0));
}
