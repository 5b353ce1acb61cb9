//! Forward through all steps of a layer.

use std::ops::Range;

use super::left::LeftRows;
use super::projected::Projected;
use super::resets::Anew;
use super::{Group, Initial, LayerShape, Left, Projection, Resets, Slots, Tensors, expect, running, shared};
use crate::cell::MOST_STATES;
use crate::cpu::cell::{self, BetweenForward, ForwardRow, Zoneout};
use crate::cpu::panel::{self, Product, ROWS};
use crate::cpu::random::Masks;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Member, Partition, Task, TaskRows, Threads};
use crate::error::Result;
use crate::recipe::{Operand, Phase};

/// The buffers of [`forward`]; shapes and order are in the [module](super)'s table.
#[derive(Debug)]
pub struct Forward<'a, S> {
    /// What slots `0..G` of `saved` are made from; without it they hold the input projections `W_ih·x + b_ih`.
    pub projection: Option<Projection<'a, S>>,
    /// Out: the saved values, zero at padded steps.
    pub saved: &'a mut [S],
    /// Whether these are wanted; without, and with a projection, a part of `saved` is used again and again, and what it
    /// holds afterwards does not matter.
    pub keeps: bool,
    /// In: block 0 of each, the initial states. Out: the states after each step; at padded steps the sequence's last.
    pub states: [&'a mut [S]; MOST_STATES],
    /// Out: the whole output, zero at padded times; empty where it is not wanted.
    pub y: &'a mut [S],
    /// Length of each whole sequence, at least 1.
    pub lengths: &'a [u32],
    /// Steps of the sequence before these.
    pub first_step: usize,
    /// Steps that begin anew.
    pub resets: Resets<'a>,
    /// The states that they begin with.
    pub initial: Initial<'a, S>,
    /// What stays of states is drawn by these; none: a mean is made, to infer.
    pub masks: Option<Masks>,
    /// What dropout leaves of h where products read it; none: all.
    pub left: Option<Left<'a>>,
}

/// The weights of a step, of each direction.
#[derive(Clone, Copy, Debug)]
pub struct Recurrent<'a, S> {
    /// `weight_hh`, from [`pack_forward`] or, for backward, [`pack_backward`](super::pack_backward).
    pub packed: &'a [S],
    /// `bias_hh [G·H]`, for forward.
    pub b_hh: Option<Tensors<'a, S>>,
    /// Peepholes `weight_ch [P·H]`, where the recipe has them.
    pub w_ch: Option<Tensors<'a, S>>,
}

/// Packs `weight_hh` of each direction, and `weight_hr` of a projection, into `packed`, of [`LayerShape::forward_packed_len`]
/// elements.
pub fn pack_forward<S: Scalar>(
    threads: Threads,
    layer: &LayerShape,
    w_hh: &Tensors<'_, S>,
    w_hr: Option<&Tensors<'_, S>>,
    packed: &mut [S],
) -> Result<()> {
    layer.check()?;
    layer.check_tensors("weight_hh", w_hh, layer.width(0))?;
    layer.check_projection(w_hr)?;
    expect("the packed weights", packed.len(), &[layer.forward_packed_len()])?;
    let mut rest = packed;
    for direction in 0..layer.directions {
        let w = w_hh.of(direction);
        for group in layer.groups() {
            let (now, after) = rest.split_at_mut(group.packed.len());
            let rows = group.columns.start * group.depth..group.columns.end * group.depth;
            panel::pack_transposed(threads, &w[rows], group.depth, now);
            rest = after;
        }
        if let Some(w_hr) = w_hr {
            let (now, after) = rest.split_at_mut(layer.projection_packed_len(layer.hidden, layer.width(0)));
            panel::pack_transposed(threads, w_hr.of(direction), layer.hidden, now);
            rest = after;
        }
    }
    Ok(())
}

/// Packs `weight_ih` of `inputs` inputs, of each direction, into `packed`, of [`LayerShape::input_packed_len`] elements.
pub fn pack_input<S: Scalar>(
    threads: Threads,
    layer: &LayerShape,
    w_ih: &Tensors<'_, S>,
    inputs: usize,
    packed: &mut [S],
) -> Result<()> {
    layer.check()?;
    layer.check_tensors("weight_ih", w_ih, inputs)?;
    expect("the packed input weights", packed.len(), &[layer.input_packed_len(inputs)])?;
    let each = packed.len() / layer.directions;
    for (direction, packed) in packed.chunks_exact_mut(each.max(1)).enumerate() {
        panel::pack_transposed(threads, w_ih.of(direction), inputs, packed);
    }
    Ok(())
}

