//! The same layers in PyTorch through cuDNN, where Python has it: numbers held against each other, and times taken in
//! turn. The script that runs them travels inside the command.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, RnnConfig};

use super::cases::compare as compare_tensors;
use super::findings::{Check, Findings, Off, Verdict};
use super::layer::{Tensor, values};
use crate::base::stats::{median, sorted};
use crate::base::stop;

/// What Python is called.
pub const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

const SCRIPT: &str = include_str!("torch_rnn.py");

/// Peers of the script, and whether their numbers are f32's.
const PEERS: [(&str, bool); 2] = [("torch-cudnn-f32", true), ("torch-cudnn-tf32", false)];

/// T, B, I, H.
const SHAPES: [[usize; 4]; 5] =
    [[128, 32, 64, 128], [256, 1, 32, 64], [100, 64, 128, 256], [50, 32, 512, 512], [25, 64, 1024, 1024]];

/// How far f32 numbers of two libraries may be apart: outputs, gradients.
const BOUNDS: [f64; 2] = [1e-4, 1e-3];

/// Rounds, each with a run of both, after some to warm up.
const ROUNDS: usize = 15;

/// Adds a line a layer and, in f32, a check; one line where there is nothing to compare with.
pub fn compare(device: &Device, python: &Path, quick: bool, found: &mut Findings) -> Result<()> {
    if let Some(why) = lacks(python) {
        found.peers.push(format!("not run, because {why}"));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("torch_rnn.py");
    fs::write(&script, SCRIPT)?;
    let shapes = if quick { &SHAPES[..2] } else { &SHAPES[..] };
    for (name, exact) in PEERS {
        let mut peer = Peer::start(Command::new(python).arg(&script).args(["--serve", name]), name)?;
        found.peers.push(format!("{name} is PyTorch {} on {}", peer.version, peer.adapter));
        for &size in shapes {
            for (cell, mode) in
                [Cell::Lstm, Cell::Gru].into_iter().flat_map(|cell| [(cell, Mode::Infer), (cell, Mode::Train)])
            {
                stop::check()?;
                let start = Instant::now();
                let layer = Layer { size, cell, mode };
                let (off, line) = layer.against(device, &mut peer, folder.path())?;
                found.peers.push(format!("{name}, {}: {line}", layer.name()));
                if exact {
                    let (off, verdict) = off;
                    let ms = start.elapsed().as_secs_f64() * 1e3;
                    found.checks.push(Check {
                        group: name.to_string(),
                        name: layer.name(),
                        verdict,
                        off: Some(off),
                        ms,
                    });
                }
            }
        }
    }
    Ok(())
}

/// Why PyTorch with CUDA can't be run with this Python, as a clause; `None` when it can.
fn lacks(python: &Path) -> Option<String> {
    let code = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 'PyTorch finds no CUDA GPU')";
    match Command::new(python).args(["-c", code]).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_string();
            Some(format!("{} says: {said}", python.display()))
        }
        Err(error) => Some(format!("{} can't be run: {error}", python.display())),
    }
}

/// A layer that both run.
#[derive(Clone, Copy)]
struct Layer {
    size: [usize; 4],
    cell: Cell,
    mode: Mode,
}

/// This engine's, ready to run.
struct Ours {
    device: Device,
    bound: Bound,
    results: Vec<(String, Buffer, bool)>,
}

