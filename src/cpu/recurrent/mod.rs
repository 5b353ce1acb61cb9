//! All steps of one recurrent layer, in one or both directions.
//!
//! Buffers are those of the other devices, in *step order*: step s of a sequence of length n is at time s in a direction
//! that goes forward and at time `n-1-s` in a reversed one, so that both begin at step 0 and padding comes last.
//!
//! | buffer | shape | holds |
//! |---|---|---|
//! | `x` | `[times, B, I]` | the input in *time* order; of an inner layer the states of the layer below |
//! | `saved` | `[T, B, D, saved·H]` | input projections, then saved values, then gradients of pre-activations; with a projection P more in a row, for the gradient of h |
//! | `states` | `[T+1, B, D·H]` each | states; block 0 the initial ones, block T the final ones |
//! | `gradients` | `[B, D·H]` each | gradients of the final states, then of the initial ones |
//! | `direct` | `[B, D, follow_width·H]` | gradients that come directly, and room; empty unless norms are wanted |
//! | `norms` | `[T, B, D, flows]` | norms of the gradients of each step's states, or empty |
//! | `initial` | `[B, D·H]` each | states that sequences return to, and the sums of their gradients; empty without resets |
//! | `y`, `dy` | `[times, B, D·H]` | output of the whole sequence in *time* order, and its gradient |
//!
//! States are in the order of [`Recipe::state_names`], h first; what the recipe does not have is empty. With a projection h, y and
//! their gradients have P elements where others have H.
//!
//! T is the number of steps of the call, which may be a part of the sequence: then it has done `first_step` steps before,
//! or backward, has these left to do.
//!
//! Each task of a [`Partition`](crate::cpu::threads::Partition) runs all steps of its sequences, on one thread, or on
//! several that share each step. Results are the same bits for any number of threads, any batch around a sequence, and any
//! division of its steps into calls.

mod backward;
mod flow;
mod forward;
mod input;
mod left;
mod projected;
mod resets;
mod stream;
#[cfg(test)]
mod tests;
mod through;

use std::ops::Range;

pub use backward::{Backward, backward, pack_backward};
pub use flow::{flows, follow_width};
pub use forward::{Forward, Recurrent, forward, pack_forward, pack_input};
pub use input::{Input, Projection};
pub use left::Left;
pub use resets::{Initial, Resets, reset_words};
pub use stream::{LayerWeights, Stack};

use crate::cell::MOST_STATES;
use crate::config::BatchShape;
use crate::cpu::cell::Site;
use crate::cpu::panel::{self, Rows, WIDTH};
use crate::cpu::threads::{Member, TaskRows};
use crate::error::{Error, Result, at_least_one};
use crate::recipe::{Operand, Phase, Recipe};

/// One layer and the batch that it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerShape {
    /// What its steps are.
    pub recipe: Recipe,
    /// Hidden size H.
    pub hidden: usize,
    /// Directions D, 1 or 2.
    pub directions: usize,
    /// The first direction that goes from the end.
    pub first_reversed: usize,
    /// Steps T and batch B.
    pub batch: BatchShape,
}

/// One tensor of each direction, at a distance in one slice.
#[derive(Clone, Copy, Debug)]
pub struct Tensors<'a, S> {
    data: &'a [S],
    apart: usize,
    len: usize,
}

impl<'a, S> Tensors<'a, S> {
    /// `directions` tensors of `len` elements, one starting `apart` elements after the other. An error where they reach
    /// beyond `data`.
    pub fn new(name: &str, data: &'a [S], directions: usize, apart: usize, len: usize) -> Result<Self> {
        let end = directions.saturating_sub(1).checked_mul(apart).and_then(|first| first.checked_add(len));
        match end {
            Some(end) if end <= data.len() => Ok(Self { data, apart, len }),
            _ => Err(Error::shape(name, &[directions, len], &[data.len()])),
        }
    }

    /// That of a direction.
    fn of(&self, direction: usize) -> &'a [S] {
        &self.data[direction * self.apart..][..self.len]
    }
}

impl LayerShape {
    /// Step or time on the other side, of a sequence of `length` steps. Padding keeps its place.
    #[inline(always)]
    const fn other_side(&self, direction: usize, step: usize, length: usize) -> usize {
        if self.is_reversed(direction) && step < length { length - 1 - step } else { step }
    }

