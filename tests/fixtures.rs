//! Every executor against PyTorch's own numbers.

mod common;

use std::path::{Path, PathBuf};

use wgpu_rnn::io::Case;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    all.sort();
    assert_eq!(all.len(), 19, "fixtures are missing");
    all
}

#[test]
fn every_device_reproduces_pytorch() {
    for device in common::devices() {
        for path in cases().iter().filter(|path| !path.ends_with("lstm_projection.safetensors")) {
            let case = Case::open(path).expect("a case");
            let checks = pollster::block_on(case.run(&device, None)).expect("a run");
            // y, hn, dx, dh0, for LSTM cn, dc0, and one gradient a tensor.
            let tensors = wgpu_rnn::nn::rnn::tensors(&case.config, "").len();
            assert_eq!(checks.len(), 4 + tensors + if case.config.cell.has_c() { 2 } else { 0 });
            let failed: Vec<_> = checks.iter().filter(|check| !check.passes()).collect();
            assert!(failed.is_empty(), "{} on {device:?}: {failed:?}", path.display());
        }
    }
}

#[test]
fn a_projection_is_named_as_the_missing_option() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lstm_projection.safetensors");
    let error = Case::open(&path).expect_err("projections do not exist");
    assert_eq!(error.to_string(), "a projection (`proj_size` 4) is not available for the LSTM layer");
}
