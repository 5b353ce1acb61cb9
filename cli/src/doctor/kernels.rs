//! The library's own checks of kernels that no layer has to itself: products by each tile, and by cooperative matrices.

use wgpu_rnn::gpu::Subject;
use wgpu_rnn::nn::{Case, Extent};
use wgpu_rnn::{Device, Result};

use super::findings::{Check, Off, Verdict};

/// Every case for a device; `quick` leaves out most tiles.
pub fn all(device: &Device, quick: bool) -> Vec<Case> {
    let mut all = Case::all(device, if quick { Extent::Short } else { Extent::Full });
    // The doctor's own layers are more.
    all.retain(|case| !matches!(case.subject(), Subject::Strategy { .. } | Subject::Half));
    all
}

/// Runs a case. An error when the device is lost.
pub fn check(case: &Case, device: &Device) -> Result<Check> {
    let found = pollster::block_on(case.run(device))?;
    let group = case.group().to_string();
    let name = found.case.strip_prefix(&group).unwrap_or(&found.case).trim_start_matches([',', ' ']).to_string();
    let verdict = match (found.failure, found.skipped) {
        (Some(why), _) => Verdict::Fail(why),
        (None, Some(why)) => Verdict::Skip(why),
        (None, None) => Verdict::Pass,
    };
    let off = found.error.map(|error| Off { error, bound: found.bound });
    Ok(Check { group, name, verdict, off, ms: found.prepare_ms + found.run_ms })
}
