use std::path::Path;

use super::browser;
use super::compare::waves;
use super::{gpu, json, path, run};

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn rows(csv: &str) -> Vec<Vec<String>> {
    let row = |line: &str| line.split(',').map(str::to_string).collect();
    csv.lines().map(row).collect()
}

/// Three nets, two lengths, before training and after: the numbers of the table are those of the norms.
#[test]
fn flow_writes_norms_that_its_numbers_follow_from() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("waves.csv"), folder.path().join("deep/flow"));
    std::fs::write(&data, waves(2000)).unwrap();
    for device in ["cpu", gpu()] {
        let arguments = ["flow", "--data", path(&data), "--column", "level", "--steps", "6,40", "--hidden", "5"];
        let rest = ["--train", "4", "--device", device, "--out", path(&out)];
        let said = run(&[&arguments[..], &rest].concat()).succeeded();
        assert!(said.contains("GRU   untrained      40") && said.contains("index.html"), "{said}");
        assert_eq!(names(&out), ["flow.csv", "flow.json", "index.html"]);
        let found = json(&read(&out.join("flow.json")));
        let found = found.as_array().expect("an array");
        assert_eq!(found.len(), 3 * 2 * 2);
        let csv = rows(&read(&out.join("flow.csv")));
        assert_eq!(
            csv[0],
            ["cell", "hidden", "layer", "trained", "T", "steps_back", "norm_h", "norm_c", "norm_direct", "direction"]
        );
        assert_eq!(csv.len(), 1 + 3 * 2 * (6 + 40));
        for look in found {
            let of = |name: &str| look[name].to_string().replace('"', "");
            let key = [of("cell"), of("hidden"), of("layer"), of("trained"), of("steps")];
            let column = if look["cell"] == "lstm" { 7 } else { 6 };
            let norms: Vec<f64> =
                csv.iter().filter(|row| row[..5] == key).map(|row| row[column].parse().unwrap()).collect();
            assert_eq!(norms.len().to_string(), of("steps"));
            let below = norms.iter().position(|norm| *norm < norms[0] / std::f64::consts::E);
            assert_eq!(look["one_e"].as_u64(), below.map(|steps| steps as u64), "{look}");
            assert_eq!(look["direct_decay"].is_null(), look["cell"] == "rnn_tanh", "{look}");
            assert!(["vanishing", "steady", "exploding"].contains(&look["verdict"].as_str().unwrap()), "{look}");
        }
    }
    browser::check(&out.join("index.html"), 4);
}

#[test]
fn flow_of_a_loss_at_every_step_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("poem.txt");
    std::fs::write(&data, "the sea, the sea; \n".repeat(2000)).unwrap();
    let norms = |loss: &str| -> Vec<f64> {
        let out = folder.path().join(loss);
        let arguments = ["flow", "--data", path(&data), "--steps", "12", "--hidden", "6", "--train", "0"];
        run(&[&arguments[..], &["--device", "cpu", "--loss", loss, "--out", path(&out)]].concat()).succeeded();
        let csv = rows(&read(&out.join("flow.csv")));
        csv.iter().filter(|row| row[0] == "gru").map(|row| row[6].parse().unwrap()).collect()
    };
    let (last, all) = (norms("last"), norms("all"));
    assert_eq!((last.len(), all.len()), (12, 12));
    // What comes from the last step alone dies out; what comes from every step does not.
    assert!(last[11] < 0.1 * last[0] && all[11] > 0.3 * all[0], "{last:?} {all:?}");
}

