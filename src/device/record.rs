//! [`Recorder`]: what work is recorded into. On a GPU one compute pass of a command encoder, the app's own or one made
//! here; on the CPU the work is done as it is recorded.

use std::sync::Arc;
#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;

use super::open::{Device, Executor};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Lease, Timestamps, ready};

/// Takes recorded work. Nothing is submitted, uploaded or allocated through it. Drop it before anything else is encoded:
/// its compute pass ends there.
pub struct Recorder<'e> {
    pass: Option<wgpu::ComputePass<'e>>,
    /// Whether an app submits it, when it likes.
    apps: bool,
    dispatches: usize,
}

impl<'e> Recorder<'e> {
    /// Records into one compute pass of the app's `encoder`, which ends when the recorder is dropped. A software adapter
    /// takes [so many](crate::gpu::Capabilities::max_dispatches) dispatches a submit; more of them in one recorder are an
    /// error, in several of one submit the app has to count them.
    pub fn new(encoder: &'e mut wgpu::CommandEncoder) -> Self {
        Self::pass(encoder, None, true)
    }

    /// [`new`](Self::new) with timestamps at both ends of the pass. [`Timestamps::resolve`] follows the recorder's drop.
    pub fn timed(encoder: &'e mut wgpu::CommandEncoder, timestamps: &Timestamps) -> Self {
        Self::pass(encoder, Some(timestamps), true)
    }

    fn pass(encoder: &'e mut wgpu::CommandEncoder, timestamps: Option<&Timestamps>, apps: bool) -> Self {
        let timestamp_writes = timestamps.map(Timestamps::writes);
        let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-rnn"), timestamp_writes };
        Self { pass: Some(encoder.begin_compute_pass(&descriptor)), apps, dispatches: 0 }
    }

    /// Does CPU work at once. Recording a GPU program into it is an [`Error::WrongDevice`].
    pub fn cpu() -> Self {
        Self { pass: None, apps: false, dispatches: 0 }
    }

    /// Dispatches (on the CPU: calls) recorded so far.
    pub fn dispatches(&self) -> usize {
        self.dispatches
    }

    /// The pass, to record `dispatches` more for `gpu` that use `leases`. An error on the CPU, and beyond what one submit
    /// to the device takes.
    pub(crate) fn gpu_pass(
        &mut self,
        gpu: &Gpu,
        dispatches: usize,
        leases: &[Arc<Lease>],
    ) -> Result<&mut wgpu::ComputePass<'e>> {
        let pass = self.pass.as_mut().ok_or_else(|| Error::WrongDevice {
            what: "the recorder".to_string(),
            expected: "a GPU".to_string(),
            got: "the CPU executor".to_string(),
        })?;
        let (all, most) = (self.dispatches.saturating_add(dispatches), gpu.capabilities().max_dispatches());
        if all > most {
            return Err(gpu.limit("the recorded work", format!("{all} dispatches"), format!("{most} a submit")));
        }
        self.dispatches = all;
        if self.apps {
            leases.iter().for_each(|lease| lease.escape());
        }
        Ok(pass)
    }

    /// Counts a call; an error when this records for a GPU.
    pub(crate) fn cpu_call(&mut self) -> Result<()> {
        self.dispatches += 1;
        match self.pass {
            None => Ok(()),
            Some(_) => Err(Error::WrongDevice {
                what: "the recorder".to_string(),
                expected: "the CPU executor".to_string(),
                got: "a GPU".to_string(),
            }),
        }
    }
}

/// How long recorded work took.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the start of recording until done, milliseconds.
    pub wall_ms: f64,
    /// Time on the GPU from timestamps, milliseconds, where the adapter has them.
    pub gpu_ms: Option<f64>,
    /// What the host spent on recording and encoding, milliseconds; nothing on the CPU, which records nothing.
    pub record_ms: f64,
    /// Dispatches (on the CPU: calls).
    pub dispatches: usize,
}

impl Device {
    /// Records with `work` and, on a GPU, submits. Does not wait for the GPU. When `work` fails nothing is submitted; what
    /// the device refuses (validation, memory, too many dispatches) is an error.
    pub fn run(&self, work: impl FnOnce(&mut Recorder<'_>) -> Result<()>) -> Result<()> {
        match self.executor() {
            Executor::Cpu { .. } => work(&mut Recorder::cpu()),
            Executor::Gpu(gpu) => {
                let record = |encoder: &mut wgpu::CommandEncoder| work(&mut Recorder::pass(encoder, None, false));
                submit(gpu, record, || ())
            }
        }
    }

    /// Blocks until everything submitted is done.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self) -> Result<()> {
        match self.executor() {
            Executor::Cpu { .. } => Ok(()),
            Executor::Gpu(gpu) => gpu.wait(),
        }
    }

    /// [`run`](Self::run) and [`wait`](Self::wait), timed. Allocates its timestamp queries: for measuring only.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn time(&self, work: impl FnOnce(&mut Recorder<'_>) -> Result<()>) -> Result<Timing> {
        let timestamps = match self.gpu() {
            Some(gpu) if gpu.capabilities().timestamps => Some(Timestamps::new(gpu)?),
            _ => None,
        };
        let start = Instant::now();
        let mut dispatches = 0;
        let record = |mut recorder: Recorder<'_>| -> Result<()> {
            work(&mut recorder)?;
            dispatches = recorder.dispatches();
            Ok(())
        };
        let mut record_ms = 0.0;
        match self.executor() {
            Executor::Cpu { .. } => record(Recorder::cpu())?,
            Executor::Gpu(gpu) => {
                let record = |encoder: &mut wgpu::CommandEncoder| {
                    record(Recorder::pass(encoder, timestamps.as_ref(), false))?;
                    if let Some(timestamps) = &timestamps {
                        timestamps.resolve(encoder);
                    }
                    Ok(())
                };
                submit(gpu, record, || record_ms = milliseconds(start))?;
            }
        }
        self.wait()?;
        let wall_ms = milliseconds(start);
        let gpu_ms = timestamps.map(|timestamps| pollster::block_on(timestamps.milliseconds())).transpose()?;
        Ok(Timing { wall_ms, gpu_ms, record_ms, dispatches })
    }
}

/// Records with `work` into a fresh encoder, calls `encoded` when that is done, and submits. What the device refuses
/// becomes an error.
fn submit(gpu: &Gpu, work: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>, encoded: impl FnOnce()) -> Result<()> {
    // Until it is submitted, nothing that the work gives back is given out again.
    let _recording = gpu.recording();
    let invalid = gpu.device().push_error_scope(wgpu::ErrorFilter::Validation);
    let memory = gpu.device().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("wgpu-rnn") });
    let recorded = work(&mut encoder);
    let commands = encoder.finish();
    encoded();
    if recorded.is_ok() {
        gpu.queue().submit([commands]);
    }
    let refused = [ready(memory.pop()), ready(invalid.pop())].into_iter().flatten().flatten().next();
    recorded?;
    match refused {
        Some(error) => Err(gpu.failed("was taking work", error)),
        None => Ok(()),
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
