//! `wgpu-rnn eval`: how well a saved model does on data.

use std::path::PathBuf;

use crate::base::device::Choice;
use crate::base::say;
use crate::learn::{Saved, tell};

/// Arguments of `eval`.
#[derive(clap::Args)]
pub struct Args {
    /// A model that `train` wrote.
    model: PathBuf,
    /// Judge it by this file instead of the validation part of the data it was trained on: by the last fifth of a series,
    /// the last tenth of a text, all utterances.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    device: Choice,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let saved = Saved::open(&args.model)?;
    let task = saved.task(args.data.as_deref())?;
    let device = args.device.begin()?;
    tell(&*task)?;
    if args.data.is_none() {
        say("judged by the validation part, which also chose the best of its weights")?;
    }
    let mut model = saved.model(&device, task.form())?;
    let (error, score) = (task.validate(&mut model)?, task.score());
    say(format_args!("{}: {}", score.name, score.as_text(error)))?;
    say(format_args!("naive ({}): {}", score.naive_name, score.as_text(score.naive)))?;
    score.unbeaten(error).iter().try_for_each(say)?;
    Ok(task.details(&mut model)?.iter().try_for_each(say)?)
}
