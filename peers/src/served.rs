//! The libraries that run in a process of their own, and the process: `peers --serve NAME` answers one JSON request a
//! line, as [`process`](crate::process) asks them.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::json;
use wgpu_rnn::Cell;

use crate::burn_peer::Burn;
use crate::candle_peer::Candle;
use crate::case::Case;
use crate::peer::{Peer, Run};
use crate::process::{read, write};
use crate::shapes::{Mode, Shape};
use crate::tract_peer::Tract;

/// Names that [`serve`] knows.
pub const NAMES: [&str; 3] = ["burn-flex", "candle", "tract"];

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "do")]
    what: String,
    path: Option<PathBuf>,
    cell: Option<String>,
    mode: Option<String>,
    shape: Option<[usize; 4]>,
}

fn open(name: &str) -> Result<Box<dyn Peer>> {
    match name {
        "burn-flex" => Ok(Box::new(Burn::flex())),
        "candle" => Ok(Box::new(Candle)),
        "tract" => Ok(Box::new(Tract)),
        other => bail!("no library `{other}`: one of {}", NAMES.join(", ")),
    }
}

/// Answers until the input ends.
pub fn serve(name: &str) -> Result<()> {
    let mut peer = open(name)?;
    answer(json!({ "version": peer.version(), "adapter": "CPU" }))?;
    let mut lines = std::io::stdin().lock().lines();
    let mut next = || -> Result<Option<Request>> {
        lines.next().transpose()?.map(|line| Ok(serde_json::from_str(&line)?)).transpose()
    };
    let mut request = next()?;
    // A case is served until another is to be loaded.
    while let Some(load) = request {
        match case(&load).and_then(|case| peer.load(&case)) {
            Ok(Some(mut run)) => {
                answer(json!({}))?;
                request = loop {
                    match next()? {
                        Some(one) if one.what != "load" => answer(done(run.as_mut(), &one))?,
                        other => break other,
                    }
                };
            }
            Ok(None) => {
                answer(json!({ "lacks": true }))?;
                request = next()?;
            }
            Err(error) => {
                answer(json!({ "error": format!("{error:#}") }))?;
                request = next()?;
            }
        }
    }
    Ok(())
}

fn answer(answer: serde_json::Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

fn done(run: &mut dyn Run, request: &Request) -> serde_json::Value {
    let mut answer = || match request.what.as_str() {
        "once" => Ok(json!({ "wall_ms": run.once()?.wall_ms })),
        "results" => {
            let results = run.results()?;
            let path = request.path.as_ref().context("no path")?;
            let gradients = results.gradients.iter().map(|(_, values)| values.as_slice());
            write(path, [results.y.as_slice()].into_iter().chain(gradients))?;
            Ok(json!({}))
        }
        "memory" => Ok(json!({ "bytes": run.memory()? })),
        other => Err(anyhow!("no request `{other}`")),
    };
    answer().unwrap_or_else(|error: anyhow::Error| json!({ "error": format!("{error:#}") }))
}

/// The case of a request to load one.
fn case(request: &Request) -> Result<Case> {
    let Request { what, path: Some(path), cell: Some(cell), mode: Some(mode), shape: Some(shape) } = request else {
        bail!("`{}` before a case is loaded", request.what)
    };
    anyhow::ensure!(what == "load", "`{what}` before a case is loaded");
    let cell: Cell = cell.parse()?;
    let mode = if mode == Mode::Forward.name() { Mode::Forward } else { Mode::Training };
    let [steps, batch, input, hidden] = *shape;
    let sizes = format!("{steps},{batch},{input},{hidden}");
    let shape = Shape { name: sizes, cell: None, steps, batch, input, hidden };
    let rows = cell.gates() * hidden;
    let mut values = read(path)?.into_iter();
    let mut take = |len: usize| -> Vec<f32> { values.by_ref().take(len).collect() };
    let x = take(steps * batch * input);
    let [weight_ih, weight_hh, bias_ih, bias_hh] = [rows * input, rows * hidden, rows, rows].map(&mut take);
    Ok(Case { shape, cell, mode, x, weight_ih, weight_hh, bias_ih, bias_hh })
}
