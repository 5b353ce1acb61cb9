use std::time::Duration;

use serde_json::Value;

use super::{gpu, json, run};

/// `time` with these arguments, separated by spaces.
fn time(arguments: &str) -> super::Ran {
    let all: Vec<&str> = ["time"].into_iter().chain(arguments.split_whitespace()).collect();
    run(&all)
}

fn report(arguments: &str) -> Value {
    json(&time(&format!("{arguments} --json --runs 3")).succeeded())
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} of {report}"))
}

/// Parameters of a stack by the formula `G·(H·I + H·H + 2·H)` a layer and direction.
fn parameters(gates: usize, input: usize, hidden: usize, layers: usize, directions: usize) -> usize {
    let one = |input: usize| gates * (hidden * input + hidden * hidden + 2 * hidden);
    directions * (one(input) + (layers - 1) * one(directions * hidden))
}

/// Bytes of the reserve: the saved values and states of each step, and the states before the first.
fn reserve(saved: usize, states: usize, [steps, batch, hidden, layers, directions]: [usize; 5]) -> usize {
    layers * directions * batch * hidden * (steps * saved + (steps + 1) * states) * 4
}

#[test]
fn json_is_one_object_with_numbers_that_fit() {
    let cells = [("lstm", "lstm", 4, 4, 2), ("gru", "gru", 3, 4, 1), ("rnn", "rnn_tanh", 1, 1, 1)];
    for (device, strategy) in [("cpu", "native"), (gpu(), "sequence")] {
        for (given, cell, gates, saved, states) in cells {
            let sizes = "--steps 7 --batch 3 --input 5 --hidden 6 --layers 2 --bidirectional --mode train";
            let report = report(&format!("--cell {given} {sizes} --device {device}"));
            assert!(report["device"].as_str().is_some_and(|name| !name.is_empty()));
            assert_eq!((&report["device_kind"], &report["strategy"]), (&Value::from(device), &Value::from(strategy)));
            assert_eq!((&report["cell"], &report["mode"]), (&Value::from(cell), &Value::from("train")));
            assert_eq!(report["parameters"], parameters(gates, 5, 6, 2, 2));
            assert_eq!(report["weight_bytes"], 4 * parameters(gates, 5, 6, 2, 2));
            assert_eq!(report["reserve_bytes"], reserve(saved, states, [7, 3, 6, 2, 2]));
            assert!(number(&report, "workspace_bytes") > 0.0);
            assert!(report["profile"].is_null());
            assert!(report["why_strategy"].as_str().is_some_and(|why| why.contains("not `")), "{report}");
            let kernels = report["kernels"].as_array().expect("kernels");
            let dispatches: u64 = kernels.iter().map(|kernel| kernel["dispatches"].as_u64().unwrap()).sum();
            assert_eq!(report["dispatches"], dispatches);
            let [min, median, max] = ["min_ms", "median_ms", "max_ms"].map(|key| number(&report, key));
            assert!(0.0 < min && min <= median && median <= max, "{report}");
            assert_eq!(report["runs"], 3);
            if device == "cpu" {
                assert!(report["gpu_median_ms"].is_null());
                assert_eq!(number(&report, "record_us_per_step"), 0.0);
            } else {
                assert!(report["gpu_median_ms"].is_null() || number(&report, "gpu_median_ms") > 0.0, "{report}");
                assert!(number(&report, "record_us_per_step") > 0.0);
            }
        }
    }
}

/// The tiles of the recurrent kernels and of the products; a kernel that is composed in two ways is there twice.
#[test]
fn json_says_which_kernels_run_with_which_tiles() {
    let sizes = "--cell lstm --steps 7 --batch 3 --input 5 --hidden 6 --mode train --strategy stepwise";
    let report = report(&format!("{sizes} --device {}", gpu()));
    assert_eq!(report["why_strategy"], "it was asked for");
    let kernels = report["kernels"].as_array().expect("kernels");
    for (index, kernel) in kernels.iter().enumerate() {
        let identity = |kernel: &Value| [&kernel["kernel"], &kernel["cell"], &kernel["consts"]].map(Value::clone);
        assert!(kernels[index + 1..].iter().all(|other| identity(other) != identity(kernel)), "{kernel} twice");
        assert!(kernel["consts"]["LANES"].as_u64().is_some_and(|lanes| lanes > 0), "{kernel}");
    }
    let named = |name: &str| kernels.iter().filter(|kernel| kernel["kernel"] == name).collect::<Vec<_>>();
    for (name, dispatches) in [("recurrent_forward", 7), ("recurrent_backward", 8)] {
        let [kernel] = named(name)[..] else { panic!("{name} in {kernels:?}") };
        assert_eq!((&kernel["cell"], kernel["ops"].as_u64()), (&Value::from("lstm"), Some(1)));
        assert_eq!(kernel["dispatches"], dispatches);
        assert!(kernel["consts"]["RB"].as_u64().is_some_and(|rows| rows > 0), "{kernel}");
    }
    assert!(!named("gemm").is_empty() && named("gemm").iter().all(|gemm| gemm["consts"]["RM"].is_u64()), "{kernels:?}");
}

