//! `time --profile`: time by kernel, as a table, as JSON and as a page with a timeline.

use serde::Serialize;
use wgpu_rnn::nn::rnn::Bound;
use wgpu_rnn::{Device, KernelTime, Profile};

/// The profile of the run of median length.
#[derive(Serialize)]
pub struct Profiling {
    /// Runs that were profiled.
    pub runs: usize,
    /// From the first start to the last end.
    pub elapsed_ms: f64,
    pub kernels: Vec<KernelTime>,
    #[serde(flatten)]
    pub profile: Profile,
}

/// Profiles the layer `runs` times and keeps the run of median length; of an even number, the shorter of the middle two.
pub fn profile(device: &Device, bound: &Bound, runs: usize) -> anyhow::Result<Profiling> {
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
