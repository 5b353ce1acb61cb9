//! People's own data: what the command makes of files that are not as it would like them, and what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use super::{Ran, path, run, start};

/// A folder for files and models.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Trains a small net on a file with this text.
    fn train(&self, name: &str, text: &str, rest: &[&str]) -> Ran {
        let data = self.at(name);
        std::fs::write(&data, text).unwrap();
        let small = ["--steps", "8", "--batch", "4", "--horizons", "1", "--hidden", "8", "--updates", "150"];
        let how =
            ["train", "--device", "cpu", "--data", path(&data), "--out", path(&self.at("model"))].map(str::to_string);
        let how: Vec<&str> = how.iter().map(String::as_str).collect();
        let _ = std::fs::remove_dir_all(self.at("model"));
        run(&[&how[..], &small, rest].concat())
    }
}

/// A wave, noisy in a way that repeats.
fn wave(row: usize) -> f64 {
    20.0 + 5.0 * (row as f64 * std::f64::consts::TAU / 24.0).sin() + ((row as f64 * 12.9898).sin() * 43_758.5).fract()
}

fn hour(row: usize) -> String {
    format!("2024-01-{:02} {:02}:00", 1 + row / 24, row % 24)
}

/// Rows of a time and what is given for them.
fn hours(rows: impl Iterator<Item = usize>, of: impl Fn(usize) -> String) -> String {
    rows.map(|row| format!("{},{}\n", hour(row), of(row))).collect()
}

/// The best validation error that a training tells.
fn best(said: &str) -> f64 {
    let line = said.lines().find(|line| line.starts_with("best ")).unwrap_or_else(|| panic!("{said}"));
    let number = line.split_once(": ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{line}"))
}

/// A billion on top, or all of it a billionth: nothing is lost, and nothing is said as 0.0000.
#[test]
fn far_and_small_values_are_learnt_as_well() {
    let place = Place::new();
    let with = |of: &dyn Fn(f64) -> String| {
        let text = format!("time,t\n{}", hours(0..400, |row| of(wave(row))));
        place.train("t.csv", &text, &["--column", "t", "--view", "level"]).succeeded()
    };
    let plain = best(&with(&|value| format!("{value:.4}")));
    let far = best(&with(&|value| format!("{:.4}", 1e9 + value)));
    assert!((far / plain - 1.0).abs() < 0.02, "{far} for {plain}");
    let small = with(&|value| format!("{:e}", value * 1e-9));
    let line = small.lines().find(|line| line.starts_with("best ")).unwrap();
    assert!(line.contains("e−10") && !line.contains("0.0000"), "{line}");
}

/// Rows are put in order, and a forecast is of the time after the newest.
#[test]
fn the_newest_may_come_first() {
    let place = Place::new();
    let text = |rows: &mut dyn Iterator<Item = usize>| format!("time,t\n{}", hours(rows, |row| wave(row).to_string()));
    let column = ["--column", "t", "--view", "changes"];
    let forward = place.train("t.csv", &text(&mut (0..400)), &column).succeeded();
    let back = place.train("t.csv", &text(&mut (0..400).rev()), &column).succeeded();
    assert!(back.contains("  Rows are the newest first and are turned round.\n"), "{back}");
    assert_eq!(best(&forward), best(&back));
    let (model, out) = (place.at("model/best.safetensors"), place.at("report"));
    let said = run(&["forecast", path(&model), "--device", "cpu", "--out", path(&out)]).succeeded();
    assert!(said.contains("after 2024-01-17 15:00:") && said.contains("2024-01-17 16:00"), "{said}");
    let found = std::fs::read_to_string(out.join("forecast.json")).unwrap();
    assert!(found.contains("\"time\": \"2024-01-17 16:00\""), "{found}");
}

