//! [`Program`]: ops in order, whole or in parts that are each short enough for one submit.

use std::ops::Range;

use super::op::Op;
use crate::device::Recorder;
use crate::error::Result;

/// Ops in order.
#[derive(Default)]
pub struct Program {
    ops: Vec<Op>,
}

/// Some dispatches of a [`Program`], to be recorded into a submit of their own; see [`Program::parts`].
#[derive(Clone)]
pub struct Part<'p> {
    /// Ops, and of each which dispatches.
    runs: Vec<(&'p Op, Range<usize>)>,
    milliseconds: f64,
}

impl Program {
    /// Appends an op.
    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Appends another program.
    pub fn append(&mut self, mut other: Self) {
        self.ops.append(&mut other.ops);
    }

    /// This, and another behind it.
    pub fn then(mut self, other: Self) -> Self {
        self.append(other);
        self
    }

    /// Its ops.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Dispatches of one recording.
    pub fn dispatches(&self) -> usize {
        self.ops.iter().map(Op::dispatches).sum()
    }

    /// How long one recording takes on the slowest adapter of the device's class, milliseconds; 0 on the CPU.
    pub fn milliseconds(&self) -> f64 {
        // A sum of nothing is minus zero.
        self.ops.iter().map(Op::milliseconds).fold(0.0, std::ops::Add::add)
    }

    /// Records every op in order.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.ops.iter().try_for_each(|op| op.record(recorder))
    }
}

impl Part<'_> {
    /// Estimated time on the slowest adapter of the device's class, milliseconds.
    pub fn milliseconds(&self) -> f64 {
        self.milliseconds
    }

    /// Dispatches.
    pub fn dispatches(&self) -> usize {
        self.runs.iter().map(|(_, dispatches)| dispatches.len()).sum()
    }

    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.runs.iter().try_for_each(|(op, dispatches)| op.record_some(recorder, dispatches.clone()))
    }
}

impl Program {
    /// The program in parts of at most `limit_ms` estimated milliseconds (a dispatch at least) and no more dispatches than
    /// the device takes in a submit. An app that submits its own encoders gives each an encoder, so that no submit keeps the
    /// device for long; [`Gpu::submit_ms`](crate::gpu::Gpu::submit_ms) is a limit that follows what the device turned out
    /// to be. The parts in order are the program, to the bit.
    ///
    /// ```
    /// use wgpu_rnn::kernel::Program;
    /// use wgpu_rnn::{Recorder, gpu::Gpu};
    ///
    /// fn submit(gpu: &Gpu, program: &Program) -> wgpu_rnn::Result<()> {
    ///     for part in program.parts(gpu.submit_ms()) {
    ///         let mut encoder = gpu.device().create_command_encoder(&Default::default());
    ///         part.record(&mut Recorder::new(&mut encoder))?;
    ///         gpu.queue().submit([encoder.finish()]);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn parts(&self, limit_ms: f64) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut dispatches = 0;
        for op in &self.ops {
            let most = op.most_dispatches();
            for dispatch in 0..op.dispatches() {
                let milliseconds = op.milliseconds_of(dispatch);
                let full = |part: &Part<'_>| part.milliseconds + milliseconds > limit_ms || dispatches >= most;
                if parts.last().is_none_or(full) {
                    parts.push(Part { runs: Vec::new(), milliseconds: 0.0 });
                    dispatches = 0;
                }
                if let Some(part) = parts.last_mut() {
                    part.milliseconds += milliseconds;
                    dispatches += 1;
                    match part.runs.last_mut() {
                        Some((last, run)) if std::ptr::eq(*last, op) => run.end = dispatch + 1,
                        _ => part.runs.push((op, dispatch..dispatch + 1)),
                    }
                }
            }
        }
        parts
    }
}
