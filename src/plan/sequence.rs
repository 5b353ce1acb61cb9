//! The sequence strategy: a workgroup runs all steps of a few sequences in one dispatch.

use super::memory::Mode;
use super::strategy::{Strategy, Why};
use crate::config::{BatchShape, RnnConfig};
use crate::device::Device;
use crate::error::Result;
use crate::gpu::AdapterKind;
use crate::kernel::Op;
use crate::kernel::recurrent::{Chunk, Gradients, Pass, SequenceTile, Weights};

/// One dispatch for many steps. Fits every layer whose state fits a workgroup.
pub(super) struct Sequence;

impl Strategy for Sequence {
    fn name(&self) -> &'static str {
        "sequence"
    }

    fn fits(&self, device: &Device, config: &RnnConfig, shape: BatchShape, mode: Mode) -> std::result::Result<(), Why> {
        let Some(gpu) = device.gpu() else {
            return Err("it dispatches GPU kernels, and this is the CPU executor".to_string());
        };
        let caps = gpu.capabilities();
        let passes = match mode {
            Mode::Infer => &[Pass::Forward][..],
            Mode::Train => &[Pass::Forward, Pass::Backward],
        };
        let RnnConfig { cell, hidden, .. } = *config;
        let mut dispatches = 0usize;
        for &pass in passes {
            let Some(tile) = SequenceTile::new(caps, pass, cell, hidden, config.directions(), shape.batch) else {
                return Err(format!(
                    "a step of one sequence of {hidden} units does not fit the {} bytes of a workgroup's memory",
                    caps.workgroup_memory
                ));
            };
            let (groups, most) = (shape.batch.div_ceil(tile.rows as usize), caps.max_workgroups as usize);
            if groups > most {
                return Err(format!("it needs {groups} workgroups, and this adapter takes {most} in one dimension"));
            }
            let span = tile.span(caps, cell, hidden, config.directions(), shape.batch).max(1);
            dispatches = dispatches.saturating_add(shape.steps.div_ceil(span).saturating_mul(config.layers));
        }
        let most = caps.max_dispatches();
        if dispatches > most {
            return Err(format!("it needs at least {dispatches} dispatches, and this adapter takes {most} a submit"));
        }
        Ok(())
    }

    fn prefers(&self, device: &Device, config: &RnnConfig, shape: BatchShape) -> std::result::Result<(), Why> {
        let Some(gpu) = device.gpu() else { return Ok(()) };
        let caps = gpu.capabilities();
        let RnnConfig { cell, hidden, .. } = *config;
        let weights = cell.gates().saturating_mul(hidden).saturating_mul(hidden);
        match caps.kind {
            // Measured on llvmpipe with two threads: beyond these a step costs one thread more than dispatching it to all.
            AdapterKind::Software => {
                let work = weights.saturating_mul(shape.batch);
                if weights > 16 << 10 || work > 64 << 10 {
                    return Err(format!(
                        "a step of {work} multiply-adds over {weights} weights is worth a dispatch of its own on a software \
                         adapter"
                    ));
                }
            }
            // Not measured: a workgroup that reads more than a multiprocessor caches waits for memory in every step, while
            // the workgroups of a dispatch a step share the reading.
            AdapterKind::Gpu => {
                let tile = SequenceTile::new(caps, Pass::Forward, cell, hidden, config.directions(), shape.batch);
                let held = tile.is_some_and(|tile| tile.held);
                if !held && weights > 64 << 10 {
                    return Err(format!("a workgroup can't hold {weights} weights, and would read them at every step"));
                }
            }
        }
        Ok(())
    }

    fn because(&self) -> &'static str {
        "it runs all steps in one dispatch, and the layer is small enough for it"
    }

    fn writes_output(&self) -> bool {
        true
    }

    fn forward(&self, device: &Device, chunk: &Chunk, weights: &Weights) -> Result<Op> {
        chunk.sequence_forward(device, weights)
    }

    fn backward(&self, device: &Device, chunk: &Chunk, weights: &Weights, gradients: &Gradients) -> Result<Op> {
        chunk.sequence_backward(device, weights, gradients)
    }
}
