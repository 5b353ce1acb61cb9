//! What dropout leaves: of what layers give to the next, of inputs and of weights; and of their gradients.

use super::Rnn;
use super::bind::BindContext;
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::copy::copy;
use crate::kernel::gemm::Matrix;
use crate::kernel::recurrent::{Draws, Dropout, DroppedRows, Given, Masked};
use crate::plan::windows;
use crate::recipe::Tensor;

/// Where a sum over steps goes, and whether it goes on from what is there.
pub(super) struct SumTo {
    pub(super) matrix: Matrix,
    pub(super) goes_on: bool,
}

impl Rnn {
    /// Dropout of a layer's outputs, `[.., B, D·H]`.
    fn of_outputs(&self, layer: usize, draws: &Draws) -> Dropout {
        Dropout {
            probability: self.config.dropout,
            masked: Masked::Outputs,
            draws: draws.clone(),
            batch: self.shape.batch,
            layer,
            hidden: self.config.width(0),
            directions: self.config.directions(),
            first_reversed: self.config.first_reversed(),
        }
    }

    /// Dropout of a layer's inputs, `[.., B, I]`.
    fn of_inputs(&self, layer: usize, draws: &Draws) -> Dropout {
        Dropout {
            probability: self.config.input_dropout,
            masked: Masked::Inputs,
            hidden: self.config.layer_input(layer),
            directions: 1,
            ..self.of_outputs(layer, draws)
        }
    }

    /// Dropout of a layer's `W_hh`, `[D, G·H·H]`.
    fn of_weights(&self, layer: usize, draws: &Draws) -> Dropout {
        Dropout {
            probability: self.config.weight_dropout,
            masked: Masked::Weights,
            batch: 1,
            hidden: self.recurrent_weights(),
            directions: 1,
            ..self.of_outputs(layer, draws)
        }
    }

    /// Elements of `W_hh` of one direction.
    fn recurrent_weights(&self) -> usize {
        self.config.recipe().gates() * self.config.hidden * self.config.width(0)
    }

    /// Drops of a sequence `[T, B, ..]` in time order, from one buffer to another or in place.
    fn drop_sequence(
        &self,
        dropout: &Dropout,
        from: Option<&Buffer>,
        to: &Buffer,
        program: &mut Program,
    ) -> Result<()> {
        let row = dropout.batch * dropout.directions * dropout.hidden;
        let widest = from.map_or(0, Buffer::element_bytes).max(to.element_bytes());
        for times in windows(&self.device, self.shape.steps, row, widest as usize)? {
            let part = |buffer: &Buffer| buffer.slice(times.start * row..times.end * row);
            let from = from.map(part).transpose()?.map_or(Given::There, |from| Given::Rows(from, 0));
            let rows = DroppedRows { first: times.start, count: times.len(), from, to: (part(to)?, 0), adds: false };
            program.push(dropout.op(&self.device, &rows)?);
        }
        Ok(())
    }
}

