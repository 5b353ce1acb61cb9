//! `wgpu-rnn classify`: the classes of utterances, and how many are right.

use std::path::PathBuf;

use anyhow::bail;

use crate::base::device::Choice;
use crate::base::files::Claim;
use crate::base::{say, stop};
use crate::learn::Saved;
use crate::report::Origin;
use crate::report::classes::Page;
use crate::task::{Known, PUBLISHED, Speech, Task};

/// Arguments of `classify`.
#[derive(clap::Args)]
pub struct Args {
    /// A model of utterances that `train` wrote.
    model: PathBuf,
    /// Utterances in a .ts file, their classes known or not; without it the 370 of the bundled recordings that no model is trained on.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    device: Choice,
    /// Folder for the report.
    #[arg(long, default_value = "report/classify")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _claim = Claim::for_page(&args.out)?;
    let saved = Saved::open(&args.model)?;
    let known = match &saved.about.net.known {
        Known::Speech(known) => known,
        other => bail!("{}: expected a model of utterances, got one of {}", args.model.display(), other.of_what()),
    };
    let bundled = args.data.is_none() && saved.about.data.source.path.is_none();
    let speech = match &args.data {
        Some(path) => Speech::load_known(path, None, known)?,
        None if bundled => Speech::test(known)?,
        None => bail!(
            "{}: it was trained on {}: expected utterances to classify, got none (--data)",
            args.model.display(),
            saved.about.data.name
        ),
    };
    let device = args.device.begin()?;
    let used = speech.used();
    let data = format!("{}: {} ({} utterances)", used.name, used.task, used.validation);
    say(format_args!("data: {data}"))?;
    let mut model = saved.model(&device, speech.form())?;
    let verdicts = speech.classify(&mut model)?;
    let origin = Origin::new(&device, data)?;
    let published = bundled.then_some(PUBLISHED);
    let page = Page { origin, cell: saved.about.config()?.cell, classes: &known.classes, verdicts, published };
    say(page.table())?;
    say(page.sentence())?;
    stop::hold(|| page.write(&args.out))?;
    Ok(say(format_args!("report: {}", args.out.join("index.html").display()))?)
}
