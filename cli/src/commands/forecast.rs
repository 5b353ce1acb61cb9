//! `wgpu-rnn forecast`: what comes after the last rows of a series.

use std::path::PathBuf;

use anyhow::bail;

use crate::base::device::Choice;
use crate::base::files::Claim;
use crate::base::numbers::plural;
use crate::base::{say, say_notes, stop};
use crate::learn::Saved;
use crate::report::Origin;
use crate::report::forecast::Page;
use crate::task::{Known, KnownSeries, Latest};

/// Arguments of `forecast`.
#[derive(clap::Args)]
pub struct Args {
    /// A model of a series that `train` wrote.
    model: PathBuf,
    /// Go on from the last rows of this file instead of those of the data that the model was trained on.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    device: Choice,
    /// Folder for the report.
    #[arg(long, default_value = "report/forecast")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _claim = Claim::for_page(&args.out)?;
    let saved = Saved::open(&args.model)?;
    let known = match &saved.about.net.known {
        Known::Series(known) => KnownSeries::clone(known),
        other => bail!("{}: expected a model of a series, got one of {}", args.model.display(), other.of_what()),
    };
    let (source, steps) = (saved.source(args.data.as_deref())?, saved.about.data.steps);
    let latest = Latest::load(source.path.as_deref(), &source.ask, steps, known.clone())?;
    let device = args.device.begin()?;
    let mut model = saved.model(&device, latest.form())?;
    let ahead = latest.ahead(&mut model)?;
    let series = latest.series();
    let mut data = format!("the last {steps} of {} of {}", plural(series.rows(), &series.step), series.name);
    if !latest.measured() {
        data += "; not all that is forecast was measured in the last of them, where the last known values stand";
    }
    say(format_args!("data: {data}"))?;
    say_notes(&series.notes)?;
    let origin = Origin::new(&device, data)?;
    let page = Page { origin, cell: saved.about.config()?.cell, series, levels: &known.levels, ahead };
    say(page.table())?;
    stop::hold(|| page.write(&args.out))?;
    Ok(say(format_args!("report: {}", args.out.join("index.html").display()))?)
}
