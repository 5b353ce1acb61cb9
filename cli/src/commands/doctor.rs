//! `wgpu-rnn doctor`: examines a device, and prints what was found as a table and as a block of text for a report.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::base::device::{Choice, keep_findings};
use crate::base::files::{check_writable, replace};
use crate::base::{say, stop};
use crate::doctor::{Check, Findings, PYTHON, compare_with_peers, doubted, examine, facts, number, text};

/// Arguments of `doctor`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: Choice,
    /// Fewer sizes, options and steps: minutes on a software adapter, seconds elsewhere.
    #[arg(long)]
    quick: bool,
    /// Write the text block to this file too.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Time the same layers in PyTorch with cuDNN too, TF32 off and on, where Python has it.
    #[arg(long)]
    peers: bool,
    /// The Python that has PyTorch.
    #[arg(long, requires = "peers", default_value = PYTHON, value_name = "PROGRAM")]
    python: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    args.out.as_deref().map_or(Ok(()), check)?;
    let device = args.device.examined()?;
    let mut ended = None;
    let mut found = Findings { about: facts(&device)?, ..Findings::default() };
    stop::listen()?;
    for (key, value) in &found.about {
        // The block has the long ones.
        if !["features", "limits", "command"].contains(key) {
            say(format_args!("{key}: {value}"))?;
        }
    }
    // What ends it early is found too, and the report says what came before.
    let examined = examine(&device, args.quick, &mut found).and_then(|()| match args.peers {
        true => compare_with_peers(&device, &args.python, args.quick, &mut found),
        false => Ok(()),
    });
    if let Err(error) = examined {
        found.checks.push(Check::failed("doctor", "all of the examination", format!("it ended early: {error:#}")));
        ended = Some(error).filter(|error| error.is::<stop::Interrupted>());
    }
    doubted(&device, &mut found);
    keep_findings();
    print(&found)?;
    let block = text(&found);
    say("")?;
    say(&block)?;
    if let Some(out) = &args.out {
        write(out, &block)?;
        say(format_args!("written to {}", out.display()))?;
    }
    if let Some(interrupted) = ended {
        return Err(interrupted);
    }
    let failures = found.failures();
    if let Some(first) = failures.first() {
        let checks = if failures.len() == 1 { "check" } else { "checks" };
        bail!("{} {checks} failed on {}, the first: {first}", failures.len(), device.name());
    }
    Ok(())
}

/// An error unless the block can be written to `out`.
fn check(out: &Path) -> Result<()> {
    if out.is_dir() {
        bail!("{}: could not write the file, it is a folder", out.display());
    }
    check_writable(folder(out))
}

fn folder(out: &Path) -> &Path {
    out.parent().unwrap_or(Path::new(""))
}

/// Puts the block at `out` in one step.
fn write(out: &Path, block: &str) -> Result<()> {
    let folder = folder(out);
    std::fs::create_dir_all(folder).with_context(|| format!("{}: could not make the folder", folder.display()))?;
    replace(out, block)
}

fn print(found: &Findings) -> std::io::Result<()> {
    say("")?;
    say(format_args!("{:<6}{:<28}{:>10}  {:<20}{:>9}", "", "checks", "passed", "worst error", "time"))?;
    for group in found.groups() {
        let passed = format!("{}/{}", group.passed, group.passed + group.failed);
        let (verdict, worst, seconds) = (group.verdict(), group.worst(), group.ms * 1e-3);
        say(format_args!("{verdict:<6}{:<28}{passed:>10}  {worst:<20}{seconds:>7.2} s", group.name))?;
    }
    for (reason, count) in found.skipped() {
        say(format_args!("not run: {count} of {reason}"))?;
    }
    let (shaders, ms) = found.compiled.values().fold((0, 0.0), |(n, ms), kernel| (n + kernel.shaders, ms + kernel.ms));
    if shaders > 0 {
        say(format_args!("{shaders} shaders of {} kernels compiled in {:.2} s", found.compiled.len(), ms * 1e-3))?;
    }
    for measure in &found.measures {
        say(format_args!("{}: {} {}", measure.name, number(measure.value), measure.unit))?;
    }
    found.peers.iter().try_for_each(say)
}
