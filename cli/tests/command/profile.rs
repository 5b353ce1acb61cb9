use super::browser;
use super::{gpu, json, path, run};

const SIZES: &str =
    "time --cell gru --steps 7 --batch 3 --input 5 --hidden 6 --layers 2 --mode train --runs 3 --profile";

/// `time --profile` on a device into a file.
fn profile(device: &str, more: &[&str]) -> super::Ran {
    let arguments: Vec<&str> =
        SIZES.split_whitespace().chain(["--device", device]).chain(more.iter().copied()).collect();
    run(&arguments)
}

#[test]
fn json_has_every_op_and_every_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("deep/page.html");
    for (device, clock) in [(gpu(), "gpu"), ("cpu", "host")] {
        let report = json(&profile(device, &["--json", "--out", path(&out)]).succeeded());
        let profile = &report["profile"];
        assert_eq!((profile["clock"].as_str(), profile["runs"].as_u64()), (Some(clock), Some(3)));
        let [spans, kernels, shaders] = [&profile["spans"], &profile["kernels"], &report["kernels"]]
            .map(|list| list.as_array().unwrap_or_else(|| panic!("{report}")));
        let sum =
            |list: &[serde_json::Value], key: &str| list.iter().map(|one| one[key].as_f64().unwrap()).sum::<f64>();
        let dispatches = report["dispatches"].as_f64().unwrap();
        assert_eq!([spans, kernels, shaders].map(|list| sum(list, "dispatches")), [dispatches; 3]);
        assert_eq!([kernels, shaders].map(|list| sum(list, "ops")), [spans.len() as f64; 2]);
        let elapsed = profile["elapsed_ms"].as_f64().unwrap();
        assert!(elapsed > 0.0 && (sum(kernels, "share") - 1.0).abs() < 1e-9, "{profile}");
        assert!((sum(spans, "ms") - sum(kernels, "ms")).abs() <= 1e-9 * elapsed, "{profile}");
        for span in spans {
            let [start, ms] = ["start_ms", "ms"].map(|key| span[key].as_f64().unwrap());
            assert!(start >= 0.0 && ms >= 0.0 && start + ms <= elapsed * (1.0 + 1e-9), "{span}");
        }
        let page = std::fs::read_to_string(&out).unwrap();
        for span in spans {
            assert!(page.contains(span["kernel"].as_str().unwrap()), "{span}");
        }
    }
}

#[test]
fn text_has_a_table_and_names_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("page.html");
    for (device, clock) in [(gpu(), "GPU timestamps"), ("cpu", "the host's clock")] {
        let text = profile(device, &["--out", path(&out)]).succeeded();
        let table: Vec<&str> =
            text.lines().skip_while(|line| !line.starts_with("profile of the median of 3")).collect();
        assert!(table[0].contains(clock), "{text}");
        let head: Vec<&str> = table[1].split_whitespace().collect();
        assert_eq!(head, ["kernel", "ops", if device == "cpu" { "calls" } else { "dispatches" }, "ms", "share"]);
        let rows = &table[2..table.len() - 1];
        let column = |at: usize| {
            let number = move |row: &&str| row.split_whitespace().nth(at).unwrap().parse::<f64>().unwrap();
            rows.iter().map(number).collect::<Vec<_>>()
        };
        assert!(column(3).is_sorted_by(|a, b| a >= b), "{text}");
        assert!((column(4).iter().sum::<f64>() - 100.0).abs() < 0.1 * rows.len() as f64, "{text}");
        assert_eq!(text.lines().last().unwrap(), format!("timeline: {}", out.display()));
        // The page alone, without what it was written into first.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let page = std::fs::read_to_string(&out).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("class=\"plot\"") && page.ends_with("</html>\n"));
    }
    // Bars of kernels, and a timeline.
    browser::check(&out, 2);
}

/// A page may be written again; another file is not lost.
#[test]
fn no_other_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let [page, notes] = ["page.html", "notes.txt"].map(|name| folder.path().join(name));
    std::fs::write(&notes, "mine").unwrap();
    let said = profile("cpu", &["--out", path(&notes)]).failed(1);
    assert!(said.ends_with("notes.txt: expected no file, or a page to replace, got another file"), "{said}");
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "mine");
    for _ in 0..2 {
        profile("cpu", &["--out", path(&page)]).succeeded();
    }
}

#[test]
fn what_cannot_be_written_is_known_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for out in [folder.path().to_path_buf(), file.join("page.html")] {
        let sentence = profile("cpu", &["--out", path(&out)]).failed(1);
        assert!(sentence.contains("could not write"), "{sentence}");
    }
    let without: Vec<&str> = SIZES.split_whitespace().filter(|word| *word != "--profile").collect();
    let sentence = run(&[&without[..], &["--out", "page.html"]].concat()).failed(2);
    assert!(sentence.contains("--profile"), "{sentence}");
}
