//! `wgpu-rnn verify`: a device against reference cases.

use std::path::{Path, PathBuf};

use anyhow::bail;
use wgpu_rnn::io::{Case, Check};
use wgpu_rnn::{Device, Error};

use crate::base::device::Choice;
use crate::base::say;

/// Arguments of `verify`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: Choice,
    /// Strategy to check; default: the one that is chosen on the device.
    #[arg(long)]
    strategy: Option<String>,
    /// Case files: weights, inputs, expected outputs and gradients.
    #[arg(required = true)]
    cases: Vec<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let device = args.device.begin()?;
    let (mut far, mut compared, mut unusable) = (Vec::new(), 0, Vec::new());
    for path in &args.cases {
        match checks(path, &device, args.strategy.as_deref()) {
            Ok((checks, unread)) => {
                print(path, &checks, &unread)?;
                compared += checks.len();
                far.extend(checks.into_iter().filter(|check| !check.passes()).map(|check| (path, check)));
            }
            Err(error) => unusable.push(named(path, error)),
        }
    }
    if let Some((path, Check { name, error, bound })) =
        far.iter().max_by(|(_, a), (_, b)| share(a).total_cmp(&share(b)))
    {
        unusable.push(format!(
            "{} of {compared} tensors too far from the reference, the worst `{name}` of {} ({error:.3e}, bound {bound:.0e})",
            far.len(),
            path.display()
        ));
    }
    if !unusable.is_empty() {
        bail!("{}", unusable.join("; "));
    }
    say(format_args!("{} case{} within bounds", args.cases.len(), if args.cases.len() == 1 { "" } else { "s" }))?;
    Ok(())
}

/// How far tensors are off, and the names of those that are not read.
fn checks(path: &Path, device: &Device, strategy: Option<&str>) -> Result<(Vec<Check>, Vec<String>), Error> {
    let case = Case::open(path)?;
    let checks = pollster::block_on(case.run(device, strategy))?;
    Ok((checks, case.unread().into_iter().map(str::to_string).collect()))
}

fn print(path: &Path, checks: &[Check], unread: &[String]) -> std::io::Result<()> {
    say(path.display())?;
    if !unread.is_empty() {
        say(format_args!("not read, since no part of the case: {}", unread.join(", ")))?;
    }
    for check in checks {
        let verdict = if check.passes() { "ok" } else { "ABOVE" };
        say(format_args!("  {:<32} {:>10.3e}  {verdict} (bound {:.0e})", check.name, check.error, check.bound))?;
    }
    match checks.iter().max_by(|a, b| share(a).total_cmp(&share(b))) {
        Some(worst) => say(format_args!(
            "  worst: {} at {:.3e}, {:.1} % of its bound",
            worst.name,
            worst.error,
            100.0 * share(worst)
        )),
        None => Ok(()),
    }
}

/// An error with the file that it is about.
fn named(path: &Path, error: Error) -> String {
    match error {
        Error::File { .. } | Error::Missing { .. } => error.to_string(),
        other => format!("{}: {other}", path.display()),
    }
}

/// Error as a share of its bound.
fn share(check: &Check) -> f64 {
    check.error / check.bound
}