#[test]
fn forward_keeps_no_reserve() {
    for device in ["cpu", gpu()] {
        let report =
            report(&format!("--cell gru --steps 4 --batch 2 --input 3 --hidden 5 --mode forward --device {device}"));
        assert_eq!((&report["reserve_bytes"], &report["mode"]), (&Value::from(0), &Value::from("forward")));
        assert_eq!(report["parameters"], parameters(3, 3, 5, 1, 1));
    }
}

#[test]
fn dispatches_are_those_of_the_strategy() {
    let dispatches = |strategy: &str, steps: usize, more: &str| {
        let sizes = format!("--steps {steps} --batch 2 --input 3 --hidden 4 --device {} --strategy {strategy}", gpu());
        report(&format!("--cell lstm {sizes} {more}"))["dispatches"].as_u64().unwrap()
    };
    for more in ["--mode forward", "--mode forward --bidirectional", "--mode forward --layers 3"] {
        let layers = if more.contains("layers") { 3 } else { 1 };
        let stepwise = |steps| dispatches("stepwise", steps, more);
        assert_eq!(stepwise(40) - stepwise(10), layers * 30, "{more}");
        assert!(stepwise(10) < layers * (10 + 12), "{more}");
        // Weights and states, input projection, all steps.
        assert_eq!([10, 40].map(|steps| dispatches("sequence", steps, more)), [layers * 3; 2], "{more}");
    }
    // Forward and backward.
    let train = |strategy| dispatches(strategy, 40, "--mode train") - dispatches(strategy, 10, "--mode train");
    assert_eq!(["stepwise", "sequence"].map(train), [60, 0]);
}

#[test]
fn text_has_what_json_has() {
    let sizes = "--cell lstm --steps 5 --batch 2 --input 3 --hidden 4 --mode train";
    let text = time(&format!("{sizes} --device cpu --strategy native --runs 2")).succeeded();
    assert!(text.contains("strategy native\n"), "{text}");
    assert!(text.contains("lstm T=5 B=2 I=3 H=4 L=1 D=1 train: 144 parameters\n"), "{text}");
    assert!(text.contains("ms median of 2 ("), "{text}");
    assert!(text.contains("GPU timestamps: none on this device\n"), "{text}");
    assert!(text.contains(&format!("reserve {} bytes, workspace ", reserve(4, 2, [5, 2, 4, 1, 1]))), "{text}");
    assert!(text.contains(" calls\n") && !text.contains("recording") && text.contains("weights 576 bytes"), "{text}");
}

#[test]
fn sizes_beyond_the_device_are_one_sentence_at_once() {
    let usual = [("--steps", "2"), ("--batch", "2"), ("--input", "2"), ("--hidden", "2"), ("--layers", "1")];
    let huge: [(&[(&str, &str)], &str); 8] = [
        (&[("--hidden", "1000000")], "one weight matrix needs"),
        (&[("--hidden", "18446744073709551615")], "one weight matrix needs"),
        (&[("--input", "4000000000")], "one weight matrix needs"),
        (&[("--steps", "18446744073709551615")], "steps × batch needs"),
        (&[("--steps", "4000000000"), ("--batch", "4000000000")], "steps × batch needs"),
        (&[("--layers", "1000000000")], "the number of layers must be at most 1024, got 1000000000"),
        (&[("--steps", "100000000"), ("--batch", "32"), ("--hidden", "2048")], ""),
        (&[("--batch", "1000000000"), ("--hidden", "2048")], ""),
    ];
    for device in ["cpu", gpu()] {
        for mode in ["forward", "train"] {
            for (sizes, begins) in huge {
                let value = |(name, usual): (&str, &str)| {
                    let given = sizes.iter().find(|(given, _)| *given == name);
                    format!("{name} {}", given.map_or(usual.to_string(), |(_, value)| (*value).to_string()))
                };
                let sizes = usual.map(value).join(" ");
                let ran = time(&format!("--cell lstm {sizes} --mode {mode} --device {device}"));
                assert!(ran.took < Duration::from_secs(10), "{:?} for {sizes} on {device}", ran.took);
                let sentence = ran.failed(1);
                assert!(sentence.starts_with(begins), "{sentence}");
                let says = ["allows", "at most", "takes"].iter().any(|word| sentence.contains(word));
                assert!(says, "neither what is needed nor what there is: {sentence}");
            }
        }
    }
}

