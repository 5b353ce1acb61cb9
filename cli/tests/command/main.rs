//! The `wgpu-rnn` command as a user runs it: the built binary, its output, its files and its exit codes.

mod adapters;
mod browser;
mod cache;
mod compare;
mod device;
mod doctor;
mod inside;
mod learn;
mod own;
mod profile;
mod sequences;
mod tasks;
mod time;
mod tune;
mod usage;
mod verify;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No command of these tests may take longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a command left.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
    took: Duration,
}

impl Ran {
    /// Standard output of a success, which leaves nothing on standard error.
    fn succeeded(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// The one sentence on standard error of a failure with `code`.
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        let lines: Vec<&str> = self.err.lines().collect();
        let [line] = lines[..] else { panic!("expected one line on standard error, got {:?}", self.err) };
        let sentence = line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line:?} does not begin with `error: `"));
        assert!(!sentence.is_empty() && !sentence.contains("panicked"), "{sentence}");
        sentence.to_string()
    }
}

/// The command with these arguments. It keeps nothing in the user's folders.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-rnn"));
    command.args(arguments).env_remove("RUST_LOG").env("WGPU_RNN_CACHE_DIR", "");
    command
}

fn start(arguments: &[&str]) -> Child {
    spawn(command(arguments))
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
}

/// Waits for a command; ends it and fails the test when it takes too long.
fn finish(mut child: Child) -> Ran {
    fn read(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut bytes).expect("output can be read");
            }
            String::from_utf8(bytes).expect("output is UTF-8")
        })
    }
    let begin = Instant::now();
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let status = loop {
        match child.try_wait().expect("the command can be waited for") {
            Some(status) => break status,
            None if begin.elapsed() > PATIENCE => {
                child.kill().expect("the command can be ended");
                panic!("the command took longer than {PATIENCE:?}");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = |reader: std::thread::JoinHandle<String>| reader.join().expect("the reader ends");
    Ran { code: status.code(), out: text(out), err: text(err), took: begin.elapsed() }
}

/// Runs the command in a folder of its own, where reports go that are not told where.
fn run(arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(arguments);
    command.current_dir(&folder);
    finish(spawn(command))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn listing() -> Vec<Value> {
    let Value::Array(rows) = json(&run(&["adapters", "--json"]).succeeded()) else { panic!("expected an array") };
    rows
}

/// The `--device` that is a GPU here: hardware if there is one, else a software adapter; of those that wgpu's environment
/// variables `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` leave. Without either the tests fail; they are never skipped.
fn gpu() -> &'static str {
    static KIND: LazyLock<&str> = LazyLock::new(|| {
        let rows = listing();
        let usable = |kind: &str| rows.iter().any(|row| row["kind"] == kind && row["unusable"].is_null());
        let found = ["gpu", "software"].into_iter().find(|kind| usable(kind));
        found.expect("these tests need an adapter: run `cargo xtask driver`")
    });
    *KIND
}