    /// The place in step order of the first unit of a sequence's step.
    const fn place(&self, direction: usize, step: usize, row: usize) -> usize {
        ((step * self.batch.batch + row) * self.directions + direction) * self.hidden
    }

    /// The units of a sequence's step.
    const fn site(&self, direction: usize, step: usize, sequence: usize) -> Site {
        Site { sequence, step, direction, place: self.place(direction, step, sequence) }
    }

    /// Whether a direction goes from the end.
    const fn is_reversed(&self, direction: usize) -> bool {
        direction >= self.first_reversed
    }

    /// Elements of a state of one sequence and direction, 0 h and 1 c.
    pub const fn width(&self, state: usize) -> usize {
        self.recipe.width(state, self.hidden)
    }

    /// Columns of `saved` per step, sequence and direction: `saved·H`, and behind them P with a projection.
    pub const fn saved_width(&self) -> usize {
        self.recipe.saved_width(self.hidden)
    }

    /// Rows of `weight_hh`: `G·H`.
    pub const fn gate_width(&self) -> usize {
        self.recipe.gates() * self.hidden
    }

    /// Elements of `saved`.
    pub const fn saved_len(&self) -> usize {
        self.batch.rows() * self.directions * self.saved_width()
    }

    /// Elements of a state of all steps.
    pub const fn states_len(&self, state: usize) -> usize {
        (self.batch.steps + 1) * self.state_len(state)
    }

    /// Elements of a state of one step, and of its gradient: `B·D·H`, of h with a projection `B·D·P`.
    pub const fn state_len(&self, state: usize) -> usize {
        self.batch.batch * self.directions * self.width(state)
    }

    /// Elements of all states of one step.
    pub const fn all_states_len(&self) -> usize {
        self.batch.batch * self.directions * self.recipe.width_of_states(self.hidden)
    }

    /// Where in the states of one step, one after the other, this one is.
    fn state_at(&self, state: usize) -> Range<usize> {
        let first = (0..state).map(|before| self.state_len(before)).sum();
        first..first + self.state_len(state)
    }