/// Of every value of every cell: shares, and what one sequence did step by step.
#[test]
fn gates_of_a_text_are_shown_with_its_characters() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("poem.txt"), folder.path().join("gates"));
    std::fs::write(&data, "the sea, the <sea>; \n".repeat(2000)).unwrap();
    let arguments = ["gates", "--data", path(&data), "--steps", "20", "--hidden", "6", "--train", "3"];
    let said = run(&[&arguments[..], &["--device", gpu(), "--out", path(&out)]].concat()).succeeded();
    assert!(said.contains("LSTM  after 3 steps  f"), "{said}");
    assert_eq!(names(&out), ["gates.csv", "gates.json", "index.html", "sequence.csv"]);
    let found = json(&read(&out.join("gates.json")));
    let values = |cell: &str| -> Vec<String> {
        let of = found.as_array().expect("an array").iter().filter(|one| one["cell"] == cell && one["trained"] == 3);
        of.map(|one| one["value"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(values("lstm"), ["i", "f", "g", "o", "h", "c"]);
    assert_eq!(values("gru"), ["r", "z", "n", "h"]);
    assert_eq!(values("rnn_tanh"), ["h"]);
    for one in found.as_array().expect("an array") {
        let number = |name: &str| one[name].as_f64().unwrap_or(f64::NAN);
        let shares = number("near_minus_one") + number("near_zero") + number("near_one");
        assert!((0.0..=1.0 + 1e-6).contains(&shares), "{one}");
        let gate = ["i", "f", "o", "r", "z"].contains(&one["value"].as_str().unwrap());
        assert!(!gate || (0.0..=1.0).contains(&number("mean")), "{one}");
    }
    // The forget bias of an untrained LSTM is 1.
    let forget = found.as_array().unwrap().iter().find(|one| one["value"] == "f" && one["trained"] == 0).unwrap();
    assert!((forget["mean"].as_f64().unwrap() - 0.731).abs() < 0.08, "{forget}");
    // Every step's input is what the text has there.
    let sequence = read(&out.join("sequence.csv"));
    let letters: Vec<&str> = sequence
        .lines()
        .filter(|line| line.starts_with("gru,6,0,3,") && line.contains(",z,0,"))
        .map(|line| line.split(',').nth(5).unwrap())
        .collect();
    assert_eq!(letters.len(), 20);
    let text = "the sea, the <sea>; \n".repeat(4).replace(' ', "␣").replace('\n', "↵");
    let shown = letters.concat().replace('"', "");
    assert!(text.replace(',', "").contains(&shown.replace(',', "")), "{shown}");
    // Time constants, and a map of each value of each cell.
    browser::check(&out.join("index.html"), 2 + 6 + 4 + 1);
}

#[test]
fn what_cannot_be_looked_at_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("short.txt");
    std::fs::write(&data, "abc ".repeat(3000)).unwrap();
    let out = folder.path().join("out");
    for command in ["flow", "gates"] {
        let said = run(&[command, "--data", path(&data), "--steps", "5000", "--out", path(&out)]).failed(1);
        assert!(said.contains("short.txt") && said.contains("expected at least"), "{said}");
        let said = run(&[command, "--data", "no/such.txt", "--out", path(&out)]).failed(1);
        assert!(said.contains("no/such.txt"), "{said}");
        let said = run(&[command, "--steps", "0", "--out", path(&out)]).failed(2);
        assert!(said.contains("at least 1"), "{said}");
        assert!(!out.exists(), "{command} left something");
    }
}

/// Cells that are named are looked at in place of the three, with what is changed about their steps.
#[test]
fn named_cells_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("waves.csv"), folder.path().join("out"));
    std::fs::write(&data, waves(2000)).unwrap();
    let look = |command: &str, cells: &str| {
        let arguments = [command, "--data", path(&data), "--column", "level", "--steps", "12", "--hidden", "5"];
        let rest = ["--train", "3", "--device", "cpu", "--cells", cells, "--out", path(&out)];
        run(&[&arguments[..], &rest].concat())
    };
    let said = look("flow", "min_gru,sru,gru+reset_before").succeeded();
    assert!(said.contains("minGRU   ") && said.contains("GRU (reset_before)  "), "{said}");
    let cells = |rows: Vec<Vec<String>>| {
        let mut cells: Vec<String> = rows.into_iter().skip(1).map(|row| row[0].clone()).collect();
        cells.dedup();
        cells
    };
    assert_eq!(cells(rows(&read(&out.join("flow.csv")))), ["min_gru", "sru", "gru+reset_before"]);
    look("gates", "ind_rnn,lstm+projection=3").succeeded();
    let units = rows(&read(&out.join("gates.csv")));
    // h of the projection has so many elements, and what that is made of has a unit each.
    let of = |value: &str| units.iter().filter(|row| row[0].contains("projection") && row[4] == value).count();
    assert_eq!([of("h"), of("m"), of("c")], [2 * 3, 2 * 5, 2 * 5]);
    assert_eq!(cells(units), ["ind_rnn", "lstm+projection=3"]);
    let refused = look("flow", "lstm+projection=3").failed(1);
    assert!(refused.contains("norms of gradients is not available for a projection"), "{refused}");
    let twice = look("gates", "gru,gru").failed(1);
    assert!(twice.contains("--cells names GRU twice"), "{twice}");
}
