//! Every executor against the numbers of PyTorch, of ONNX Runtime and of Keras.

mod common;

use std::path::{Path, PathBuf};

use common::Layer;
use wgpu_rnn::io::Case;
use wgpu_rnn::nn::rnn::tensors;
use wgpu_rnn::{Bias, Cell, Device, Direction, Recipe, RnnConfig};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    all.sort();
    assert_eq!(all.len(), 83, "fixtures are missing");
    all
}

#[test]
fn every_device_reproduces_them() {
    for device in common::devices() {
        for path in cases() {
            let case = Case::open(&path).expect("a case");
            let checks = pollster::block_on(case.run(&device, None)).expect("a run");
            // y or the last output, hn, for LSTM cn; with gradients dx, dh0, for LSTM dc0, and one a tensor, of which learnt
            // initial states are some.
            let states = case.config.recipe().states();
            let given = if case.config.learns_state && !case.carried { 0 } else { states };
            let gradients = if case.gradients { 1 + given + tensors(&case.config, "").len() } else { 0 };
            assert_eq!(checks.len(), 1 + states + gradients);
            let failed: Vec<_> = checks.iter().filter(|check| !check.passes()).collect();
            assert!(failed.is_empty(), "{} on {device:?}: {failed:?}", path.display());
        }
    }
}

/// What a layer gives on the oracle, written as a case that names its biases, direction and options, is what every device
/// gives of the case.
#[test]
fn a_case_names_all_that_a_layer_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let oracle = Device::oracle().expect("oracle");
    let biases = Bias::ALL.into_iter().map(|bias| RnnConfig::new(Cell::Gru, 3, 5).bias(bias));
    let varied = Recipe::texts().filter(|recipe| !recipe.is_plain());
    let varied = varied.map(|recipe| RnnConfig::new(recipe.cell(), 3, 5).options(recipe.options()));
    let dropped = RnnConfig::new(Cell::RnnTanh, 3, 5).input_dropout(0.25).weight_dropout(0.5);
    let reverse = RnnConfig::new(Cell::Lstm, 3, 5).direction(Direction::Reverse).learn_state(true);
    let all = biases.chain([reverse, dropped]).chain(varied);
    for (index, config) in all.enumerate() {
        let mut layer = Layer { batch_first: index % 2 == 1, ..Layer::random(config, 4, 2, 1) };
        if config.learns_state || (index % 3 == 0 && config.options.resets) {
            layer = layer.carried(2);
        }
        if index % 4 < 2 {
            layer.last = true;
            layer.given.insert("dlast".to_string(), layer.given["dy"][..2 * config.outputs()].to_vec());
        }
        let [first, second] = if layer.batch_first { [2, 4] } else { [4, 2] };
        let mut all: Vec<(String, Vec<f64>)> = layer.given.clone().into_iter().chain(layer.run(&oracle)).collect();
        // Of weights a sum over as many runs.
        let runs = 1 + index % 3;
        for (_, values) in all.iter_mut().filter(|(name, _)| name.starts_with("grad.")) {
            values.iter_mut().for_each(|value| *value *= runs as f64);
        }
        if !layer.resets.is_empty() {
            let resets = layer.resets.iter().map(|reset| f64::from(u8::from(*reset))).collect();
            all.push(("resets".to_string(), resets));
        }
        let weights = tensors(&layer.config, "");
        let shape = |name: &str| match weights.iter().find(|(own, _)| *own == name.trim_start_matches("grad.")) {
            Some((_, shape)) => shape.clone(),
            None if name.ends_with('x') => vec![first, second, 3],
            None if name.ends_with('y') => vec![first, second, layer.config.width(0)],
            None if name == "resets" => vec![4, 2],
            None if name.ends_with("last") => vec![2, layer.config.width(0)],
            None => vec![1, 2, layer.config.width(usize::from(name.contains('c')))],
        };
        let bytes: Vec<(&String, Vec<u8>)> = all
            .iter()
            .map(|(name, values)| (name, layer.turned(name, values, false)))
            .map(|(name, values)| (name, values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect()))
            .collect();
        let views = bytes.iter().map(|(name, bytes)| {
            (
                *name,
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape(name), bytes).expect("a tensor"),
            )
        });
        let about = format!(
            r#"{{"cell": "{}", "input_size": 3, "hidden_size": 5, "num_layers": 1, "bidirectional": false,
                "direction": "{}", "learn_state": {}, "bias": "{}", "options": "{}", "steps": 4, "batch": 2, "lengths": null,
                "input_dropout": {}, "weight_dropout": {}, "seed": {}, "batch_first": {}, "last": {}, "carried": {},
                "accumulate": {runs}}}"#,
            config.cell,
            config.direction.name(),
            config.learns_state,
            config.bias.name(),
            config.options,
            config.input_dropout.get(),
            config.weight_dropout.get(),
            common::SEED,
            layer.batch_first,
            layer.last,
            layer.carried,
        );
        let metadata = std::collections::HashMap::from([("config".to_string(), about.clone())]);
        let path = folder.path().join(index.to_string());
        safetensors::serialize_to_file(views, Some(metadata), &path).expect("a file");
        for device in common::devices() {
            let case = Case::open(&path).expect("a case");
            let checks = pollster::block_on(case.run(&device, None)).expect("a run");
            let states = case.config.recipe().states();
            let given = if config.learns_state && !layer.carried { 0 } else { states };
            assert_eq!(checks.len(), 2 + states + given + weights.len());
            let failed: Vec<_> = checks.iter().filter(|check| !check.passes()).collect();
            assert!(failed.is_empty(), "{about} on {device:?}: {failed:?}");
        }
    }
}
