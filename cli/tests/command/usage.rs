//! The command line itself.

use super::{gpu, json, run};

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
    let meant = "unexpected argument '--hiden' found; a similar argument exists: '--hidden'";
    assert_eq!(refused(&["train", "--hiden", "3"]), meant);
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
    assert!(
        cell.contains("one of rnn, lstm, gru, min_gru, min_lstm, sru, ind_rnn, rnn_tanh, rnn_relu, got `lstn`"),
        "{cell}"
    );
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
    for (options, expected) in [
        (["--options", "peephole"], "a peephole is not available for GRU, which has no cell state to look at"),
        (["--dropout", "0.5"], "--dropout: expected --layers of at least 2, between which values are dropped, got 1"),
        (
            ["--weight-dropout", "0.5"],
            "--weight-dropout: expected --mode train, in which alone something is dropped, got --mode forward",
        ),
        (["--options", "recurrent_dropout=0.5"], "recurrent_dropout among --options: expected --mode train"),
        (["--lengths", "2,4"], "length"),
        (["--lengths", "2,3,3"], "--lengths: expected at most 2, one a sequence, got 3"),
    ] {
        let said = run(&[TIME, &options].concat()).failed(1);
        assert!(said.contains(expected), "{said}");
    }
    let said = run(&[TIME, &["--input-dropout", "1.5"]].concat()).failed(2);
    assert!(said.contains("expected a number from 0 to 1"), "{said}");
    let said = run(&[TIME, &["--options", "swish"]].concat()).failed(2);
    assert!(
        said.contains(
            "the options of a step must be some of peephole, coupled, reset_before, resets, projection=…, gate=…"
        ),
        "{said}"
    );
}

#[test]
fn time_takes_sequences_of_every_kind() {
    for device in ["cpu", gpu()] {
        let trained = [&TIME[..TIME.len() - 1], &["train", "--device", device, "--runs", "1"]].concat();
        let sequences = ["--lengths", "2,3", "--reset-every", "2", "--carry", "--last", "--accumulate"];
        let options = [&trained[..], &sequences, &["--options", "zoneout=0.5"]].concat();
        let report = json(&run(&[&options[..], &["--json"]].concat()).succeeded());
        assert_eq!((&report["lengths"], &report["reset_every"]), (&json("[2, 3]"), &json("2")));
        assert_eq!(report["options"], "resets,zoneout=0.5");
        assert_eq!(["carry", "last", "accumulate"].map(|key| report[key].as_bool()), [Some(true); 3]);
        assert_eq!(report["batch_first"], false);
        let line = run(&options).succeeded();
        let words = " resets,zoneout=0.5 lengths=2,3 reset every 2 last output carried states accumulate train";
        assert!(line.contains(words), "{line}");
        assert_eq!(line.contains("of host recording"), device != "cpu", "{line}");
    }
    let step = [&TIME[..TIME.len() - 1], &["step", "--device", "cpu"]].concat();
    let said = run(&[&step[..], &["--options", "resets"]].concat()).failed(1);
    assert!(said.starts_with("--mode step on the CPU has no `resets`"), "{said}");
    for flag in [&["--lengths", "2"][..], &["--reset-every", "2"], &["--carry"], &["--last"], &["--batch-first"]] {
        let said = run(&[&step[..], flag].concat()).failed(1);
        assert_eq!(said, format!("--mode step has no {}", flag[0]));
    }
}

#[test]
fn train_says_what_data_an_option_is_for() {
    let text = tempfile::NamedTempFile::with_suffix(".txt").unwrap();
    let text = text.path().to_str().unwrap();
    for (options, code, expected) in [
        (&["--options", "resets"][..], 2, "`resets` follows from --reset-after and --carry"),
        (&["--reset-after", ""], 2, "expected at least one character"),
        (&["--reset-after", "\\x"], 2, "expected n, r, t or another backslash behind a backslash, got 'x'"),
        (&["--learning-rate", "-1"], 2, "expected a number above zero"),
        (&["--seed", "abc"], 2, "expected a whole number from 0 on"),
        (&["--cell", "gru", "--options", "peephole"], 1, "a peephole is not available for GRU"),
        (&["--options", "clip_cell=0"], 1, "must be above 0 and finite, got 0"),
        (&["--carry"], 1, "--carry: expected a text, which these data are not"),
        (&["--reset-after", "\\n"], 1, "--reset-after: expected a text, which these data are not"),
        (&["--data", text, "--direction", "reverse"], 1, "sees the next character, got reverse"),
        (&["--data", text, "--bidirectional"], 1, "sees the next character, got bidirectional"),
        (&["--dropout", "0.5"], 1, "--dropout: expected --layers of at least 2"),
    ] {
        let said = run(&[&["train", "--device", "cpu"], options].concat()).failed(code);
        assert!(said.contains(expected), "{said}");
    }
}
