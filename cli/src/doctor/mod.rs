//! `wgpu-rnn doctor`: what a device is, whether it is right, and how fast it can be at all; as a table, and as a block of
//! text for a report. See `docs/adapters.md` in the repository for what came of it so far.
//!
//! ```text
//! about ─────────────────────────────────────────┐
//! kernels, cases, training, behaviour ─► checks ─┤
//! speed, compile times ──────────► measurements ─┼─► Findings ─► table, block
//! peers ────────────────────────────────► lines ─┘
//! ```

mod about;
mod behaviour;
mod block;
mod cases;
mod findings;
mod kernels;
mod layer;
mod peers;
mod speed;
mod training;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wgpu_rnn::Device;
use wgpu_rnn::kernel::variants;

use self::findings::{Check, Findings, Verdict};
use crate::device::{self, Choice};
use crate::{say, stop};

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
    #[arg(long, requires = "peers", default_value = peers::PYTHON, value_name = "PROGRAM")]
    python: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    args.out.as_deref().map_or(Ok(()), check)?;
    let device = args.device.examined()?;
    let mut ended = None;
    let mut found = Findings { about: about::facts(&device)?, ..Findings::default() };
    stop::listen()?;
    for (key, value) in &found.about {
        // The block has the long ones.
        if !["features", "limits", "command"].contains(key) {
            say(format_args!("{key}: {value}"))?;
        }
    }
    // What ends it early is found too, and the report says what came before.
    let examined = examine(&device, args.quick, &mut found).and_then(|()| match args.peers {
        true => peers::compare(&device, &args.python, args.quick, &mut found),
        false => Ok(()),
    });
    if let Err(error) = examined {
        found.checks.push(Check::failed("doctor", "all of the examination", format!("it ended early: {error:#}")));
        ended = Some(error).filter(|error| error.is::<stop::Interrupted>());
    }
    doubted(&device, &mut found);
    device::keep_findings();
    print(&found)?;
    let block = block::text(&found);
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
    crate::report::check_writable(folder(out))
}

fn folder(out: &Path) -> &Path {
    out.parent().unwrap_or(Path::new(""))
}

/// Puts the block at `out` in one step.
fn write(out: &Path, block: &str) -> Result<()> {
    let folder = folder(out);
    std::fs::create_dir_all(folder).with_context(|| format!("{}: could not make the folder", folder.display()))?;
    crate::report::replace(out, block)
}

/// All checks and measurements.
fn examine(device: &Device, quick: bool, found: &mut Findings) -> Result<()> {
    let oracle = Device::oracle()?;
    for case in kernels::all(device, quick) {
        stop::check()?;
        add(found, kernels::check(&case, device)?)?;
    }
    for case in cases::all(device, quick) {
        stop::check()?;
        add(found, case.check(device, &oracle))?;
    }
    for check in training::checks(device, &oracle) {
        stop::check()?;
        add(found, check)?;
    }
    behaviour::examine(device, quick, found);
    stop::check()?;
    if let Some(gpu) = device.gpu() {
        found.compiled(&gpu.compilations());
        let names = variants::kernels().map(|kernel| kernel.name);
        let never: Vec<&str> = names.filter(|name| !found.compiled.contains_key(*name)).collect();
        let never = if never.is_empty() { "none".to_string() } else { never.join(" ") };
        found.about.push(("kernels not used here", never));
    }
    // It calls wgpu without the library's care.
    let measured = catch_unwind(AssertUnwindSafe(|| speed::measure(device, found)));
    measured.unwrap_or_else(|_| bail!("wgpu panicked while floors were measured"))
}

/// What the library does without on this device, although its results were right in the end.
fn doubted(device: &Device, found: &mut Findings) {
    for doubt in device.gpu().map(|gpu| gpu.doubts()).unwrap_or_default() {
        found.checks.push(Check::failed("what is not used", &doubt.subject.to_string(), doubt.reason));
    }
}

/// Takes a check, and says so at once when it failed.
fn add(found: &mut Findings, check: Check) -> std::io::Result<()> {
    if let Verdict::Fail(why) = &check.verdict {
        say(format_args!("FAIL {}: {}: {why}", check.group, check.name))?;
    }
    found.checks.push(check);
    Ok(())
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
        say(format_args!("{}: {} {}", measure.name, block::number(measure.value), measure.unit))?;
    }
    found.peers.iter().try_for_each(say)
}
