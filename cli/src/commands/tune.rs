//! `wgpu-rnn tune`: measures which kernels are fastest for the products of a layer, and keeps that in the user's cache
//! folder. Every command follows what is kept there for its device; it changes times, never results.

use anyhow::Context;
use wgpu_rnn::kernel::gemm::{Shape, tune};
use wgpu_rnn::{BatchShape, Cell, RnnConfig};

use crate::base::device::{Choice, describe};
use crate::base::{keep_tuning, say, size};

/// Arguments of `tune`.
#[derive(clap::Args)]
pub struct Args {
    /// Cell: lstm, gru, rnn (or rnn_tanh), rnn_relu.
    #[arg(long, default_value = "lstm")]
    cell: Cell,
    /// Steps T.
    #[arg(long, default_value = "64", value_parser = size)]
    steps: usize,
    /// Batch B.
    #[arg(long, default_value = "32", value_parser = size)]
    batch: usize,
    /// Input size I; default: as the hidden size.
    #[arg(long, value_parser = size)]
    input: Option<usize>,
    /// Hidden sizes H, with commas between them.
    #[arg(long, value_delimiter = ',', default_value = "128,256,512", value_parser = size)]
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
    say(format_args!("device: {}", describe(&device)))?;
    let measured = tune(&device, &shapes)?;
    for (class, tile) in &measured.choices {
        say(format_args!("{class}: {tile}"))?;
    }
    match keep_tuning(gpu, measured)? {
        None => say("nothing is kept: there is no cache folder")?,
        Some(path) => say(format_args!("kept in {}", path.display()))?,
    }
    Ok(())
}

/// Projection, input gradient and weight gradients of a layer over `rows` rows: that of `weight_hh` where steps have a product.
fn products(config: &RnnConfig, rows: usize) -> Vec<Shape> {
    let (gates, inputs, hidden) = (config.cell.gates() * config.hidden, config.input, config.hidden);
    let shape = |m, n, k, transposed| Shape { m, n, k, transposed };
    let of_input =
        [shape(rows, gates, inputs, false), shape(rows, inputs, gates, false), shape(gates, inputs, rows, true)];
    let of_h = config.recipe().has_product().then(|| shape(gates, hidden, rows, true));
    of_input.into_iter().chain(of_h).collect()
}
