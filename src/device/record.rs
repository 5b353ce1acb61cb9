//! [`Recorder`]: what work is recorded into. On a GPU one compute pass of a command encoder, the app's own or one made
//! here, or a pass for each op where each is timed; on the CPU the work is done as it is recorded.

use std::sync::Arc;
use std::time::Instant;

use super::open::{Device, Executor};
#[cfg(not(target_arch = "wasm32"))]
use super::profile::{Clock, Profile};
use super::profile::{Facts, Profiler, Span};
use crate::error::{Error, Result};
use crate::gpu::{Call, Gpu, Lease, Timestamps};

/// Takes recorded work. Nothing is submitted, uploaded or allocated through it (but for a [`Profiler`]'s queries). Drop it
/// before anything else is encoded: its compute pass ends there.
pub struct Recorder<'e> {
    sink: Sink<'e>,
    /// Whether an app submits it, when it likes.
    apps: bool,
    dispatches: usize,
}

/// Where work goes.
#[expect(clippy::large_enum_variant, reason = "the usual variant is the large one, and recording allocates nothing")]
enum Sink<'e> {
    /// One compute pass for all.
    Pass(wgpu::ComputePass<'e>),
    /// A compute pass with timestamps for each op.
    Passes(&'e mut wgpu::CommandEncoder, &'e mut Profiler),
    /// It is done at once.
    Cpu,
    /// It is done at once and timed.
    TimedCpu(Instant, &'e mut Vec<Span>),
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

    /// Records each op into a compute pass of its own, timed by `profiler`. [`Profiler::resolve`] follows the recorder's
    /// drop.
    pub fn profiled(encoder: &'e mut wgpu::CommandEncoder, profiler: &'e mut Profiler) -> Self {
        Self { sink: Sink::Passes(encoder, profiler), apps: true, dispatches: 0 }
    }

    fn pass(encoder: &'e mut wgpu::CommandEncoder, timestamps: Option<&Timestamps>, apps: bool) -> Self {
        let timestamp_writes = timestamps.map(Timestamps::writes);
        let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-rnn"), timestamp_writes };
        Self { sink: Sink::Pass(encoder.begin_compute_pass(&descriptor)), apps, dispatches: 0 }
    }

    /// Does CPU work at once. Recording a GPU program into it is an [`Error::WrongDevice`].
    pub fn cpu() -> Self {
        Self { sink: Sink::Cpu, apps: false, dispatches: 0 }
    }

    /// Dispatches (on the CPU: calls) recorded so far.
    pub fn dispatches(&self) -> usize {
        self.dispatches
    }

    /// Records an op for `gpu` that uses `leases`. An error when this records for the CPU, and beyond what one submit to
    /// the device takes.
    pub(crate) fn gpu_op(
        &mut self,
        facts: &Facts<'_>,
        gpu: &Gpu,
        leases: &[Arc<Lease>],
        work: impl FnOnce(&mut wgpu::ComputePass<'_>),
    ) -> Result<()> {
        // What is recorded for a lost device is never done. Asking takes as long as recording an op, so in an app's encoder the
        // first one asks; whoever records here has asked.
        match self.dispatches {
            0 if self.apps => gpu.alive("was recording")?,
            _ => gpu.not_known_lost("was recording")?,
        }
        let (all, most) = (self.dispatches.saturating_add(facts.dispatches), gpu.capabilities().max_dispatches());
        if all > most {
            return Err(gpu.limit("the recorded work", format!("{all} dispatches"), format!("{most} a submit")));
        }
        match &mut self.sink {
            Sink::Pass(pass) => work(pass),
            Sink::Passes(encoder, profiler) => {
                let timestamp_writes = Some(profiler.next(facts)?);
                let descriptor = wgpu::ComputePassDescriptor { label: Some(facts.kernel), timestamp_writes };
                work(&mut encoder.begin_compute_pass(&descriptor));
            }
            Sink::Cpu | Sink::TimedCpu(..) => return Err(wrong("a GPU", "the CPU executor")),
        }
        self.dispatches = all;
        if self.apps {
            leases.iter().for_each(|lease| lease.escape());
        }
        Ok(())
    }

    /// Does an op of the CPU executor; an error when this records for a GPU.
    pub(crate) fn cpu_op(&mut self, facts: &Facts<'_>, work: impl FnOnce() -> Result<()>) -> Result<()> {
        match &mut self.sink {
            Sink::Cpu => work()?,
            Sink::TimedCpu(begin, spans) => {
                let start = begin.elapsed();
                work()?;
                let [start, end] = [start, begin.elapsed()].map(|time| time.as_secs_f64() * 1e3);
                spans.push(facts.span(start, end - start));
            }
            Sink::Pass(_) | Sink::Passes(..) => return Err(wrong("the CPU executor", "a GPU")),
        }
        self.dispatches += facts.dispatches;
        Ok(())
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

    /// [`run`](Self::run) and [`wait`](Self::wait), timed op by op: on a GPU by its timestamps, each op in a compute pass
    /// of its own; on the CPU by the host's clock. For measuring only: it allocates, and on a GPU more passes take more
    /// time than one. [`Error::Unsupported`] on a GPU without timestamps. [`Profiler`] does the same in an app's encoder.
    ///
    /// ```
    /// # use wgpu_rnn::nn::{Linear, Parameters};
    /// # fn main() -> wgpu_rnn::Result<()> {
    /// # let device = wgpu_rnn::Device::cpu()?;
    /// # let parameters = Parameters::new(&device, Linear::new(3, 2).parameters(""))?;
    /// # let (x, y) = (device.alloc("x", 12)?, device.alloc("y", 8)?);
    /// # let program = Linear::new(3, 2).bind(&parameters, "", 4, &x, &y)?;
    /// let profile = device.profile(|recorder| program.record(recorder))?;
    /// for kernel in profile.kernels() {
    ///     println!("{} took {:.3} ms, {:.0} % of all", kernel.kernel, kernel.ms, 100.0 * kernel.share);
    /// }
    /// # assert!(!profile.spans.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&self, work: impl FnOnce(&mut Recorder<'_>) -> Result<()>) -> Result<Profile> {
        match self.executor() {
            Executor::Cpu { .. } => {
                let mut spans = Vec::new();
                work(&mut Recorder { sink: Sink::TimedCpu(Instant::now(), &mut spans), apps: false, dispatches: 0 })?;
                let first = spans.first().map_or(0.0, |span: &Span| span.start_ms);
                spans.iter_mut().for_each(|span| span.start_ms -= first);
                Ok(Profile { clock: Clock::Host, spans })
            }
            Executor::Gpu(gpu) => {
                let mut profiler = Profiler::new(gpu)?;
                let record = |encoder: &mut wgpu::CommandEncoder| {
                    let mut recorder = Recorder { apps: false, ..Recorder::profiled(encoder, &mut profiler) };
                    work(&mut recorder)?;
                    drop(recorder);
                    profiler.resolve(encoder)
                };
                submit(gpu, record, || ())?;
                pollster::block_on(profiler.read())
            }
        }
    }
}

/// Records with `work` into a fresh encoder, calls `encoded` when that is done, and submits. What the device refuses
/// becomes an error.
fn submit(gpu: &Gpu, work: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>, encoded: impl FnOnce()) -> Result<()> {
    const DOING: &str = "was taking work";
    gpu.alive(DOING)?;
    // Until it is submitted, nothing that the work gives back is given out again.
    let _recording = gpu.recording();
    let scopes = gpu.scopes();
    let descriptor = wgpu::CommandEncoderDescriptor { label: Some("wgpu-rnn") };
    let failed = |trouble| gpu.failed(DOING, trouble);
    let mut encoder = gpu.catch(Call::Make, || gpu.device().create_command_encoder(&descriptor)).map_err(failed)?;
    let recorded = work(&mut encoder);
    let finished = gpu.catch(Call::Make, || encoder.finish());
    encoded();
    let submitted = match (&recorded, finished) {
        (Ok(()), finished) => {
            finished.and_then(|commands| gpu.catch(Call::Work, || gpu.queue().submit([commands])).map(drop))
        }
        (Err(_), _) => Ok(()),
    };
    let refused = scopes.end();
    recorded?;
    submitted.map_err(failed)?;
    gpu.alive(DOING)?;
    match refused {
        Some(error) => Err(gpu.failed(DOING, error)),
        None => Ok(()),
    }
}

/// [`Error::WrongDevice`] for a recorder.
fn wrong(expected: &str, got: &str) -> Error {
    let (expected, got) = (expected.to_string(), got.to_string());
    Error::WrongDevice { what: "the recorder".to_string(), expected, got }
}

#[cfg(not(target_arch = "wasm32"))]
fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