/// Runs all steps of `layer`: `W_hh·h[s] + b_hh` into the saved values, then the cell, then a projection of what that makes, for
/// each step s, sequence and direction, as `partition` deals them out.
pub fn forward<S: Scalar>(
    partition: &Partition,
    layer: &LayerShape,
    weights: Recurrent<'_, S>,
    buffers: Forward<'_, S>,
) -> Result<()> {
    layer.check()?;
    let Recurrent { packed, b_hh, w_ch } = weights;
    if let Some(b_hh) = &b_hh {
        layer.check_tensors("bias_hh", b_hh, 1)?;
    }
    layer.check_peepholes(w_ch.as_ref())?;
    layer.check_lengths(buffers.lengths, usize::MAX)?;
    let Forward { projection, saved, keeps, states, y, lengths, first_step, resets, initial, masks, left } = buffers;
    let (steps, batch, width) = (layer.batch.steps, layer.batch.batch, layer.width(0));
    let end = first_step + steps;
    let needed = lengths.iter().map(|&length| length as usize).max().unwrap_or(0).max(end);
    expect("the packed weights", packed.len(), &[layer.forward_packed_len()])?;
    expect("saved", saved.len(), &layer.shape(steps, layer.saved_width(), true))?;
    layer.check_states("", steps + 1, states.each_ref().map(|states| states.len()))?;
    let times = (y.len() / layer.state_len(0)).max(needed);
    expect("y", y.len(), &layer.shape(times, width, !y.is_empty()))?;
    layer.check_resets(&resets, &initial, needed)?;
    projection.iter().try_for_each(|projection| projection.check(layer, needed))?;
    partition.check(batch, layer.directions)?;

    let (each, groups) = (packed.len() / layer.directions, layer.all_groups());
    let mut state = 0..;
    let states = states.map(|states| (states, layer.width(state.next().unwrap_or_default())));
    let (parts, lists) = ([(saved, layer.saved_width()), (y, width)], [states]);
    let work =
        |task: &Task, member: Member<'_>, parts: [TaskRows<'_, S>; 2], lists: [[TaskRows<'_, S>; MOST_STATES]; 1]| {
            let ([saved, y], [states]) = (parts, lists);
            let direction = task.direction();
            let worker = Worker {
                member,
                layer,
                projected: layer.recipe.projected_slot(),
                rows: task.rows(),
                direction,
                projection,
                keeps: keeps || projection.is_none(),
                packed: &packed[direction * each..][..each],
                groups: &groups,
                bias: b_hh.map_or(&[], |bias| bias.of(direction)),
                w_ch: w_ch.map_or(&[], |w_ch| w_ch.of(direction)),
                saved,
                states,
                y,
                lengths,
                first_step,
                anew: Anew { layer, direction, lengths, first_step, resets, initial },
                zoneout: Zoneout::new(&layer.recipe, masks),
                left: left.map(|left| LeftRows::new(left, layer, direction, task.rows())),
            };
            worker.run();
        };
    // SAFETY: between two meetings members write columns of `saved` of their own and read x, h and what they have of their own,
    // or read `saved`, or run the cells, or what comes before a phase, of sequences of their own, or write columns of their own of
    // a projected h and of y and read `saved`.
    unsafe { partition.run(parts, lists, work) };
    Ok(())
}

/// One task, some sequences in one direction, or a member's share of it.
struct Worker<'a, S> {
    member: Member<'a>,
    layer: &'a LayerShape,
    /// The slot that a projection reads, asked once for all steps.
    projected: Option<usize>,
    rows: Range<usize>,
    direction: usize,
    projection: Option<Projection<'a, S>>,
    keeps: bool,
    packed: &'a [S],
    groups: &'a [Option<Group>],
    bias: &'a [S],
    w_ch: &'a [S],
    saved: TaskRows<'a, S>,
    states: [TaskRows<'a, S>; MOST_STATES],
    y: TaskRows<'a, S>,
    lengths: &'a [u32],
    first_step: usize,
    anew: Anew<'a, S>,
    zoneout: Option<Zoneout<S>>,
    left: Option<LeftRows<S>>,
}

