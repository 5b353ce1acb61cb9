//! Gradients of the weights by which units see states of their own.

use super::bind::BindContext;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::column_sum::{self, ColumnSum};
use crate::kernel::gemm::Matrix;
use crate::kernel::recurrent::Chunk;
use crate::plan::granule;

/// Which state of its unit a gate sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PeepedAt {
    Before,
    After,
}

/// `dp = Σ over steps and sequences of dG·c`, of the cell state that the gates saw, or of h: in partial sums as those of biases.
pub(super) fn peephole_gradients(
    with: &BindContext<'_>,
    layer: usize,
    chunk: &Chunk,
    peeped: PeepedAt,
    go_on: bool,
    program: &mut Program,
) -> Result<()> {
    let rnn = with.rnn;
    let (recipe, hidden, directions) = (rnn.config.recipe(), rnn.config.hidden, rnn.config.directions());
    let Some(tensor) = recipe.peepholes_in() else { return Ok(()) };
    let (to, limit) = (with.tensor(tensor, layer, true)?, recipe.options().clip.cell_as_read);
    let (rows, run) = (chunk.steps * chunk.batch, granule(&rnn.device, rnn.shape) * chunk.batch);
    // Each peephole, the slot of its gate, the state, and the slot of that.
    let before = recipe.looks_before();
    let gates: Vec<[usize; 4]> = match peeped {
        PeepedAt::Before => {
            before.into_iter().enumerate().map(|(which, (gate, state))| [which, gate, state, 0]).collect()
        }
        PeepedAt::After if before.len() == recipe.peepholes() => return Ok(()),
        PeepedAt::After => vec![[recipe.peepholes() - 1, recipe.gates() - 1, 1, 1]],
    };
    let scratch = Matrix::dense(&with.workspace.sums, directions * recipe.peepholes() * hidden);
    for direction in 0..directions {
        for &[which, gate, state, slot] in &gates {
            let da = rnn.saved(chunk, &rnn.steps_of(chunk), gate);
            let da = Matrix { offset: da.offset + direction * da.direction, ..da };
            let of = match recipe.made_slot().filter(|_| peeped == PeepedAt::After) {
                Some(made) => rnn.saved(chunk, &rnn.steps_of(chunk), made),
                None => rnn.slot(state, &chunk.states[state], slot),
            };
            let of = Matrix { offset: of.offset + direction * of.direction, ..of };
            let at = (direction * recipe.peepholes() + which) * hidden;
            let parts = Matrix { offset: at, ..scratch.clone() };
            program.push(ColumnSum::partial(rows, hidden, run, da, parts.clone()).times(of, limit).op(&rnn.device)?);
            let to = Matrix { offset: direction * to.direction + which * hidden, row: 0, ..to.clone() };
            let total = ColumnSum::total(column_sum::parts(rows, run), hidden, parts, to, go_on);
            program.push(total.op(&rnn.device)?);
        }
    }
    Ok(())
}
