//! `doctor` examines a device: its table, its block, its file and its exit code.

use std::process::Command;

use serde_json::{Value, json};

use super::{Ran, command, finish, gpu, path, run, spawn};

/// The lines between the block's marks, as keys with values.
fn block(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().skip_while(|line| *line != "----- wgpu-rnn doctor, format 1 -----").skip(1);
    let lines: Vec<&str> = lines.take_while(|line| *line != "----- end -----").collect();
    assert!(!lines.is_empty(), "no block in {text}");
    let pair = |line: &str| {
        let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no pair"));
        assert!(!key.is_empty() && !value.trim().is_empty(), "{line:?}");
        (key.to_string(), value.to_string())
    };
    lines.into_iter().map(pair).collect()
}

fn of<'a>(block: &'a [(String, String)], key: &str) -> Vec<&'a str> {
    block.iter().filter(|(found, _)| found == key).map(|(_, value)| value.as_str()).collect()
}

fn one<'a>(block: &'a [(String, String)], key: &str) -> &'a str {
    let [value] = of(block, key)[..] else { panic!("expected one `{key}` in {block:?}") };
    value
}

/// A command that knows of no plants but these.
fn planted(name: &str, arguments: &[&str]) -> Ran {
    let mut command: Command = command(arguments);
    command.env("WGPU_RNN_DOCTOR_PLANT", name);
    finish(spawn(command))
}

#[test]
fn a_software_adapter_is_examined_and_written_about() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doctor.txt");
    let ran = run(&["doctor", "--quick", "--device", gpu(), "--out", path(&file)]);
    println!("doctor took {:?}", ran.took);
    let text = ran.succeeded();
    let block = block(&text);
    assert!(one(&block, "result").starts_with("PASS, "), "{text}");
    for key in ["date", "versions", "system", "adapter", "numbers", "type", "driver", "compiler", "features", "limits"]
    {
        assert!(!one(&block, key).is_empty(), "{key}");
    }
    assert!(one(&block, "versions").contains(concat!("wgpu-rnn ", env!("CARGO_PKG_VERSION"), ", wgpu 30.")), "{text}");
    let checks = of(&block, "check");
    for group in ["products gemm", "products gemm_slices", "lstm stepwise", "gru sequence"].into_iter().chain([
        "rnn_relu sequence",
        "lstm stepwise options",
        "training",
        "behaviour",
    ]) {
        let passed = checks.iter().any(|check| check.starts_with(&format!("PASS {group}: ")));
        assert!(passed, "{group} in {checks:?}");
    }
    assert!(!checks.iter().any(|check| check.starts_with("FAIL")), "{checks:?}");
    let compiled = of(&block, "compiled");
    for kernel in ["recurrent_upstream", "sequence_forward", "sequence_backward", "optimizer_update", "moments"] {
        assert!(compiled.iter().any(|line| line.starts_with(kernel)), "{kernel} in {compiled:?}");
    }
    let measured = of(&block, "measured");
    for (name, unit) in [
        ("empty submit and wait", "µs"),
        ("empty dispatch", "µs"),
        ("dispatch that waits", "µs"),
        ("copying", "GB/s"),
        ("product of", "multiply-adds/s"),
        ("longest dispatch", "ms"),
        ("time of the last submits", "of the estimate"),
    ] {
        let line =
            measured.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {measured:?}"));
        assert!(line.ends_with(unit), "{line}");
        let number: f64 = line.rsplit(": ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(number > 0.0 && number.is_finite(), "{line}");
    }
    // The file has the same block and nothing else.
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(&written) && written.starts_with("-----") && written.ends_with("----- end -----\n"),
        "{written}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_cpu_executor_is_examined_too_and_what_is_planted_is_found() {
    let text = run(&["doctor", "--quick", "--device", "cpu", "--peers", "--python", "no/such/python"]).succeeded();
    let whole = block(&text);
    assert!(one(&whole, "result").starts_with("PASS, ") && one(&whole, "device").starts_with("CPU "), "{text}");
    assert!(of(&whole, "adapter").is_empty() && of(&whole, "compiled").is_empty());
    assert!(one(&whole, "peer").starts_with("not run, because no/such/python can't be run: "), "{text}");
    assert!(of(&whole, "not run").iter().any(|line| line.contains("the device has no f16")), "{text}");

    let name = "gru native: T7 B3 I5 H19";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doctor.txt");
    let ran = planted(name, &["doctor", "--quick", "--device", "cpu", "--out", path(&file)]);
    let written = block(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(block(&ran.out), written);
    assert!(one(&written, "result").starts_with("FAIL, ") && one(&written, "result").contains(" 1 failed"));
    assert!(one(&written, "failed").starts_with(&format!("{name}: `y` is off by ")));
    assert!(of(&written, "check").iter().any(|check| check.starts_with("FAIL gru native: 1 of 2, ")));
    assert!(ran.out.contains(&format!("FAIL {name}: ")));
    let sentence = ran.failed(1);
    assert!(sentence.starts_with(&format!("1 check failed on CPU, the first: {name}: `y` is off by ")), "{sentence}");
}

/// Trouble that was there once and is not there now is forgotten, what is known of other adapters is not.
#[test]
fn an_examination_replaces_what_was_found_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trust.json");
    let with = |arguments: &[&str]| {
        let mut command: Command = command(arguments);
        command.env("WGPU_RNN_CACHE_DIR", folder.path());
        finish(spawn(command)).succeeded()
    };
    let doubts = || -> Vec<usize> {
        let all: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        all.as_object().unwrap().values().map(|ledger| ledger["doubts"].as_array().unwrap().len()).collect()
    };
    let sizes =
        ["--steps", "3", "--batch", "2", "--input", "3", "--hidden", "4", "--mode", "train", "--runs", "1", "--json"];
    let time = || with(&[&["time", "--cell", "gru", "--device", gpu()], &sizes[..]].concat());
    assert!(time().contains("sequence"));
    assert_eq!(doubts(), [0]);
    // A doubt of this adapter, and of another.
    let mut kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let key = kept.as_object().unwrap().keys().next().unwrap().clone();
    let subject = json!({ "strategy": { "strategy": "sequence", "cell": null, "backward": false } });
    kept[&key]["doubts"] = json!([{ "subject": subject, "reason": "it was wrong on a bad day" }]);
    kept["another adapter"] = kept[&key].clone();
    std::fs::write(&file, kept.to_string()).unwrap();
    assert!(time().contains("it was wrong on a bad day"));
    with(&["doctor", "--quick", "--device", gpu()]);
    let mut left = doubts();
    left.sort_unstable();
    assert_eq!(left, [0, 1]);
    assert!(!time().contains("it was wrong on a bad day"));
}

