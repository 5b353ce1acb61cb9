//! `wgpu-rnn gates`: what the gates and states of RNN, GRU and LSTM, or of the cells that are named, do on real data, before
//! training and after.

use std::path::PathBuf;

use crate::base::files::Claim;
use crate::base::{say, size, stop};
use crate::inside::Nets;
use crate::report::gates::{Look, Page};
use crate::report::{Looked, Origin};
use crate::task::More;

/// Arguments of `gates`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    nets: Nets,
    /// Steps of a sequence, instead of the task's.
    #[arg(long, value_parser = size)]
    steps: Option<usize>,
    /// Folder for the report.
    #[arg(long, default_value = "report/gates")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _claim = Claim::for_page(&args.out)?;
    let nets = &args.nets;
    let saved = nets.saved()?;
    let task = nets.task(saved.as_ref(), args.steps)?;
    let device = nets.open(&*task)?;
    let mut looks = Vec::new();
    for net in nets.weights(&device, &*task, saved.as_ref())? {
        stop::check()?;
        let mut model = nets.watched(&device, &*task, &net, None)?;
        let shown = task.feed(&mut model, &mut nets.rng())?;
        let (activity, values) = model.gates()?;
        for (of, values) in Looked::all(net.config).zip(values) {
            let trained = net.trained;
            looks.push(Look { of, trained, activity: activity.clone(), values, shown: shown.clone() });
        }
    }
    let page = Page { origin: Origin::new(&device, task.describe())?, looks };
    say(page.table())?;
    stop::hold(|| page.write(&args.out))?;
    Ok(say(format_args!("report: {}", args.out.join("index.html").display()))?)
}
