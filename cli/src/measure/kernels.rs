//! Which kernels a layer runs as, and the tiles that were chosen for them.

use std::collections::BTreeMap;

use serde::Serialize;
use wgpu_rnn::kernel::Op;
use wgpu_rnn::nn::rnn::Bound;

/// All ops of a layer that run the same shader.
#[derive(Serialize)]
pub struct Kernel {
    kernel: &'static str,
    /// The cell that it is composed with, if any.
    cell: Option<String>,
    /// Lanes, register tiles and switches by their names in the shader; none on the CPU executor.
    consts: BTreeMap<&'static str, u32>,
    /// Why this kernel and tile and no other, where there was a choice.
    why: Option<&'static str>,
    ops: usize,
    dispatches: usize,
}

/// Every op of the layer in order.
pub fn ops(bound: &Bound) -> impl Iterator<Item = &Op> {
    bound.forward.ops().iter().chain(bound.backward.ops())
}

/// The distinct kernels of a layer, in the order of first use.
pub fn distinct(bound: &Bound) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for op in ops(bound) {
        let cell = op.spec().and_then(|spec| spec.recipe).map(|recipe| recipe.to_string());
        let consts = op.spec().map(|spec| spec.consts.iter().copied().collect()).unwrap_or_default();
        let one = Kernel { kernel: op.name(), cell, consts, why: op.why(), ops: 1, dispatches: op.dispatches() };
        let same =
            |found: &&mut Kernel| found.kernel == one.kernel && found.cell == one.cell && found.consts == one.consts;
        match kernels.iter_mut().find(same) {
            Some(found) => {
                found.ops += 1;
                found.dispatches += one.dispatches;
            }
            None => kernels.push(one),
        }
    }
    kernels
}
