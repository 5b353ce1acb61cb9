//! The parts that run the GPU tests on other drivers, a test binary at a time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::need::{self, LayerFiles};
use super::table::Outcome;
use crate::shell;
use crate::suite::cargo;

/// Test binaries of the library that use no GPU.
const WITHOUT_GPU: [&str; 3] = ["cpu_growth", "documents", "floors"];

/// What the quick run takes of the others, and what runs on OpenGL: results of every cell, strategy and option.
const FEW: [&str; 2] = ["fixtures", "agreement"];

/// Of how long the host takes, which a layer that looks at everything makes longer.
const TIMED: [&str; 1] = ["recording"];

/// Variables of a test's environment.
type Environment<'a> = &'a [(&'a str, OsString)];

/// Vulkan's validation layer, with a check that it sees what it is there for.
pub fn validation(quick: bool) -> Result<Outcome> {
    let files = need::validation_layer()?;
    let work = tempfile::tempdir().context("no temporary folder could be made")?;
    let under = |name: &str| Layer::new(&work.path().join(name));

    // A dispatch that reads what another wrote, and no barrier between them.
    let planted = under("planted")?;
    // As cargo runs the tests: what is seen here is seen there.
    let mut hazard = cargo();
    hazard.args(["run", "--quiet", "--package", "portability", "--", "hazard"]);
    shell::run(hazard.envs(planted.environment(&files)))?;
    let seen = planted.messages()?;
    println!("planted: {:?}", seen.keys());
    if !seen.keys().any(|id| id.starts_with("SYNC-")) {
        bail!("the validation layer does not see a hazard that was planted: it is too old, as that of Debian 12 is");
    }

    let mut all = Outcome { done: 0, failed: 0 };
    for name in tests(quick)?.into_iter().filter(|name| !TIMED.contains(&name.as_str())) {
        let layer = under(&name)?;
        let outcome = test(&name, &layer.environment(&files))?;
        let messages = layer.messages()?;
        for (id, text) in &messages {
            println!("{id}: {text}");
        }
        all = Outcome { done: all.done + outcome.done, failed: all.failed + outcome.failed + messages.len() };
    }
    Ok(all)
}

/// SwiftShader in place of the machine's Vulkan drivers.
pub fn swiftshader(quick: bool) -> Result<Outcome> {
    let environment = [("VK_DRIVER_FILES", need::swiftshader()?.into())];
    takes(&environment, "SwiftShader", "swiftshader")?;
    run(&tests(quick)?, &environment)
}

/// OpenGL, and no Vulkan.
pub fn gles(_: bool) -> Result<Outcome> {
    need::egl()?;
    // wgpu gives up a GL context that another thread has held for six seconds, as a long dispatch on a processor does.
    let one_by_one = ("RUST_TEST_THREADS", OsString::from("1"));
    let environment = [("WGPU_BACKEND", "gl".into()), ("VK_DRIVER_FILES", "/nonexistent".into()), one_by_one];
    takes(&environment, "OpenGL", ", gl, ")?;
    run(&FEW.map(String::from), &environment)
}

/// Fails unless the command lists an adapter of `name`, with `mark` somewhere in its line, whatever the case.
fn takes(environment: Environment<'_>, name: &str, mark: &str) -> Result<()> {
    let mut adapters = cargo();
    adapters.args(["run", "--quiet", "--package", "wgpu-rnn-cli", "--", "adapters"]);
    let listed = shell::capture(adapters.envs(environment.iter().cloned()))?;
    if !listed.to_lowercase().contains(mark) {
        bail!("there is no adapter of {name}, only:\n{listed}");
    }
    Ok(())
}

/// Names of the test binaries.
fn tests(quick: bool) -> Result<Vec<String>> {
    if quick {
        return Ok(FEW.map(String::from).to_vec());
    }
    let folder = shell::workspace_root().join("tests");
    let files = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let stem = |file: &Path| file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let rust = files.filter(|file| file.extension().is_some_and(|ending| ending == "rs"));
    let mut names: Vec<String> = rust.filter_map(|file| stem(&file)).collect();
    names.retain(|name| !WITHOUT_GPU.contains(&name.as_str()));
    names.sort();
    Ok(names)
}

fn run(names: &[String], environment: Environment<'_>) -> Result<Outcome> {
    let mut all = Outcome { done: 0, failed: 0 };
    for name in names {
        let Outcome { done, failed } = test(name, environment)?;
        all = Outcome { done: all.done + done, failed: all.failed + failed };
    }
    Ok(all)
}

/// Runs one test binary and says which of its tests failed.
fn test(name: &str, environment: Environment<'_>) -> Result<Outcome> {
    let mut command = cargo();
    command.args(["test", "--package", "wgpu-rnn", "--test", name]);
    command.envs(environment.iter().cloned());
    let run =
        command.stdin(Stdio::null()).output().with_context(|| format!("the test `{name}` could not be started"))?;
    let said = String::from_utf8_lossy(&run.stdout);
    let outcome = count(&said);
    println!("{name}: {} tests, {} failed", outcome.done, outcome.failed);
    for line in said.lines().filter(|line| line.ends_with("... FAILED") || line.contains("panicked at")) {
        println!("  {line}");
    }
    if run.status.success() == (outcome.failed == 0 && outcome.done > 0) {
        return Ok(outcome);
    }
    // It has not even come to its summary.
    println!("  {} ({})", String::from_utf8_lossy(&run.stderr).trim_end().replace('\n', "\n  "), run.status);
    Ok(Outcome { done: outcome.done + 1, failed: outcome.failed + 1 })
}

/// Reads `test result: ok. 3 passed; 1 failed; …`.
fn count(said: &str) -> Outcome {
    let results = said.lines().filter_map(|line| line.strip_prefix("test result: "));
    let number = |line: &str, what: &str| {
        let part = line.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
        part.and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or(0)
    };
    results.fold(Outcome { done: 0, failed: 0 }, |all, line| {
        let [passed, failed] = ["passed", "failed"].map(|what| number(line, what));
        Outcome { done: all.done + passed + failed, failed: all.failed + failed }
    })
}

/// What cargo runs tests with.
const RUNNER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";

/// The validation layer, with settings and a log of its own.
struct Layer {
    settings: OsString,
    log: std::path::PathBuf,
}

/// What the layer says of naga's arrays in workgroup memory: see `spirv.rs` of the member `portability`.
const STRIDES: &str = "VUID-StandaloneSpirv-None-10684";

impl Layer {
    /// Makes its folder.
    fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))?;
        let log = folder.join("log.txt");
        let lines = [
            "debug_action = VK_DBG_LAYER_ACTION_LOG_MSG".to_string(),
            format!("log_filename = {}", log.display()),
            "report_flags = error,warn".to_string(),
            "validate_sync = true".to_string(),
            "syncval_full_validation = true".to_string(),
            // Without it what shaders read and write is not looked at.
            "syncval_shader_accesses_heuristic = true".to_string(),
            format!("message_id_filter = {STRIDES}"),
        ];
        let text: String = lines.iter().map(|line| format!("khronos_validation.{line}\n")).collect();
        fs::write(folder.join("vk_layer_settings.txt"), text)?;
        Ok(Self { settings: folder.into(), log })
    }

    fn environment(&self, files: &LayerFiles) -> Vec<(&'static str, OsString)> {
        let mut all = vec![
            ("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation".into()),
            ("VK_LAYER_SETTINGS_PATH", self.settings.clone()),
            ("VK_LAYER_PATH", files.manifests.clone().into()),
            // Tests that watch for a message of wgpu's know no layer's.
            ("WGPU_DEBUG", "0".into()),
        ];
        match &files.loader {
            Some(loader) => {
                let words = [loader.as_os_str(), "--library-path".as_ref(), files.libraries.as_os_str()];
                all.push((RUNNER, words.join(" ".as_ref())));
            }
            None => all.push(("LD_LIBRARY_PATH", files.libraries.clone().into())),
        }
        all
    }

    /// What it has said, by id, each once; nothing where there is no log.
    fn messages(&self) -> Result<BTreeMap<String, String>> {
        match fs::read_to_string(&self.log) {
            Ok(log) => Ok(messages(&log)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", self.log.display())),
        }
    }
}