impl<'a, S: Scalar> Worker<'a, S> {
    /// Some steps are projected at a time: so many that weights are read for enough rows, so few that what comes out is
    /// still in the cache when its step is run.
    fn run(mut self) {
        let steps = self.layer.batch.steps;
        let at_once = ROWS.div_ceil(self.rows.len().max(1));
        let products = self.layer.recipe.phases().len();
        let (hidden, width) = (self.layer.hidden, self.layer.width(0));
        let projected = Projected::of(self.layer, self.direction, self.lengths, self.packed, [hidden, width]);
        for first in (0..steps).step_by(at_once) {
            let block = first..steps.min(first + at_once);
            let saved_first = if self.keeps { first } else { 0 };
            self.project(block.clone(), saved_first);
            self.member.meet();
            for step in block {
                let at = step - first + saved_first;
                // Without a product no unit waits for another.
                if products == 0 {
                    self.cells(step, at);
                    continue;
                }
                self.product(step, at);
                self.member.meet();
                if products > 1 {
                    self.phases(step, at);
                }
                self.cells(step, at);
                self.member.meet();
                if let Some(projected) = &projected {
                    let (rows, [h, ..]) = (self.rows.clone(), &mut self.states);
                    projected.forward(
                        self.member,
                        rows,
                        [step, at, self.first_step + step],
                        &self.saved,
                        h,
                        &mut self.y,
                    );
                    self.member.meet();
                }
            }
            // The next block is projected into the same place.
            if products == 0 && !self.keeps {
                self.member.meet();
            }
        }
    }

    /// Makes the input projections of some steps, in `saved` from block `to` on.
    fn project(&mut self, steps: Range<usize>, to: usize) {
        let Self { layer, direction, lengths, first_step, ref rows, ref mut saved, .. } = *self;
        if let Some(projection) = &self.projection {
            let steps = first_step + steps.start..first_step + steps.end;
            projection.run(layer, direction, lengths, steps, rows.clone(), self.member, saved, to);
        }
    }

    /// The recurrent parts of a step's first phase, of which block `at` of `saved` has the projections.
    fn product(&mut self, step: usize, at: usize) {
        let rows = running(self.lengths, self.rows.clone(), self.first_step + step);
        let products = self.products(step, at, 0, rows.clone());
        let Self { anew, ref states, ref mut saved, ref mut left, .. } = *self;
        let [h, ..] = states;
        let before = |row| anew.at(step, row).map_or_else(|| h.row(step, row), |[initial, ..]| initial);
        let Some(left) = left else { return products.run(saved, before) };
        let first = self.rows.start;
        rows.for_each(|row| left.read(row - first, before(row)));
        products.run(saved, |row| left.row(row - first));
    }

