//! The scan strategy: an invocation runs all steps of a unit, where no product of a step reads h.

use super::purpose::Mode;
use super::strategy::{Strategy, Why, rows_of_gates};
use crate::config::{BatchShape, RnnConfig};
use crate::device::Device;
use crate::error::Result;
use crate::kernel::Op;
use crate::kernel::recurrent::{Chunk, ChunkGradients, Weights};

/// One dispatch for many steps, of any size. Fits every layer whose steps have no product.
pub(super) struct Scan;

impl Strategy for Scan {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn fits(&self, device: &Device, config: &RnnConfig, _: BatchShape, _: Mode) -> std::result::Result<(), Why> {
        match (device.gpu(), config.recipe().has_product()) {
            (None, _) => Err("it dispatches GPU kernels, and this is the CPU executor".to_string()),
            (_, true) => Err(format!("a step of the {} multiplies h with weights", config.cell.title())),
            (Some(_), false) => Ok(()),
        }
    }

    fn because(&self) -> &'static str {
        "it runs all steps of a unit in one invocation, since no unit waits for another"
    }

    fn rows_at_once(&self, device: &Device) -> Option<usize> {
        rows_of_gates(device)
    }

    fn writes_output(&self) -> bool {
        true
    }

    fn forward(&self, device: &Device, chunk: &Chunk, weights: &Weights) -> Result<Op> {
        chunk.scan_forward(device, weights)
    }

    fn backward(&self, device: &Device, chunk: &Chunk, weights: &Weights, gradients: &ChunkGradients) -> Result<Op> {
        chunk.scan_backward(device, weights, gradients)
    }
}
