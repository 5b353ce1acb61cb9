//! A plan's strategy: one that has passed its check on the adapter, and whose kernels its driver takes.

use super::{Case, Checked, Extent, layer, product};
use crate::config::{BatchShape, Precision, RnnConfig};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Subject};
use crate::kernel::gemm;
use crate::plan::{self, Choice, Mode, Wanted};
use crate::recipe::Recipe;

/// The strategy of a layer: the forced one, or the first that fits and is right. One that was asked for by name is taken at
/// its word, unless something is known against it. A browser can't wait for a check; there what [`Device::examine`] has
/// found counts.
pub(crate) fn choose(
    device: &Device,
    config: &RnnConfig,
    shape: BatchShape,
    wanted: Wanted,
    forced: Option<&str>,
) -> Result<Choice> {
    let Wanted { mode, precision, .. } = wanted;
    device.expect(precision)?;
    let plan = || plan::choose(device, config, shape, mode, forced);
    let Some(gpu) = device.gpu() else { return plan() };
    gpu.alive("was planning a layer")?;
    if forced.is_some() || gpu.is_checking() || cfg!(target_arch = "wasm32") {
        return plan();
    }
    products(device)?;
    // Products of f16 are made by them where they are right.
    gemm::check_matrices(device);
    let mut known = gpu.doubts().len();
    loop {
        let choice = plan()?;
        let name = choice.strategy.name();
        layers(device, gpu, name, config.recipe(), Precision::Full)?;
        let subject = Subject::strategy_of(name, config.recipe(), mode == Mode::Train);
        if gpu.doubt(&subject).is_none() {
            layers(device, gpu, name, config.recipe(), precision)?;
            device.expect(precision)?;
            if choice.strategy.compile(device, config, shape, wanted)? {
                return Ok(choice);
            }
        }
        // What does not do leaves a doubt, so that the next turn chooses another.
        let doubts = gpu.doubts().len();
        if doubts == known {
            let why = "it was neither right nor doubted".to_string();
            return Err(Error::Strategy { strategy: name.to_string(), why });
        }
        known = doubts;
    }
}

/// Has the kernels of products checked, if they are not yet.
pub(crate) fn products(device: &Device) -> Result<()> {
    let Some(gpu) = device.gpu() else { return Ok(()) };
    // Every device with one group has had them all.
    if gpu.is_believed() || gpu.has_passed(PRODUCTS) {
        return Ok(());
    }
    ensure(device, gpu, || product::all(device, Extent::Short))?;
    gpu.passed(PRODUCTS.to_string());
    Ok(())
}

/// That each kernel of products was checked, rightly or not.
const PRODUCTS: &str = "all products";

/// Has a strategy checked with a cell, if it is not yet.
pub(super) fn layers(
    device: &Device,
    gpu: &Gpu,
    strategy: &'static str,
    recipe: Recipe,
    precision: Precision,
) -> Result<()> {
    if gpu.has_passed(&layer::group(strategy, recipe, precision)) {
        return Ok(());
    }
    ensure(device, gpu, || layer::cases(device, strategy, recipe.text(), precision, Extent::Short))
}

/// Runs those of the `cases` that are neither passed nor doubted, and notes what comes out.
fn ensure(device: &Device, gpu: &Gpu, cases: impl FnOnce() -> Vec<Case>) -> Result<()> {
    if gpu.is_checking() || gpu.is_believed() || cfg!(target_arch = "wasm32") {
        return Ok(());
    }
    gpu.one_at_a_time(|| {
        // Another thread may have been first.
        let open = |case: &Case| !gpu.has_passed(case.group()) && gpu.doubt(&case.subject()).is_none();
        let open: Vec<Case> = cases().into_iter().filter(open).collect();
        if open.is_empty() {
            return Ok(());
        }
        let aside = device.beside(true, u64::MAX);
        let mut checked = Vec::with_capacity(open.len());
        for case in open {
            #[cfg(not(target_arch = "wasm32"))]
            checked.push((case.group.clone(), pollster::block_on(case.run_on(device, &aside))?));
            #[cfg(target_arch = "wasm32")]
            let _ = (&aside, &case);
        }
        note(device, &checked);
        Ok(())
    })
}

/// Writes down what came out of cases under the names of their groups: a doubt for each that failed, and that a group
/// passed where one did and none failed.
pub(super) fn note(device: &Device, checked: &[(String, Checked)]) {
    let Some(gpu) = device.gpu() else { return };
    for (group, case) in checked {
        log::debug!("{} on {}: error {:?}, bound {:e}", case.case, device.name(), case.error, case.bound);
        let failed = || checked.iter().any(|(other, case)| other == group && case.failure.is_some());
        match &case.failure {
            Some(why) => gpu.found(case.subject.clone(), why.clone()),
            None if case.passed() && !failed() => gpu.passed(group.clone()),
            None => {}
        }
    }
}
