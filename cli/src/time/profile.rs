//! `time --profile`: time by kernel, as a table, as JSON and as a page with a timeline.

use std::path::Path;

use anyhow::bail;
use serde::Serialize;
use wgpu_rnn::nn::rnn::Bound;
use wgpu_rnn::{Clock, Device, KernelTime, Profile};

use super::Report;
use crate::report::{self, Profiled};
use crate::say;

/// The profile of the run of median length.
#[derive(Serialize)]
pub struct Profiling {
    /// Runs that were profiled.
    runs: usize,
    /// From the first start to the last end.
    elapsed_ms: f64,
    kernels: Vec<KernelTime>,
    #[serde(flatten)]
    profile: Profile,
}

/// An error unless the page can be written to `out`.
pub fn check(out: &Path) -> anyhow::Result<()> {
    if out.is_dir() {
        bail!("{}: could not write the file, it is a folder", out.display());
    }
    report::check_writable(out.parent().unwrap_or(Path::new("")))
}

/// Profiles the layer `runs` times and keeps the run of median length; of an even number, the shorter of the middle two.
pub fn measure(device: &Device, bound: &Bound, runs: usize) -> anyhow::Result<Profiling> {
    let once = || {
        device.profile(|recorder| {
            bound.forward.record(recorder)?;
            bound.backward.record(recorder)
        })
    };
    once()?;
    let mut profiles: Vec<Profile> = (0..runs).map(|_| once()).collect::<Result<_, _>>()?;
    profiles.sort_by(|a, b| a.elapsed_ms().total_cmp(&b.elapsed_ms()));
    let profile = profiles.swap_remove((runs - 1) / 2);
    Ok(Profiling { runs, elapsed_ms: profile.elapsed_ms(), kernels: profile.kernels(), profile })
}

/// Writes the page.
pub fn write(profiling: &Profiling, report: &Report, out: &Path) -> anyhow::Result<()> {
    let facts = vec![
        ("Device", format!("{} ({}, {})", report.device, report.device_kind, report.backend)),
        ("Why this device", report.why_device.clone()),
        ("Layer", report.sizes()),
        ("Strategy", report.strategy.to_string()),
        ("Why this strategy", report.why_strategy.clone()),
        ("Without a profile", format!("{:.3} ms by the wall clock, median of {}", report.median_ms, report.runs)),
        (report::COMMAND, crate::command_line()),
    ];
    let title = format!("{} {}", report.title, report.mode.title());
    report::write_profile(&Profiled { profile: &profiling.profile, title, facts, runs: profiling.runs }, out)
}

/// The table.
pub fn print(profiling: &Profiling, out: &Path) -> std::io::Result<()> {
    let clock = match profiling.profile.clock {
        Clock::Gpu => "GPU timestamps, a pass for each op",
        Clock::Host => "the host's clock",
    };
    say(format_args!(
        "profile of the median of {} runs, {:.3} ms from first to last ({clock})",
        profiling.runs, profiling.elapsed_ms
    ))?;
    let width = profiling.kernels.iter().map(|kernel| kernel.kernel.len()).max().unwrap_or(0).max("kernel".len());
    let calls = match profiling.profile.clock {
        Clock::Gpu => "dispatches",
        Clock::Host => "calls",
    };
    say(format_args!("  {:<width$} {:>5} {:>10} {:>10} {:>7}", "kernel", "ops", calls, "ms", "share"))?;
    profiling.kernels.iter().try_for_each(|KernelTime { kernel, ops, dispatches, ms, share }| {
        let percent = 100.0 * share;
        say(format_args!("  {kernel:<width$} {ops:>5} {dispatches:>10} {ms:>10.3} {percent:>5.1} %"))
    })?;
    say(format_args!("timeline: {}", out.display()))
}
