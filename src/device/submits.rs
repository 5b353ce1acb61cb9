//! Recorded work of [`Device::run`](crate::Device::run), in as many submits as it takes for each to be short.

use std::ops::Range;

use super::profile::{Facts, Profiler};
use crate::error::Result;
use crate::gpu::{Call, Gpu, PassTimes};

/// What measures the passes.
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "a browser is not waited for, so nothing is timed"))]
pub(super) enum Timer<'e> {
    None,
    /// Both ends of each pass.
    Passes(&'e mut PassTimes),
    /// The same, and each op has a pass of its own.
    Ops(&'e mut Profiler),
}

/// Encoders that are filled one after another, and submitted when all is recorded: what fails is not submitted.
pub(super) struct Submits<'e> {
    gpu: &'e Gpu,
    timer: Timer<'e>,
    encoder: wgpu::CommandEncoder,
    pass: Option<wgpu::ComputePass<'static>>,
    /// In the encoder.
    dispatches: usize,
    milliseconds: f64,
    /// What a submit takes.
    most: usize,
    limit_ms: f64,
    full: Vec<Submit>,
}

/// Encoded work, and how long it takes by the table.
pub(super) struct Submit {
    pub(super) commands: wgpu::CommandBuffer,
    pub(super) milliseconds: f64,
}

impl<'e> Submits<'e> {
    pub(super) fn new(gpu: &'e Gpu, timer: Timer<'e>) -> Result<Self> {
        Ok(Self {
            gpu,
            timer,
            encoder: encoder(gpu)?,
            pass: None,
            dispatches: 0,
            milliseconds: 0.0,
            most: gpu.capabilities().max_dispatches(),
            limit_ms: gpu.submit_ms(),
            full: Vec::new(),
        })
    }

    /// Records dispatches of one op with `work`, some at a time.
    pub(super) fn record(
        &mut self,
        facts: &Facts<'_>,
        dispatches: Range<usize>,
        milliseconds: &dyn Fn(usize) -> f64,
        work: impl Fn(&mut wgpu::ComputePass<'_>, Range<usize>),
    ) -> Result<()> {
        if matches!(self.timer, Timer::Ops(_)) {
            self.pass = None;
        }
        let (mut first, mut again) = (dispatches.start, false);
        while first < dispatches.end {
            let mut end = first;
            while end < dispatches.end {
                let next = milliseconds(end);
                let full = self.milliseconds + next > self.limit_ms || self.dispatches >= self.most;
                if full && self.dispatches > 0 {
                    break;
                }
                self.milliseconds += next;
                self.dispatches += 1;
                end += 1;
            }
            if end > first {
                let pass = match &mut self.pass {
                    Some(pass) => pass,
                    none => none.insert(begin(&mut self.encoder, &mut self.timer, facts, again)?),
                };
                work(pass, first..end);
                again = true;
            }
            if end < dispatches.end {
                self.next()?;
            }
            first = end;
        }
        Ok(())
    }

    /// What comes is of the next submit.
    fn next(&mut self) -> Result<()> {
        self.pass = None;
        let full = std::mem::replace(&mut self.encoder, encoder(self.gpu)?);
        let milliseconds = std::mem::take(&mut self.milliseconds);
        self.full.push(Submit { commands: finished(self.gpu, full)?, milliseconds });
        self.dispatches = 0;
        Ok(())
    }

    /// All that was recorded, and what resolves its timestamps.
    pub(super) fn finish(mut self) -> Result<Vec<Submit>> {
        self.pass = None;
        match &mut self.timer {
            Timer::None => {}
            Timer::Passes(times) => times.resolve(&mut self.encoder)?,
            Timer::Ops(profiler) => profiler.resolve(&mut self.encoder)?,
        }
        let commands = finished(self.gpu, self.encoder)?;
        self.full.push(Submit { commands, milliseconds: self.milliseconds });
        Ok(self.full)
    }
}

fn encoder(gpu: &Gpu) -> Result<wgpu::CommandEncoder> {
    let descriptor = wgpu::CommandEncoderDescriptor { label: Some("wgpu-rnn") };
    let made = gpu.catch(Call::Make, || gpu.device().create_command_encoder(&descriptor));
    made.map_err(|trouble| gpu.failed("was recording", trouble))
}

fn finished(gpu: &Gpu, encoder: wgpu::CommandEncoder) -> Result<wgpu::CommandBuffer> {
    gpu.catch(Call::Make, || encoder.finish()).map_err(|trouble| gpu.failed("was recording", trouble))
}

/// A pass, of an op that has had one before if `again`.
fn begin(
    encoder: &mut wgpu::CommandEncoder,
    timer: &mut Timer<'_>,
    facts: &Facts<'_>,
    again: bool,
) -> Result<wgpu::ComputePass<'static>> {
    let (label, timestamp_writes) = match timer {
        Timer::None => ("wgpu-rnn", None),
        Timer::Passes(times) => ("wgpu-rnn", Some(times.next()?)),
        Timer::Ops(profiler) if again => (facts.kernel, Some(profiler.goes_on()?)),
        Timer::Ops(profiler) => (facts.kernel, Some(profiler.next(facts)?)),
    };
    let descriptor = wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes };
    Ok(encoder.begin_compute_pass(&descriptor).forget_lifetime())
}
