//! What stays of the states before a step. Twin of `shaders/hook/zoneout.wgsl`.

use super::{BackwardRow, ForwardRow};
use crate::activation::Number;
use crate::cpu::random::{Masks, words_of};
use crate::cpu::scalar::Scalar;
use crate::recipe::Recipe;

/// Zoneout of a recipe, by the draws of a run or, to infer, without.
#[derive(Clone, Debug)]
pub struct Zoneout<S> {
    recipe: Recipe,
    masks: Option<Masks>,
    /// Probabilities, of h and of c.
    shares: [S; 2],
    below: [u32; 2],
    /// The gradients that stay, of h and then of c, of one row.
    kept: Vec<S>,
}

impl<S: Scalar> Zoneout<S> {
    /// That of a recipe's steps; none where nothing stays.
    pub fn new(recipe: &Recipe, masks: Option<Masks>) -> Option<Self> {
        let shares = recipe.options().zoneout.all().map(|(_, share)| f64::from(share.map_or(0.0, Number::get)));
        let (below, shares) = (shares.map(words_of), shares.map(S::from_f64));
        recipe.zones().then(|| Self { recipe: *recipe, masks, shares, below, kept: Vec::new() })
    }

    /// The shares of h and c before a step in those after it, for the unit at `place` in step order.
    #[inline(always)]
    fn staying(&self, place: usize) -> [S; 2] {
        let Some(masks) = &self.masks else { return self.shares };
        let words = masks.words(place);
        std::array::from_fn(|state| if words[state] < self.below[state] { S::ONE } else { S::ZERO })
    }

    /// One forward step of one sequence, whose first unit is at `place`.
    #[inline(never)]
    pub fn forward(&self, place: usize, row: &mut ForwardRow<'_, S>) {
        let ForwardRow { saved, h_prev, c_prev, w_ch, h, c } = row.again();
        let (saved, made) = saved.split_at_mut(self.recipe.cell_saved() * h.len());
        super::forward(&self.recipe, &mut ForwardRow { saved, h_prev, c_prev, w_ch, h: &mut *h, c: &mut *c });
        made.copy_from_slice(c.get(..made.len()).unwrap_or_default());
        let between = |share: S, before: S, after: S| share * before + (S::ONE - share) * after;
        for (unit, (h, h_prev)) in h.iter_mut().zip(h_prev).enumerate() {
            let [of_h, of_c] = self.staying(place + unit);
            *h = between(of_h, *h_prev, *h);
            if let (Some(c), Some(c_prev)) = (c.get_mut(unit), c_prev.get(unit)) {
                *c = between(of_c, *c_prev, *c);
            }
        }
    }

    /// The same backward.
    #[inline(never)]
    pub fn backward(&mut self, place: usize, row: &mut BackwardRow<'_, S>) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        let BackwardRow { saved, h_prev, c_prev, c, w_ch, dh, dc, dc_all } = row.again();
        let (saved, made) = saved.split_at_mut(self.recipe.cell_saved() * dh.len());
        // What h saw, and the state that is left, of which it has seen nothing.
        let (c, dc_all) = match made.is_empty() {
            true => (c, dc_all),
            false => {
                dc_all.iter_mut().zip(&*dc).for_each(|(all, dc)| *all = *dc);
                (&*made, &mut [][..])
            }
        };
        kept.resize(dh.len() + dc.len(), S::ZERO);
        let (kept_h, kept_c) = kept.split_at_mut(dh.len());
        for (unit, (gradient, kept)) in dh.iter_mut().zip(kept_h).enumerate() {
            let [of_h, of_c] = self.staying(place + unit);
            *kept = of_h * *gradient;
            *gradient = (S::ONE - of_h) * *gradient;
            if let (Some(gradient), Some(kept)) = (dc.get_mut(unit), kept_c.get_mut(unit)) {
                *kept = of_c * *gradient;
                *gradient = (S::ONE - of_c) * *gradient;
            }
        }
        let mut row = BackwardRow { saved, h_prev, c_prev, c, w_ch, dh: &mut *dh, dc: &mut *dc, dc_all };
        super::backward(&self.recipe, &mut row);
        dh.iter_mut().chain(dc).zip(&kept).for_each(|(gradient, kept)| *gradient += *kept);
        self.kept = kept;
    }
}