impl BindContext<'_> {
    /// Drops of what a layer reads, and of its weights: the same each time between two draws.
    pub(super) fn drop(&self, layer: usize, program: &mut Program) -> Result<()> {
        let (rnn, Some(draws)) = (self.rnn, self.draws) else { return Ok(()) };
        if rnn.config.drops_weights() {
            self.drop_weights(layer, draws, program)?;
        }
        if let Some(probability) = rnn.config.options.recurrent_dropout {
            program.push(draws.leave(&rnn.device, layer, rnn.shape.batch * rnn.config.outputs(), probability)?);
        }
        let Some(below) = layer.checked_sub(1) else {
            return match rnn.config.drops_inputs() {
                true => {
                    let dropout = rnn.of_inputs(layer, draws);
                    rnn.drop_sequence(&dropout, Some(&self.io.x), &self.workspace.dropped_x, program)
                }
                false => Ok(()),
            };
        };
        let state = rnn.shape.batch * rnn.config.outputs();
        let sections = self.reserve.layer(below).into_iter().filter_map(|buffers| buffers.states.into_iter().next());
        for ((h, to), steps) in sections.zip(&self.workspace.dropped).zip(&rnn.cuts.sections) {
            // Slot 0 is the state before the section.
            let rows = |from| DroppedRows {
                first: steps.start,
                count: steps.len(),
                from,
                to: (to.clone(), state),
                adds: false,
            };
            if rnn.config.drops_outputs() {
                let dropout = rnn.of_outputs(below, draws);
                program.push(dropout.op(&rnn.device, &rows(Given::Steps(h.clone(), state)))?);
            }
            if rnn.config.drops_inputs() {
                let from = if rnn.config.drops_outputs() { Given::There } else { Given::Rows(h, state) };
                program.push(rnn.of_inputs(layer, draws).op(&rnn.device, &rows(from))?);
            }
        }
        Ok(())
    }

    /// What dropout leaves of the gradient of a layer's output, in place, where another layer read it.
    pub(super) fn drop_gradient_of_output(&self, layer: usize, program: &mut Program) -> Result<()> {
        let (rnn, Some(draws), above) = (self.rnn, self.draws, layer + 1) else { return Ok(()) };
        if above == rnn.config.layers {
            return Ok(());
        }
        if rnn.config.drops_inputs() {
            rnn.drop_sequence(&rnn.of_inputs(above, draws), None, self.inner(layer), program)?;
        }
        if rnn.config.drops_outputs() {
            rnn.drop_sequence(&rnn.of_outputs(layer, draws), None, self.inner(layer), program)?;
        }
        Ok(())
    }

    /// The same of the gradient of x.
    pub(super) fn drop_gradient_of_x(&self, program: &mut Program) -> Result<()> {
        match (self.draws, &self.gradients.dx) {
            (Some(draws), Some(dx)) if self.rnn.config.drops_inputs() => {
                self.rnn.drop_sequence(&self.rnn.of_inputs(0, draws), None, dx, program)
            }
            _ => Ok(()),
        }
    }

    /// `W_hh`, `W_hr` and peepholes of a layer as steps use them: the parameters, or what dropout leaves.
    pub(super) fn left_weights(&self, layer: usize) -> Result<[Option<Matrix>; 3]> {
        let recipe = self.rnn.config.recipe();
        let given = |tensor| self.optional(tensor, layer);
        let w_hh = if recipe.has_product() { given(Tensor::WeightHh)? } else { None };
        let w_ch = recipe.peepholes_in().map_or(Ok(None), given)?;
        let w_hr = given(Tensor::WeightHr)?;
        if !self.rnn.config.drops_weights() {
            return Ok([w_hh, w_hr, w_ch]);
        }
        let (hidden, width) = (self.rnn.config.hidden, self.rnn.config.width(0));
        let first = self.rnn.recurrent_weights();
        let (projection, peepholes) = (recipe.projection().unwrap_or(0) * hidden, recipe.peepholes() * hidden);
        let direction = first + projection + peepholes;
        let left = Matrix { direction, ..Matrix::dense(&self.workspace.dropped_weights[0], width) };
        // One behind the other in one buffer, as kernels bind them.
        let w_hr = w_hr.map(|_| Matrix { offset: first, row: hidden, ..left.clone() });
        let w_ch = w_ch.map(|_| Matrix { offset: first + projection, row: 1, ..left.clone() });
        Ok([Some(left), w_hr, w_ch])
    }

    /// Drops of the weights between a layer's steps, and brings those of a projection and peepholes behind what is left.
    fn drop_weights(&self, layer: usize, draws: &Draws, program: &mut Program) -> Result<()> {
        let given = self.tensor(Tensor::WeightHh, layer, false)?;
        let [Some(left), w_hr, w_ch] = self.left_weights(layer)? else { return Ok(()) };
        self.mask_weights(layer, draws, &given, &left, false, program)?;
        let (rnn, recipe) = (self.rnn, self.rnn.config.recipe());
        let behind =
            [(Tensor::WeightHr, w_hr, recipe.projection()), (Tensor::WeightCh, w_ch, Some(recipe.peepholes()))];
        for (tensor, to, rows) in behind {
            if let (Some(from), Some(to), Some(rows)) = (self.optional(tensor, layer)?, to, rows) {
                // Without gaps, and so one row.
                let [from, to] = [from, to].map(|all| Matrix { row: 0, ..all });
                let columns = rows * rnn.config.hidden;
                program.push(copy(&rnn.device, rnn.config.directions(), 1, columns, Some(&from), &to)?);
            }
        }
        Ok(())
    }

    /// Masks `W_hh` of each direction, or its gradient, from one matrix to another.
    fn mask_weights(
        &self,
        layer: usize,
        draws: &Draws,
        from: &Matrix,
        to: &Matrix,
        adds: bool,
        program: &mut Program,
    ) -> Result<()> {
        let dropout = self.rnn.of_weights(layer, draws);
        for direction in 0..self.rnn.config.directions() {
            let rows = DroppedRows {
                first: direction,
                count: 1,
                from: Given::Rows(from.buffer.clone(), from.offset + direction * from.direction),
                to: (to.buffer.clone(), to.offset + direction * to.direction),
                adds,
            };
            program.push(dropout.op(&self.rnn.device, &rows)?);
        }
        Ok(())
    }

    /// Where the gradient of `W_hh` is summed, in the layer's chunk `index` from the last: in that of the parameters, or in that of
    /// what dropout leaves of them, which begins anew with the first of these chunks. None where there is no `W_hh`.
    pub(super) fn gradient_of_weights(&self, layer: usize, index: usize, goes_on: bool) -> Result<Option<SumTo>> {
        if !self.rnn.config.recipe().has_product() {
            return Ok(None);
        }
        if !self.rnn.config.drops_weights() {
            return Ok(Some(SumTo { matrix: self.tensor(Tensor::WeightHh, layer, true)?, goes_on }));
        }
        let left = Matrix::dense(&self.workspace.dropped_weights[1], self.rnn.config.width(0));
        Ok(Some(SumTo { matrix: Matrix { direction: self.rnn.recurrent_weights(), ..left }, goes_on: index > 0 }))
    }

    /// The gradient of `W_hh`, from that of what dropout left of it.
    pub(super) fn drop_gradient_of_weights(&self, layer: usize, program: &mut Program) -> Result<()> {
        let Some(draws) = self.draws.filter(|_| self.rnn.config.drops_weights()) else { return Ok(()) };
        let to = self.tensor(Tensor::WeightHh, layer, true)?;
        let Some(from) = self.gradient_of_weights(layer, 0, false)? else { return Ok(()) };
        self.mask_weights(layer, draws, &from.matrix, &to, self.params.accumulates(), program)
    }
}
