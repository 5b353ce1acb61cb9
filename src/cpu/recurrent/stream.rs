//! A stack of layers in one direction, some time steps a call: on the calling thread, without a lock or an allocation.

use super::{
    Forward, Initial, Input, Projection, Recurrent, Resets, Tensors, expect, forward, pack_forward, pack_input,
};
use crate::cell::MOST_STATES;
use crate::config::BatchShape;
use crate::cpu::lines::Lines;
use crate::cpu::panel::ROWS;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Partition, Threads};
use crate::error::{Error, Result, at_least_one};
use crate::recipe::Recipe;

/// One layer's tensors, PyTorch's.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a, S> {
    /// `weight_ih [G·H, I]`.
    pub w_ih: &'a [S],
    /// `weight_hh [G·H, H]`, with a projection `[G·H, P]`.
    pub w_hh: &'a [S],
    /// `weight_hr [P, H]`, or empty.
    pub w_hr: &'a [S],
    /// `bias_ih [G·H]`, or empty.
    pub b_ih: &'a [S],
    /// `bias_hh [G·H]`, or empty.
    pub b_hh: &'a [S],
    /// Peepholes `weight_ch [P·H]`, or empty.
    pub w_ch: &'a [S],
}

/// The layers with their weights packed, their states, and room to work in: [`forward`] of each, over and over.
#[derive(Clone, Debug)]
pub struct Stack<S> {
    recipe: Recipe,
    hidden: usize,
    batch: usize,
    /// Steps that are run at once, at most.
    at_once: usize,
    partition: Partition,
    /// All alike: no sequence ends.
    lengths: Lines<u32>,
    layers: Vec<StackLayer<S>>,
    /// `[at_once, B, saved·H]` of the layer at work.
    saved: Lines<S>,
}

#[derive(Clone, Debug)]
struct StackLayer<S> {
    inputs: usize,
    w_ih: Lines<S>,
    w_hh: Lines<S>,
    b_ih: Vec<S>,
    b_hh: Vec<S>,
    w_ch: Lines<S>,
    /// Of each state `[at_once + 1, B, H]`, of a projected h `[.., P]`, of which the first block is the state between calls.
    states: Vec<Lines<S>>,
}

impl<S: Scalar> Stack<S> {
    /// Layers with `inputs` and then as many inputs as the layer below has outputs, for `batch` sequences; weights and states are
    /// zero.
    pub fn new(recipe: Recipe, layers: usize, inputs: usize, hidden: usize, batch: usize) -> Result<Self> {
        at_least_one("the number of layers", layers)?;
        at_least_one("the input size", inputs)?;
        at_least_one("the batch", batch)?;
        // As many as a product takes rows at a time.
        let at_once = (ROWS / batch).max(1);
        let one = layer_of(recipe, hidden, BatchShape::new(at_once, batch));
        one.check()?;
        let gates = one.gate_width();
        let layer = |index: usize| -> Result<StackLayer<S>> {
            let inputs = if index == 0 { inputs } else { one.width(0) };
            Ok(StackLayer {
                inputs,
                w_ih: Lines::zeroed("the packed weights", one.input_packed_len(inputs))?,
                w_hh: Lines::zeroed("the packed weights", one.forward_packed_len())?,
                b_ih: Vec::with_capacity(gates),
                b_hh: Vec::with_capacity(gates),
                w_ch: Lines::zeroed("peepholes", recipe.peepholes() * hidden)?,
                states: recipe
                    .state_names()
                    .iter()
                    .enumerate()
                    .map(|(state, _)| Lines::zeroed("states", one.states_len(state)))
                    .collect::<Result<_>>()?,
            })
        };
        Ok(Self {
            recipe,
            hidden,
            batch,
            at_once,
            partition: Partition::new(Threads::ONE, batch, 1),
            lengths: Lines::zeroed("lengths", batch)?,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            saved: Lines::zeroed("the gates", one.saved_len())?,
        })
    }

    /// Packs a layer's weights; the states stay.
    pub fn set_weights(&mut self, layer: usize, weights: LayerWeights<'_, S>) -> Result<()> {
        let one = layer_of(self.recipe, self.hidden, BatchShape::new(1, self.batch));
        let layer = Self::find(&mut self.layers, layer)?;
        let gates = one.gate_width();
        for (name, bias) in [("bias_ih", weights.b_ih), ("bias_hh", weights.b_hh)] {
            if !bias.is_empty() {
                expect(name, bias.len(), &[gates])?;
            }
        }
        if !self.recipe.has_product() {
            expect("bias_hh", weights.b_hh.len(), &[0])?;
        }
        expect("weight_ch", weights.w_ch.len(), &[layer.w_ch.len()])?;
        let (w_ih, w_hh) = (tensor("weight_ih", weights.w_ih)?, tensor("weight_hh", weights.w_hh)?);
        let w_hr = given(weights.w_hr)?;
        one.check_tensors("weight_ih", &w_ih, layer.inputs)?;
        one.check_projection(w_hr.as_ref())?;
        match self.recipe.has_product() {
            true => one.check_tensors("weight_hh", &w_hh, one.width(0))?,
            false => expect("weight_hh", weights.w_hh.len(), &[0])?,
        }
        pack_input(Threads::ONE, &one, &w_ih, layer.inputs, &mut layer.w_ih)?;
        if self.recipe.has_product() {
            pack_forward(Threads::ONE, &one, &w_hh, w_hr.as_ref(), &mut layer.w_hh)?;
        }
        layer.w_ch.copy_from_slice(weights.w_ch);
        for (held, given) in [(&mut layer.b_ih, weights.b_ih), (&mut layer.b_hh, weights.b_hh)] {
            held.clear();
            held.extend_from_slice(given);
        }
        Ok(())
    }

