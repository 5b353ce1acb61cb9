//! One step of one sequence, forward and backward: a file for each that the table in [`Cell`] names.
//!
//! Each file has `forward` and `backward` over rows of H elements. They are elementwise; the products with the weights
//! come before (forward) and after (backward) and are the same for every cell. Where a step has several phases, the file has
//! `between_forward` and `between_backward` too.

mod functions;
mod gru;
mod gru_reset_before;
mod hooks;
mod ind_rnn;
mod lstm;
mod min_gru;
mod min_lstm;
mod rnn;
mod sru;
mod zoneout;

pub(crate) use hooks::Limit;
pub use zoneout::Zoneout;

use pulp::{Simd, WithSimd};

use functions::{AS_IT_IS, BARE, Named, RECTIFIED, Usual};
use hooks::{Chosen, Plain};

use crate::activation::Function;
use crate::cell::{Cell, MOST_STATES, for_each_cell};
use crate::cpu::scalar::Scalar;
use crate::cpu::simd::vectorised;
use crate::recipe::{Activations, Recipe};

/// The most slots of a cell with several phases: more than its row of the table has there may be one, of flags.
pub const MOST_SLOTS: usize = 5;

/// Where a row of units is. Twin of `Site` in `shaders/lib/cell.wgsl`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site {
    /// The sequence of the batch.
    pub sequence: usize,
    /// The step of that sequence, in step order.
    pub step: usize,
    /// The direction.
    pub direction: usize,
    /// Where the first unit is in `[steps, B, D, H]`, which is what its draws depend on.
    pub place: usize,
}

/// What one forward step of one sequence reads and writes. States are in the order of [`Recipe::state_names`], and empty
/// where the recipe has fewer.
#[derive(Debug)]
pub struct ForwardRow<'a, S> {
    /// Where it is.
    pub at: Site,
    /// `saved·H`, slot after slot. In: slots `0..G` hold the input parts `W_ih·x + b_ih`, and the row's `hidden_slots`
    /// name the slot with the recurrent part `W_hh·h_prev + b_hh` of each gate; where that is the gate's own, it holds the
    /// sum. Out: the saved values.
    pub saved: &'a mut [S],
    /// `H` each: the states before the step.
    pub before: [&'a [S]; MOST_STATES],
    /// `P·H`: peepholes; empty without.
    pub w_ch: &'a [S],
    /// `H` each, out: the states after the step.
    pub after: [&'a mut [S]; MOST_STATES],
}

/// What one backward step of one sequence reads and writes: states as forward's. Gradients are those of the loss.
#[derive(Debug)]
pub struct BackwardRow<'a, S> {
    /// Where it is.
    pub at: Site,
    /// `saved·H`. In: the saved values. Out: slots `0..G` the gradients of the gates' pre-activations on the input
    /// side; the row's `hidden_slots` name the slots with those on the recurrent side.
    pub saved: &'a mut [S],
    /// `H` each: the states before the step.
    pub before: [&'a [S]; MOST_STATES],
    /// `H` each: the states after the step.
    pub after: [&'a [S]; MOST_STATES],
    /// `P·H`: peepholes; empty without.
    pub w_ch: &'a [S],
    /// `H` each. In: of h the whole gradient after the step, of others as far as it comes from later steps. Out: the
    /// gradients of the states before the step; of h the part that does not come through the weights.
    pub gradients: [&'a mut [S]; MOST_STATES],
    /// `H` each, out: the whole gradients of the states after the step but h; empty where they are not wanted.
    pub whole: [&'a mut [S]; MOST_STATES],
}

/// What comes between two phases of a step of one sequence, forward.
#[derive(Debug)]
pub struct BetweenForward<'a, S> {
    /// `saved·H`. In: as of [`ForwardRow::saved`], with the recurrent parts of the gates that are done. Out: their values, and
    /// what the next phase reads.
    pub saved: &'a mut [S],
    /// `H`: what products read of h.
    pub h_read: &'a [S],
}

/// The same backward, after the cell; of some units, as many as each slice has.
#[derive(Debug)]
pub struct BetweenBackward<'a, S> {
    /// In: what the cell left in each slot, and in that which the phase read the gradient of what it read. Out: the gradients of
    /// the gates before the phase, and there again what it read.
    pub saved: [&'a mut [S]; MOST_SLOTS],
    /// What products read of h.
    pub h_read: &'a [S],
    /// The gradient of that is added to this.
    pub dh: &'a mut [S],
}

/// The same slices, borrowed again.
#[inline(always)]
pub(super) fn again<'s, S>(slices: &'s mut [&mut [S]; MOST_STATES]) -> [&'s mut [S]; MOST_STATES] {
    // One by one: with `map` a step of one sequence takes some percent longer.
    let [first, second] = slices;
    [first, second]
}

impl<S> ForwardRow<'_, S> {
    /// The same row, borrowed again.
    #[inline(always)]
    fn again(&mut self) -> ForwardRow<'_, S> {
        let Self { at, saved, before, w_ch, after } = self;
        ForwardRow { at: *at, saved, before: *before, w_ch, after: again(after) }
    }
}

impl<S> BackwardRow<'_, S> {
    /// The same row, borrowed again.
    #[inline(always)]
    pub(super) fn again(&mut self) -> BackwardRow<'_, S> {
        let Self { at, saved, before, after, w_ch, gradients, whole } = self;
        let (gradients, whole) = (again(gradients), again(whole));
        BackwardRow { at: *at, saved, before: *before, after: *after, w_ch, gradients, whole }
    }
}