/// Ids and texts of a log, without the one that is naga's.
fn messages(log: &str) -> BTreeMap<String, String> {
    let is_id = |word: &&str| ["VUID-", "SYNC-", "UNASSIGNED-"].iter().any(|start| word.starts_with(start));
    let id =
        |line: &str| line.split(|c: char| !(c.is_alphanumeric() || "-_".contains(c))).find(is_id).map(String::from);
    let all = log.lines().filter_map(|line| Some((id(line)?, line.trim().to_string())));
    all.filter(|(id, _)| id != STRIDES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_from_what_the_tests_say() {
        let said = "running 2 tests\ntest result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored\n";
        assert_eq!(count(said), Outcome { done: 6, failed: 1 });
        assert_eq!(count("error: could not compile"), Outcome { done: 0, failed: 0 });
    }

    #[test]
    fn messages_of_the_layer_are_told_apart() {
        let log = "Validation Error: [ SYNC-HAZARD-WRITE-AFTER-WRITE ] Object 0: …\n\
                   VUID-StandaloneSpirv-None-10684(ERROR / SPEC): naga's\nobjects: 1\n\
                   Validation Error: [ VUID-vkCmdDispatch-None-08114 ] a\nValidation Error: [ VUID-vkCmdDispatch-None-08114 ] b\n";
        let messages = messages(log);
        let ids: Vec<&str> = messages.keys().map(String::as_str).collect();
        assert_eq!(ids, ["SYNC-HAZARD-WRITE-AFTER-WRITE", "VUID-vkCmdDispatch-None-08114"]);
    }

    #[test]
    fn every_test_binary_is_known() {
        let all = tests(false).unwrap();
        for name in FEW {
            assert!(all.iter().any(|one| one == name), "{name} is not in {all:?}");
        }
        for name in WITHOUT_GPU {
            assert!(shell::workspace_root().join(format!("tests/{name}.rs")).is_file(), "{name}");
        }
        assert!(all.len() > 20, "only {all:?}");
    }
}