    /// The states of `[states, B, D·H]`; empty where the recipe has fewer, or `all` does.
    pub fn each_state<'a, S>(&self, all: &'a [S]) -> [&'a [S]; MOST_STATES] {
        let there = |state: usize| all.get(self.state_at(state)).filter(|_| state < self.recipe.states());
        std::array::from_fn(|state| there(state).unwrap_or_default())
    }

    /// The same, to write.
    pub fn each_state_mut<'a, S>(&self, all: &'a mut [S]) -> [&'a mut [S]; MOST_STATES] {
        let mut rest = all;
        std::array::from_fn(|state| {
            if state >= self.recipe.states() || rest.len() < self.state_len(state) {
                return Default::default();
            }
            let (now, after) = std::mem::take(&mut rest).split_at_mut(self.state_len(state));
            rest = after;
            now
        })
    }

    /// Elements of the weights packed by [`pack_forward`].
    pub fn forward_packed_len(&self) -> usize {
        let of_gates = self.groups().map(|group| group.packed.len()).sum::<usize>();
        self.directions * (of_gates + self.projection_packed_len(self.hidden, self.width(0)))
    }

    /// Elements of a direction's packed `weight_hr`, of so many rows and columns as it is multiplied with; none without.
    const fn projection_packed_len(&self, depth: usize, columns: usize) -> usize {
        if self.recipe.projection().is_some() { panel::packed_len(depth, columns) } else { 0 }
    }

    /// The gates, by where their recurrent parts go.
    fn groups(&self) -> impl Iterator<Item = Group> {
        groups(self.recipe, self.hidden)
    }

    /// The same, worked out once for all steps.
    fn all_groups(&self) -> [Option<Group>; MOST_GROUPS] {
        let mut all = self.groups();
        std::array::from_fn(|_| all.next())
    }

    /// Elements of the weights of `inputs` inputs packed by [`pack_input`].
    pub const fn input_packed_len(&self, inputs: usize) -> usize {
        self.directions * panel::packed_len(inputs, self.gate_width())
    }

    /// Elements of the weights packed by [`pack_backward`].
    pub const fn backward_packed_len(&self) -> usize {
        let width = self.width(0);
        let of_all = panel::packed_len(self.gate_width(), width) + self.projection_packed_len(width, self.hidden);
        if self.recipe.has_product() { self.directions * of_all } else { 0 }
    }

    /// Elements of `direct`.
    pub const fn direct_len(&self) -> usize {
        self.batch.batch * self.directions * self.hidden * follow_width(self.recipe)
    }

    /// Elements of `norms`.
    pub const fn norms_len(&self) -> usize {
        self.batch.rows() * self.directions * flows(self.recipe)
    }

    /// An error when a size is zero, there are more than two directions, or the buffers can't be addressed.
    pub fn check(&self) -> Result<()> {
        self.batch.check()?;
        at_least_one("the hidden size", self.hidden)?;
        if !(1..=2).contains(&self.directions) {
            return Err(Error::invalid("the number of directions", "1 or 2", self.directions));
        }
        let rows = (self.batch.steps + 1).checked_mul(self.batch.batch).and_then(|n| n.checked_mul(8));
        let widest = self.hidden.max(self.width(0)).checked_add(WIDTH).and_then(|n| n.checked_mul(8));
        let elements = rows.zip(widest).and_then(|(rows, widest)| rows.checked_mul(widest));
        let weights = widest.and_then(|widest| widest.checked_mul(widest));
        match elements.and(weights) {
            Some(_) => Ok(()),
            None => Err(Error::invalid("the hidden size", "such that buffers can be addressed", self.hidden)),
        }
    }

    /// An error naming the first sequence whose length is not in `1..=steps`, or the count when it is not B.
    fn check_lengths(&self, lengths: &[u32], steps: usize) -> Result<()> {
        expect("lengths", lengths.len(), &[self.batch.batch])?;
        match lengths.iter().position(|&n| n == 0 || n as usize > steps) {
            Some(sequence) => Err(Error::Length { sequence, steps, got: lengths[sequence] as usize }),
            None => Ok(()),
        }
    }

    /// An error when `tensors` is not one `[G·H, columns]` for each direction.
    fn check_tensors<S>(&self, name: &str, tensors: &Tensors<'_, S>, columns: usize) -> Result<()> {
        expect(name, tensors.len, &[self.gate_width(), columns])?;
        Tensors::new(name, tensors.data, self.directions, tensors.apart, tensors.len).map(|_| ())
    }

    /// An error unless there are bits for all of `times`, and initial states, where the recipe has resets, and only there.
    fn check_resets<S>(&self, resets: &Resets<'_>, initial: &Initial<'_, S>, times: usize) -> Result<()> {
        let there = self.recipe.resets();
        let words = if there { (times + 1) * reset_words(self.batch.batch) } else { 0 };
        if resets.bits.len() < words || resets.bits.is_empty() == there || resets.batch != self.batch.batch {
            let got = format!("{} words", resets.bits.len());
            return Err(Error::invalid("the bits of resets", format!("at least {words} words"), got));
        }
        self.check_states("the initial ", usize::from(there), initial.states.map(<[S]>::len))
    }

    /// An error unless each state that the recipe has, and no other, has the elements of so many blocks; `what` they are of
    /// states comes before their names.
    fn check_states(&self, what: &str, blocks: usize, lens: [usize; MOST_STATES]) -> Result<()> {
        let names = self.recipe.state_names();
        let mut all = lens.into_iter().enumerate();
        match all.find(|&(state, len)| len != if state < names.len() { blocks * self.state_len(state) } else { 0 }) {
            None => Ok(()),
            Some((state, len)) => {
                let name = names.get(state).copied().unwrap_or("state that the cell does not have");
                let shape = self.shape(blocks, self.width(state), state < names.len());
                Err(Error::shape(format!("{what}{name}"), &shape, &[len]))
            }
        }
    }

    /// An error unless there is a `weight_hr` where the recipe has a projection, and only there.
    fn check_projection<S>(&self, w_hr: Option<&Tensors<'_, S>>) -> Result<()> {
        let of_recipe = [self.recipe.projection().unwrap_or(0), self.hidden];
        let Some(w_hr) = w_hr else { return expect("weight_hr", 0, &of_recipe) };
        expect("weight_hr", w_hr.len, &of_recipe)?;
        Tensors::new("weight_hr", w_hr.data, self.directions, w_hr.apart, w_hr.len).map(|_| ())
    }

    /// An error unless there are peepholes where the recipe has them, and only there.
    fn check_peepholes<S>(&self, w_ch: Option<&Tensors<'_, S>>) -> Result<()> {
        let Some(w_ch) = w_ch else { return expect("weight_ch", 0, &[self.recipe.peepholes() * self.hidden]) };
        expect("weight_ch", w_ch.len, &[self.recipe.peepholes() * self.hidden])?;
        Tensors::new("weight_ch", w_ch.data, self.directions, w_ch.apart, w_ch.len).map(|_| ())
    }

    /// Shape of a buffer with `blocks` blocks of B rows of `D·width`; no blocks when `there` is false.
    const fn shape(&self, blocks: usize, width: usize, there: bool) -> [usize; 3] {
        [if there { blocks } else { 0 }, self.batch.batch, self.directions * width]
    }
}

