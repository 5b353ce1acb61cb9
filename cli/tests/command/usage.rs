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