impl Layer {
    fn mode_name(self) -> &'static str {
        if self.mode == Mode::Train { "training" } else { "forward" }
    }

    fn name(self) -> String {
        let [t, b, i, h] = self.size;
        format!("{} T{t} B{b} I{i} H{h} {}", self.cell.name(), self.mode_name())
    }

    fn config(self) -> RnnConfig {
        RnnConfig::new(self.cell, self.size[2], self.size[3])
    }

    /// x, then the weights in PyTorch's order.
    fn given(self) -> Vec<Vec<f64>> {
        let [t, b, i, h] = self.size;
        let weights = tensors(&self.config(), "")
            .into_iter()
            .enumerate()
            .map(|(seed, (_, shape))| values(seed as u64 + 10, shape.iter().product(), 1.0 / (h as f64).sqrt()));
        std::iter::once(values(1, t * b * i, 1.0)).chain(weights).collect()
    }

    fn ours(self, device: &Device, given: &[Vec<f64>]) -> Result<Ours> {
        let (config, shape, table) =
            (self.config(), BatchShape::new(self.size[0], self.size[1]), tensors(&self.config(), ""));
        let trains = self.mode == Mode::Train;
        let params = match trains {
            true => Parameters::new(device, table.clone())?,
            false => Parameters::frozen(device, table.clone())?,
        };
        for ((name, shape), values) in table.iter().zip(&given[1..]) {
            params.set_f64(name, shape, values)?;
        }
        let x = device.alloc("x", given[0].len())?;
        device.write_f64(&x, &given[0])?;
        let y = device.alloc("y", shape.rows() * config.outputs())?;
        let mut gradients = Gradients::default();
        let mut results = vec![("y".to_string(), y.clone(), false)];
        if trains {
            let dx = device.alloc("dx", x.len())?;
            gradients =
                Gradients { dy: Some(device.upload("dy", &vec![1.0; y.len()])?), dx: Some(dx.clone()), ..gradients };
            results.push(("dx".to_string(), dx, true));
            for (name, _) in &table {
                results.push((format!("grad.{name}"), params.gradient(name)?, true));
            }
        }
        let rnn = Rnn::new(device, config, shape, self.mode, Options::default())?;
        let bound = rnn.bind(&params, "", &Io::new(&x, &y), &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
        Ok(Ours { device: device.clone(), bound, results })
    }

    /// How far the numbers are apart, and both times in a line.
    fn against(self, device: &Device, peer: &mut Peer, folder: &Path) -> Result<((Off, Verdict), String)> {
        let given = self.given();
        let ours = self.ours(device, &given)?;
        let path = folder.join("values");
        let bytes = given.iter().flatten().flat_map(|value| (*value as f32).to_ne_bytes());
        fs::write(&path, bytes.collect::<Vec<u8>>())?;
        peer.request(&json!({
            "do": "load", "path": path, "cell": self.cell.name(), "mode": self.mode_name(), "shape": self.size,
        }))?;
        ours.once()?;
        let mine = ours.read()?;
        let theirs = peer.results(&folder.join("results"), &mine)?;
        let (off, verdict) = compare_tensors(&mine, &theirs, BOUNDS);
        for _ in 0..3 {
            ours.once()?;
            peer.once()?;
        }
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            let (mine, theirs) = (ours.once()?, peer.once()?);
            for (times, time) in times.iter_mut().zip([Some(mine.0), mine.1, Some(theirs.0), theirs.1]) {
                times.extend(time);
            }
        }
        let [wall, gpu, peer_wall, peer_gpu] = times.map(|times| median(&sorted(times.into_iter())));
        let line = format!(
            "ours {wall:.3} ms (GPU {gpu:.3}), theirs {peer_wall:.3} ms (GPU {peer_gpu:.3}), theirs over ours {:.2}, \
             numbers {:.1e} apart",
            peer_wall / wall,
            off.error
        );
        Ok(((off, verdict), line))
    }
}

impl Ours {
    /// Milliseconds of a run: on the wall, and on the GPU where it tells.
    fn once(&self) -> Result<(f64, Option<f64>)> {
        let timing = self.device.time(|recorder| {
            self.bound.forward.record(recorder)?;
            self.bound.backward.record(recorder)
        })?;
        Ok((timing.wall_ms, timing.gpu_ms))
    }

    fn read(&self) -> Result<Vec<Tensor>> {
        let read = |(name, buffer, gradient): &(String, Buffer, bool)| {
            Ok(Tensor { name: name.clone(), values: self.device.read_f64(buffer)?, gradient: *gradient })
        };
        self.results.iter().map(read).collect()
    }
}

