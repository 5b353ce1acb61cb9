//! [`Recorder`]: what work is recorded into. On a GPU one compute pass of an app's command encoder, or a pass in each of
//! the encoders made here, as many as submits that end soon; or a pass for each op where each is timed. On the CPU the work
//! is done as it is recorded.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::open::{Device, Executor};
#[cfg(not(target_arch = "wasm32"))]
use super::profile::{Clock, Profile};
use super::profile::{Facts, Profiler, Span};
use super::submits::{Submits, Timer};
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::PassTimes;
use crate::gpu::{Call, Gpu, Lease, Timestamps};

/// Takes recorded work. Nothing is submitted, uploaded or allocated through it (but for a [`Profiler`]'s queries). Drop it
/// before anything else is encoded: its compute pass ends there.
pub struct Recorder<'e> {
    sink: Sink<'e>,
    /// Whether an app submits it, when it likes.
    apps: bool,
    dispatches: usize,
    milliseconds: f64,
}

/// Where work goes.
enum Sink<'e> {
    /// One compute pass of the app's encoder for all.
    Pass(wgpu::ComputePass<'e>),
    /// As many submits as it takes for each to be short.
    Submits(Submits<'e>),
    /// A compute pass of the app's encoder with timestamps for each op.
    Passes(&'e mut wgpu::CommandEncoder, &'e mut Profiler),
    /// It is done at once.
    Cpu,
    /// It is done at once and timed.
    TimedCpu(Instant, &'e mut Vec<Span>),
}

impl<'e> Recorder<'e> {
    /// Records into one compute pass of the app's `encoder`, which ends when the recorder is dropped. How long the device
    /// will be busy with it, [`milliseconds`](Self::milliseconds) estimates; [`Program::parts`](crate::kernel::Program::parts)
    /// cuts a program for several encoders and submits. A software adapter takes
    /// [so many](crate::gpu::Capabilities::max_dispatches) dispatches a submit; more of them in one recorder are an error, in
    /// several of one submit the app has to count them.
    pub fn new(encoder: &'e mut wgpu::CommandEncoder) -> Self {
        Self::pass(encoder, None)
    }

    /// [`new`](Self::new) with timestamps at both ends of the pass. [`Timestamps::resolve`] follows the recorder's drop.
    pub fn timed(encoder: &'e mut wgpu::CommandEncoder, timestamps: &Timestamps) -> Self {
        Self::pass(encoder, Some(timestamps))
    }

    /// Records each op into a compute pass of its own, timed by `profiler`. [`Profiler::resolve`] follows the recorder's
    /// drop.
    pub fn profiled(encoder: &'e mut wgpu::CommandEncoder, profiler: &'e mut Profiler) -> Self {
        Self::with(Sink::Passes(encoder, profiler), true)
    }

    fn with(sink: Sink<'e>, apps: bool) -> Self {
        Self { sink, apps, dispatches: 0, milliseconds: 0.0 }
    }

    fn pass(encoder: &'e mut wgpu::CommandEncoder, timestamps: Option<&Timestamps>) -> Self {
        let timestamp_writes = timestamps.map(Timestamps::writes);
        let descriptor = wgpu::ComputePassDescriptor { label: Some("wgpu-rnn"), timestamp_writes };
        Self::with(Sink::Pass(encoder.begin_compute_pass(&descriptor)), true)
    }

    /// Does CPU work at once. Recording a GPU program into it is an [`Error::WrongDevice`].
    pub fn cpu() -> Self {
        Self::with(Sink::Cpu, false)
    }

    /// Dispatches (on the CPU: calls) recorded so far.
    pub fn dispatches(&self) -> usize {
        self.dispatches
    }

    /// How long what was recorded so far takes on the slowest adapter of the device's class, milliseconds; 0 on the CPU.
    pub fn milliseconds(&self) -> f64 {
        self.milliseconds
    }

    /// Records dispatches of an op for `gpu` that use `leases`, each of so many `milliseconds`. An error when this records
    /// for the CPU, and, in an app's encoder, beyond what one submit to the device takes.
    pub(crate) fn gpu_op(
        &mut self,
        facts: &Facts<'_>,
        gpu: &Gpu,
        leases: &[Arc<Lease>],
        dispatches: Range<usize>,
        milliseconds: &dyn Fn(usize) -> f64,
        work: impl Fn(&mut wgpu::ComputePass<'_>, Range<usize>),
    ) -> Result<()> {
        // What is recorded for a lost device is never done. Asking takes as long as recording an op, so in an app's encoder the
        // first one asks; whoever records here has asked.
        match self.dispatches {
            0 if self.apps => gpu.alive("was recording")?,
            _ => gpu.not_known_lost("was recording")?,
        }
        let (all, most) = (self.dispatches.saturating_add(facts.dispatches), gpu.capabilities().max_dispatches());
        if self.apps && all > most {
            let limit = format!("{most} a submit: `Program::parts` cuts a program for several");
            return Err(gpu.limit("the recorded work", format!("{all} dispatches"), limit));
        }
        let added: f64 = dispatches.clone().map(milliseconds).sum();
        match &mut self.sink {
            Sink::Pass(pass) => work(pass, dispatches),
            Sink::Submits(submits) => submits.record(facts, dispatches, milliseconds, work)?,
            Sink::Passes(encoder, profiler) => {
                let timestamp_writes = Some(profiler.next(facts)?);
                let descriptor = wgpu::ComputePassDescriptor { label: Some(facts.kernel), timestamp_writes };
                work(&mut encoder.begin_compute_pass(&descriptor), dispatches);
            }
            Sink::Cpu | Sink::TimedCpu(..) => return Err(wrong("a GPU", "the CPU executor")),
        }
        self.dispatches = all;
        self.milliseconds += added;
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
            Sink::Pass(_) | Sink::Submits(_) | Sink::Passes(..) => return Err(wrong("the CPU executor", "a GPU")),
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
    /// Time on the GPU from timestamps, from the start of the first pass to the end of the last, milliseconds, where the
    /// adapter has them.
    pub gpu_ms: Option<f64>,
    /// What the host spent on recording and encoding, milliseconds; nothing on the CPU, which records nothing.
    pub record_ms: f64,
    /// Dispatches (on the CPU: calls).
    pub dispatches: usize,
    /// Submits that they were made in; none on the CPU.
    pub submits: usize,
}

impl Device {
    /// Records with `work` and, on a GPU, submits: in several submits where one would keep the device for longer than
    /// [its bound](crate::gpu::Bounds), or have more dispatches than it takes. Does not wait for the GPU. When `work` fails
    /// nothing is submitted; what the device refuses (validation, memory) is an error.
    pub fn run(&self, work: impl FnOnce(&mut Recorder<'_>) -> Result<()>) -> Result<()> {
        match self.executor() {
            Executor::Cpu { .. } => work(&mut Recorder::cpu()),
            Executor::Gpu(gpu) => submit(gpu, Timer::None, &mut once(work), &mut |_| ()),
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
        let mut times = match self.gpu() {
            Some(gpu) if gpu.capabilities().timestamps => Some(PassTimes::new(gpu)?),
            _ => None,
        };
        let start = Instant::now();
        let mut dispatches = 0;
        let mut work = once(work);
        let mut record = |recorder: &mut Recorder<'_>| -> Result<()> {
            work(recorder)?;
            dispatches = recorder.dispatches();
            Ok(())
        };
        let (mut record_ms, mut submits) = (0.0, 0);
        match self.executor() {
            Executor::Cpu { .. } => record(&mut Recorder::cpu())?,
            Executor::Gpu(gpu) => {
                let timer = times.as_mut().map_or(Timer::None, Timer::Passes);
                submit(gpu, timer, &mut record, &mut |count| (record_ms, submits) = (milliseconds(start), count))?;
            }
        }
        self.wait()?;
        let wall_ms = milliseconds(start);
        let gpu_ms = times.map(|times| pollster::block_on(times.elapsed())).transpose()?;
        Ok(Timing { wall_ms, gpu_ms, record_ms, dispatches, submits })
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
                work(&mut Recorder::with(Sink::TimedCpu(Instant::now(), &mut spans), false))?;
                let first = spans.first().map_or(0.0, |span: &Span| span.start_ms);
                spans.iter_mut().for_each(|span| span.start_ms -= first);
                Ok(Profile { clock: Clock::Host, spans })
            }
            Executor::Gpu(gpu) => {
                let mut profiler = Profiler::new(gpu)?;
                submit(gpu, Timer::Ops(&mut profiler), &mut once(work), &mut |_| ())?;
                pollster::block_on(profiler.read())
            }
        }
    }
}

/// Records with `work`, which is called once, into fresh encoders, calls `encoded` with their number when that is done, and
/// submits. What the device refuses becomes an error. Of no type that depends on `work`: it would be compiled for every
/// call.
fn submit(
    gpu: &Gpu,
    timer: Timer<'_>,
    work: &mut dyn FnMut(&mut Recorder<'_>) -> Result<()>,
    encoded: &mut dyn FnMut(usize),
) -> Result<()> {
    const DOING: &str = "was taking work";
    gpu.alive(DOING)?;
    // Until it is submitted, nothing that the work gives back is given out again.
    let _recording = gpu.recording();
    let scopes = gpu.scopes();
    let mut recorder = Recorder::with(Sink::Submits(Submits::new(gpu, timer)?), false);
    let recorded = work(&mut recorder).and_then(|()| match recorder.sink {
        Sink::Submits(submits) => submits.finish(),
        // `work` has put another recorder in its place.
        _ => Ok(Vec::new()),
    });
    let refused = scopes.end();
    let submits = recorded?;
    if let Some(error) = refused {
        return Err(gpu.failed(DOING, error));
    }
    encoded(submits.len());
    let milliseconds = submits.iter().map(|submit| submit.milliseconds).sum();
    let scopes = gpu.scopes();
    let submitted = gpu.catch(Call::Work, || {
        for submit in submits {
            gpu.queue().submit([submit.commands]);
        }
        gpu.submitted(milliseconds);
    });
    let refused = scopes.end();
    submitted.map_err(|trouble| gpu.failed(DOING, trouble))?;
    gpu.alive(DOING)?;
    match refused {
        Some(error) => Err(gpu.failed(DOING, error)),
        None => Ok(()),
    }
}

/// Work that is done once, as what may be called again and then does nothing.
fn once(work: impl FnOnce(&mut Recorder<'_>) -> Result<()>) -> impl FnMut(&mut Recorder<'_>) -> Result<()> {
    let mut work = Some(work);
    move |recorder| work.take().map_or(Ok(()), |work| work(recorder))
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
