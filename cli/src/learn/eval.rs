//! `wgpu-rnn eval`: how well a saved model does on data.

use std::path::PathBuf;

use super::Saved;
use crate::device::Choice;
use crate::say;
use crate::task::More;

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
    say(format_args!("data: {}", task.describe()))?;
    if args.data.is_none() {
        say("judged by the validation part, which also chose the best of its weights")?;
    }
    let mut model = saved.model(&device, task.form())?;
    let (error, score) = (task.validate(&mut model)?, task.score());
    say(format_args!("{}: {}", score.name, score.as_text(error)))?;
    say(format_args!("naive ({}): {}", score.naive_name, score.as_text(score.naive)))?;
    Ok(task.details(&mut model)?.iter().try_for_each(say)?)
}
