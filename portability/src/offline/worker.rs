//! The process that has a family's driver: it compiles what it is told, and says so before and after each, since some
//! drivers end the process over a kernel that they can't compile.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use wgpu_rnn::shader::{Spec, compose};

use super::device::{Adapter, Device, Statistics};
use super::family::Family;
use super::listed;
use crate::corpus::Variant;
use crate::translate::to_spirv;

/// How long a driver may take over one kernel.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came of one variant: statistics, or what the driver said or did.
pub type Outcome = std::result::Result<Statistics, String>;

/// A line of the worker's output.
#[derive(Serialize, Deserialize)]
enum Line {
    /// First: what the device is.
    Adapter(Adapter),
    /// What came of a variant.
    Done { index: usize, result: Outcome },
}

/// Runs as the worker: the lines of its input are places in the list of variants.
pub fn serve() -> Result<()> {
    let device = Device::open()?;
    let adapter = device.adapter().clone();
    say(&Line::Adapter(adapter.clone()))?;
    let specs = listed(&adapter);
    for line in std::io::stdin().lines() {
        let index: usize = line?.trim().parse()?;
        let spec = specs.get(index).context("no such variant")?;
        say(&Line::Done { index, result: compile_one(&device, spec) })?;
    }
    Ok(())
}

fn compile_one(device: &Device, spec: &Spec) -> Outcome {
    let variant = Variant { source: compose(spec).source, spec: spec.clone() };
    let (module, info) = variant.module()?;
    let code = to_spirv(&variant, &module, &info, device.adapter().spirv(), false)?;
    let kinds: Vec<_> = spec.kernel.bindings.iter().map(|binding| binding.kind).collect();
    device.compile(&kinds, &code).map_err(|error| format!("{error:#}"))
}

fn say(line: &Line) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(line)?)?;
    Ok(out.flush()?)
}

/// A worker at work.
struct Worker {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Line>,
    adapter: Adapter,
}

impl Worker {
    fn start(family: &Family, folder: &Path, program: &str) -> Result<Self> {
        let mut command = family.command(folder, program, &["offline", "--worker"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("the worker could not be started")?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { bail!("no pipes") };
        let (send, lines) = channel();
        std::thread::spawn(move || {
            let read = |output: ChildStdout| BufReader::new(output).lines().map_while(std::result::Result::ok);
            // Drivers print too; what is no line of ours is theirs.
            let ours = read(output).filter_map(|line| serde_json::from_str(&line).ok());
            ours.map(|line| send.send(line)).take_while(std::result::Result::is_ok).for_each(drop);
        });
        match lines.recv_timeout(PATIENCE) {
            Ok(Line::Adapter(adapter)) => Ok(Self { child, input, lines, adapter }),
            _ => {
                let _ = child.kill();
                let status = child.wait()?;
                bail!("the driver of {} could not be opened ({status})", family.name)
            }
        }
    }

    /// What came of a variant, or why the process is gone.
    fn compile(&mut self, index: usize) -> std::result::Result<Outcome, String> {
        let asked = writeln!(self.input, "{index}").and_then(|()| self.input.flush());
        if asked.is_ok() {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(Line::Done { index: done, result }) if done == index => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {
                    self.end();
                    return Err(format!("no answer in {} s", PATIENCE.as_secs()));
                }
                _ => {}
            }
        }
        let status = self.end();
        Err(format!("the driver ended the process ({status})"))
    }

    fn end(&mut self) -> String {
        let _ = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// The adapter of a family, and what its driver makes of its variants but those that `known` has already.
pub fn compile(
    family: &Family,
    folder: &Path,
    program: &str,
    known: impl Fn(&Adapter, &Spec) -> bool,
) -> Result<(Adapter, BTreeMap<usize, Outcome>)> {
    let mut worker = Worker::start(family, folder, program)?;
    let adapter = worker.adapter.clone();
    let specs = listed(&adapter);
    let wanted: Vec<usize> = (0..specs.len()).filter(|&index| !known(&adapter, &specs[index])).collect();
    eprintln!(
        "{}: {} with {}: {} of {} variants",
        family.name,
        adapter.name,
        adapter.driver,
        wanted.len(),
        specs.len()
    );
    let mut outcomes = BTreeMap::new();
    for (count, &index) in wanted.iter().enumerate() {
        let outcome = match worker.compile(index) {
            Ok(outcome) => outcome,
            Err(gone) => {
                worker = Worker::start(family, folder, program)?;
                Err(gone)
            }
        };
        if let Err(why) = &outcome {
            let spec = &specs[index];
            eprintln!("{}: {} ({}): {why}", family.name, spec.kernel.name, spec.variant());
        }
        outcomes.insert(index, outcome);
        if count % 100 == 99 {
            eprintln!("{}: {} of {}", family.name, count + 1, wanted.len());
        }
    }
    Ok((adapter, outcomes))
}
