//! What a device is, whether it is right, and how fast it can be at all; as a block of text for a report. See
//! `docs/adapters.md` in the repository for what came of it so far.
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

use anyhow::{Result, bail};
use wgpu_rnn::Device;
use wgpu_rnn::kernel::variants;

use crate::base::{say, stop};

pub use about::facts;
pub use block::{number, text};
pub use findings::{Check, Findings, Verdict};
pub use peers::{PYTHON, compare as compare_with_peers};

/// All checks and measurements.
pub fn examine(device: &Device, quick: bool, found: &mut Findings) -> Result<()> {
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
pub fn doubted(device: &Device, found: &mut Findings) {
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
