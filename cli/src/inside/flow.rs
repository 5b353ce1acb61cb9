//! `wgpu-rnn flow`: how gradients flow back through the steps of RNN, GRU and LSTM, before training and after.

use std::path::PathBuf;

use super::{Nets, origin};
use crate::compare::{LossAt, Model, Task};
use crate::report::flow::{Look, Page};
use crate::{report, say, stop};

/// Arguments of `flow`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    nets: Nets,
    /// Steps of the sequences that gradients flow through [default: those of 10, 32, 100, 316 and 1000 that fit the data]
    #[arg(long, value_delimiter = ',', value_parser = crate::size)]
    steps: Vec<usize>,
    /// The steps whose outputs the loss is of.
    #[arg(long, value_enum, default_value = "last")]
    loss: LossAt,
    /// Folder for the report.
    #[arg(long, default_value = "report/flow")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    report::check_writable(&args.out)?;
    let nets = &args.nets;
    let saved = nets.saved()?;
    let task = nets.task(saved.as_ref())?;
    let lengths = lengths(args, &task)?;
    let device = nets.open(&task)?;
    let mut looks = Vec::new();
    for net in nets.weights(&device, &task, saved.as_ref())? {
        for task in &lengths {
            stop::check()?;
            let mut model = Model::watched(&device, task, net.config, args.loss, nets.seed)?;
            model.restore(&net.values)?;
            task.feed(&mut model, &mut nets.rng())?;
            let flow = model.flow()?;
            for layer in 0..flow.layers() {
                let (config, trained, steps) = (net.config, net.trained, task.steps());
                looks.push(Look { config, layer, trained, steps, trace: flow.trace(layer, 0) });
            }
        }
    }
    let steps = lengths.iter().map(|task| task.steps().to_string()).collect::<Vec<_>>().join(", ");
    let page = Page {
        origin: origin(&device, format!("{}; gradients flow through {steps} steps", task.describe()))?,
        loss: match args.loss {
            LossAt::Last => "of the last step's output",
            LossAt::All => "of every step's output",
        },
        looks,
    };
    say(page.table())?;
    stop::hold(|| page.write(&args.out))?;
    Ok(say(format_args!("report: {}", args.out.join("index.html").display()))?)
}

/// The usual lengths of sequences.
const STEPS: [usize; 5] = [10, 32, 100, 316, 1000];

/// The data in sequences of every length that was asked for, or of the usual ones that fit.
fn lengths(args: &Args, task: &Task) -> anyhow::Result<Vec<Task>> {
    if !args.steps.is_empty() {
        return args.steps.iter().map(|&steps| task.with_steps(steps)).collect();
    }
    let (fitting, others): (Vec<_>, Vec<_>) =
        STEPS.into_iter().map(|steps| (steps, task.with_steps(steps))).partition(|(_, task)| task.is_ok());
    if fitting.is_empty() {
        return others.into_iter().map(|(_, task)| task).collect();
    }
    if !others.is_empty() {
        let others: Vec<_> = others.iter().map(|(steps, _)| steps.to_string()).collect();
        say(format_args!("left out, since the data are too few for them: {} steps", others.join(", ")))?;
    }
    fitting.into_iter().map(|(_, task)| task).collect()
}