/// What is missing, left out or odd is told by every command that reads the file.
#[test]
fn what_was_done_is_told_at_once() {
    let place = Place::new();
    let row = |row: usize| {
        let a = if row.is_multiple_of(50) { "NA".to_string() } else { (row % 7).to_string() };
        format!("{a},{},5,x,{}", wave(row), row.is_multiple_of(2))
    };
    let text = format!("time,a,\"temp, C\",five,name,on\n{}", hours(0..400, row));
    let said = place.train("odd.csv", &text, &["--column", "temp, C", "--view", "window"]).succeeded();
    let model = place.at("model/best.safetensors");
    let eval = run(&["eval", path(&model), "--device", "cpu"]).succeeded();
    let forecast = run(&["forecast", path(&model), "--device", "cpu", "--out", path(&place.at("report"))]).succeeded();
    assert!(said.contains("data: odd.csv: `temp, C` 1 hour ahead from the last 8 hours of 7 inputs"), "{said}");
    for said in [&said, &eval] {
        for note in [
            "Times are in column `time`: a row each hour.",
            "Column `a`: 8 missing values (at most 1 in a row) took the last known value.",
            "Column `five` is left out: it is always 5 in the part that is trained on.",
            "Column `name` is left out: it holds text.",
            "Column `on`: true is 1 and false is 0.",
        ] {
            assert!(said.contains(&format!("  {note}\n")), "{note}: {said}");
        }
    }
    assert!(
        forecast.contains("Columns `five` are left out") || forecast.contains("Column `five` is left out"),
        "{forecast}"
    );
    let few = ["--column", "temp, C", "--inputs", "a", "--view", "level"];
    let said = place.train("odd.csv", &text, &few).succeeded();
    assert!(said.contains("of 6 inputs") && said.contains("Column `on` is left out: as was asked."), "{said}");
    let wrong = place.train("odd.csv", &text, &["--column", "temp, C", "--inputs", "name"]).failed(1);
    assert!(wrong.ends_with("odd.csv, line 2, column `name`: expected a number, got `x`"), "{wrong}");
    let blanks = text.replace("\"temp, C\"", "air  temp");
    assert!(
        place
            .train("odd.csv", &blanks, &["--column", "air  temp", "--view", "level"])
            .succeeded()
            .contains("`air  temp`")
    );
    let unknown = place.train("odd.csv", &blanks, &["--column", "air temp"]).failed(1);
    assert!(unknown.contains("expected a column named `air temp`, got `time`, `a`, `air  temp`"), "{unknown}");
}

/// A trend with a season: a net that sees windows by their own is far better than persistence; else it is said that it is not.
#[test]
fn a_trend_is_seen_through() {
    let place = Place::new();
    let trend: String = (0..600).map(|row| format!("{}\n", 0.5 * row as f64 + wave(row))).collect();
    let rows = ["--column", "t", "--horizons", "6", "--steps", "30", "--batch", "16", "--hidden", "16"];
    let said = place.train("trend.csv", &format!("t\n{trend}"), &rows);
    // Options that are given twice are refused.
    assert!(said.err.contains("cannot be used multiple times"), "{}", said.err);
    let data = place.at("trend.csv");
    let how = ["train", "--device", "cpu", "--data", path(&data), "--updates", "300"];
    let said = run(&[&how[..], &rows, &["--out", path(&place.at("model"))]].concat()).succeeded();
    assert!(said.contains("inputs: ") && said.contains("which validates best after 200 steps: level "), "{said}");
    assert!(said.contains("(naive: ") && said.contains("the season: the value now and the change of "), "{said}");
    let noise: String = (0..600).map(|row| format!("{}\n", ((row as f64 * 78.233).sin() * 43_758.5).floor())).collect();
    let noise =
        place.train("noise.csv", &format!("t\n{noise}"), &["--column", "t", "--learning-rate", "1e-9"]).succeeded();
    assert!(noise.contains("the model does not beat the naive forecast"), "{noise}");
}