/// llvmpipe ends the process when one submit has too many dispatches: they come in several.
#[test]
fn more_steps_than_a_submit_takes_are_several_submits() {
    if gpu() != "software" {
        return;
    }
    let steps = |steps: &str, mode: &str| {
        time(&format!(
            "--cell rnn --steps {steps} --batch 1 --input 1 --hidden 1 --mode {mode} --device software --strategy stepwise \
             --runs 1"
        ))
    };
    // 195,313 chunks of 512 steps with four dispatches around each.
    assert!(steps("100000000", "forward").failed(1).contains("it needs at least 100781252 dispatches"));
    steps("50001", "forward").succeeded();
    steps("25000", "train").succeeded();
}

/// A layer whose output is each sequence's last alone, and one that adds to its gradients, which is said.
#[test]
fn the_last_output_alone_and_added_gradients_are_timed() {
    for device in ["cpu", gpu()] {
        let sizes = "--cell lstm --steps 6 --batch 3 --input 4 --hidden 5 --runs 2";
        let arguments = format!("{sizes} --mode train --last --accumulate --device {device} --json");
        let report: Value = serde_json::from_str(&time(&arguments).succeeded()).expect("JSON");
        assert_eq!((report["last"].as_bool(), report["runs"].as_u64()), (Some(true), Some(2)));
        assert_eq!(report["accumulate"].as_bool(), Some(true));
        let said = time(&format!("{sizes} --mode forward --accumulate --device {device}")).failed(1);
        assert!(
            said.contains("--accumulate: expected --mode train, which has gradients, got --mode forward"),
            "{said}"
        );
    }
}

/// On a GPU a step a call takes the upload and the read-back too.
#[test]
fn steps_on_a_gpu_are_timed_one_by_one() {
    let arguments = format!(
        "--cell lstm --steps 5 --batch 2 --input 3 --hidden 4 --layers 2 --mode step --device {} --json",
        gpu()
    );
    let report: Value = serde_json::from_str(&time(&arguments).succeeded()).expect("JSON");
    assert_eq!((report["mode"].as_str(), report["steps"].as_u64()), (Some("step"), Some(5)));
    assert!(["sequence", "stepwise"].contains(&report["strategy"].as_str().expect("a strategy")), "{report}");
    assert_eq!(report["precision"], "full");
    assert!(report["median_us"].as_f64().expect("a time") > 0.0);
}

/// A step a call: quantiles in order, and the same layer in text and JSON.
#[test]
fn steps_are_timed_one_by_one() {
    let arguments = "--cell gru --steps 2000 --batch 1 --input 8 --hidden 16 --mode step";
    let text = time(arguments).succeeded();
    assert!(text.contains("gru B=1 I=8 H=16 L=1 step: 1248 parameters") && text.contains("of 2000 steps"), "{text}");
    let report: Value = serde_json::from_str(&time(&format!("{arguments} --json")).succeeded()).expect("JSON");
    let times = ["median_us", "p99_us", "p999_us", "worst_us"].map(|name| report[name].as_f64().expect(name));
    assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
    assert_eq!((report["mode"].as_str(), report["steps"].as_u64()), (Some("step"), Some(2000)));
    let refused = |more: &str| time(&format!("{arguments} {more}")).failed(1);
    for flag in ["--profile", "--last", "--accumulate", "--batch-first", "--recompute 2"] {
        assert_eq!(refused(flag), format!("--mode step has no {}", flag.split(' ').next().expect("a flag")));
    }
    assert_eq!(refused("--strategy sequence"), "--mode step on the CPU has no --strategy and no --precision");
    assert!(refused("--bidirectional").contains("a step at a time is not available"));
    let many = time("--cell gru --steps 999999999 --batch 1 --input 8 --hidden 16 --mode step").failed(1);
    assert_eq!(many, "at most 100000000 steps can be timed one by one, got 999999999");
}

#[test]
fn a_strategy_that_cannot_run_is_refused_with_its_reason() {
    let sizes = "--cell gru --steps 2 --batch 2 --input 2 --hidden 2 --mode forward";
    let on = |device: &str, strategy: &str| time(&format!("{sizes} --device {device} --strategy {strategy}"));
    let native = on(gpu(), "native").failed(1);
    assert_eq!(native, "strategy `native` can't run here: it is the CPU executor's, and this is a GPU device");
    let stepwise = on("cpu", "stepwise").failed(1);
    let why = "it dispatches GPU kernels, and this is the CPU executor";
    assert_eq!(stepwise, format!("strategy `stepwise` can't run here: {why}"));
    let unknown = on("cpu", "magic").failed(1);
    assert!(unknown.starts_with("the strategy must be ") && unknown.ends_with(", got `magic`"), "{unknown}");
    on("cpu", "native").succeeded();
    on(gpu(), "stepwise").succeeded();
}
