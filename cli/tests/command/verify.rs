use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Ran, gpu, path, run};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

fn fixture(name: &str) -> PathBuf {
    fixtures().join(format!("{name}.safetensors"))
}

fn verify(device: &str, cases: &[&Path]) -> Ran {
    let cases = cases.iter().map(|case| path(case));
    run(&["verify", "--device", device].into_iter().chain(cases).collect::<Vec<_>>())
}

/// A case file taken apart.
struct Parts {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: Option<HashMap<String, String>>,
}

impl Parts {
    fn read(file: &Path) -> Self {
        let bytes = std::fs::read(file).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let part = |(name, view): (String, TensorView<'_>)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(part).collect();
        Self { tensors, metadata: header.metadata().clone() }
    }

    fn write(&self, file: &Path) {
        let views = self
            .tensors
            .iter()
            .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        std::fs::write(file, safetensors::serialize(views, self.metadata.clone()).unwrap()).unwrap();
    }

    fn config_of(&self, name: &str) -> usize {
        let config: serde_json::Value = serde_json::from_str(&self.metadata.as_ref().unwrap()["config"]).unwrap();
        config[name].as_u64().unwrap() as usize
    }

    fn config(&mut self, change: impl FnOnce(&mut serde_json::Value)) {
        let metadata = self.metadata.as_mut().unwrap();
        let mut config = serde_json::from_str(&metadata["config"]).unwrap();
        change(&mut config);
        metadata.insert("config".to_string(), config.to_string());
    }
}

/// The sentence about a fixture that was changed; it names the file.
fn changed(name: &str, change: impl FnOnce(&mut Parts)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.safetensors");
    let mut parts = Parts::read(&fixture(name));
    change(&mut parts);
    parts.write(&file);
    let sentence = verify("cpu", &[&file]).failed(1);
    assert!(sentence.contains(path(&file)), "{sentence}");
    sentence.replace(path(&file), "FILE")
}

#[test]
fn every_fixture_passes_on_every_device() {
    let all = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let wanted = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "safetensors");
    let mut cases: Vec<PathBuf> = all.filter(wanted).collect();
    cases.sort();
    assert!(cases.len() >= 18, "{}", cases.len());
    let cases: Vec<&Path> = cases.iter().map(PathBuf::as_path).collect();
    for device in ["cpu", gpu()] {
        let text = verify(device, &cases).succeeded();
        assert!(text.starts_with("device: ") && text.ends_with(&format!("{} cases within bounds\n", cases.len())));
        for case in &cases {
            let lines = text.lines().skip_while(|line| *line != path(case)).skip(1);
            let lines: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
            let (worst, tensors) = lines.split_last().unwrap();
            assert!(worst.contains("  worst: ") && worst.contains(" % of its bound"), "{worst}");
            let names: Vec<&str> = tensors.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
            let named = |part: &str| path(case).contains(part);
            let output = if named("_last") { "last" } else { "y" };
            let initial = if named("learn_state") { "grad.h0_l0" } else { "dh0" };
            let (forward, weights) = ([output, "hn"], ["grad.weight_ih_l0", "grad.weight_hh_l0"]);
            // ONNX Runtime only goes forward.
            let (backward, has_gradients) = (["dx", initial].into_iter().chain(weights), !named("onnx_"));
            assert!(forward.iter().all(|name| names.contains(name)), "{names:?} of {}", case.display());
            for wanted in backward {
                // The tensors of a layer that goes backward alone end in `_reverse`.
                let has = names.iter().any(|name| name.trim_end_matches("_reverse") == wanted);
                // Cells whose gates see no h have no weights of it.
                let there = has_gradients && !((named("min_") || named("sru_")) && wanted == "grad.weight_hh_l0");
                assert_eq!(has, there, "{wanted} of {}", case.display());
            }
            for line in tensors {
                let gradient = line.trim_start().starts_with('d') || line.contains("grad.");
                let bound = if gradient { "1e-4" } else { "1e-5" };
                assert!(line.ends_with(&format!("ok (bound {bound})")), "{line}");
                let error: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
                assert!(error.is_finite() && error <= bound.parse().unwrap(), "{line}");
            }
        }
    }
}

/// Of a cell without a cell state there is none.
#[test]
fn a_projection_of_a_cell_that_has_none_is_refused() {
    let sentence = changed("gru_small", |parts| {
        parts.config(|config| config["proj_size"] = 4.into());
    });
    assert!(sentence.contains("a projection is not available for GRU, whose h is its own state"), "{sentence}");
}

