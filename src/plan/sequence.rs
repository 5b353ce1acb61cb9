//! The sequence strategy: a workgroup runs all steps of a few sequences in one dispatch.

use super::purpose::Mode;
use super::strategy::{Strategy, Wanted, Why};
use crate::config::{BatchShape, RnnConfig};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::AdapterKind;
use crate::kernel::Op;
use crate::kernel::recurrent::{Chunk, ChunkGradients, Pass, SequenceTile, Weights, compile_sequence};

/// One dispatch for many steps. Fits every layer whose state fits a workgroup.
pub(super) struct Sequence;

fn passes(mode: Mode) -> &'static [Pass] {
    match mode {
        Mode::Infer => &[Pass::Forward],
        Mode::Train => &[Pass::Forward, Pass::Backward],
    }
}

impl Strategy for Sequence {
    fn name(&self) -> &'static str {
        "sequence"
    }

    fn fits(&self, device: &Device, config: &RnnConfig, shape: BatchShape, mode: Mode) -> std::result::Result<(), Why> {
        let Some(gpu) = device.gpu() else {
            return Err("it dispatches GPU kernels, and this is the CPU executor".to_string());
        };
        let caps = gpu.capabilities();
        let (recipe, hidden) = (config.recipe(), config.hidden);
        if !recipe.has_product() {
            return Err("a step has no product, and no unit waits for another".to_string());
        }
        if recipe.projection().is_some() {
            return Err("h is a projection, which only steps one by one make".to_string());
        }
        for &pass in passes(mode) {
            let tile = SequenceTile::trusted(gpu, pass, recipe, hidden, config.directions(), shape.batch);
            let tile = tile.map_err(|doubt| {
                doubt.unwrap_or_else(|| {
                    let memory = caps.workgroup_memory;
                    format!("a step of one sequence of {hidden} units does not fit the {memory} bytes of a workgroup's memory")
                })
            })?;
            let (groups, most) = (shape.batch.div_ceil(tile.rows as usize), caps.max_workgroups as usize);
            if groups > most {
                return Err(format!("it needs {groups} workgroups, and this adapter takes {most} in one dimension"));
            }
        }
        Ok(())
    }

    fn prefers(&self, device: &Device, config: &RnnConfig, shape: BatchShape) -> std::result::Result<(), Why> {
        let Some(gpu) = device.gpu() else { return Ok(()) };
        let caps = gpu.capabilities();
        let (recipe, hidden) = (config.recipe(), config.hidden);
        let weights = recipe.gates().saturating_mul(hidden).saturating_mul(hidden);
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
                let tile = SequenceTile::trusted(gpu, Pass::Forward, recipe, hidden, config.directions(), shape.batch);
                let held = tile.is_ok_and(|tile| tile.held);
                if !held && weights > 64 << 10 {
                    return Err(format!("a workgroup can't hold {weights} weights, and would read them at every step"));
                }
            }
        }
        Ok(())
    }

    fn compile(&self, device: &Device, config: &RnnConfig, shape: BatchShape, wanted: Wanted) -> Result<bool> {
        let Some(gpu) = device.gpu() else { return Ok(true) };
        let size = [config.hidden, config.directions(), shape.batch];
        let mut all = passes(wanted.mode).iter();
        all.try_fold(true, |compiles, &pass| {
            Ok(compiles && compile_sequence(gpu, pass, config.recipe(), size, wanted.precision, wanted.flow)?)
        })
    }

    fn because(&self) -> &'static str {
        "it runs all steps in one dispatch, and the layer is small enough for it"
    }

    fn writes_output(&self) -> bool {
        true
    }

    fn forward(&self, device: &Device, chunk: &Chunk, weights: &Weights) -> Result<Op> {
        taken(|| chunk.sequence_forward(device, weights))
    }

    fn backward(&self, device: &Device, chunk: &Chunk, weights: &Weights, gradients: &ChunkGradients) -> Result<Op> {
        taken(|| chunk.sequence_backward(device, weights, gradients))
    }
}

/// More layouts than any layer has.
const LAYOUTS: usize = 8;

/// What `make` makes with the first layout that the driver takes: one that it refuses is doubted, and not made again. The
/// planner has tried the usual variant; this is for the others, such as an output stored as f16.
fn taken(make: impl Fn() -> Result<Op>) -> Result<Op> {
    let mut made = make();
    for _ in 1..LAYOUTS {
        if !matches!(made, Err(Error::Shader { .. })) {
            break;
        }
        made = make();
    }
    made
}
