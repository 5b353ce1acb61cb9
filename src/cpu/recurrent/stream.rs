//! A stack of layers in one direction, one time step a call: on the calling thread, without a lock or an allocation.

use std::ops::Range;

use super::{Group, expect, groups};
use crate::cpu::cell::{self, ForwardRow, Zoneout};
use crate::cpu::panel::{Packed, Product, Rows, zeros};
use crate::cpu::scalar::Scalar;
use crate::error::{Error, Result, at_least_one};
use crate::recipe::Recipe;

/// One layer's tensors, PyTorch's.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a, S> {
    /// `weight_ih [G·H, I]`.
    pub w_ih: &'a [S],
    /// `weight_hh [G·H, H]`.
    pub w_hh: &'a [S],
    /// `bias_ih [G·H]`, or empty.
    pub b_ih: &'a [S],
    /// `bias_hh [G·H]`, or empty.
    pub b_hh: &'a [S],
    /// Peepholes `weight_ch [P·H]`, or empty.
    pub w_ch: &'a [S],
}

/// The layers with their weights packed, their states, and room to work in.
#[derive(Clone, Debug)]
pub struct Stack<S> {
    recipe: Recipe,
    batch: usize,
    hidden: usize,
    layers: Vec<Layer<S>>,
    /// `[B, saved·H]` of the layer at work.
    saved: Vec<S>,
}

#[derive(Clone, Debug)]
struct Layer<S> {
    inputs: usize,
    w_ih: Packed<S>,
    /// Of each [`Group`].
    w_hh: Vec<Packed<S>>,
    b_ih: Vec<S>,
    b_hh: Vec<S>,
    w_ch: Vec<S>,
    /// `[B, H]` before the step, and room for it after.
    h: [Vec<S>; 2],
    c: [Vec<S>; 2],
}

impl<S: Scalar> Stack<S> {
    /// Layers with `inputs` and then `hidden` inputs, for `batch` sequences; weights and states are zero.
    pub fn new(recipe: Recipe, layers: usize, inputs: usize, hidden: usize, batch: usize) -> Result<Self> {
        at_least_one("the number of layers", layers)?;
        at_least_one("the input size", inputs)?;
        at_least_one("the batch", batch)?;
        let batch_shape = crate::config::BatchShape::new(1, batch);
        super::Layer { recipe, hidden, directions: 1, first_reversed: 1, batch: batch_shape }.check()?;
        let gates = recipe.gates() * hidden;
        let state = batch * hidden;
        let layer = |index: usize| -> Result<Layer<S>> {
            let inputs = if index == 0 { inputs } else { hidden };
            let c = if recipe.has_c() { state } else { 0 };
            Ok(Layer {
                inputs,
                w_ih: Packed::new(inputs, gates)?,
                w_hh: groups(recipe, hidden)
                    .map(|group| Packed::new(hidden, group.columns.len()))
                    .collect::<Result<_>>()?,
                b_ih: Vec::with_capacity(gates),
                b_hh: Vec::with_capacity(gates),
                w_ch: zeros("peepholes", recipe.peepholes() * hidden)?,
                h: [zeros("a state", state)?, zeros("a state", state)?],
                c: [zeros("a state", c)?, zeros("a state", c)?],
            })
        };
        Ok(Self {
            recipe,
            batch,
            hidden,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            saved: zeros("the gates", state * recipe.saved())?,
        })
    }

    /// Packs a layer's weights; the states stay.
    pub fn set_weights(&mut self, layer: usize, weights: LayerWeights<'_, S>) -> Result<()> {
        let (gates, hidden) = (self.recipe.gates() * self.hidden, self.hidden);
        let layer = Self::find(&mut self.layers, layer)?;
        expect("weight_ih", weights.w_ih.len(), &[gates, layer.inputs])?;
        expect("weight_hh", weights.w_hh.len(), &[gates, hidden])?;
        for (name, bias) in [("bias_ih", weights.b_ih), ("bias_hh", weights.b_hh)] {
            if !bias.is_empty() {
                expect(name, bias.len(), &[gates])?;
            }
        }
        expect("weight_ch", weights.w_ch.len(), &[layer.w_ch.len()])?;
        layer.w_ch.copy_from_slice(weights.w_ch);
        layer.w_ih.set_transposed(weights.w_ih);
        for (Group { columns, .. }, w_hh) in groups(self.recipe, hidden).zip(&mut layer.w_hh) {
            w_hh.set_transposed(&weights.w_hh[columns.start * hidden..columns.end * hidden]);
        }
        for (held, given) in [(&mut layer.b_ih, weights.b_ih), (&mut layer.b_hh, weights.b_hh)] {
            held.clear();
            held.extend_from_slice(given);
        }
        Ok(())
    }