/// The first N slots of a row of slots of H elements.
fn slots<S, const N: usize>(row: &mut [S], hidden: usize) -> [&mut [S]; N] {
    let mut slots = row.chunks_exact_mut(hidden.max(1));
    std::array::from_fn(|_| slots.next().unwrap_or_default())
}

/// The functions of a cell as PyTorch has it.
macro_rules! usual {
    ($id:ident) => {
        Usual::<{ candidate(Cell::$id) }>
    };
}

/// The arms of a recipe whose equations are in `$file`: of its cell, or of a form of it.
macro_rules! with_hooks {
    ($file:ident::$pass:ident($arch:ident, $recipe:ident, $row:ident), $id:ident) => {
        match $recipe {
            recipe if recipe.is_plain() => $file::$pass($arch, Plain(usual!($id)), $row),
            recipe if recipe.has_usual_functions() => $file::$pass($arch, Chosen::new(recipe, usual!($id)), $row),
            recipe => $file::$pass($arch, Chosen::new(recipe, Named::new(recipe)), $row),
        }
    };
}

macro_rules! declare {
    ($($(#[$doc:meta])* $id:ident { stem: $stem:ident, file: $file:ident, $($rest:tt)* }
        forms [$($option:ident: $form:ident $row:tt),*])*) => {
        impl<S: Scalar> WithSimd for Step<'_, ForwardRow<'_, S>> {
            type Output = ();

            #[inline(always)]
            fn with_simd<A: Simd>(self, arch: A) {
                let Self { recipe, row } = self;
                let row = row.again();
                match recipe.cell() {
                    $($(Cell::$id if recipe.options().$option => with_hooks!($form::forward(arch, recipe, row), $id),)*
                    Cell::$id => with_hooks!($file::forward(arch, recipe, row), $id),)*
                }
            }
        }

        impl<S: Scalar> WithSimd for Step<'_, BackwardRow<'_, S>> {
            type Output = ();

            #[inline(always)]
            fn with_simd<A: Simd>(self, arch: A) {
                let Self { recipe, row } = self;
                let row = row.again();
                match recipe.cell() {
                    $($(Cell::$id if recipe.options().$option => with_hooks!($form::backward(arch, recipe, row), $id),)*
                    Cell::$id => with_hooks!($file::backward(arch, recipe, row), $id),)*
                }
            }
        }

        impl<S: Scalar> WithSimd for Step<'_, BetweenForward<'_, S>> {
            type Output = ();

            #[inline(always)]
            fn with_simd<A: Simd>(self, arch: A) {
                let Self { recipe, row } = self;
                match recipe.cell() {
                    $($(Cell::$id if recipe.options().$option => with_hooks!($form::between_forward(arch, recipe, row), $id),)*)*
                    _ => (),
                }
            }
        }

        impl<S: Scalar> WithSimd for Step<'_, BetweenBackward<'_, S>> {
            type Output = ();

            #[inline(always)]
            fn with_simd<A: Simd>(self, arch: A) {
                let Self { recipe, row } = self;
                match recipe.cell() {
                    $($(Cell::$id if recipe.options().$option => with_hooks!($form::between_backward(arch, recipe, row), $id),)*)*
                    _ => (),
                }
            }
        }
    };
}
for_each_cell!(declare);

/// What a cell adds to the state, as a constant of [`Usual`].
const fn candidate(cell: Cell) -> u8 {
    let Activations { candidate, output, .. } = Recipe::of(cell).activations();
    match (candidate.function(), output.function()) {
        (Function::Relu, _) => RECTIFIED,
        (Function::Affine, Function::Affine) => BARE,
        (Function::Affine, _) => AS_IT_IS,
        _ => 0,
    }
}

/// A row and the recipe that it is worked on by. Two pointers: a row that is passed on by value is copied at every call, by
/// vectors whose halves have just been stored apart, and waits for that.
struct Step<'r, Row> {
    recipe: &'r Recipe,
    row: &'r mut Row,
}

/// What comes between two phases of a forward step of one sequence.
pub fn between_forward<S: Scalar>(recipe: &Recipe, row: &mut BetweenForward<'_, S>) {
    vectorised(Step { recipe, row });
}

/// The same of some units backward.
pub fn between_backward<S: Scalar>(recipe: &Recipe, row: &mut BetweenBackward<'_, S>) {
    vectorised(Step { recipe, row });
}

/// One forward step of one sequence. Where lengths disagree, the shortest counts.
pub fn forward<S: Scalar>(recipe: &Recipe, row: &mut ForwardRow<'_, S>) {
    vectorised(Step { recipe, row });
}

/// One backward step of one sequence. Where lengths disagree, the shortest counts.
pub fn backward<S: Scalar>(recipe: &Recipe, row: &mut BackwardRow<'_, S>) {
    vectorised(Step { recipe, row });
}

/// One forward step of one sequence, and what stays of the states before it.
#[inline]
pub fn step_forward<S: Scalar>(recipe: &Recipe, zoneout: Option<&Zoneout<S>>, row: &mut ForwardRow<'_, S>) {
    match zoneout {
        None => forward(recipe, row),
        Some(zoneout) => zoneout.forward(row),
    }
}

/// The same backward.
#[inline]
pub fn step_backward<S: Scalar>(recipe: &Recipe, zoneout: Option<&mut Zoneout<S>>, row: &mut BackwardRow<'_, S>) {
    match zoneout {
        None => backward(recipe, row),
        Some(zoneout) => zoneout.backward(row),
    }
}

#[cfg(test)]
mod tests;
