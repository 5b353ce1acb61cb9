use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

use super::browser;
use super::compare::waves;
use super::{Ran, command, finish, gpu, json, path, run, spawn, start};

/// A text, a series, and a folder for models.
pub(super) struct Place(TempDir);

impl Place {
    pub(super) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::write(place.at("poem.txt"), "the sea, the open sea! the blue, the fresh, ".repeat(300)).unwrap();
        std::fs::write(place.at("waves.csv"), waves(1500)).unwrap();
        place
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn text(&self, rest: &[&str]) -> Vec<String> {
        let data = self.at("poem.txt");
        let mut all = vec!["train", "--data", path(&data)];
        all.extend(rest);
        let small = ["--hidden", "8", "--steps", "8", "--batch", "4", "--save-every", "5", "--look-every", "20"];
        for pair in small.chunks(2).filter(|pair| !rest.contains(&pair[0])) {
            all.extend(pair);
        }
        all.into_iter().map(str::to_string).collect()
    }

    fn train(&self, out: &str, rest: &[&str]) -> Ran {
        let out = self.at(out);
        let arguments = self.text(&[&["--device", "cpu", "--out", path(&out)], rest].concat());
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn resume(&self, out: &str) -> Ran {
        run(&["train", "--resume", "--device", "cpu", "--out", path(&self.at(out))])
    }
}

/// Every tensor's bytes, and what a file says of itself but for the clock.
pub(super) fn content(file: &Path) -> (HashMap<String, Vec<u8>>, Value) {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let about = json(&header.metadata().clone().unwrap()["wgpu-rnn"]);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    (tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect(), about)
}

fn step(file: &Path) -> u64 {
    content(file).1["state"]["step"].as_u64().unwrap()
}

#[track_caller]
fn same(a: &Path, b: &Path) {
    let ((a_tensors, a_about), (b_tensors, b_about)) = (content(a), content(b));
    assert_eq!(a_about, b_about);
    assert_eq!(a_tensors.len(), b_tensors.len());
    for (name, bytes) in &a_tensors {
        assert!(b_tensors[name] == *bytes, "`{name}` differs");
    }
}

/// Trained in one go, or killed again and again at moments of no one's choosing: the same bits, and never more lost than
/// the steps since a checkpoint.
#[test]
fn a_training_that_is_killed_goes_on_to_the_bit() {
    let place = Place::new();
    let updates = ["--updates", "4000", "--patience", "1000"];
    place.train("whole", &updates).succeeded();
    let (whole, last) = (place.at("whole/last.safetensors"), place.at("killed/last.safetensors"));
    let out = place.at("killed");
    let first = place.text(&[&["--device", "cpu", "--out", path(&out)], &updates[..]].concat());
    let resume = ["train", "--resume", "--device", "cpu", "--out", path(&out)];
    let (mut kills, mut done) = (0u32, false);
    for attempt in 0..60u32 {
        let arguments: Vec<&str> =
            if last.exists() { resume.to_vec() } else { first.iter().map(String::as_str).collect() };
        let before = last.exists().then(|| step(&last));
        let mut child = spawn(command(&arguments));
        // Moments that are no multiple of anything.
        let moment = Duration::from_millis(20 + u64::from(attempt * 7919 % 83));
        let begin = Instant::now();
        while begin.elapsed() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().unwrap().is_some() {
            finish(child).succeeded();
            done = true;
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if last.exists() {
            let now = step(&last);
            assert!(before.is_none_or(|before| now >= before) && now.is_multiple_of(5), "{before:?} {now}");
        }
    }
    if !done {
        place.resume("killed").succeeded();
    }
    assert!(kills > 2, "only {kills} kills");
    same(&whole, &last);
    same(&place.at("whole/best.safetensors"), &place.at("killed/best.safetensors"));
    // A file that was begun when the process was killed may be left, under another name.
    for entry in std::fs::read_dir(&out).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let written = ["index.html", "training.csv"].contains(&name.as_str());
        assert!(written || name.ends_with(".safetensors") || name.ends_with(".part"), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_ends() {
    let place = Place::new();
    let (out, last) = (place.at("model"), place.at("model/last.safetensors"));
    // Saved at the beginning, and then not for long.
    let rarely = ["--updates", "1000000", "--save-every", "1000000", "--look-every", "1000000"];
    let arguments = place.text(&[&["--device", "cpu", "--out", path(&out)], &rarely[..]].concat());
    let mut child = spawn(command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    while !last.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(200));
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ran = finish(child);
    let said = ran.failed(130);
    let at = step(&last);
    assert!(at > 0 && said.contains(&format!("after step {at}")) && said.contains("--resume"), "{said}");
}

/// Trains in one go into `whole`, and into `part`, killed as soon as it has come some way and resumed: the same bits.
pub(super) fn resumes_to_the_bit(place: &Place, device: &str, task: &[&str], updates: u64) -> String {
    let (whole, part) = (place.at("whole"), place.at("part"));
    let count = updates.to_string();
    let rule = ["train", "--device", device, "--save-every", "3", "--look-every", "8", "--updates", &count];
    let of = |out| [&rule[..], task, &["--out", out]].concat();
    let said = run(&of(path(&whole))).succeeded();
    let last = part.join("last.safetensors");
    let mut child = start(&of(path(&part)));
    while !(last.exists() && step(&last) > 0) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let at = step(&last);
    assert!(at > 0 && at < updates, "killed after step {at}");
    run(&["train", "--device", device, "--out", path(&part), "--resume"]).succeeded();
    same(&whole.join("last.safetensors"), &last);
    said
}

/// With clipped gradients it trains, and what can be looked at is.
#[test]
fn a_training_with_clipped_gradients_does_not_follow_them() {
    let place = Place::new();
    let clip = ["--options", "clip_gradient=1", "--updates", "20"];
    let said = place.train("clipped", &clip).succeeded();
    assert!(said.contains("gradients are not followed: with clip_gradient"), "{said}");
    let (model, gates, flow) = (place.at("clipped"), place.at("gates"), place.at("flow"));
    run(&["gates", "--device", "cpu", "--model", path(&model), "--out", path(&gates)]).succeeded();
    let said = run(&["flow", "--device", "cpu", "--model", path(&model), "--out", path(&flow)]).failed(1);
    assert!(said.contains("is not available for `clip_gradient`"), "{said}");
}

/// Small batches added up train as a large one does, but for rounding.
#[test]
fn batches_are_added_up() {
    let place = Place::new();
    let updates = ["--updates", "60", "--patience", "1000"];
    let trained = |out: &str, batch: &str, accumulate: &str| {
        let sizes = ["--batch", batch, "--accumulate", accumulate];
        place.train(out, &[&updates[..], &sizes].concat()).succeeded();
        content(&place.at(out).join("last.safetensors")).0
    };
    let [large, small, other] = [("large", "8", "1"), ("small", "2", "4"), ("other", "2", "1")]
        .map(|(out, batch, count)| trained(out, batch, count));
    let floats = |tensors: &HashMap<String, Vec<u8>>, name: &str| -> Vec<f32> {
        tensors[name].chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
    };
    let apart = |one: &HashMap<String, Vec<u8>>, name: &str| {
        let both = floats(one, name).into_iter().zip(floats(&large, name));
        both.map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max)
    };
    let name = "rnn.weight_hh_l0";
    assert!(apart(&small, name) < 1e-3, "{}", apart(&small, name));
    assert!(apart(&other, name) > 1e-2, "{}", apart(&other, name));
    let page = std::fs::read_to_string(place.at("small/index.html")).unwrap();
    assert!(page.contains("4 batches of 2 sequences of 8 steps"));
    let small = place.at("small");
    let said = run(&["train", "--resume", "--accumulate", "2", "--out", path(&small)]).failed(1);
    assert!(said.contains("--accumulate: expected 4, with which the training began, got 2"), "{said}");
    let said = place.train("none", &["--accumulate", "0"]).failed(2);
    assert!(said.contains("--accumulate"), "{said}");
}

/// Whatever is drawn: what is dropped, and what stays of states. In two batches for each training step.
#[test]
fn a_training_with_dropout_resumes_to_the_bit() {
    let place = Place::new();
    let drawn = ["--dropout", "0.2", "--input-dropout", "0.1", "--weight-dropout", "0.1"];
    let options = ["--options", "zoneout=0.1,recurrent_dropout=0.1", "--layers", "2", "--patience", "1000"];
    let task = [&["--task", "speech", "--hidden", "6", "--accumulate", "2"], &drawn[..], &options].concat();
    let said = resumes_to_the_bit(&place, "cpu", &task, 200);
    assert!(said.contains("model: 2 layers of LSTM H=6"), "{said}");
    let page = std::fs::read_to_string(place.at("whole/index.html")).unwrap();
    assert!(page.contains("zoneout=0.1,recurrent_dropout=0.1, dropout=0.2, input-dropout=0.1, weight-dropout=0.1"));
    let (whole, gates) = (place.at("whole"), place.at("gates"));
    let said = run(&["train", "--resume", "--dropout", "0.3", "--out", path(&whole)]).failed(1);
    assert!(said.contains("--dropout: expected 0.2, with which the training began, got 0.3"), "{said}");
    let again = ["train", "--resume", "--device", "cpu", "--out", path(&whole)];
    run(&[&again, &drawn[..]].concat()).succeeded();
    // To be looked into nothing is dropped, but what stays is drawn.
    let look = ["gates", "--device", "cpu", "--model", path(&whole), "--out", path(&gates)];
    let said = run(&look).succeeded();
    assert!(said.contains("what stays of states is drawn, as in training"), "{said}");
}

/// Utterances of unequal lengths, on the native executor.
#[test]
fn speech_resumes_to_the_bit() {
    let place = Place::new();
    resumes_to_the_bit(&place, "cpu", &["--task", "speech", "--hidden", "6", "--patience", "1000"], 400);
}

#[test]
fn a_gpu_resumes_to_the_bit_too() {
    let place = Place::new();
    let data = place.at("waves.csv");
    let series = ["--data", path(&data), "--column", "level,wind", "--horizons", "2,5"];
    let small = ["--cell", "gru", "--layers", "2", "--hidden", "6", "--steps", "10", "--batch", "8"];
    let said = resumes_to_the_bit(&place, gpu(), &[&series[..], &small].concat(), 200);
    assert!(said.contains("2 layers of GRU H=6") && said.contains("best twice the quantile loss"), "{said}");
    let out = |name: &str| place.at(name);
    let whole = out("whole/last.safetensors");
    let said = run(&["eval", path(&out("whole/best.safetensors")), "--device", gpu()]).succeeded();
    let error = |said: &str| -> f64 {
        let line =
            said.lines().find(|line| line.starts_with("twice the quantile loss over the usual change: ")).unwrap();
        line.split_whitespace().nth(8).unwrap().parse().unwrap()
    };
    let best = content(&whole).1["state"]["best"][0].as_f64().unwrap();
    assert!((error(&said) - best).abs() < 1e-4, "{said} for {best}");
    let said = run(&["eval", path(&out("whole/best.safetensors")), "--device", "cpu"]).succeeded();
    assert!((error(&said) - best).abs() < 1e-3, "{said} for {best}");
}

#[test]
fn a_text_model_learns_evaluates_and_writes() {
    let place = Place::new();
    // Up and down the alphabet: two characters follow each but the ends, and the one before it tells which.
    let text = "abcdefghijklmnopqrstuvwxyzyxwvutsrqponmlkjihgfedcb";
    let data = place.at("alphabet.txt");
    std::fs::write(&data, text.repeat(400)).unwrap();
    let out = place.at("model");
    let sizes = ["--hidden", "32", "--steps", "8", "--batch", "4", "--look-every", "100", "--updates", "300"];
    let said = run(&[&["train", "--data", path(&data), "--device", "cpu", "--out", path(&out)], &sizes[..]].concat());
    let said = said.succeeded();
    assert!(said.contains("best bits per character"), "{said}");
    let best = place.at("model/best.safetensors");
    let said = run(&["eval", path(&best)]).succeeded();
    let bits = |line: &str| -> f64 { line.rsplit(' ').next().unwrap().parse().unwrap() };
    let lines: Vec<&str> = said.lines().collect();
    let [.., model, naive, _] = lines[..] else { panic!("{said}") };
    assert!(bits(model) < 0.5 && bits(naive) > 0.9, "{said}");
    assert!(naive.starts_with("naive (characters by their frequency after the one before)"), "{said}");
    // Error, loss, norm, rate and throughput.
    browser::check(&out.join("index.html"), 5);
    let write = |rest: &[&str]| {
        run(&[&["sample", path(&best), "--prompt", "lmn", "--length", "60"], rest].concat()).succeeded()
    };
    let sure = write(&["--temperature", "0"]);
    // What it has learnt by heart.
    assert!(text.repeat(4).contains(&format!("lmn{}", sure.trim_end_matches('\n'))), "{sure:?}");
    assert_eq!(sure.chars().count(), 61);
    assert_eq!(write(&["--seed", "3"]), write(&["--seed", "3"]));
    assert_ne!(write(&["--temperature", "20", "--seed", "3"]), write(&["--temperature", "20", "--seed", "4"]));
    assert_eq!(write(&["--temperature", "0", "--device", gpu()]), sure);
    let unasked = run(&["sample", path(&best), "--length", "5"]).succeeded();
    assert_eq!(unasked.chars().count(), 6, "{unasked:?}");
    // Looked at from inside.
    for look in ["flow", "gates"] {
        let out = place.at(look);
        let said = run(&[look, "--model", path(&best), "--steps", "12", "--out", path(&out)]).succeeded();
        // Its cell alone. Letters of a folder's random name are no cell's.
        let rows = |cell: &str| said.lines().filter(|line| line.split_whitespace().any(|word| word == cell)).count();
        assert!(rows("LSTM") > 0 && rows("GRU") + rows("RNN") == 0, "{said}");
        assert!(out.join("index.html").exists());
    }
}

#[test]
fn training_ends_early_where_nothing_gets_better() {
    let place = Place::new();
    let said =
        place.train("model", &["--updates", "100000", "--learning-rate", "1e-30", "--patience", "2"]).succeeded();
    assert!(said.contains("stopped after step 40"), "{said}");
    assert_eq!(step(&place.at("model/best.safetensors")), 0);
}

#[test]
fn what_goes_wrong_inside_is_said_once() {
    let place = Place::new();
    let (data, out) = (place.at("waves.csv"), place.at("model"));
    let long = ["--data", path(&data), "--column", "level", "--cell", "rnn_tanh", "--steps", "200", "--hidden", "4"];
    // Steps so small that nothing is learnt.
    let rule = ["--updates", "8", "--learning-rate", "1e-30", "--look-every", "1", "--batch", "8", "--device", "cpu"];
    let said = run(&[&["train"], &long[..], &rule, &["--out", path(&out)]].concat()).succeeded();
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning: ")).collect();
    let [warning] = warnings[..] else { panic!("{said}") };
    assert!(
        warning.starts_with("warning: step ") && warning.contains("gradients vanish") && warning.contains("try --cell"),
        "{warning}"
    );
    let again = place.at("again");
    let said = run(&[&["train", "--no-warnings"], &long[..], &rule, &["--out", path(&again)]].concat()).succeeded();
    assert!(!said.contains("warning"), "{said}");
    // Looking changes nothing.
    let ((one, about), (other, _)) = (content(&out.join("last.safetensors")), content(&again.join("last.safetensors")));
    assert!(one == other, "other numbers");
    assert_eq!(about["state"]["said"], serde_json::json!(["0/0/vanishing"]));

    // A text has a loss at every step; how gradients last is seen from the last one's alone.
    let still = ["--updates", "8", "--learning-rate", "1e-30", "--look-every", "1"];
    let text = [&["--cell", "rnn_tanh", "--steps", "100"], &still[..]].concat();
    let said = place.train("text", &text).succeeded();
    assert!(said.contains("gradients vanish") && !said.contains("gradients explode"), "{said}");

    // Steps that are far too large: what is wrong is said before training ends.
    let wild = place.at("wild");
    let rule = ["--learning-rate", "1e30", "--quantiles", "none", "--look-every", "3"];
    let large = [&rule[..], &["--device", "cpu", "--out", path(&wild)]].concat();
    let ran = run(&[&["train"], &long[..], &large].concat());
    assert!(ran.out.contains("gradients explode: they are not finite"), "{}", ran.out);
    let said = ran.failed(1);
    assert!(said.contains("expected a finite number") && said.contains("--learning-rate"), "{said}");
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_lost() {
    let place = Place::new();
    place.train("model", &["--updates", "5"]).succeeded();
    let last = place.at("model/last.safetensors");
    let before = std::fs::read(&last).unwrap();
    let said = place.train("model", &["--updates", "5"]).failed(1);
    assert!(said.contains("there is a model already") && said.contains("--resume"), "{said}");
    let resume = ["train", "--resume", "--out", path(&place.at("model")).to_string().as_str()].map(str::to_string);
    let resume: Vec<&str> = resume.iter().map(String::as_str).collect();
    let other = place.at("other.txt");
    std::fs::write(&other, "the sea, the open sea! the blue, the fresh. ".repeat(300)).unwrap();
    let said = run(&[&resume[..], &["--data", path(&other)]].concat()).failed(1);
    assert!(said.contains("other.txt") && said.contains("fingerprint"), "{said}");
    let said = run(&[&resume[..], &["--hidden", "9"]].concat()).failed(1);
    assert!(said.starts_with("--hidden: expected ") && said.contains("with which the training began, got 9"), "{said}");
    let said = run(&[&resume[..], &["--updates", "2"]].concat()).failed(1);
    assert!(said.contains("--updates: expected at least the 5 steps that were made, got 2"), "{said}");
    let said = run(&resume).succeeded();
    assert!(said.contains("it was finished after step 5: with more --updates it would go on"), "{said}");
    let said = place.resume("nothing").failed(1);
    assert!(said.contains("nothing") && said.contains("last.safetensors"), "{said}");
    assert!(std::fs::read(&last).unwrap() == before, "the model is another");

    let half = place.at("half.safetensors");
    std::fs::write(&half, &before[..before.len() / 2]).unwrap();
    for command in ["eval", "sample"] {
        let said = run(&[command, path(&half)]).failed(1);
        assert!(said.contains("half.safetensors") && said.contains("not a whole"), "{said}");
        let said = run(&[command, path(&place.at("poem.txt"))]).failed(1);
        assert!(said.contains("poem.txt"), "{said}");
    }
    let said = run(&["sample", path(&last), "--prompt", "Ω"]).failed(1);
    assert!(said.contains('Ω') && said.contains("expected characters"), "{said}");
    let said = run(&["sample", path(&last), "--temperature=-1"]).failed(2);
    assert!(said.contains("at least 0"), "{said}");
    let weather = place.at("weather");
    run(&["train", "--updates", "1", "--hidden", "2", "--device", "cpu", "--out", path(&weather)]).succeeded();
    let weather = weather.join("best.safetensors");
    let said = run(&["eval", path(&weather), "--data", path(&place.at("waves.csv"))]).failed(1);
    assert!(said.contains("bundled weather"), "{said}");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/gru_long.safetensors");
    let said = run(&["eval", fixture]).failed(1);
    assert!(said.contains("expected a model that `wgpu-rnn train` wrote"), "{said}");
}

/// What h is a projection of is learnt with the rest: trained, judged, written with and looked into.
#[test]
fn a_projection_is_learnt() {
    let place = Place::new();
    let data = place.at("alphabet.txt");
    let text = "abcdefghijklmnopqrstuvwxyzyxwvutsrqponmlkjihgfedcb";
    std::fs::write(&data, text.repeat(400)).unwrap();
    let out = place.at("model");
    let sizes =
        ["--hidden", "32", "--options", "peephole,projection=12", "--layers", "2", "--steps", "8", "--batch", "4"];
    let rest = ["--updates", "500", "--look-every", "100", "--device", "cpu", "--out", path(&out)];
    let said = run(&[&["train", "--data", path(&data)], &sizes[..], &rest].concat()).succeeded();
    assert!(said.contains("gradients are not followed: with a projection there are no norms of them"), "{said}");
    let best = place.at("model/best.safetensors");
    let judged = run(&["eval", path(&best)]).succeeded();
    let bits: f64 = judged.lines().rev().nth(2).unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(bits < 0.9, "{judged}");
    let write = |device: &str| {
        run(&["sample", path(&best), "--temperature", "0", "--length", "20", "--device", device]).succeeded()
    };
    assert_eq!(write("cpu"), write(gpu()));
    let gates = run(&["gates", "--model", path(&best), "--steps", "12", "--out", path(&place.at("gates"))]).succeeded();
    assert!(gates.contains("LSTM (peephole, projection=12)"), "{gates}");
}
