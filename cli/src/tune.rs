//! `wgpu-rnn tune`: measures which kernels are fastest for the products of a layer, and keeps that in the user's cache
//! folder. Every command follows what is kept there for its device; it changes times, never results.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use wgpu_rnn::gpu::{Gpu, Tuning};
use wgpu_rnn::kernel::gemm::{Shape, tune};
use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};

use crate::device::Choice;
use crate::say;

/// Arguments of `tune`.
#[derive(clap::Args)]
pub struct Args {
    /// Cell: lstm, gru, rnn (or rnn_tanh), rnn_relu.
    #[arg(long, default_value = "lstm")]
    cell: Cell,
    /// Steps T.
    #[arg(long, default_value = "64", value_parser = crate::size)]
    steps: usize,
    /// Batch B.
    #[arg(long, default_value = "32", value_parser = crate::size)]
    batch: usize,
    /// Input size I; default: as the hidden size.
    #[arg(long, value_parser = crate::size)]
    input: Option<usize>,
    /// Hidden sizes H, with commas between them.
    #[arg(long, value_delimiter = ',', default_value = "128,256,512", value_parser = crate::size)]
    hidden: Vec<usize>,
    #[command(flatten)]
    device: Choice,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let gpu =
        device.gpu().context("the CPU executor has no kernels to choose from; see `wgpu-rnn adapters` for GPUs")?;
    let mut shapes = Vec::new();
    for &hidden in &args.hidden {
        let config = RnnConfig::new(args.cell, args.input.unwrap_or(hidden), hidden);
        config.check()?;
        let batch = BatchShape::new(args.steps, args.batch);
        batch.check()?;
        shapes.extend(products(&config, batch.rows()));
    }
    say(format_args!("device: {}", crate::describe(&device)))?;
    let measured = tune(&device, &shapes)?;
    for (class, tile) in &measured.choices {
        say(format_args!("{class}: {tile}"))?;
    }
    let Some(path) = path(gpu) else {
        return Ok(say("nothing is kept: there is no cache folder")?);
    };
    // What was measured before for other sizes stays.
    let mut all = read(&path, gpu).unwrap_or_else(|_| Tuning::new(gpu));
    all.choices.extend(measured.choices);
    keep(&path, &all).with_context(|| format!("{} can't be written", path.display()))?;
    Ok(say(format_args!("kept in {}", path.display()))?)
}

/// Projection, input gradient and weight gradients of a layer over `rows` rows.
fn products(config: &RnnConfig, rows: usize) -> [Shape; 4] {
    let (gates, inputs, hidden) = (config.cell.gates() * config.hidden, config.input, config.hidden);
    let shape = |m, n, k, transposed| Shape { m, n, k, transposed };
    [
        shape(rows, gates, inputs, false),
        shape(rows, inputs, gates, false),
        shape(gates, inputs, rows, true),
        shape(gates, hidden, rows, true),
    ]
}

/// Hands a device what was measured on it. Whatever is wrong with the file costs time and nothing else.
pub fn load(device: &Device) {
    let Some(gpu) = device.gpu() else { return };
    let Some(path) = path(gpu).filter(|path| path.exists()) else { return };
    let loaded = read(&path, gpu).and_then(|tuning| Ok(gpu.set_tuning(tuning)?));
    match loaded {
        Ok(()) => log::debug!("tuning {}: followed", path.display()),
        Err(why) => log::debug!("tuning {}: not followed, {why:#}", path.display()),
    }
}

/// The file of an adapter.
fn path(gpu: &Gpu) -> Option<PathBuf> {
    let info = gpu.info();
    let name = format!("tuning-{:?}-{:04x}-{:04x}.json", info.backend, info.vendor, info.device).to_lowercase();
    Some(crate::device::folder()?.join(name))
}

/// The file's tuning, if it is of this adapter and driver.
fn read(path: &Path, gpu: &Gpu) -> anyhow::Result<Tuning> {
    let tuning: Tuning = serde_json::from_str(&fs::read_to_string(path)?)?;
    anyhow::ensure!(tuning.is_of(gpu), "it is of {} ({})", tuning.adapter, tuning.driver);
    Ok(tuning)
}

/// Puts it at `path` in one step.
fn keep(path: &Path, tuning: &Tuning) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(serde_json::to_string_pretty(tuning)?.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