#[test]
fn two_runs_do_not_write_into_one_folder() {
    let place = Place::new();
    let (data, out) = (place.at("t.csv"), place.at("model"));
    std::fs::write(&data, format!("t\n{}", (0..400).map(|row| format!("{}\n", wave(row))).collect::<String>()))
        .unwrap();
    let how =
        ["train", "--device", "cpu", "--data", path(&data), "--column", "t", "--view", "level", "--out", path(&out)];
    let how = [&how[..], &["--steps", "8", "--horizons", "1", "--batch", "4"]].concat();
    let mut first = start(&[&how[..], &["--updates", "1000000", "--patience", "1000000"]].concat());
    while !out.join("last.safetensors").exists() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    for second in [
        &["train", "--resume", "--device", "cpu", "--out", path(&out)][..],
        &["compare", "--device", "cpu", "--out", path(&out)],
    ] {
        let said = run(second).failed(1);
        assert!(said.contains("another run of wgpu-rnn is writing into this folder"), "{said}");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock is the process's: it has gone with it. What a killed run was writing goes when the next begins.
    std::fs::write(out.join("last.safetensors.1-0.part"), "half").unwrap();
    run(&["train", "--resume", "--device", "cpu", "--updates", "1000001", "--patience", "1", "--out", path(&out)])
        .succeeded();
    let mut left: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["best.safetensors", "index.html", "last.safetensors", "training.csv"]);
}

/// Sizes that nothing could hold are refused before anything is made.
#[test]
fn impossible_sizes_are_refused_at_once() {
    let place = Place::new();
    for sizes in [["--layers", "1000000"], ["--layers", "100000000000"], ["--hidden", "100000000"]] {
        let ran =
            run(&["train", "--device", "cpu", "--updates", "1", sizes[0], sizes[1], "--out", path(&place.at("model"))]);
        assert!(ran.took < Duration::from_secs(20), "{sizes:?} took {:?}", ran.took);
        let said = ran.failed(1);
        assert!(said.contains("at most 1024") || said.contains("32-bit indices"), "{said}");
        assert!(!place.at("model").exists(), "something was left");
    }
}