/// The script at work: one JSON request a line, one answer.
struct Peer {
    name: String,
    version: String,
    adapter: String,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Any answer.
#[derive(Default, Deserialize)]
struct Answer {
    error: Option<String>,
    version: Option<String>,
    adapter: Option<String>,
    wall_ms: Option<f64>,
    gpu_ms: Option<f64>,
}

impl Answer {
    fn parse(name: &str, line: &str) -> Result<Self> {
        ensure!(!line.is_empty(), "{name} ended; what it said is above");
        let answer: Self = serde_json::from_str(line).with_context(|| format!("{name} said {line:?}"))?;
        match answer.error {
            Some(error) => Err(anyhow!("{name}: {error}")),
            None => Ok(answer),
        }
    }
}

impl Peer {
    fn start(command: &mut Command, name: &str) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("no pipes to {name}")
        };
        let (name, answers) = (name.to_string(), BufReader::new(answers));
        let none = String::new;
        let mut peer = Self { name, version: none(), adapter: none(), child, requests: Some(requests), answers };
        let hello = peer.answer()?;
        (peer.version, peer.adapter) = (hello.version.unwrap_or_default(), hello.adapter.unwrap_or_default());
        Ok(peer)
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Answer::parse(&self.name, line.trim_end())
    }

    fn request(&mut self, request: &Value) -> Result<Answer> {
        let requests = self.requests.as_mut().context("the pipe is closed")?;
        writeln!(requests, "{request}")
            .and_then(|()| requests.flush())
            .with_context(|| format!("{} ended", self.name))?;
        self.answer()
    }

    fn once(&mut self) -> Result<(f64, Option<f64>)> {
        let answer = self.request(&json!({ "do": "once" }))?;
        Ok((answer.wall_ms.context("no time in the answer")?, answer.gpu_ms))
    }

    /// Its results, which must be as many as ours.
    fn results(&mut self, path: &PathBuf, like: &[Tensor]) -> Result<Vec<Tensor>> {
        self.request(&json!({ "do": "results", "path": path }))?;
        split(&fs::read(path)?, like).with_context(|| format!("{} gave other results than asked for", self.name))
    }
}

/// Tensors of the shapes of `like` from f32 bytes, one after the other; none where there are more bytes or fewer.
fn split(bytes: &[u8], like: &[Tensor]) -> Option<Vec<Tensor>> {
    let floats: Vec<f64> =
        bytes.chunks_exact(4).map(|b| f64::from(f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))).collect();
    let all: usize = like.iter().map(|tensor| tensor.values.len()).sum();
    if bytes.len() != 4 * all {
        return None;
    }
    let mut rest = floats.into_iter();
    let of = |tensor: &Tensor| Tensor {
        name: tensor.name.clone(),
        values: rest.by_ref().take(tensor.values.len()).collect(),
        gradient: tensor.gradient,
    };
    Some(like.iter().map(of).collect())
}

impl Drop for Peer {
    /// Closing its input ends it.
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Tensor, lacks, split};

    #[test]
    fn without_a_python_it_says_so() {
        let why = lacks("no/such/python".as_ref()).expect("there is none");
        assert!(why.starts_with("no/such/python can't be run: "), "{why}");
    }

    #[test]
    fn answers_are_times_or_errors() {
        let answer = Answer::parse("peer", r#"{"wall_ms": 1.5, "gpu_ms": null}"#).expect("an answer");
        assert_eq!((answer.wall_ms, answer.gpu_ms), (Some(1.5), None));
        let sentence = |line| Answer::parse("peer", line).err().expect(line).to_string();
        assert_eq!(sentence(r#"{"error": "RuntimeError: no memory"}"#), "peer: RuntimeError: no memory");
        assert_eq!(sentence(""), "peer ended; what it said is above");
        assert_eq!(sentence("oops"), "peer said \"oops\"");
    }

    #[test]
    fn results_are_cut_as_ours_are() {
        let like = [("y", 2, false), ("dx", 1, true)];
        let like =
            like.map(|(name, len, gradient)| Tensor { name: name.to_string(), values: vec![0.0; len], gradient });
        let bytes: Vec<u8> = [1.0f32, 2.0, 3.0].into_iter().flat_map(f32::to_ne_bytes).collect();
        let split_up = split(&bytes, &like).expect("as many");
        assert_eq!((&split_up[0].values[..], &split_up[1].values[..]), (&[1.0, 2.0][..], &[3.0][..]));
        assert!(split(&bytes[..8], &like).is_none() && split(&[&bytes[..], &[0; 4]].concat(), &like).is_none());
    }
}
