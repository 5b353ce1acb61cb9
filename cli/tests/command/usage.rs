//! The command line itself.

use super::{json, run};

const TIME: &[&str] =
    &["time", "--cell", "gru", "--steps", "3", "--batch", "2", "--input", "4", "--hidden", "5", "--mode", "forward"];

fn refused(arguments: &[&str]) -> String {
    run(arguments).failed(2)
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(run(&["--version"]).succeeded().starts_with("wgpu-rnn "));
    let help = run(&["--help"]).succeeded();
    for command in ["compare", "adapters", "verify", "time", "tune"] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn a_wrong_command_line_is_one_sentence_that_says_what() {
    assert_eq!(refused(&["teach"]), "unrecognized subcommand 'teach'");
    assert_eq!(refused(&["--fast"]), "unexpected argument '--fast' found");
    assert_eq!(refused(&["adapters", "all"]), "unexpected argument 'all' found");
    assert_eq!(refused(&["compare", "--device", "cpu", "--fast"]), "unexpected argument '--fast' found");
    assert_eq!(refused(&["verify"]), "the following required arguments were not provided: <CASES>...");
    let missing = refused(&["time", "--cell", "gru"]);
    for argument in ["--steps", "--batch", "--input", "--hidden", "--mode"] {
        assert!(missing.contains(argument), "{missing}");
    }
    let column = refused(&["compare", "--csv", "some.csv"]);
    assert_eq!(column, "the following required arguments were not provided: --column <COLUMN>");
    let both = refused(&["compare", "--csv", "some.csv", "--column", "t", "--text", "some.txt"]);
    assert_eq!(both, "the argument '--csv <CSV>' cannot be used with '--text <TEXT>'");
}

#[test]
fn unknown_names_come_with_the_known_ones() {
    let with = |name: &str, value: &str| {
        let mut arguments = TIME.to_vec();
        match arguments.iter().position(|argument| *argument == name) {
            Some(place) => arguments[place + 1] = value,
            None => arguments.extend([name, value]),
        }
        refused(&arguments)
    };
    let cell = with("--cell", "lstn");
    assert!(cell.contains("one of rnn, lstm, gru, rnn_tanh, rnn_relu, got `lstn`"), "{cell}");
    let device = with("--device", "npu");
    assert!(device.contains("the device must be auto, gpu, software or cpu, got `npu`"), "{device}");
    let mode = with("--mode", "backward");
    assert_eq!(mode, "invalid value 'backward' for '--mode <MODE>' [possible values: forward, train, step]");
    assert!(refused(&["compare", "--device", "npu"]).contains("got `npu`"));
    assert!(refused(&["verify", "--device", "npu", "case.safetensors"]).contains("got `npu`"));
}

#[test]
fn sizes_are_whole_numbers_above_zero() {
    for name in ["--steps", "--batch", "--input", "--hidden", "--layers", "--runs"] {
        for (value, expected) in [
            ("0", "at least 1"),
            ("1.5", "a whole number of at least 1"),
            ("99999999999999999999999", "a whole number"),
        ] {
            let mut arguments = TIME.to_vec();
            match arguments.iter().position(|argument| *argument == name) {
                Some(place) => arguments[place + 1] = value,
                None => arguments.extend([name, value]),
            }
            let sentence = refused(&arguments);
            assert!(sentence.starts_with(&format!("invalid value '{value}' for '{name} ")), "{sentence}");
            assert!(sentence.contains(&format!(": expected {expected}")), "{sentence}");
        }
    }
}

#[test]
fn seconds_are_a_number_above_zero() {
    for value in ["0", "nan", "inf", "1e300", "soon", "=-1"] {
        let argument = format!("--seconds={}", value.trim_start_matches('='));
        let sentence = refused(&["compare", &argument]);
        assert!(sentence.ends_with("expected a number of seconds above 0"), "{sentence}");
    }
    assert!(refused(&["compare", "--seed", "one"]).contains("'one'"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_wgpu-rnn"))
        .arg("adapters")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn time_says_which_biases_there_are() {
    // G·H of each, G = 3 and H = 5.
    for (bias, biases) in [("none", 0), ("input", 15), ("recurrent", 15), ("both", 30)] {
        let options = ["--device", "cpu", "--runs", "1", "--bias", bias];
        let said = run(&[TIME, &options, &["--json"]].concat()).succeeded();
        let report = json(&said);
        assert_eq!(
            (report["bias"].as_str(), report["parameters"].as_u64()),
            (Some(bias), Some(3 * 5 * (4 + 5) + biases))
        );
        let line = run(&[TIME, &options].concat()).succeeded();
        assert_eq!(line.contains(&format!(" bias={bias} ")), bias != "both", "{line}");
    }
    let said = run(&[TIME, &["--bias", "some"]].concat()).failed(2);
    assert!(said.contains("none, input, recurrent or both"), "{said}");
}

#[test]
fn time_says_what_is_changed_about_the_layer() {
    // Its last word is the mode.
    let trained = [&TIME[..TIME.len() - 1], &["train"]].concat();
    let options = ["--device", "cpu", "--runs", "1", "--layers", "2", "--direction", "reverse", "--learn-state"];
    let options =
        [&options[..], &["--dropout", "0.25", "--options", "gate=hard_sigmoid, clip_inputs=3, zoneout=0.5"]].concat();
    let options = [&options[..], &["--input-dropout", "0.5", "--weight-dropout", "0.125", "--batch-first"]].concat();
    let said = run(&[&trained, &options[..], &["--json"]].concat()).succeeded();
    let report = json(&said);
    assert_eq!(report["direction"], "reverse");
    assert_eq!(report["options"], "gate=hard_sigmoid,clip_inputs=3,zoneout=0.5");
    assert_eq!((report["input_dropout"].as_f64(), report["weight_dropout"].as_f64()), (Some(0.5), Some(0.125)));
    assert_eq!((report["learn_state"].as_bool(), report["dropout"].as_f64()), (Some(true), Some(0.25)));
    // Two layers of G·H·(I + H + 2) and a learnt state of H each.
    assert_eq!(report["parameters"].as_u64(), Some(15 * (4 + 5 + 2) + 15 * (5 + 5 + 2) + 2 * 5));
    let line = run(&[&trained[..], &options].concat()).succeeded();
    assert!(
        line.contains(
            " D=1 reverse gate=hard_sigmoid,clip_inputs=3,zoneout=0.5 learnt state dropout=0.25 \
                           input-dropout=0.5 weight-dropout=0.125 batch first "
        ),
        "{line}"
    );
    let inferred = run(&[TIME, &["--device", "cpu", "--runs", "1", "--dropout", "0.25"]].concat()).succeeded();
    assert!(!inferred.contains("dropout"), "to infer nothing is dropped: {inferred}");
    for (options, expected) in [
        (["--options", "peephole"], "a peephole is not available for GRU, which has no cell state to look at"),
        (["--dropout", "1.5"], "the probability of dropout must be within 0..1, got 1.5"),
    ] {
        let said = run(&[TIME, &options].concat()).failed(1);
        assert!(said.contains(expected), "{said}");
    }
    let said = run(&[TIME, &["--options", "swish"]].concat()).failed(2);
    assert!(said.contains("the options of a step must be some of peephole, coupled, resets, gate=…"), "{said}");
}

#[test]
fn a_task_has_no_use_for_resets() {
    let said = run(&["train", "--options", "resets"]).failed(2);
    assert!(said.contains("`resets` is for programs"), "{said}");
}