/// Sets every value of a tensor in a file to `value`.
fn poison(file: &Path, tensor: &str, value: f32) {
    let bytes = std::fs::read(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut data: Vec<(String, Vec<usize>, safetensors::Dtype, Vec<u8>)> = Vec::new();
    for (name, view) in tensors.tensors() {
        let bytes =
            if name == tensor { value.to_le_bytes().repeat(view.data().len() / 4) } else { view.data().to_vec() };
        data.push((name, view.shape().to_vec(), view.dtype(), bytes));
    }
    let views = data
        .iter()
        .map(|(name, shape, dtype, bytes)| (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(file, safetensors::serialize(views, header.metadata().clone()).unwrap()).unwrap();
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let place = Place::new();
    let text: String = (0..400).map(|row| format!("{}\n", wave(row))).collect();
    place.train("t.csv", &format!("t\n{text}"), &["--column", "t", "--view", "level"]).succeeded();
    let model = place.at("model/best.safetensors");
    poison(&model, "rnn.weight_hh_l0", f32::NAN);
    let said = run(&["eval", path(&model), "--device", "cpu"]).failed(1);
    assert!(said.ends_with("best.safetensors, tensor `rnn.weight_hh_l0`: expected finite weights, got NaN"), "{said}");
}

/// An archive's -999 is told, and is a missing value where that is asked for.
#[test]
fn nines_that_stand_for_missing_values_are_told() {
    let place = Place::new();
    let of = |row: usize| if row % 37 == 5 { "-999".to_string() } else { format!("{:.3}", wave(row)) };
    let text = format!("time,level\n{}", hours(0..400, of));
    let said = place.train("nines.csv", &text, &["--column", "level"]).succeeded();
    let note = "Column `level` is -999 in 11 rows, far from all its other values; if that stands for missing values, \
                `--missing -999` says so.";
    assert!(said.contains(note), "{said}");
    let spoilt = best(&said);
    let said = place.train("nines.csv", &text, &["--column", "level", "--missing", "-999"]).succeeded();
    assert!(
        said.contains("`-999` stands for a missing value, in 11 fields.") && !said.contains("far from all"),
        "{said}"
    );
    assert!(best(&said) < 0.1 * spoilt, "{said}");
    let told = "stands for a missing value, in 11 fields.";
    let out = place.at("forecast");
    let model = place.at("model/best.safetensors");
    run(&["forecast", "--device", "cpu", path(&model), "--out", path(&out)]).succeeded();
    for page in [place.at("model/index.html"), out.join("index.html")] {
        assert!(std::fs::read_to_string(&page).unwrap().contains(told), "{}", page.display());
    }
    // Its page is not replaced by another.
    let page = std::fs::read(place.at("model/index.html")).unwrap();
    let said = run(&["eval", "--device", "cpu", path(&model), "--out", path(&place.at("model"))]).failed(1);
    assert!(said.contains("expected a folder without a training, whose page would be replaced"), "{said}");
    assert_eq!(std::fs::read(place.at("model/index.html")).unwrap(), page);
    // The model knows: what is judged later is read alike.
    let judged = run(&["eval", "--device", "cpu", path(&place.at("model/best.safetensors"))]).succeeded();
    assert!(judged.contains("`-999` stands for a missing value, in 11 fields."), "{judged}");
}

#[test]
fn what_is_asked_in_vain_is_refused() {
    let place = Place::new();
    let text = place.at("a.txt");
    std::fs::write(&text, "the sea, the open sea! ".repeat(300)).unwrap();
    let out = place.at("out");
    let of_series: [&[&str]; 4] = [&["--missing", "-999"], &["--inputs", "a"], &["--no-time"], &["--horizons", "3"]];
    for options in of_series {
        let train = ["train", "--device", "cpu", "--data", path(&text), "--out", path(&out)];
        let said = run(&[&train[..], options].concat()).failed(1);
        assert_eq!(said.trim(), format!("{}: expected a series to forecast, which these data are not", options[0]));
        let compare = ["compare", "--device", "cpu", "--text", path(&text), "--out", path(&out)];
        let said = run(&[&compare[..], options].concat()).failed(1);
        assert_eq!(said.trim(), format!("{}: expected a series to forecast, which these data are not", options[0]));
    }
    let rows = format!("time,level\n{}", hours(0..300, |row| format!("{:.3}", wave(row))));
    let said = place.train("rows.csv", &rows, &["--column", "level", "--period", "5000"]).failed(1);
    assert_eq!(said.trim(), "--period: expected fewer rows than the 300 of the series, got 5000");
    place.train("rows.csv", &rows, &["--column", "level", "--bias", "input"]).succeeded();
    let said = run(&["train", "--resume", "--out", path(&place.at("model")), "--bias", "both"]).failed(1);
    assert!(said.starts_with("--bias: expected input, with which the training began, got both"), "{said}");
    run(&["eval", path(&place.at("model/best.safetensors")), "--out", path(&place.at("eval"))]).succeeded();
    let said = run(&["train", "--resume", "--out", path(&place.at("model")), "--missing", "-5"]).failed(1);
    assert!(said.starts_with("--missing: expected none, with which the training began, got -5"), "{said}");
}

/// Rows that stand twice stand twice, whatever a column holds that no model reads.
#[test]
fn a_column_of_no_use_does_not_make_rows_differ() {
    let place = Place::new();
    let of = |row: usize| format!("{:.3},{}", wave(row), if row == 7 { "err".to_string() } else { row.to_string() });
    let text = format!("time,level,state\n{}{}", hours(0..300, of), hours(20..25, of));
    let said = place.train("twice.csv", &text, &["--column", "level"]).succeeded();
    assert!(said.contains("5 rows"), "{said}");
}
