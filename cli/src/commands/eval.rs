//! `wgpu-rnn eval`: how well a saved model does on data.

use std::path::PathBuf;

use crate::base::device::Choice;
use crate::base::files::Claim;
use crate::base::{say, stop};
use crate::learn::{Saved, tell};
use crate::report::Origin;
use crate::report::judged::Page;
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
    /// Folder for the report.
    #[arg(long, default_value = "report/eval")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _claim = Claim::for_page(&args.out)?;
    let saved = Saved::open(&args.model)?;
    let task = saved.task(args.data.as_deref())?;
    let device = args.device.begin()?;
    tell(&*task)?;
    let mut notes = vec![task.describe()];
    notes.extend(task.used().notes);
    if args.data.is_none() {
        let mind = "judged by the validation part, which also chose the best of its weights";
        say(mind)?;
        notes.push(mind.to_string());
    }
    let mut model = saved.model(&device, task.form())?;
    let (error, score) = (task.validate(&mut model)?.error, task.score());
    say(format_args!("{}: {}", score.name, score.as_text(error)))?;
    say(format_args!("naive ({}): {}", score.naive_name, score.as_text(score.naive)))?;
    score.unbeaten(error).iter().try_for_each(say)?;
    let details = task.details(&mut model)?;
    details.iter().try_for_each(|detail| say(&detail.said))?;
    let cell = saved.about.config()?.cell;
    let predicted = task.forecast(&mut model)?.map(|values| vec![(cell.title().to_string(), values)]);
    let origin = Origin::new(&device, format!("{}, by {}", task.used().name, saved.path.display()))?;
    let forecast = predicted.and_then(|predicted| task.drawn(predicted));
    let page = Page { origin, cell, score: &score, error, details: &details, forecast, notes };
    stop::hold(|| page.write(&args.out))?;
    Ok(say(format_args!("report: {}", args.out.join("index.html").display()))?)
}