    /// The states of a layer, `[B, H]` each: h, and c, which is empty for a cell without one.
    pub fn state(&self, layer: usize) -> Option<[&[S]; 2]> {
        self.layers.get(layer).map(|layer| [layer.h[0].as_slice(), layer.c[0].as_slice()])
    }

    /// The states of a layer, to write.
    pub fn state_mut(&mut self, layer: usize) -> Result<[&mut [S]; 2]> {
        let Layer { h: [h, _], c: [c, _], .. } = Self::find(&mut self.layers, layer)?;
        Ok([h.as_mut_slice(), c.as_mut_slice()])
    }

    /// The last layer's h, `[B, H]`.
    pub fn output(&self) -> &[S] {
        self.layers.last().map_or(&[], |layer| &layer.h[0])
    }

    /// One step: `x [B, I]` in; the states are then those after it.
    pub fn step(&mut self, x: &[S]) -> Result<()> {
        let Self { recipe, batch, hidden, ref mut layers, ref mut saved } = *self;
        let (gates, slots) = (recipe.gates() * hidden, recipe.saved() * hidden);
        expect("x", x.len(), &[batch, layers.first().map_or(0, |layer| layer.inputs)])?;
        let zoneout = Zoneout::new(&recipe, None);
        let mut below: Option<&[S]> = None;
        for layer in layers {
            let Layer { inputs, w_ih, w_hh, b_ih, b_hh, w_ch, h: [h, h_next], c: [c, c_next] } = layer;
            let (input, inputs) = (below.unwrap_or(x), *inputs);
            let of_input = Group { columns: 0..gates, slots: 0..gates, adds: false };
            project(w_ih, b_ih, input, inputs, of_input, saved, slots);
            for (group, w_hh) in groups(recipe, hidden).zip(w_hh) {
                let bias = b_hh.get(group.columns.clone()).unwrap_or_default();
                project(w_hh, bias, h, hidden, group, saved, slots);
            }
            for (row, saved) in saved.chunks_exact_mut(slots).enumerate() {
                let own = row * hidden..(row + 1) * hidden;
                let of_c = if c.is_empty() { 0..0 } else { own.clone() };
                let (c_prev, c) = (&c[of_c.clone()], &mut c_next[of_c]);
                let (h_prev, h) = (&h[own.clone()], &mut h_next[own]);
                let states = ForwardRow { saved, h_prev, c_prev, w_ch, h, c };
                cell::step_forward(&recipe, zoneout.as_ref(), 0, states);
            }
            std::mem::swap(h, h_next);
            std::mem::swap(c, c_next);
            below = Some(h);
        }
        Ok(())
    }

    fn find(layers: &mut [Layer<S>], index: usize) -> Result<&mut Layer<S>> {
        let there = layers.len();
        layers.get_mut(index).ok_or_else(|| Error::invalid("a layer", format!("below {there}"), index))
    }
}

/// Some columns of rows of `stride` elements.
pub(super) struct Strided<'a, S> {
    pub(super) data: &'a mut [S],
    pub(super) stride: usize,
    pub(super) columns: Range<usize>,
}

impl<S> Rows<S> for Strided<'_, S> {
    #[inline]
    fn rows<'s>(&'s mut self, first: usize, rows: &mut [&'s mut [S]]) {
        // Chunks would divide by the stride.
        let mut rest = self.data.get_mut(first * self.stride..).unwrap_or_default();
        for to in rows {
            let (row, after) = rest.split_at_mut_checked(self.stride).unwrap_or_default();
            *to = row.get_mut(self.columns.clone()).unwrap_or_default();
            rest = after;
        }
    }
}

/// `bias + input·Wᵀ` of `input [rows, depth]` to where `group` says in every `stride` elements of `out`.
fn project<S: Scalar>(
    w: &Packed<S>,
    bias: &[S],
    input: &[S],
    depth: usize,
    group: Group,
    out: &mut [S],
    stride: usize,
) {
    Product {
        packed: w.panels(),
        depth,
        bias,
        runs: 1,
        a: |row, _| &input[row * depth..][..depth],
        rows: input.len() / depth.max(1),
        columns: group.columns.len(),
        adds: group.adds,
        backwards: false,
        c: Strided { data: out, stride, columns: group.slots },
    }
    .run();
}
