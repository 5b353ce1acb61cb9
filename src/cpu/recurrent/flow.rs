//! How large the gradients of a step's states are, and what of them came from step to step directly.

use std::ops::Range;

use crate::cell::MOST_STATES;
use crate::cpu::cell::{self, BackwardRow, Zoneout, again};
use crate::cpu::scalar::Scalar;
use crate::recipe::Recipe;

/// Norms of one step of one sequence and direction: of the gradient of each state, and of what of the last of them came
/// directly: not through `W_hh` at any later step.
pub const fn flows(recipe: Recipe) -> usize {
    recipe.states() + 1
}

/// Elements for one sequence, direction and unit in which `follow` carries what comes directly, and works.
pub const fn follow_width(recipe: Recipe) -> usize {
    recipe.states() + recipe.saved() + rooms(recipe)
}

/// Rows of H elements with the whole gradients of all states but h, one at least.
const fn rooms(recipe: Recipe) -> usize {
    if recipe.states() > 1 { recipe.states() - 1 } else { 1 }
}

/// Runs the cell of one sequence backward and leaves `flows` norms. `direct`, of [`follow_width`] times H, begins with the
/// gradients of the states that come directly: the same cell runs on them, as its equations are linear in gradients. `dy` is
/// what reaches h from the output, or nothing.
pub(super) fn follow<S: Scalar>(
    recipe: &Recipe,
    mut zoneout: Option<&mut Zoneout<S>>,
    row: &mut BackwardRow<'_, S>,
    dy: &[S],
    direct: &mut [S],
    norms: &mut [S],
) {
    let [of_h, ..] = &row.gradients;
    let (hidden, states) = (of_h.len(), recipe.states());
    let (carried, work) = direct.split_at_mut(states * hidden);
    let (saved, rooms) = work.split_at_mut(recipe.saved() * hidden);
    let mut gradients = rows(carried, hidden, 0..states);
    // That of h is whole as it comes in.
    let mut whole = rows(rooms, hidden, 1..states);
    saved.copy_from_slice(row.saved);
    let [dh, ..] = &mut gradients;
    dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += *dy);
    let (of_h, directly_of_h) = (norm(of_h), norm(dh));
    let BackwardRow { at, before, after, w_ch, .. } = *row;
    let mut directly = BackwardRow { at, saved, before, after, w_ch, gradients, whole: again(&mut whole) };
    cell::step_backward(recipe, zoneout.as_deref_mut(), &mut directly);
    let directly = if states > 1 { norm(whole[states - 1]) } else { directly_of_h };
    cell::step_backward(recipe, zoneout, &mut BackwardRow { whole: again(&mut whole), ..row.again() });
    let [_, others @ ..] = &whole;
    let others = others.iter().take(states - 1).map(|whole| norm(whole));
    for (to, value) in norms.iter_mut().zip([of_h].into_iter().chain(others).chain([directly])) {
        *to = value;
    }
}

/// The rows of H elements one after the other, as those of states `which`.
fn rows<S>(all: &mut [S], hidden: usize, which: Range<usize>) -> [&mut [S]; MOST_STATES] {
    let mut rows = all.chunks_exact_mut(hidden.max(1));
    std::array::from_fn(|state| if which.contains(&state) { rows.next() } else { None }.unwrap_or_default())
}

/// `√Σ x²`. Divided by the largest first, so that squares neither overflow nor vanish before the gradients do.
fn norm<S: Scalar>(values: &[S]) -> S {
    let largest = values.iter().fold(S::ZERO, |largest, &value| largest.max(value.abs()));
    let scale = if largest > S::ZERO && largest.is_finite() { largest } else { S::ONE };
    let sum: S = values.iter().map(|&value| (value / scale) * (value / scale)).sum();
    sum.sqrt() * scale
}
