use std::path::Path;

use super::{command, finish, gpu, json, spawn};

/// `time` on the GPU with this cache folder: its report and what it said of its pipeline cache.
fn time(folder: &Path) -> (serde_json::Value, Vec<String>) {
    let sizes = "time --cell gru --steps 3 --batch 2 --input 2 --hidden 3 --mode train --runs 1 --json";
    let mut command = command(&sizes.split_whitespace().chain(["--device", gpu()]).collect::<Vec<_>>());
    command.env("WGPU_RNN_CACHE_DIR", folder).env("RUST_LOG", "wgpu_rnn=debug");
    let ran = finish(spawn(command));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let said = ran.err.lines().filter(|line| line.contains("pipeline cache")).map(str::to_owned).collect();
    (json(&ran.out), said)
}

/// Pipeline caches in a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    all.filter(|path| !path.ends_with(TRUST)).collect()
}

const TRUST: &str = "trust.json";

/// Only Vulkan has pipeline caches.
fn has_caches() -> bool {
    let rows = super::listing();
    rows.iter().find(|row| row["kind"] == gpu()).is_some_and(|row| row["capabilities"]["pipeline_cache"] == true)
}

#[test]
fn compiled_pipelines_are_kept_in_one_file() {
    if !has_caches() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("not/there/yet");
    let (_, said) = time(&place);
    assert!(said[0].contains("not read") && said.last().unwrap().contains("bytes written"), "{said:?}");
    let [file] = &files(&place)[..] else { panic!("{:?}", files(&place)) };
    let kept = std::fs::read(file).unwrap();
    assert!(!kept.is_empty());
    // The second run reads it and, as nothing is new, leaves it.
    let (_, said) = time(&place);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!((files(&place).len(), std::fs::read(file).unwrap()), (1, kept));
}

#[test]
fn a_bad_cache_is_replaced_and_a_bad_folder_ignored() {
    if !has_caches() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    time(folder.path());
    let [file] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    for bad in [&b"no pipeline cache"[..], &[], &[0; 5000]] {
        std::fs::write(file, bad).unwrap();
        let (_, said) = time(folder.path());
        assert!(said[0].contains("is damaged") && said[1].contains("bytes written"), "{said:?}");
        assert!(time(folder.path()).1.is_empty(), "it is whole again");
    }
    // A folder that is a file.
    let (report, said) = time(file);
    assert!(said.iter().all(|line| line.contains("not read") || line.contains("not written")), "{said:?}");
    assert_eq!((report["device_kind"].as_str(), said.len()), (Some(gpu()), 2));
}

#[test]
fn an_empty_folder_name_keeps_nothing() {
    let (_, said) = time(Path::new(""));
    assert!(said.is_empty(), "{said:?}");
}

/// A check is made once; what it found is read by the next run, and a doubt in it is heeded.
#[test]
fn what_checks_find_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = time(folder.path());
    let path = folder.path().join(TRUST);
    let kept = std::fs::read_to_string(&path).unwrap();
    let strategy = first["strategy"].as_str().unwrap();
    assert!(kept.contains(&format!("strategy {strategy}, gru")) && kept.contains("all products"), "{kept}");
    // The second run finds nothing new.
    time(folder.path());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), kept);
    // What is no such file is written anew.
    std::fs::write(&path, "nonsense").unwrap();
    time(folder.path());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), kept);
    let mut all: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let subject = serde_json::json!({ "strategy": { "strategy": strategy, "cell": "gru", "backward": true } });
    for ledger in all.as_object_mut().unwrap().values_mut() {
        ledger["doubts"] = serde_json::json!([{ "subject": subject, "reason": "it was wrong on a Tuesday" }]);
    }
    std::fs::write(&path, all.to_string()).unwrap();
    let (second, _) = time(folder.path());
    let why = format!("not `{strategy}` because it was wrong on a Tuesday");
    assert_ne!(second["strategy"], first["strategy"]);
    assert!(second["why_strategy"].as_str().unwrap().contains(&why), "{}", second["why_strategy"]);
}