#[test]
fn a_changed_weight_is_seen_and_what_is_off_is_named() {
    let sentence = changed("lstm_small", |parts| {
        let (.., data) = parts.tensors.get_mut("weight_hh_l0").unwrap();
        data[..4].copy_from_slice(&3.0f32.to_le_bytes());
    });
    let (far, rest) = sentence.split_once(" of ").unwrap();
    assert!(far.parse().is_ok_and(|far: usize| far > 5), "{sentence}");
    assert!(rest.contains(" tensors too far from the reference, the worst `"), "{sentence}");
}

#[test]
fn a_changed_expectation_is_the_only_one_named() {
    let sentence = changed("gru_small", |parts| {
        let (.., data) = parts.tensors.get_mut("grad.bias_hh_l0").unwrap();
        data[..4].copy_from_slice(&7.0f32.to_le_bytes());
    });
    assert!(
        sentence.starts_with("1 of 8 tensors too far from the reference, the worst `grad.bias_hh_l0` of FILE ("),
        "{sentence}"
    );
    assert!(sentence.ends_with("bound 1e-4)") && !sentence.contains("`y`"), "{sentence}");
    let nan = changed("gru_small", |parts| {
        let (.., data) = parts.tensors.get_mut("x").unwrap();
        data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    assert!(
        nan.starts_with("8 of 8 tensors too far from the reference") && nan.contains(" of FILE (inf, bound "),
        "{nan}"
    );
}

#[test]
fn one_bad_case_does_not_hide_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.safetensors");
    let mut parts = Parts::read(&fixture("gru_small"));
    parts.tensors.get_mut("hn").unwrap().2[..4].copy_from_slice(&7.0f32.to_le_bytes());
    parts.write(&file);
    let mut refused = Parts::read(&fixture("gru_small"));
    refused.config(|config| config["proj_size"] = 4.into());
    let other = folder.path().join("refused.safetensors");
    refused.write(&other);
    let ran = verify("cpu", &[&file, &other, &fixture("rnn_tanh_small")]);
    assert!(ran.out.contains("ABOVE") && ran.out.contains("rnn_tanh_small"), "{}", ran.out);
    let sentence = ran.failed(1);
    assert!(sentence.contains("a projection") && sentence.contains("`hn` of "), "{sentence}");
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let missing = changed("gru_small", |parts| drop(parts.tensors.remove("weight_hh_l0")));
    assert!(missing.contains("weight_hh_l0") && missing.contains("FILE"), "{missing}");
    let renamed = changed("gru_small", |parts| {
        let tensor = parts.tensors.remove("dhn").unwrap();
        parts.tensors.insert("dh_n".to_string(), tensor);
    });
    assert!(renamed.contains("dhn") && renamed.contains("dh_n"), "{renamed}");

    let shape = changed("gru_small", |parts| {
        let (_, shape, _) = parts.tensors.get_mut("weight_ih_l0").unwrap();
        shape.reverse();
    });
    assert_eq!(shape, "FILE: `weight_ih_l0` must have shape [18, 4], got [4, 18]");

    for (dtype, size) in [(Dtype::F64, 8), (Dtype::I32, 4), (Dtype::F16, 2)] {
        let sentence = changed("gru_small", |parts| {
            let (given, shape, data) = parts.tensors.get_mut("y").unwrap();
            (*given, *data) = (dtype, vec![0; shape.iter().product::<usize>() * size]);
        });
        assert!(sentence.starts_with("FILE: ") && sentence.contains("`y`") && sentence.contains("F32"), "{sentence}");
        assert!(sentence.contains(&format!("{dtype:?}")), "{sentence}");
    }
}

#[test]
fn tensors_that_are_not_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.safetensors");
    let mut parts = Parts::read(&fixture("gru_small"));
    for name in ["c0", "grad.weight_ih_l1"] {
        parts.tensors.insert(name.to_string(), (Dtype::F32, vec![1], vec![0; 4]));
    }
    parts.write(&file);
    let said = verify("cpu", &[&file]).succeeded();
    assert!(said.contains("not read, since no part of the case: c0, grad.weight_ih_l1\n"), "{said}");
}

