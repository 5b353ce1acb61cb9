use std::path::PathBuf;

use std::path::Path;
use std::process::{Command, Output};

use super::{gpu, run};

/// The command with `folder` as its cache folder and the log of what it follows.
fn with(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wgpu-rnn"))
        .args(arguments.split_whitespace())
        .env("WGPU_RNN_CACHE_DIR", folder)
        .env("RUST_LOG", "wgpu_rnn=debug")
        .output()
        .expect("the command runs")
}

#[test]
fn what_is_measured_is_kept_and_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    let tune = |hidden: u32| {
        let done = with(&cache, &format!("tune --device {} --steps 4 --batch 2 --hidden {hidden}", gpu()));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let said = tune(8);
    // Projection, input gradient, and two weight gradients of one size.
    assert_eq!(said.lines().filter(|line| line.contains("x8") && line.contains(": ")).count(), 3, "{said}");
    let files = std::fs::read_dir(&cache).expect("the folder").map(|file| file.expect("a file").path());
    // Compiled kernels are kept beside it.
    let is_tuning = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tuning-"));
    let files: Vec<_> = files.filter(is_tuning).collect();
    let [file] = &files[..] else { panic!("expected one file, got {files:?}") };
    assert!(said.contains(&file.display().to_string()), "{said}");

    // A second run keeps what the first one measured.
    tune(16);
    let text = std::fs::read_to_string(file).expect("the file");
    assert!(text.contains("\"8x32x8\"") && text.contains("\"8x64x16\""), "{text}");

    let sizes = "--cell lstm --steps 4 --batch 2 --input 8 --hidden 8 --mode train --runs 1";
    let follows = |text: &str| {
        let done = with(&cache, &format!("time --device {} {sizes}", gpu()));
        assert!(done.status.success());
        let log = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(log.contains(text), "{log}");
    };
    follows(": followed");
    // Of another driver, or no tuning at all: the table's choice.
    std::fs::write(file, text.replace("\"driver\": \"", "\"driver\": \"other ")).expect("the file");
    follows(": not followed, it is of ");
    std::fs::write(file, "{").expect("the file");
    follows(": not followed, ");
}

#[test]
fn the_cpu_executor_has_nothing_to_tune() {
    let why = run(&["tune", "--device", "cpu"]).failed(1);
    assert!(why.starts_with("the CPU executor has no kernels to choose from"), "{why}");
}