/// Whatever ends an examination, what was found before is told.
#[cfg(unix)]
#[test]
fn an_examination_that_ends_early_is_written_about() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (file, python) = (folder.path().join("doctor.txt"), folder.path().join("python"));
    // A Python whose PyTorch is there and has no memory.
    let script = "#!/bin/sh\necho '{\"error\": \"CUDA out of memory\"}'\n";
    std::fs::write(&python, script).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let arguments = ["--device", "cpu", "--peers", "--python", path(&python), "--out", path(&file)];
    let ran = run(&[&["doctor", "--quick"], &arguments[..]].concat());
    let written = block(&std::fs::read_to_string(&file).unwrap());
    assert!(one(&written, "result").starts_with("FAIL, ") && !of(&written, "measured").is_empty(), "{}", ran.out);
    let why = one(&written, "failed");
    assert!(
        why.starts_with("doctor: all of the examination: it ended early: ") && why.contains("out of memory"),
        "{why}"
    );
    assert!(ran.failed(1).starts_with("1 check failed on CPU, the first: doctor: "));
}

#[test]
fn what_it_is_told_is_checked_first() {
    let folder = tempfile::tempdir().unwrap();
    let sentence = run(&["doctor", "--device", "cpu", "--out", path(folder.path())]).failed(1);
    assert!(sentence.ends_with(": could not write the file, it is a folder"), "{sentence}");
    assert!(run(&["doctor", "--python", "python3"]).failed(2).contains("--peers"));
}