/// Groups of a cell at most.
const MOST_GROUPS: usize = 4;

/// Gates one after the other whose recurrent parts `W_hh·h + b_hh` go one after the other into a row of saved values.
struct Group {
    /// The phase whose product makes them.
    phase: usize,
    /// Terms of its sums.
    depth: usize,
    /// Rows of `weight_hh`.
    columns: Range<usize>,
    /// Where they are in a direction's packed weights.
    packed: Range<usize>,
    /// Columns of the row.
    slots: Range<usize>,
    /// Whether they are added to the input parts, which are there.
    adds: bool,
}

/// The groups of a cell with `hidden` units. A gate whose recurrent part has a slot of its own does not add it.
fn groups(recipe: Recipe, hidden: usize) -> impl Iterator<Item = Group> {
    let runs = recipe.phases().enumerate().flat_map(move |(phase, Phase { gates, operand })| {
        let depth = if operand == Operand::H { recipe.width(0, hidden) } else { hidden };
        let runs = recipe.hidden_slots()[gates].chunk_by(|slot, next| slot + 1 == *next);
        runs.map(move |slots| (phase, depth, slots))
    });
    runs.scan((0, 0), move |(gate, packed), (phase, depth, slots)| {
        let (first, slot, begin) = (*gate, slots.first().copied()?, *packed);
        *gate += slots.len();
        *packed += panel::packed_len(depth, slots.len() * hidden);
        let wide = |from: usize| from * hidden..(from + slots.len()) * hidden;
        let (columns, slots, adds) = (wide(first), wide(slot), slot == first);
        Some(Group { phase, depth, columns, packed: begin..*packed, slots, adds })
    })
}

/// Some columns of a part's rows, for a product to write.
struct Slots<'p, 'a, S, P> {
    part: &'p mut TaskRows<'a, S>,
    /// Block and row of a row of the product.
    place: P,
    columns: Range<usize>,
}

impl<S, P: Fn(usize) -> (usize, usize)> Rows<S> for Slots<'_, '_, S, P> {
    #[inline]
    fn rows<'s>(&'s mut self, first: usize, rows: &mut [&'s mut [S]]) {
        self.part.rows_mut(|index| (self.place)(first + index), self.columns.clone(), rows);
    }
}

/// An error when a buffer does not have exactly the elements of `shape`.
fn expect(name: &str, len: usize, shape: &[usize]) -> Result<()> {
    if len == shape.iter().product::<usize>() {
        return Ok(());
    }
    Err(Error::shape(name, shape, &[len]))
}

/// A member's share of a product with `columns` columns: which of them, and where their panels lie.
fn shared(member: Member<'_>, depth: usize, columns: usize) -> (Range<usize>, Range<usize>) {
    let panels = member.share(columns.div_ceil(WIDTH));
    let own = panels.start * WIDTH..columns.min(panels.end * WIDTH);
    (own, panels.start * WIDTH * depth..panels.end * WIDTH * depth)
}

/// The sequences of `rows`, from the first to the last that still runs at `step`.
fn running(lengths: &[u32], rows: Range<usize>, step: usize) -> Range<usize> {
    let runs = |row: &usize| lengths.get(*row).is_some_and(|&n| n as usize > step);
    let first = rows.clone().find(runs).unwrap_or(rows.end);
    let end = rows.clone().rev().find(runs).map_or(first, |last| last + 1);
    first..end
}

#[cfg(test)]
mod sizes {
    use super::*;

    #[test]
    fn lists_have_room_for_every_recipe() {
        for recipe in Recipe::texts() {
            assert!(groups(recipe, 5).count() <= MOST_GROUPS, "{recipe}");
            assert!(recipe.hidden_slots().len() <= panel::MOST_RUNS, "{recipe}");
            assert!(recipe.phases().len() <= through::MOST_PHASES, "{recipe}");
            assert!(recipe.phases().len() < 2 || recipe.saved() <= crate::cpu::cell::MOST_SLOTS, "{recipe}");
        }
    }
}
