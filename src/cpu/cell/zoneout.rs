//! What stays of the states before a step. Twin of `shaders/hook/zoneout.wgsl`.

use super::{BackwardRow, ForwardRow, again};
use crate::activation::Number;
use crate::cpu::random::{Masks, words_of};
use crate::cpu::scalar::Scalar;
use crate::recipe::Recipe;

/// Zoneout of a recipe, by the draws of a run or, to infer, without.
#[derive(Clone, Debug)]
pub struct Zoneout<S> {
    recipe: Recipe,
    masks: Option<Masks>,
    /// Probabilities of states, in the order of [`Recipe::state_names`].
    shares: [S; 2],
    below: [u32; 2],
    /// The gradients that stay, of one state after the other, of one row.
    kept: Vec<S>,
}

impl<S: Scalar> Zoneout<S> {
    /// That of a recipe's steps; none where nothing stays.
    pub fn new(recipe: &Recipe, masks: Option<Masks>) -> Option<Self> {
        let shares = recipe.options().zoneout.all().map(|(_, share)| f64::from(share.map_or(0.0, Number::get)));
        let (below, shares) = (shares.map(words_of), shares.map(S::from_f64));
        recipe.zones().then(|| Self { recipe: *recipe, masks, shares, below, kept: Vec::new() })
    }

    /// The shares of the states before a step in those after it, for the unit at `place` in step order.
    #[inline(always)]
    fn staying(&self, place: usize) -> [S; 2] {
        let Some(masks) = &self.masks else { return self.shares };
        let words = masks.words(place);
        std::array::from_fn(|state| if words[state] < self.below[state] { S::ONE } else { S::ZERO })
    }

    /// One forward step of one sequence.
    #[inline(never)]
    pub fn forward(&self, row: &mut ForwardRow<'_, S>) {
        let ForwardRow { at, saved, before, w_ch, mut after } = row.again();
        let hidden = after[0].len();
        let (saved, made) = saved.split_at_mut(self.recipe.cell_saved() * hidden);
        super::forward(&self.recipe, &mut ForwardRow { at, saved, before, w_ch, after: again(&mut after) });
        let [_, c, ..] = &after;
        made.copy_from_slice(c.get(..made.len()).unwrap_or_default());
        for unit in 0..hidden {
            for ((after, before), share) in after.iter_mut().zip(before).zip(self.staying(at.place + unit)) {
                // With a projection h is of other units, and nothing of it stays.
                if let (Some(after), Some(before)) = (after.get_mut(unit), before.get(unit).filter(|_| share > S::ZERO))
                {
                    *after = share * *before + (S::ONE - share) * *after;
                }
            }
        }
    }

    /// The same backward.
    #[inline(never)]
    pub fn backward(&mut self, row: &mut BackwardRow<'_, S>) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        let BackwardRow { at, saved, before, mut after, w_ch, mut gradients, mut whole } = row.again();
        let hidden = gradients[0].len();
        let (saved, made) = saved.split_at_mut(self.recipe.cell_saved() * hidden);
        if !made.is_empty() {
            // What h saw, and the state that is left, of which it has seen nothing.
            let ([_, c, ..], [_, dc, ..], [_, whole_dc, ..]) = (&mut after, &gradients, &mut whole);
            whole_dc.iter_mut().zip(&**dc).for_each(|(whole, dc)| *whole = *dc);
            (*c, *whole_dc) = (made, &mut []);
        }
        kept.resize(gradients.iter().map(|gradients| gradients.len()).sum(), S::ZERO);
        for unit in 0..hidden {
            for (state, (gradients, share)) in gradients.iter_mut().zip(self.staying(at.place + unit)).enumerate() {
                let kept = kept.get_mut(state * hidden + unit);
                if let (Some(gradient), Some(kept)) = (gradients.get_mut(unit), kept) {
                    *kept = share * *gradient;
                    *gradient = (S::ONE - share) * *gradient;
                }
            }
        }
        let mut row = BackwardRow { at, saved, before, after, w_ch, gradients: again(&mut gradients), whole };
        super::backward(&self.recipe, &mut row);
        gradients.into_iter().flatten().zip(&kept).for_each(|(gradient, kept)| *gradient += *kept);
        self.kept = kept;
    }
}
