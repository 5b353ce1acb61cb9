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

/// The chapter's table of claims is the measured one, row by row.
#[test]
fn claims_are_those_of_the_record() {
    let row = |line: &&str| line.starts_with("| ") && line.matches(" | ").count() == 2;
    let rows = |text: &str| -> Vec<String> {
        let table =
            text.lines().skip_while(|line| !line.starts_with("| Claim |")).take_while(|line| line.starts_with('|'));
        table.filter(row).map(str::to_string).collect()
    };
    let (chapter, record) = (
        rows(&read(&root().join("docs/gru-or-lstm.md"))),
        rows(&read(&root().join("docs/record/cpu/claims/README.md"))),
    );
    assert!(record.len() > 10, "{}", record.len());
    assert_eq!(chapter, record);
}

/// The chapter's table of how gradients last is the recorded one, row by row.
#[test]
fn gradients_are_those_of_the_record() {
    let record = read(&root().join("docs/record/cpu/flow/flow.json"));
    let looks: Vec<Value> = serde_json::from_str(&record).expect("JSON");
    let factor = |value: &Value| value.as_f64().map_or_else(|| "–".to_string(), |factor| format!("{factor:.3}"));
    let steps = |value: &Value| value.as_u64().map_or_else(|| "> 99".to_string(), |steps| steps.to_string());
    let row = |look: &Value| {
        let cell = match look["cell"].as_str() {
            Some("rnn_tanh") => "RNN",
            Some("gru") => "GRU",
            _ => "LSTM",
        };
        let trained = if look["trained"] == 0 { "untrained" } else { "after 300 steps" };
        let factors = [&look["decay"], &look["direct_decay"]].map(factor).join(" | ");
        let lengths = [&look["one_e"], &look["one_percent"]].map(steps).join(" | ");
        format!("| {cell} | {trained} | {factors} | {lengths} | {} |", look["verdict"].as_str().unwrap_or_default())
    };
    let rows: Vec<String> = looks.iter().filter(|look| look["steps"] == 100).map(row).collect();
    assert_eq!(rows.len(), 6);
    let chapter = read(&root().join("docs/gradients.md"));
    for row in rows {
        assert!(chapter.lines().any(|line| line == row), "{row}");
    }
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
