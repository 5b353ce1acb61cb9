//! What the documents say of the repository is so: links lead somewhere, and numbers are those of the record.

use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Markdown files of the repository, but for what is built or fetched.
fn documents() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let skipped =
                name.starts_with('.') || ["target", "report", "model", "node_modules"].contains(&name.as_str());
            match path.is_dir() {
                true if !skipped => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "md") => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// What the links and pictures of a document point at, without anchors.
fn targets(text: &str) -> Vec<&str> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links.map(|(target, _)| target.split('#').next().unwrap_or_default()).collect()
}

#[test]
fn links_lead_somewhere() {
    let all = documents();
    assert!(all.len() > 8, "{all:?}");
    for document in all {
        let text = read(&document);
        let local = |target: &&str| !target.is_empty() && !target.contains("://") && !target.contains("::");
        for target in targets(&text).into_iter().filter(local) {
            let path = document.parent().expect("a folder").join(target);
            assert!(path.exists(), "{}: `{target}` is not there", document.display());
        }
    }
}

/// No place was left to be filled in.
#[test]
fn nothing_is_left_open() {
    for document in documents() {
        let text = read(&document);
        let open = text.split_whitespace().find(|word| word.len() > 2 && word.starts_with('@') && word.ends_with('@'));
        assert_eq!(open, None, "{}", document.display());
    }
}

/// The rows of the tables between two headings, each as its cells.
fn rows(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let lines = section.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| "));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()).collect()
}

/// The numbers of a cell, and how far each may be from the right one: half of its last digit.
fn numbers(cell: &str) -> Vec<(f64, f64)> {
    let words = cell.split(|c: char| !(c.is_ascii_digit() || ".e−".contains(c))).filter(|word| !word.is_empty());
    let number = |word: &str| {
        let word = word.replace('−', "-");
        let (digits, power) = word.split_once('e').unwrap_or((&word, "0"));
        let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let unit = 10f64.powi(power.parse::<i32>().ok()? - decimals as i32);
        Some((word.parse::<f64>().ok()?, 0.501 * unit))
    };
    words.filter_map(number).collect()
}

#[track_caller]
fn agree(cell: &str, want: &[f64]) {
    let found = numbers(cell);
    assert_eq!(found.len(), want.len(), "`{cell}` for {want:?}");
    for ((got, off), want) in found.into_iter().zip(want) {
        assert!((got - want).abs() <= off, "`{cell}` for {want}");
    }
}

/// What the chapter says of how fast the cells learnt, how good they were and what they cost is what was recorded.
#[test]
fn claims_are_those_of_the_record() {
    let chapter = read(&root().join("docs/gru-or-lstm.md"));
    let record = read(&root().join("docs/record/cpu/claims/claims.csv"));
    let record: Vec<Vec<&str>> = record.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let of = |problem: &str, lag: &str, cell: &str, column: usize| -> Vec<f64> {
        let these = record.iter().filter(|row| row[0].starts_with(problem) && row[1] == lag && row[4] == cell);
        these.filter_map(|row| row[column].parse().ok()).collect()
    };
    let spread = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (least, most) =
            (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max));
        if least == most { vec![mean] } else { vec![mean, least, most] }
    };
    let (mut problem, mut learnt) = (String::new(), 0);
    for row in
        rows(&chapter, "How fast they learnt").iter().filter(|row| row.len() == 5 && row[1] != "lag" && row[1] != "--:")
    {
        problem = if row[0].is_empty() { problem } else { row[0].clone() };
        for (cell, told) in ["RNN", "GRU", "LSTM"].iter().zip(&row[2..]) {
            let steps = of(&problem, &row[1], cell, 8);
            match steps.len() {
                0 => assert_eq!(told, "none", "{row:?}"),
                3 => agree(told, &spread(&steps)),
                some => agree(told, &[some as f64, 3.0, steps.iter().sum::<f64>() / some as f64]),
            }
            learnt += 1;
        }
    }
    assert_eq!(learnt, 2 * 5 * 3);
    for (told, problem) in [("weather", "weather"), ("speakers", "japanese"), ("Moby-Dick", "moby")] {
        let all = rows(&chapter, "How good they were on real data");
        let row = all.iter().find(|row| row[0].starts_with(told)).expect("a row");
        for (cell, told) in ["RNN", "GRU", "LSTM"].iter().zip(&row[1..]) {
            agree(told, &spread(&of(problem, "", cell, 10)));
        }
        let mean = |cell: &str| spread(&of(problem, "", cell, 10))[0];
        agree(&row[4], &[mean("GRU") / mean("LSTM")]);
    }
    let said = read(&root().join("docs/record/cpu/claims/README.md")).replace('\u{202f}', " ");
    let (mut hidden, mut costs) = (Vec::new(), 0);
    for row in rows(&chapter, "What it cost").iter().filter(|row| row.len() == 5) {
        if row[0].ends_with(": H") {
            hidden = row[1..3].to_vec();
        }
        for ((cell, hidden), told) in
            ["GRU", "LSTM"].iter().zip(&hidden).zip(&row[1..]).filter(|(_, told)| told.contains(" ms "))
        {
            assert!(said.contains(&format!("{cell} (H = {hidden}) {told}")), "{told}");
            costs += 1;
        }
    }
    assert_eq!(costs, 8);
}

