//! One step of one sequence, forward and backward: a file for each that the table in [`Cell`] names.
//!
//! Each file has `forward` and `backward` over rows of H elements. They are elementwise; the products with the weights
//! come before (forward) and after (backward) and are the same for every cell.

mod functions;
mod gru;
mod hooks;
mod lstm;
mod rnn;
mod zoneout;

pub(crate) use hooks::Limit;
pub use zoneout::Zoneout;

use pulp::{Simd, WithSimd};

use functions::{Named, Usual};
use hooks::{Chosen, Plain};

use crate::activation::Function;
use crate::cell::{Cell, MOST_STATES, for_each_cell};
use crate::cpu::scalar::Scalar;
use crate::cpu::simd::vectorised;
use crate::recipe::Recipe;

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
        Usual::<{ is_rectified(Cell::$id) }>
    };
}

macro_rules! declare {
    ($($(#[$doc:meta])* $id:ident { stem: $stem:ident, file: $file:ident, $($field:ident: $value:expr),* })*) => {
        impl<S: Scalar> WithSimd for Step<'_, ForwardRow<'_, S>> {
            type Output = ();

            #[inline(always)]
            fn with_simd<A: Simd>(self, arch: A) {
                let Self { recipe, row } = self;
                let row = row.again();
                match recipe.cell() {
                    $(Cell::$id if recipe.is_plain() => $file::forward(arch, Plain(usual!($id)), row),
                    Cell::$id if recipe.has_usual_functions() => {
                        $file::forward(arch, Chosen::new(recipe, usual!($id)), row)
                    }
                    Cell::$id => $file::forward(arch, Chosen::new(recipe, Named::new(recipe)), row),)*
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
                    $(Cell::$id if recipe.is_plain() => $file::backward(arch, Plain(usual!($id)), row),
                    Cell::$id if recipe.has_usual_functions() => {
                        $file::backward(arch, Chosen::new(recipe, usual!($id)), row)
                    }
                    Cell::$id => $file::backward(arch, Chosen::new(recipe, Named::new(recipe)), row),)*
                }
            }
        }
    };
}
for_each_cell!(declare);

/// Whether what a cell adds to the state is rectified rather than squashed.
const fn is_rectified(cell: Cell) -> bool {
    matches!(Recipe::of(cell).activations().candidate.function(), Function::Relu)
}

/// A row and the recipe that it is worked on by. Two pointers: a row that is passed on by value is copied at every call, by
/// vectors whose halves have just been stored apart, and waits for that.
struct Step<'r, Row> {
    recipe: &'r Recipe,
    row: &'r mut Row,
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
