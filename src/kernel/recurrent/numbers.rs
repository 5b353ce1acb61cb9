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
        width: u32,
        projection: u32,
        projection_direction: u32,
        first_reversed: u32,
        initial: u32,
        clip_inputs: f32,
        clip_cell: f32,
        clip_cell_as_read: f32,
        clip_gradient: f32,
        clip_projection: f32,
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

/// Where tensors lie in what a kernel binds as `w` behind `W_hh`: of each the first element, and how far those of the other
/// direction are.
#[derive(Clone, Copy, Default)]
struct Behind {
    peepholes: [usize; 2],
    projection: [usize; 2],
}

impl RecipeUniform {
    /// Of a chunk whose initial states begin at `initial` of what is bound as `carry`.
    fn new(chunk: &Chunk, behind: Behind, initial: usize) -> Result<Self> {
        let recipe = chunk.recipe;
        let Activations { gate, candidate, output } = recipe.activations();
        let [inputs, cell, cell_as_read, gradient, of_h] =
            recipe.options().clip.all().map(|(_, limit)| limit.map_or(0.0, Number::get));
        let [zoneout, zoneout_cell] = recipe.options().zoneout.all().map(|(_, share)| share.map_or(0.0, Number::get));
        let (left, left_scale) = chunk.dropped_of_h();
        Ok(Self {
            peepholes: index(behind.peepholes[0])?,
            peepholes_direction: index(behind.peepholes[1])?,
            width: index(chunk.width(0))?,
            projection: index(behind.projection[0])?,
            projection_direction: index(behind.projection[1])?,
            first_reversed: index(chunk.first_reversed)?,
            initial: index(initial)?,
            clip_inputs: inputs,
            clip_cell: cell,
            clip_cell_as_read: cell_as_read,
            clip_gradient: gradient,
            clip_projection: of_h,
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
        let apart = packed_recurrent(chunk.recipe, chunk.hidden);
        let peepholes = (chunk.width(0) + 1) * chunk.recipe.gates() * chunk.hidden;
        let projection = peepholes + chunk.recipe.peepholes() * chunk.hidden;
        let behind = Behind { peepholes: [peepholes, apart], projection: [projection, apart] };
        Self::new(chunk, behind, chunk.initial_offset())
    }
}

/// Elements of a direction's packed recurrent weights: `W_hhᵀ [H, G·H]`, `b_hh [G·H]`, peepholes `[P·H]`; with a projection
/// `W_hhᵀ` has P rows, and `W_hrᵀ [H, P]` comes last. None without a product: kernels then read the parameters themselves.
pub const fn packed_recurrent(recipe: Recipe, hidden: usize) -> usize {
    let width = recipe.width(0, hidden);
    let projection = if recipe.projection().is_some() { width } else { 0 };
    if recipe.has_product() { ((width + 1) * recipe.gates() + recipe.peepholes() + projection) * hidden } else { 0 }
}

impl Weights {
    /// What a kernel binds that reads the parameters themselves: `W_hh` from its first element on, and `W_hr` and peepholes behind
    /// it. `initial` is where in `carry` the initial states begin, `nothing` what is bound where there are no such parameters.
    /// Errors: one of them before `W_hh`, or in other memory.
    pub(super) fn in_place(&self, chunk: &Chunk, initial: usize, nothing: &Buffer) -> Result<(Buffer, RecipeUniform)> {
        let Some(w_hh) = &self.w_hh else {
            let peepholes = self.w_ch.as_ref().map_or([0; 2], |w_ch| [w_ch.offset, w_ch.direction]);
            let w_ch = self.w_ch.as_ref().map_or(nothing, |w_ch| &w_ch.buffer);
            let behind = Behind { peepholes, ..Behind::default() };
            return Ok((w_ch.clone(), RecipeUniform::new(chunk, behind, initial)?));
        };
        let w_hh = w_hh.buffer.slice(w_hh.offset..w_hh.buffer.len())?;
        let others = || self.w_hr.iter().chain(&self.w_ch);
        let all: Vec<&Buffer> = [&w_hh].into_iter().chain(others().map(|other| &other.buffer)).collect();
        let (all, firsts) = match Buffer::covering(&all) {
            Some((all, firsts)) if firsts.first() == Some(&0) => (all, firsts),
            _ => {
                let name = if self.w_hr.is_some() { "`weight_hr` and `weight_ch`" } else { "`weight_ch`" };
                return Err(Error::invalid(name, "declared after `weight_hh`", "declared before it"));
            }
        };
        let mut places =
            others().zip(firsts.iter().skip(1)).map(|(other, first)| [first + other.offset, other.direction]);
        let mut place = |there: bool| if there { places.next().unwrap_or_default() } else { [0; 2] };
        let (projection, peepholes) = (place(self.w_hr.is_some()), place(self.w_ch.is_some()));
        Ok((all, RecipeUniform::new(chunk, Behind { peepholes, projection }, initial)?))
    }
}