/// The chapter's table of how gradients last is the recorded one, row by row.
#[test]
fn gradients_are_those_of_the_record() {
    let folders = [
        ("weather, half-open gates", "usual"),
        ("weather, open gates", "alike"),
        ("adding, open gates", "adding"),
        ("adding, half-open gates", "control"),
    ];
    let chapter = read(&root().join("docs/gradients.md"));
    let (mut folder, mut found) = ("", 0);
    for row in rows(&chapter, "What it looks like").iter().filter(|row| row.len() == 9 && !row[2].contains("-")) {
        let (net, cell) = row[0].rsplit_once(": ").unwrap_or(("", &row[0]));
        folder = folders.iter().find(|(name, _)| *name == net).map_or(folder, |(_, folder)| folder);
        let name = match cell {
            "RNN" => "rnn_tanh",
            "GRU" => "gru",
            "LSTM" => "lstm",
            _ => continue,
        };
        let trained: u64 = row[1].split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0);
        let load = |file: &str| -> Vec<Value> {
            let text = read(&root().join("docs/record/cpu/inside").join(folder).join(file));
            serde_json::from_str(&text).expect("JSON")
        };
        let of = |all: Vec<Value>| {
            all.into_iter().filter(move |one| one["cell"] == name && one["trained"] == trained).collect::<Vec<_>>()
        };
        let look = of(load("flow.json")).into_iter().next().expect("a look");
        let number = |key: &str| look[key].as_f64().unwrap_or(f64::NAN);
        agree(&row[2], &[number("left_at_the_first")]);
        found += 1;
        if name == "rnn_tanh" {
            continue;
        }
        agree(&row[3], &[number("left_at_the_first") * number("direct_share_of_the_first")]);
        for (cell, key) in row[4..].iter().zip(["direct_share_1", "direct_share_10", "direct_share_of_the_first"]) {
            agree(cell, &[number(key)]);
        }
        let gates = of(load("gates.json"));
        let keeps = gates.iter().find(|one| one["time_constant_median"].is_f64()).expect("a gate that keeps");
        for (cell, key) in row[7..].iter().zip(["time_constant_median", "time_constant_longest"]) {
            agree(cell, &[keeps[key].as_f64().expect("a number")]);
        }
    }
    assert_eq!(found, 17);
}

/// What is told of an adapter is what the doctor printed there, and every block is told of.
#[test]
fn adapters_are_those_of_their_blocks() {
    let docs = root().join("docs");
    let text = read(&docs.join("adapters.md"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = text.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells).collect();
    let blocks: Vec<PathBuf> = std::fs::read_dir(docs.join("adapters"))
        .expect("the blocks")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(rows.len() >= 3 && rows.len() == blocks.len(), "{rows:?}, {blocks:?}");
    for row in rows {
        let [adapter, driver, result, date, block] = &row[..] else { panic!("{row:?}") };
        let target = targets(block).first().map(|target| docs.join(target)).expect("a block");
        let block = read(&target);
        assert!(block.starts_with("----- wgpu-rnn doctor, format 1 -----"), "{}", target.display());
        let of = |key: &str| block.lines().find_map(|line| line.strip_prefix(&format!("{key}: "))).unwrap_or_default();
        assert_eq!(&[of("adapter"), of("result"), of("date")], &[adapter, result, date]);
        assert_eq!(&format!("{}, {}", of("backend"), of("driver")), driver);
    }
}
