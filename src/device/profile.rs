//! [`Profile`]: how long each op of recorded work took, and the [`Profiler`] that measures it on a GPU.

use serde::Serialize;

use crate::error::Result;
use crate::gpu::{Gpu, PassTimes};

/// Which clock measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The GPU's, at both ends of a compute pass of the op's own.
    Gpu,
    /// The host's, around each call of the CPU executor.
    Host,
}

/// One op of a [`Profile`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Its kernel.
    pub kernel: &'static str,
    /// The cell and constants that its shader is composed with; empty for native work.
    pub variant: String,
    /// Dispatches (on the CPU: calls).
    pub dispatches: usize,
    /// When it began, milliseconds after the first op.
    pub start_ms: f64,
    /// How long it took, milliseconds.
    pub ms: f64,
}

/// Recorded work, op by op.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Which clock measured.
    pub clock: Clock,
    /// The ops in the order of their recording.
    pub spans: Vec<Span>,
}

/// All ops of one kernel together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelTime {
    /// The kernel.
    pub kernel: &'static str,
    /// Its ops.
    pub ops: usize,
    /// Their dispatches (on the CPU: calls).
    pub dispatches: usize,
    /// The sum of their times, milliseconds.
    pub ms: f64,
    /// Its part in the sum over all kernels, 0 to 1.
    pub share: f64,
}

impl Profile {
    /// Time by kernel, the longest first.
    pub fn kernels(&self) -> Vec<KernelTime> {
        let mut kernels: Vec<KernelTime> = Vec::new();
        for span in &self.spans {
            let (dispatches, ms) = (span.dispatches, span.ms);
            match kernels.iter_mut().find(|found| found.kernel == span.kernel) {
                Some(found) => {
                    found.ops += 1;
                    found.dispatches += dispatches;
                    found.ms += ms;
                }
                None => kernels.push(KernelTime { kernel: span.kernel, ops: 1, dispatches, ms, share: 0.0 }),
            }
        }
        let sum = kernels.iter().map(|kernel| kernel.ms).sum::<f64>();
        for kernel in &mut kernels {
            kernel.share = if sum > 0.0 { kernel.ms / sum } else { 0.0 };
        }
        kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        kernels
    }

    /// From the start of the first op to the end of the last, milliseconds.
    pub fn elapsed_ms(&self) -> f64 {
        self.spans.iter().map(|span| span.start_ms + span.ms).fold(0.0, f64::max)
    }
}

/// What a recorder knows of an op.
pub(crate) struct Facts<'a> {
    pub(crate) kernel: &'static str,
    pub(crate) dispatches: usize,
    /// [`Span::variant`]; asked for only where it is kept.
    pub(crate) variant: &'a dyn Fn() -> String,
}

impl Facts<'_> {
    pub(crate) fn span(&self, start_ms: f64, ms: f64) -> Span {
        Span { kernel: self.kernel, variant: (self.variant)(), dispatches: self.dispatches, start_ms, ms }
    }
}

/// Times each op that one [`Recorder::profiled`](crate::Recorder::profiled) records, in a compute pass of its own. It
/// allocates queries as ops come, and passes cost time themselves: for measuring only.
pub struct Profiler {
    times: PassTimes,
    spans: Vec<Span>,
    /// Of each pass, the number of its span.
    passes: Vec<usize>,
}

impl Profiler {
    /// An error when the device was opened without `TIMESTAMP_QUERY`.
    pub fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self { times: PassTimes::new(gpu)?, spans: Vec::new(), passes: Vec::new() })
    }

    /// What the pass of the next op writes its timestamps into.
    pub(crate) fn next(&mut self, facts: &Facts<'_>) -> Result<wgpu::ComputePassTimestampWrites<'_>> {
        let writes = self.times.next()?;
        self.passes.push(self.spans.len());
        self.spans.push(facts.span(0.0, 0.0));
        Ok(writes)
    }

    /// The same of one more pass of the last op.
    pub(crate) fn goes_on(&mut self) -> Result<wgpu::ComputePassTimestampWrites<'_>> {
        self.passes.push(self.spans.len().saturating_sub(1));
        self.times.next()
    }

    /// Records the end of the measurement into the same encoder, after the recorder.
    pub fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        self.times.resolve(encoder)
    }

    /// The profile, once the encoder has been submitted; without a [`resolve`](Self::resolve) before, of no ops.
    pub async fn read(mut self) -> Result<Profile> {
        let times = self.times.read().await?;
        let mut before = None;
        for (&index, [start_ms, ms]) in self.passes.iter().zip(&times) {
            if let Some(span) = self.spans.get_mut(index) {
                if before.replace(index) != Some(index) {
                    span.start_ms = *start_ms;
                }
                span.ms += ms;
            }
        }
        if times.is_empty() {
            self.spans.clear();
        }
        Ok(Profile { clock: Clock::Gpu, spans: self.spans })
    }
}
