//! How wide a layer's states, rows and tensors are.

use super::{Recipe, Tensor};

impl Recipe {
    /// Elements P of h, where h is a projection of what the cell makes.
    pub const fn projection(self) -> Option<usize> {
        self.options.projection
    }

    /// With a projection, the slot of what the cell makes and the projection reads, m: the last one. Behind it lie P elements
    /// more, of the gradient of h.
    pub const fn projected_slot(self) -> Option<usize> {
        if self.projection().is_some() { Some(self.saved() - 1) } else { None }
    }

    /// The products over the units that a step takes forward: one for each of its phases, and behind them that of the projection.
    pub(crate) fn step_products(self) -> usize {
        self.phases().len() + usize::from(self.projection().is_some())
    }

    /// Elements of a state of `hidden` units, 0 h and 1 c: H, and of h with a projection P.
    pub const fn width(self, state: usize, hidden: usize) -> usize {
        match (self.projection(), state) {
            (Some(size), 0) => size,
            _ => hidden,
        }
    }

    /// Elements of all states together.
    pub(crate) const fn width_of_states(self, hidden: usize) -> usize {
        self.width(0, hidden) + (self.states() - 1) * hidden
    }

    /// Elements of a row of saved values, of a step of a sequence in one direction: a slot of H for each, and with a projection
    /// P behind them, where backward leaves the gradient of h.
    pub const fn saved_width(self, hidden: usize) -> usize {
        let behind = match self.projection() {
            Some(size) => size,
            None => 0,
        };
        self.saved().saturating_mul(hidden).saturating_add(behind)
    }

    /// The tensors of a layer and direction of `inputs` inputs and `hidden` units, and their shapes.
    pub fn tensors(self, inputs: usize, hidden: usize) -> impl Iterator<Item = (Tensor, Vec<usize>)> {
        let (gates, width) = (self.gates() * hidden, self.width(0, hidden));
        Tensor::ALL.into_iter().filter(move |&tensor| self.has(tensor)).map(move |tensor| {
            let shape = match tensor {
                Tensor::WeightIh => vec![gates, inputs],
                // Of a unit's own h.
                Tensor::WeightHh if !self.has_product() => vec![gates],
                Tensor::WeightHh => vec![gates, width],
                Tensor::BiasIh | Tensor::BiasHh => vec![gates],
                Tensor::WeightHr => vec![width, hidden],
                Tensor::WeightCh => vec![self.peepholes() * hidden],
                Tensor::H0 => vec![width],
                Tensor::C0 => vec![hidden],
            };
            (tensor, shape)
        })
    }

    /// Parameters of a layer and direction: `G·(H·I + H·H)`, `G·H` for each bias, `P·H` peepholes, and H
    /// for each initial state that is learnt; without a product neither `G·H·H` nor `bias_hh`; with a projection to P elements
    /// `G·H·P` and `P·H` in place of `G·H·H`, and P in place of H for an initial h.
    pub fn parameters(self, inputs: usize, hidden: usize) -> usize {
        self.tensors(inputs, hidden).map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}
