//! The library's own checks of kernels that no small layer has: products by each tile, and by cooperative matrices, and
//! what moves the sequences of large layers.

use wgpu_rnn::gpu::Subject;
use wgpu_rnn::nn::{Case, Extent};
use wgpu_rnn::{Device, Result};

use super::findings::{Check, Off, Verdict};

/// Every case for a device; `quick` leaves out most tiles, and the options of a step.
pub fn all(device: &Device, quick: bool) -> Vec<Case> {
    // The doctor's own layers are more than the library's, but none is large.
    let is_layer = |case: &Case| matches!(case.subject(), Subject::Strategy { .. } | Subject::Half);
    let products = Case::all(device, if quick { Extent::Short } else { Extent::Full });
    let large = Case::all(device, Extent::Full).into_iter().filter(Case::in_sections);
    let large = large.filter(|case| !(quick && case.has_options()));
    products.into_iter().filter(|case| !is_layer(case)).chain(large).collect()
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
