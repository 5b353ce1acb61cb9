//! `wgpu-rnn eval`: how well a saved model does on data.

use std::path::PathBuf;

use wgpu_rnn::DeviceKind;

use super::Saved;
use crate::compare::Model;
use crate::say;

/// Arguments of `eval`.
#[derive(clap::Args)]
pub struct Args {
    /// A model that `train` wrote.
    model: PathBuf,
    /// The validation part of this file instead of that of the data it was trained on.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Device: auto (a hardware GPU, else the CPU), gpu, software or cpu.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let saved = Saved::open(&args.model)?;
    let task = saved.task(args.data.as_deref())?;
    let device = crate::open(args.device)?;
    say(format_args!("device: {}", crate::describe(&device)))?;
    say(format_args!("data: {}", task.describe()))?;
    let about = &saved.about;
    let schedule = (about.rule.learning_rate, about.rule.updates);
    let mut model = Model::with_rate(&device, &task, about.config()?, about.precision(), about.rule.seed, schedule)?;
    model.load(&saved.checkpoint)?;
    let error = task.validate(&mut model)?;
    say(format_args!("{}: {}", task.error_name(), task.error_as_text(error)))?;
    Ok(say(format_args!("naive ({}): {}", task.naive_name(), task.error_as_text(task.naive_error())))?)
}
