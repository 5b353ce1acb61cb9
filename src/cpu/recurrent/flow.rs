//! How large the gradients of a step's states are, and what of them came from step to step directly.

use crate::cpu::cell::{self, BackwardRow, Zoneout};
use crate::cpu::scalar::Scalar;
use crate::recipe::Recipe;

/// Norms of one step of one sequence and direction: of the gradient of h, of c where there is one, and of what of the last
/// of them came directly: not through `W_hh` at any later step.
pub const fn flows(recipe: Recipe) -> usize {
    recipe.states() + 1
}

/// Elements for one sequence, direction and unit in which `follow` carries what comes directly, and works.
pub const fn follow_width(recipe: Recipe) -> usize {
    recipe.states() + recipe.saved() + 1
}

/// Runs the cell of one sequence backward and leaves `flows` norms. `direct`, of [`follow_width`] times H, begins with the
/// gradients of h and c that come directly: the same cell runs on them, as its equations are linear in gradients. `dy` is
/// what reaches h from the output, or nothing.
pub(super) fn follow<S: Scalar>(
    recipe: &Recipe,
    (mut zoneout, place): (Option<&mut Zoneout<S>>, usize),
    row: &mut BackwardRow<'_, S>,
    dy: &[S],
    direct: &mut [S],
    norms: &mut [S],
) {
    let hidden = row.dh.len();
    let (carried, work) = direct.split_at_mut(recipe.states() * hidden);
    let (saved, all) = work.split_at_mut(recipe.saved() * hidden);
    let (dh, dc) = carried.split_at_mut(hidden);
    let all = if recipe.has_c() { all } else { &mut [] };
    saved.copy_from_slice(row.saved);
    dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += *dy);
    let (of_h, directly_of_h) = (norm(row.dh), norm(dh));
    let BackwardRow { h_prev, c_prev, c, w_ch, .. } = *row;
    let mut directly = BackwardRow { saved, h_prev, c_prev, c, w_ch, dh, dc, dc_all: &mut *all };
    cell::step_backward(recipe, zoneout.as_deref_mut(), place, &mut directly);
    let directly = if recipe.has_c() { norm(all) } else { directly_of_h };
    let (saved, dh, dc) = (&mut *row.saved, &mut *row.dh, &mut *row.dc);
    let mut whole = BackwardRow { saved, h_prev, c_prev, c, w_ch, dh, dc, dc_all: &mut *all };
    cell::step_backward(recipe, zoneout, place, &mut whole);
    let of_c = recipe.has_c().then(|| norm(all));
    for (to, value) in norms.iter_mut().zip([of_h].into_iter().chain(of_c).chain([directly])) {
        *to = value;
    }
}

/// `√Σ x²`. Divided by the largest first, so that squares neither overflow nor vanish before the gradients do.
fn norm<S: Scalar>(values: &[S]) -> S {
    let largest = values.iter().fold(S::ZERO, |largest, &value| largest.max(value.abs()));
    let scale = if largest > S::ZERO && largest.is_finite() { largest } else { S::ONE };
    let sum: S = values.iter().map(|&value| (value / scale) * (value / scale)).sum();
    sum.sqrt() * scale
}