#[test]
fn a_layer_that_makes_no_sense_is_refused() {
    let none = changed("gru_small", |parts| parts.metadata = None);
    assert!(none.starts_with("FILE: has no metadata key `config`"), "{none}");
    let broken = changed("gru_small", |parts| {
        parts.metadata.as_mut().unwrap().insert("config".to_string(), "{\"cell\":".to_string());
    });
    assert!(broken.starts_with("FILE: its metadata `config` does not describe a layer"), "{broken}");
    let cell = changed("gru_small", |parts| parts.config(|config| config["cell"] = "gruu".into()));
    assert!(cell.contains("got `gruu`"), "{cell}");
    let zero = changed("gru_small", |parts| parts.config(|config| config["hidden_size"] = 0.into()));
    assert_eq!(zero, "FILE: the hidden size must be at least 1, got 0");
    // Sizes that the file's tensors do not have must not be allocated first.
    for (key, value) in
        [("steps", 4_000_000_000u64), ("batch", 400_000_000), ("num_layers", 1_000_000_000), ("hidden_size", 20_000)]
    {
        let sentence = changed("gru_small", |parts| parts.config(|config| config[key] = value.into()));
        assert!(!sentence.contains("memory"), "{sentence}");
    }
    let unknown = changed("gru_small", |parts| parts.config(|config| config["batchfirst"] = true.into()));
    assert!(unknown.contains("unknown field `batchfirst`"), "{unknown}");
    let contradicts = |name: &str, change: &dyn Fn(&mut serde_json::Value)| changed(name, |parts| parts.config(change));
    let both = contradicts("gru_stacked_bidirectional", &|config| config["direction"] = "forward".into());
    assert_eq!(both, "FILE: the direction of a bidirectional layer must be bidirectional, got forward");
    let one = contradicts("gru_small", &|config| config["dropout"] = 0.5.into());
    assert_eq!(one, "FILE: the dropout between layers, of one layer must be 0, got 0.5");
    let summed = contradicts("onnx_gru_clip", &|config| config["accumulate"] = 3.into());
    assert_eq!(summed, "FILE: `accumulate` of a case without gradients must be 1, got 3");
    let dropped = contradicts("onnx_gru_clip", &|config| config["weight_dropout"] = 0.5.into());
    assert!(dropped.contains("`weight_dropout` of a case without gradients, in which nothing is dropped"), "{dropped}");
    let resets = changed("gru_small", |parts| {
        parts.config(|config| config["options"] = "resets".into());
        let [steps, batch] = ["steps", "batch"].map(|name| parts.config_of(name));
        let data = 0.5f32.to_le_bytes().repeat(steps * batch);
        parts.tensors.insert("resets".to_string(), (Dtype::F32, vec![steps, batch], data));
    });
    assert_eq!(resets, "FILE: the tensor `resets` must be 0 or 1, got 0.5");
    let lengths = changed("gru_lengths", |parts| parts.config(|config| config["lengths"][0] = 1000.into()));
    assert!(lengths.contains("1000"), "{lengths}");
}

#[test]
fn files_that_are_no_cases_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.safetensors");
    let whole = std::fs::read(fixture("gru_small")).unwrap();
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let bad = [
        Vec::new(),
        whole[..5].to_vec(),
        whole[..100].to_vec(),
        whole[..whole.len() - 4].to_vec(),
        b"not a safetensors file".to_vec(),
        b"\x10\0\0\0\0\0\0\0not JSON at all!".to_vec(),
        lying,
    ];
    for bytes in bad {
        std::fs::write(&file, &bytes).unwrap();
        let sentence = verify("cpu", &[&file]).failed(1);
        let begin = format!("{}: is not a whole safetensors file (", path(&file));
        assert!(sentence.starts_with(&begin), "{sentence}");
        assert!(sentence.ends_with(&format!(", {} bytes)", bytes.len())), "{sentence}");
    }
    let missing = verify("cpu", &[&folder.path().join("none")]).failed(1);
    assert!(missing.contains("none: can't be read: No such file"), "{missing}");
    let directory = verify("cpu", &[folder.path()]).failed(1);
    assert!(directory.contains("can't be read: "), "{directory}");
}

#[test]
fn a_strategy_is_taken_or_refused() {
    let (case, gpu) = (fixture("gru_small"), gpu());
    let with = |device, strategy| run(&["verify", "--device", device, "--strategy", strategy, path(&case)]);
    with("cpu", "native").succeeded();
    with(gpu, "stepwise").succeeded();
    assert!(with(gpu, "native").failed(1).contains("strategy `native` can't run here: it is the CPU executor's"));
    assert!(
        with("cpu", "stepwise").failed(1).contains("strategy `stepwise` can't run here: it dispatches GPU kernels")
    );
    assert!(with("cpu", "magic").failed(1).contains("got `magic`"));
}
