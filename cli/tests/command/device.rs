//! Which device a command runs on: `--device`, `--adapter`, and what the environment says.

use super::{Ran, command, finish, gpu, json, listing, run, spawn};

const TIME: &[&str] =
    &["time", "--cell", "gru", "--steps", "3", "--batch", "2", "--input", "4", "--hidden", "5", "--mode", "forward"];

/// `time` of a small layer with these arguments more.
fn time<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [TIME, &["--runs", "1"], more].concat()
}

/// A command with a variable of the environment set.
fn with(name: &str, value: &str, arguments: &[&str]) -> Ran {
    let mut command = command(arguments);
    command.env(name, value);
    finish(spawn(command))
}

#[test]
fn every_command_with_a_device_takes_an_adapter() {
    let help = run(&["--help"]).succeeded();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next())
        .collect();
    let mut with_device = 0;
    for name in names.into_iter().filter(|name| *name != "help") {
        let help = run(&[name, "--help"]).succeeded();
        assert_eq!(help.contains("--device <DEVICE>"), help.contains("--adapter <N|NAME>"), "{name}: {help}");
        with_device += usize::from(help.contains("--device <DEVICE>"));
    }
    assert!(with_device >= 12, "{with_device}");
}

#[test]
fn an_adapter_is_taken_by_its_number_and_by_its_name() {
    let rows = listing();
    let row = rows.iter().find(|row| row["kind"] == gpu() && row["unusable"].is_null()).expect("an adapter");
    let (name, backend) = (row["name"].as_str().expect("a name"), row["backend"].as_str().expect("a backend"));
    let number = row["number"].as_u64().expect("a number").to_string();
    let words = format!("{} {}", backend.to_uppercase(), name.to_lowercase());
    for wanted in [number.as_str(), &words, &format!("{name} ({backend})")] {
        let text = run(&time(&["--adapter", wanted, "--json"])).succeeded();
        let report = json(&text);
        assert_eq!((&report["device"], &report["backend"]), (&row["name"], &row["backend"]), "{wanted}: {report}");
        assert_eq!(report["why_device"], "it was picked from the list of adapters");
    }
}

#[test]
fn what_is_no_adapter_is_answered_with_those_there_are() {
    let row = &listing()[0];
    let label = format!("0: {} ({})", row["name"].as_str().expect("name"), row["backend"].as_str().expect("backend"));
    for wanted in ["99999", "no such adapter"] {
        let sentence = run(&time(&["--adapter", wanted])).failed(1);
        assert!(sentence.starts_with(&format!("no adapter `{wanted}` was found: ")), "{sentence}");
        assert!(sentence.contains(&label), "{sentence}");
    }
    let both = run(&time(&["--device", "cpu", "--adapter", "0"])).failed(2);
    assert!(
        both.contains("'--adapter <N|NAME>' cannot be used with")
            || both.contains("cannot be used with '--adapter <N|NAME>'"),
        "{both}"
    );
    let step =
        ["time", "--cell", "gru", "--steps", "3", "--batch", "2", "--input", "4", "--hidden", "5", "--mode", "step"];
    let step = run(&[&step, &["--adapter", "0"][..]].concat()).succeeded();
    assert!(step.contains("x uploaded, a step, y read back") && step.contains("of 3 steps"), "{step}");
}

#[test]
fn backends_that_do_not_exist_are_an_error_that_names_the_variable() {
    for value in ["nonsense", "vulkan,dx13"] {
        for arguments in [vec!["adapters"], time(&[]), time(&["--device", "gpu"]), time(&["--adapter", "0"])] {
            let sentence = with("WGPU_BACKEND", value, &arguments).failed(1);
            assert_eq!(
                sentence,
                format!(
                    "the environment variable WGPU_BACKEND must be names from vulkan, dx12, metal, gl, webgpu, with \
                     commas between them, got `{value}`"
                )
            );
        }
    }
    // The CPU executor needs none.
    with("WGPU_BACKEND", "nonsense", &time(&["--device", "cpu"])).succeeded();
}

#[test]
fn variables_that_hide_all_adapters_are_named() {
    // No platform has both.
    let missing = if cfg!(target_vendor = "apple") { "dx12" } else { "metal" };
    for (name, value) in [("WGPU_BACKEND", missing), ("WGPU_ADAPTER_NAME", "no such adapter")] {
        let says = format!("{name} is `{value}`");
        let sentence = with(name, value, &time(&["--device", "software"])).failed(1);
        assert!(sentence.starts_with("no software GPU adapter was found: ") && sentence.contains(&says), "{sentence}");
        let sentence = with(name, value, &time(&["--adapter", "0"])).failed(1);
        assert!(sentence.starts_with("no adapter `0` was found: ") && sentence.contains(&says), "{sentence}");
        let text = with(name, value, &["adapters"]).succeeded();
        assert!(text.starts_with("No adapter was found") && text.contains(&says), "{text}");
    }
    // One that is there is found with part of its name.
    let row = listing().into_iter().find(|row| row["kind"] == gpu()).expect("an adapter");
    let part: String = row["name"].as_str().expect("a name").chars().take(4).collect();
    let text = with("WGPU_ADAPTER_NAME", &part.to_uppercase(), &time(&["--device", gpu(), "--json"])).succeeded();
    assert!(json(&text)["device"].as_str().is_some_and(|name| name.contains(&part)), "{text}");
}