    /// The products of a phase of a step of some sequences.
    fn products(&self, step: usize, at: usize, phase: usize, rows: Range<usize>) -> Products<'a, S> {
        let Self { member, packed, groups, bias, .. } = *self;
        Products { member, packed, groups, bias, phase, rows, at, backwards: step % 2 == 1 }
    }

    /// A step's other phases, and what comes before each.
    fn phases(&mut self, step: usize, at: usize) {
        for (phase, Phase { operand, .. }) in self.layer.recipe.phases().enumerate().skip(1) {
            self.between(step, at);
            self.member.meet();
            let rows = running(self.lengths, self.rows.clone(), self.first_step + step);
            let products = self.products(step, at, phase, rows.clone());
            let Operand::Saved(slot) = operand else { continue };
            let hidden = self.layer.hidden;
            // SAFETY: a product writes gates of its phase, and reads another slot, which none of the team writes now.
            let reads = unsafe { self.saved.again() };
            let reads = |row| reads.columns(at, row, slot * hidden..(slot + 1) * hidden);
            products.run(&mut self.saved, reads);
            self.member.meet();
        }
    }

    /// What a member's sequences make of the gates that are done.
    fn between(&mut self, step: usize, at: usize) {
        for row in self.own_rows() {
            if self.lengths[row] as usize <= self.first_step + step {
                continue;
            }
            let Self { layer, anew, ref states, ref mut saved, ref left, ref rows, .. } = *self;
            let [h, ..] = states;
            let h_read = match left {
                Some(left) => left.row(row - rows.start),
                None => anew.at(step, row).map_or_else(|| h.row(step, row), |[initial, ..]| initial),
            };
            let mut row = BetweenForward { saved: saved.row_mut(at, row), h_read };
            cell::between_forward(&layer.recipe, &mut row);
        }
    }

    /// A member's share of the sequences.
    fn own_rows(&self) -> Range<usize> {
        let share = self.member.share(self.rows.len());
        self.rows.start + share.start..self.rows.start + share.end
    }

    /// A member's cells of a step, from its pre-activations in block `at` of `saved`.
    fn cells(&mut self, step: usize, at: usize) {
        let (now, hidden, projected) = (self.first_step + step, self.layer.hidden, self.projected);
        for row in self.own_rows() {
            let (saved, behind) = match projected {
                None => (self.saved.row_mut(at, row), Default::default()),
                Some(slot) => self.saved.row_mut(at, row).split_at_mut(slot * hidden),
            };
            // States go where cells read them, one by one: an array that is made elsewhere and copied here has halves that
            // were stored apart, and waits for that.
            let at = self.layer.site(self.direction, now, row);
            let mut states =
                ForwardRow { at, saved, before: Default::default(), w_ch: self.w_ch, after: Default::default() };
            for ((before, after), states) in states.before.iter_mut().zip(&mut states.after).zip(&mut self.states) {
                (*before, *after) = states.step(step, row);
            }
            let length = self.lengths[row] as usize;
            if length <= now {
                let ForwardRow { saved, before, after, .. } = states;
                after.into_iter().zip(before).for_each(|(after, before)| after.copy_from_slice(before));
                saved.fill(S::ZERO);
                behind.fill(S::ZERO);
                self.y.row_mut(now, row).fill(S::ZERO);
                continue;
            }
            if let Some(initial) = self.anew.at(step, row) {
                states.before = initial;
            }
            if projected.is_some() {
                // What the cell makes is what the projection reads.
                let [h, ..] = &mut states.after;
                *h = behind.get_mut(..hidden).unwrap_or_default();
                cell::step_forward(&self.layer.recipe, self.zoneout.as_ref(), &mut states);
                continue;
            }
            cell::step_forward(&self.layer.recipe, self.zoneout.as_ref(), &mut states);
            let time = self.layer.other_side(self.direction, now, length);
            let ([h, ..], y) = (&states.after, self.y.row_mut(time, row));
            y.iter_mut().zip(&**h).for_each(|(y, h)| *y = *h);
        }
    }
}

/// The recurrent parts of the gates of a phase of one step.
struct Products<'a, S> {
    member: Member<'a>,
    packed: &'a [S],
    groups: &'a [Option<Group>],
    bias: &'a [S],
    phase: usize,
    /// The sequences that run.
    rows: Range<usize>,
    /// The block of `saved`.
    at: usize,
    /// See [`Product::backwards`].
    backwards: bool,
}

impl<S: Scalar> Products<'_, S> {
    /// Computes them from what `h` gives of each sequence, h or what a later phase reads.
    fn run<'h>(self, saved: &mut TaskRows<'_, S>, h: impl Fn(usize) -> &'h [S])
    where
        S: 'h,
    {
        let Self { member, packed, groups, bias, phase, rows, at, backwards } = self;
        for group in groups.iter().flatten().filter(|group| group.phase == phase) {
            let packed = &packed[group.packed.clone()];
            let (own, panels) = shared(member, group.depth, group.columns.len());
            let of = |all: Range<usize>| all.start + own.start..all.start + own.end;
            Product {
                packed: &packed[panels],
                depth: group.depth,
                bias: bias.get(of(group.columns.clone())).unwrap_or_default(),
                runs: 1,
                a: |row, _| h(rows.start + row),
                rows: rows.len(),
                columns: own.len(),
                adds: group.adds,
                backwards,
                c: Slots { part: &mut *saved, place: |row| (at, rows.start + row), columns: of(group.slots.clone()) },
            }
            .run();
        }
    }
}
