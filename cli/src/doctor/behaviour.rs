//! What a device does over time: that many steps make nothing new on it, and how long its longest dispatch takes.

use std::time::Instant;

use wgpu_rnn::nn::rnn::Options;
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::OptimizerConfig;
use wgpu_rnn::{BatchShape, Cell, Device, Result, RnnConfig};

use super::findings::{Check, Findings, Verdict};
use super::training::Model;
use crate::measure::{Extras, Subject};

/// Adds the checks and what they measured.
pub fn examine(device: &Device, quick: bool, found: &mut Findings) {
    let mut check = |name: &str, run: &mut dyn FnMut(&mut Findings) -> Result<Verdict>| {
        let start = Instant::now();
        let verdict = run(found).unwrap_or_else(|error| Verdict::Fail(error.to_string()));
        let ms = start.elapsed().as_secs_f64() * 1e3;
        found.checks.push(Check { group: "behaviour".to_string(), name: name.to_string(), verdict, off: None, ms });
    };
    let steps = if quick { 200 } else { 2000 };
    check(&format!("{steps} training steps make nothing new"), &mut |_| growth(device, steps));
    check("the longest dispatch is short", &mut |found| longest(device, quick, found));
}

/// Counters and pool of the device stay what they are.
fn growth(device: &Device, steps: usize) -> Result<Verdict> {
    let model = Model::new(device, OptimizerConfig::adam(1e-3).clip_norm(Some(1.0)))?;
    let step = || device.run(|recorder| model.record(recorder));
    step()?;
    let Some(gpu) = device.gpu() else {
        return Ok(Verdict::Skip("the CPU executor makes nothing that is counted".to_string()));
    };
    let before = (gpu.counters(), gpu.pool_use());
    for done in 0..steps {
        step()?;
        // So that what waits for the device does not pile up.
        if done % 50 == 49 {
            device.wait()?;
        }
    }
    device.wait()?;
    let after = (gpu.counters(), gpu.pool_use());
    Ok(match before == after {
        true => Verdict::Pass,
        false => Verdict::Fail(format!("{before:?} became {after:?}")),
    })
}

/// The longest dispatch of layers with many steps, by the device's own clock.
fn longest(device: &Device, quick: bool, found: &mut Findings) -> Result<Verdict> {
    let Some(gpu) = device.gpu() else { return Ok(Verdict::Skip("the CPU executor dispatches nothing".to_string())) };
    if !gpu.capabilities().timestamps {
        return Ok(Verdict::Skip("the device has no timestamps".to_string()));
    }
    let hardware = device.kind_name() == "gpu";
    // What fills a workgroup runs for as many steps as the planner lets it; what does not is a dispatch a step.
    let [steps, batch] = if hardware && !quick { [1024, 64] } else { [256, 16] };
    let mut longest = (0.0, String::new());
    let sizes = match (hardware, quick) {
        (true, _) => &[64, 256, 1024][..],
        (false, true) => &[64],
        (false, false) => &[64, 256],
    };
    for hidden in sizes {
        for cell in [Cell::Lstm, Cell::Gru] {
            let (config, shape) = (RnnConfig::new(cell, *hidden, *hidden), BatchShape::new(steps, batch));
            let subject = match Subject::new(device, config, shape, Mode::Train, Options::default(), &Extras::default())
            {
                Ok(subject) => subject,
                Err(error) => return Ok(Verdict::Fail(format!("{error:#}"))),
            };
            subject.time(device)?;
            let profile = device.profile(|recorder| {
                subject.bound.forward.record(recorder)?;
                subject.bound.backward.record(recorder)
            })?;
            let ops = subject.bound.forward.ops().iter().chain(subject.bound.backward.ops());
            for (span, op) in profile.spans.into_iter().zip(ops) {
                // A pass has an op's dispatches together: the longest has the share that it is estimated to have.
                let longest_of = (0..op.dispatches()).map(|one| op.milliseconds_of(one)).fold(0.0, f64::max);
                let ms = span.ms * longest_of / op.milliseconds();
                if ms > longest.0 {
                    longest = (ms, format!("{} of {} T{steps} B{batch} H{hidden}", span.kernel, cell.name()));
                }
            }
        }
    }
    let ((ms, what), bound) = (longest, gpu.bounds().dispatch_ms);
    found.measure(format!("longest dispatch ({what}, bound {bound} ms on hardware)"), ms, "ms");
    found.measure("time of the last submits", gpu.measured_pace(), "of the estimate");
    Ok(match ms > bound && hardware {
        true => Verdict::Fail(format!("a dispatch of {what} took {ms:.1} ms, at most {bound}")),
        false => Verdict::Pass,
    })
}