    /// Elements of a state of a layer.
    const fn state(&self, state: usize) -> usize {
        self.batch * self.recipe.width(state, self.hidden)
    }

    /// The states of a layer, `[B, H]` each, of a projected h `[B, P]`, in the order of [`Recipe::state_names`].
    pub fn states(&self, layer: usize) -> Option<impl Iterator<Item = &[S]>> {
        let states = self.layers.get(layer)?.states.iter().enumerate();
        Some(states.map(|(index, states)| &states[..self.state(index)]))
    }

    /// The states of a layer, to write.
    pub fn states_mut(&mut self, layer: usize) -> Result<impl Iterator<Item = &mut [S]>> {
        let (recipe, hidden, batch) = (self.recipe, self.hidden, self.batch);
        let states = Self::find(&mut self.layers, layer)?.states.iter_mut().enumerate();
        Ok(states.map(move |(index, states)| &mut states[..batch * recipe.width(index, hidden)]))
    }

    /// Some steps: `x [S, B, I]` in, the last layer's h `[S, B, H]` out, with a projection `[S, B, P]`; the states are then those
    /// after them. An error, and no step, for other sizes.
    pub fn steps(&mut self, x: &[S], y: &mut [S]) -> Result<()> {
        let (row, state) = (self.batch * self.layers.first().map_or(0, |layer| layer.inputs), self.state(0));
        let steps = x.len() / row.max(1);
        expect("x", x.len(), &[steps.max(1), self.batch, row / self.batch])?;
        expect("y", y.len(), &[steps, self.batch, state / self.batch])?;
        for (x, y) in x.chunks(self.at_once * row).zip(y.chunks_mut(self.at_once * state)) {
            self.some(x, y)?;
        }
        Ok(())
    }

    /// As many steps as are run at once, or fewer.
    fn some(&mut self, x: &[S], y: &mut [S]) -> Result<()> {
        let Self { recipe, hidden, batch, ref partition, ref mut lengths, ref mut layers, ref mut saved, .. } = *self;
        let (width, above) = (recipe.width(0, hidden), layers.len() - 1);
        let steps = y.len() / (batch * width);
        let layer = layer_of(recipe, hidden, BatchShape::new(steps, batch));
        lengths.fill(steps as u32);
        let mut below: Option<&[S]> = None;
        let mut y = Some(y);
        for (index, one) in layers.iter_mut().enumerate() {
            let StackLayer { inputs, w_ih, w_hh, b_ih, b_hh, w_ch, states } = one;
            let input = match below {
                None => Input::Sequence { x, width: *inputs },
                Some(h) => Input::Below { h, hidden: width },
            };
            let mut each: [&mut [S]; MOST_STATES] = Default::default();
            for (index, (each, states)) in each.iter_mut().zip(states.iter_mut()).enumerate() {
                *each = &mut states[..layer.states_len(index)];
            }
            let buffers = Forward {
                projection: Some(Projection { packed: w_ih, b_ih: given(b_ih)?, input }),
                saved: &mut saved[..layer.saved_len()],
                keeps: false,
                states: each,
                y: if index == above { y.take().unwrap_or_default() } else { &mut [] },
                lengths,
                first_step: 0,
                resets: Resets { bits: &[], batch },
                initial: Initial::none(),
                masks: None,
                left: None,
            };
            forward(partition, &layer, Recurrent { packed: w_hh, b_hh: given(b_hh)?, w_ch: given(w_ch)? }, buffers)?;
            below = states.first().map(|h| &h[..layer.states_len(0)]);
        }
        // Only now: the layer above reads all of them.
        for (index, states) in layers.iter_mut().flat_map(|layer| layer.states.iter_mut().enumerate()) {
            let state = layer.state_len(index);
            states.copy_within(steps * state..(steps + 1) * state, 0);
        }
        Ok(())
    }

    fn find(layers: &mut [StackLayer<S>], index: usize) -> Result<&mut StackLayer<S>> {
        let there = layers.len();
        layers.get_mut(index).ok_or_else(|| Error::invalid("a layer", format!("below {there}"), index))
    }
}

/// A tensor, where there is one.
fn given<S>(data: &[S]) -> Result<Option<Tensors<'_, S>>> {
    if data.is_empty() { Ok(None) } else { tensor("a tensor of the layer", data).map(Some) }
}

fn tensor<'a, S>(name: &str, data: &'a [S]) -> Result<Tensors<'a, S>> {
    Tensors::new(name, data, 1, data.len(), data.len())
}

/// A layer of the stack, for some steps.
const fn layer_of(recipe: Recipe, hidden: usize, batch: BatchShape) -> super::LayerShape {
    super::LayerShape { recipe, hidden, directions: 1, first_reversed: 1, batch }
}
