//! A peer in a process of its own, which answers one JSON request a line: PyTorch (`torch_rnn.py --serve`), ONNX Runtime
//! (`onnx_rnn.py --serve`), and the libraries of [`served`](crate::served), whose threads are then their own as well.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use wgpu_rnn::{Cell, Precision};

use crate::case::{Case, GRADIENTS, Results, Tolerance};
use crate::onnx;
use crate::peer::{Peer, Run, Sample};
use crate::shapes::{Mode, Shape};

/// A running peer, such as `torch-cpu-2-threads`.
pub struct Process {
    name: String,
    version: String,
    adapter: String,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

struct Layer<'a> {
    process: &'a mut Process,
    shape: Shape,
    cell: Cell,
    mode: Mode,
}

/// A Python, and the folder of the scripts.
pub struct Python {
    pub program: PathBuf,
    pub scripts: PathBuf,
}

/// Any answer.
#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    version: Option<String>,
    adapter: Option<String>,
    wall_ms: Option<f64>,
    gpu_ms: Option<f64>,
    bytes: Option<u64>,
    /// Whether the library has no such layer or mode.
    lacks: Option<bool>,
}

impl Python {
    /// Why PyTorch can't be run with it, on a CUDA GPU if that is asked for; `None` when it can.
    pub fn lacks_torch(&self, cuda: bool) -> Option<String> {
        self.fails(match cuda {
            true => "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 'PyTorch finds no CUDA GPU')",
            false => "import torch",
        })
    }

    /// Why ONNX Runtime can't be run with it; `None` when it can.
    pub fn lacks_onnx(&self) -> Option<String> {
        self.fails("import onnxruntime")
    }

    /// Serves PyTorch as the peer `name`.
    pub fn torch(&self, name: &str) -> Command {
        self.serve("torch_rnn.py", name)
    }

    /// Serves ONNX Runtime as the peer `name`.
    pub fn onnx(&self, name: &str) -> Command {
        self.serve("onnx_rnn.py", name)
    }

    fn serve(&self, script: &str, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.scripts.join(script)).args(["--serve", name]);
        command
    }

    fn fails(&self, code: &str) -> Option<String> {
        match Command::new(&self.program).args(["-c", code]).output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => {
                let said =
                    String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_string();
                Some(format!("{}: {said}", self.program.display()))
            }
            Err(error) => Some(format!("{}: {error}", self.program.display())),
        }
    }
}

impl Process {
    /// Starts the peer `name`.
    pub fn start(mut command: Command, name: &str) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("no pipes to {name}")
        };
        let mut process = Self {
            name: name.to_string(),
            version: String::new(),
            adapter: String::new(),
            child,
            requests: Some(requests),
            answers: BufReader::new(answers),
            folder: tempfile::tempdir()?,
        };
        let hello = process.answer()?;
        process.version = hello.version.unwrap_or_default();
        process.adapter = hello.adapter.unwrap_or_default();
        Ok(process)
    }

    /// The GPU or processor that it runs on.
    pub fn adapter(&self) -> &str {
        &self.adapter
    }

    fn request(&mut self, request: &Value) -> Result<Answer> {
        let requests = self.requests.as_mut().context("the pipe is closed")?;
        writeln!(requests, "{request}")
            .and_then(|()| requests.flush())
            .with_context(|| format!("{} ended", self.name))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "{} ended; what it said is above", self.name);
        let answer: Answer = serde_json::from_str(&line).with_context(|| format!("{} said {line}", self.name))?;
        match answer.error {
            Some(error) => Err(anyhow!("{}: {error}", self.name)),
            None => Ok(answer),
        }
    }
}

impl Drop for Process {
    /// Closing its input ends it.
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}

impl Peer for Process {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn precision(&self) -> Precision {
        if self.name.ends_with("-f16") { Precision::Half } else { Precision::Full }
    }

    fn tolerance(&self) -> Option<Tolerance> {
        let exact = self.name.ends_with("-f32") || self.name.ends_with("-threads") || self.name.ends_with("-thread");
        exact.then_some(Tolerance { output: 1e-4, gradient: 1e-3 })
    }

    fn load(&mut self, case: &Case) -> Result<Option<Box<dyn Run + '_>>> {
        let (path, shape) = (self.folder.path().join("case"), case.shape.clone());
        let tensors = case.parameters().map(|(_, values)| values);
        write(&path, [case.x.as_slice()].into_iter().chain(tensors))?;
        let runs_onnx = self.name.starts_with("onnxruntime") || self.name.starts_with("tract");
        if runs_onnx && case.mode == Mode::Training {
            return Ok(None);
        }
        let model = self.folder.path().join("model.onnx");
        if runs_onnx {
            fs::write(&model, onnx::model(case)?).with_context(|| format!("writing {}", model.display()))?;
        }
        let answer = self.request(&json!({
            "do": "load",
            "path": path,
            "model": model,
            "cell": case.cell.name(),
            "mode": case.mode.name(),
            "shape": [shape.steps, shape.batch, shape.input, shape.hidden],
        }))?;
        if answer.lacks == Some(true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Layer { process: self, shape, cell: case.cell, mode: case.mode })))
    }
}

impl Run for Layer<'_> {
    fn once(&mut self) -> Result<Sample> {
        let answer = self.process.request(&json!({ "do": "once" }))?;
        let wall_ms = answer.wall_ms.context("no time in the answer")?;
        Ok(Sample { wall_ms, gpu_ms: answer.gpu_ms, dispatches: None })
    }

    fn results(&mut self) -> Result<Results> {
        let path = self.process.folder.path().join("results");
        self.process.request(&json!({ "do": "results", "path": path }))?;
        let mut rest = read(&path)?.into_iter();
        let Shape { input, hidden, .. } = self.shape;
        let (rows, gates) = (self.shape.rows(), self.cell.gates() * hidden);
        let mut take = |len: usize| -> Vec<f32> { rest.by_ref().take(len).collect() };
        let y = take(rows * hidden);
        let gradients = match self.mode {
            Mode::Forward => Vec::new(),
            Mode::Training => {
                let lengths = [rows * input, gates * input, gates * hidden, gates, gates];
                GRADIENTS.into_iter().zip(lengths).map(|(name, len)| (name, take(len))).collect()
            }
        };
        ensure!(rest.next().is_none(), "{} gave more values than asked for", self.process.name);
        Ok(Results { y, gradients })
    }

    /// What its allocator held of the GPU at most; nothing on the CPU.
    fn memory(&mut self) -> Result<Option<u64>> {
        Ok(self.process.request(&json!({ "do": "memory" }))?.bytes)
    }
}

/// Floats as bytes, one tensor after the other.
pub fn write<'a>(path: &Path, tensors: impl Iterator<Item = &'a [f32]>) -> Result<()> {
    let bytes: Vec<u8> = tensors.flatten().flat_map(|value| value.to_ne_bytes()).collect();
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// What [`write`] has written.
pub fn read(path: &Path) -> Result<Vec<f32>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect())
}
