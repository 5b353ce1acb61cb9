//! `wgpu-rnn flow`: how gradients flow back through the steps of RNN, GRU and LSTM, before training and after.

use std::path::PathBuf;

use super::Nets;
use crate::compare::{LossAt, Model, Task, today};
use crate::report::flow::{Look, Page};
use crate::{report, say, stop};

/// Arguments of `flow`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    nets: Nets,
    /// Steps of the sequences that gradients flow through.
    #[arg(long, value_delimiter = ',', value_parser = crate::size, default_value = "10,32,100,316,1000")]
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
    let lengths = args.steps.iter().map(|&steps| task.with_steps(steps)).collect::<anyhow::Result<Vec<Task>>>()?;
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
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        date: today()?,
        command: crate::command_line(),
        device: crate::describe(&device),
        data: task.describe(),
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
