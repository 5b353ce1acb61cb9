//! Numbers of a recipe that its kernels read: `Recipe` of `shaders/lib/cell.wgsl`.

use super::{Chunk, Weights};
use crate::activation::Number;
use crate::cpu::random::{Masked, words_of};
use crate::device::Buffer;
use crate::error::{Error, Result};
use crate::kernel::cuts::index;
use crate::recipe::{Activations, Recipe};
use crate::shader::uniform;

uniform! {
    pub(super) struct RecipeUniform {
        peepholes: u32,
        peepholes_direction: u32,
        first_reversed: u32,
        initial: u32,
        clip_inputs: f32,
        clip_cell: f32,
        clip_cell_as_read: f32,
        clip_gradient: f32,
        random: u32,
        left: u32,
        left_scale: f32,
        zoneout_masks: u32,
        zoneout: f32,
        zoneout_cell: f32,
        zoneout_below: u32,
        zoneout_cell_below: u32,
        gate_alpha: f32,
        gate_beta: f32,
        candidate_alpha: f32,
        candidate_beta: f32,
        output_alpha: f32,
        output_beta: f32,
    }
}

/// Where the seed is, where there are no draws.
const NO_DRAWS: u32 = u32::MAX;

impl RecipeUniform {
    /// Of a chunk whose peepholes begin at `first` of what is bound as `w`, those of each direction so far apart, and whose
    /// initial states begin at `initial` of what is bound as `carry`.
    fn new(chunk: &Chunk, first: usize, apart: usize, initial: usize) -> Result<Self> {
        let recipe = chunk.recipe;
        let Activations { gate, candidate, output } = recipe.activations();
        let [inputs, cell, cell_as_read, gradient] =
            recipe.options().clip.all().map(|(_, limit)| limit.map_or(0.0, Number::get));
        let [zoneout, zoneout_cell] = recipe.options().zoneout.all().map(|(_, share)| share.map_or(0.0, Number::get));
        let (left, left_scale) = chunk.dropped_of_h();
        Ok(Self {
            peepholes: index(first)?,
            peepholes_direction: index(apart)?,
            first_reversed: index(chunk.first_reversed)?,
            initial: index(initial)?,
            clip_inputs: inputs,
            clip_cell: cell,
            clip_cell_as_read: cell_as_read,
            clip_gradient: gradient,
            random: chunk.drawn.map_or(Ok(NO_DRAWS), |drawn| index(drawn.random))?,
            left: index(left.unwrap_or(0))?,
            left_scale,
            zoneout_masks: Masked::States.of_layer(chunk.drawn.map_or(0, |drawn| drawn.layer)),
            zoneout,
            zoneout_cell,
            zoneout_below: words_of(f64::from(zoneout)),
            zoneout_cell_below: words_of(f64::from(zoneout_cell)),
            gate_alpha: gate.alpha(),
            gate_beta: gate.beta(),
            candidate_alpha: candidate.alpha(),
            candidate_beta: candidate.beta(),
            output_alpha: output.alpha(),
            output_beta: output.beta(),
        })
    }

    /// Of a chunk whose kernel reads packed weights.
    pub(super) fn packed(chunk: &Chunk) -> Result<Self> {
        let rows = (chunk.hidden + 1) * chunk.recipe.gates() * chunk.hidden;
        Self::new(chunk, rows, packed_recurrent(chunk.recipe, chunk.hidden), chunk.initial_offset())
    }
}

/// Elements of a direction's packed recurrent weights: `W_hhᵀ [H, G·H]`, `b_hh [G·H]`, peepholes `[P·H]`. None without a product:
/// kernels then read the parameters themselves.
pub const fn packed_recurrent(recipe: Recipe, hidden: usize) -> usize {
    if recipe.has_product() { ((hidden + 1) * recipe.gates() + recipe.peepholes()) * hidden } else { 0 }
}

impl Weights {
    /// What a kernel binds that reads the parameters themselves: `W_hh` from its first element on, and peepholes behind it.
    /// `initial` is where in `carry` the initial states begin, `nothing` what is bound where there are no such parameters. Errors: peepholes before `W_hh`, or in other memory.
    pub(super) fn in_place(&self, chunk: &Chunk, initial: usize, nothing: &Buffer) -> Result<(Buffer, RecipeUniform)> {
        let Some(w_hh) = &self.w_hh else {
            let [first, apart] = self.w_ch.as_ref().map_or([0; 2], |w_ch| [w_ch.offset, w_ch.direction]);
            let w_ch = self.w_ch.as_ref().map_or(nothing, |w_ch| &w_ch.buffer);
            return Ok((w_ch.clone(), RecipeUniform::new(chunk, first, apart, initial)?));
        };
        let w_hh = w_hh.buffer.slice(w_hh.offset..w_hh.buffer.len())?;
        let Some(w_ch) = &self.w_ch else { return Ok((w_hh, RecipeUniform::new(chunk, 0, 0, initial)?)) };
        match Buffer::covering(&[&w_hh, &w_ch.buffer]) {
            Some((all, firsts)) if firsts.first() == Some(&0) => {
                let first = firsts.get(1).copied().unwrap_or(0) + w_ch.offset;
                Ok((all, RecipeUniform::new(chunk, first, w_ch.direction, initial)?))
            }
            _ => Err(Error::invalid("`weight_ch`", "declared after `weight_hh`", "declared before it")),
        }
    }
}
