//! `wgpu-rnn verify`: a device against reference cases.

use std::path::PathBuf;

use anyhow::bail;
use wgpu_rnn::DeviceKind;
use wgpu_rnn::io::{Case, Check};

/// Arguments of `verify`.
#[derive(clap::Args)]
pub struct Args {
    /// Device to check: auto, gpu, software or cpu.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Strategy to check; default: the one that is chosen on the device.
    #[arg(long)]
    strategy: Option<String>,
    /// Case files: weights, inputs, expected outputs and gradients.
    #[arg(required = true)]
    cases: Vec<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let device = crate::open(args.device)?;
    println!("device: {}", crate::describe(&device));
    let mut failed = Vec::new();
    for path in &args.cases {
        let case = Case::open(path)?;
        let checks = pollster::block_on(case.run(&device, args.strategy.as_deref()))?;
        println!("{}", path.display());
        for check in &checks {
            let verdict = if check.passes() { "ok" } else { "ABOVE" };
            println!("  {:<32} {:>10.3e}  {verdict} (bound {:.0e})", check.name, check.error, check.bound);
        }
        if let Some(worst) = checks.iter().max_by(|a, b| share(a).total_cmp(&share(b))) {
            println!("  worst: {} at {:.3e}, {:.1} % of its bound", worst.name, worst.error, 100.0 * share(worst));
        }
        let above = checks.iter().filter(|check| !check.passes());
        failed.extend(above.map(|check| {
            format!("`{}` of {} ({:.3e}, bound {:.0e})", check.name, path.display(), check.error, check.bound)
        }));
    }
    if !failed.is_empty() {
        bail!("too far from the reference: {}", failed.join(", "));
    }
    println!("{} case{} within bounds", args.cases.len(), if args.cases.len() == 1 { "" } else { "s" });
    Ok(())
}

/// Error as a share of its bound.
fn share(check: &Check) -> f64 {
    check.error / check.bound
}
