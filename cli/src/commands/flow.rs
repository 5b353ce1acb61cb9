//! `wgpu-rnn flow`: how gradients flow back through the steps of RNN, GRU and LSTM, or of the cells that are named, before
//! training and after.

use std::path::PathBuf;

use crate::base::files::Claim;
use crate::base::{say, size, stop};
use crate::inside::Nets;
use crate::net::LossAt;
use crate::report::flow::{Look, Page};
use crate::report::{Looked, Origin};
use crate::task::{Lengths, More};

/// Arguments of `flow`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    nets: Nets,
    /// Steps of the sequences that gradients flow through [default: those of 10, 32, 100, 316 and 1000 that
    /// fit the data]
    #[arg(long, value_delimiter = ',', value_parser = size)]
    steps: Vec<usize>,
    /// The steps whose outputs the loss is of.
    #[arg(long, value_enum, default_value = "last")]
    loss: LossAt,
    /// Folder for the report.
    #[arg(long, default_value = "report/flow")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _claim = Claim::for_page(&args.out)?;
    let nets = &args.nets;
    let saved = nets.saved()?;
    let task = nets.task(saved.as_ref(), args.steps.iter().min().copied())?;
    let lengths = lengths(args, &*task)?;
    let device = nets.open(&*task)?;
    let mut looks = Vec::new();
    for net in nets.weights(&device, &*task, saved.as_ref())? {
        for task in &lengths {
            stop::check()?;
            let mut model = nets.watched(&device, &**task, &net, Some(args.loss))?;
            task.feed(&mut model, &mut nets.rng())?;
            let flow = model.flow()?;
            for of in Looked::all(net.config) {
                let (trained, steps) = (net.trained, task.shape().steps);
                looks.push(Look { of, trained, steps, trace: flow.trace(of.layer, of.direction) });
            }
        }
    }
    let steps = lengths.iter().map(|task| task.shape().steps.to_string()).collect::<Vec<_>>().join(", ");
    let page = Page {
        origin: Origin::new(&device, format!("{}; gradients flow through {steps} steps", task.describe()))?,
        at_every_step: args.loss == LossAt::All,
        looks,
    };
    say(page.table())?;
    stop::hold(|| page.write(&args.out))?;
    Ok(say(format_args!("report: {}", args.out.join("index.html").display()))?)
}

/// The usual lengths of sequences.
const STEPS: [usize; 5] = [10, 32, 100, 316, 1000];

/// The data in sequences of every length that was asked for, or of the usual ones that fit. Where not all do, the task's own
/// is one more.
fn lengths(args: &Args, task: &dyn Lengths) -> anyhow::Result<Vec<Box<dyn Lengths>>> {
    if !args.steps.is_empty() {
        let mut asked = args.steps.clone();
        asked.sort_unstable();
        asked.dedup();
        return asked.into_iter().map(|steps| task.with_steps(steps)).collect();
    }
    let fits = |steps: &usize| task.with_steps(*steps).is_ok();
    let (mut fitting, others): (Vec<usize>, Vec<usize>) = STEPS.into_iter().partition(fits);
    if !others.is_empty() {
        let list = others.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        say(format_args!("left out, since the data are too short for them: {list} steps"))?;
        fitting.push(task.shape().steps);
        fitting.sort_unstable();
        fitting.dedup();
    }
    fitting.into_iter().map(|steps| task.with_steps(steps)).collect()
}
