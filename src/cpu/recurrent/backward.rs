//! Backward through all steps of a layer, last step first.

use std::ops::Range;

use super::flow::{flows, follow, follow_width};
use super::left::LeftRows;
use super::projected::Projected;
use super::resets::Anew;
use super::through::{Back, Strided, Through, phases};
use super::{Initial, LayerShape, Left, Recurrent, Resets, Slots, Tensors, expect, running, shared};
use crate::cell::{Cell, MOST_STATES};
use crate::cpu::cell::{self, BackwardRow, BetweenBackward, Limit, MOST_SLOTS, Zoneout};
use crate::cpu::panel::{self, MOST_RUNS};
use crate::cpu::random::Masks;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Member, Partition, Task, TaskRows, Threads};
use crate::error::Result;
use crate::recipe::{Operand, Phase};

// A step's product reads a gate's gradients as a run each.
const _: () = {
    let mut index = 0;
    while index < Cell::ALL.len() {
        assert!(Cell::ALL[index].row().hidden_slots.len() <= MOST_RUNS, "MOST_RUNS is too small for a cell");
        index += 1;
    }
};

/// The buffers of [`backward`]; shapes and order are in the [module](super)'s table.
#[derive(Debug)]
pub struct Backward<'a, S> {
    /// In: the values saved by forward. Out: gradients of the pre-activations, zero at padded steps: slots `0..G` on
    /// the input side, the cell's `hidden_slots` on the recurrent side.
    pub saved: &'a mut [S],
    /// The states of forward.
    pub states: [&'a [S]; MOST_STATES],
    /// Gradient of the layer's whole output in time order, if anything depends on it. Padded times are not read.
    pub dy: Option<&'a [S]>,
    /// In: gradients of the final states. Out: gradients of the initial states.
    pub gradients: [&'a mut [S]; MOST_STATES],
    /// In: of each row's first `states·H` elements, what of the gradients comes directly. Out: the same before these steps.
    /// Empty unless norms are wanted.
    pub direct: &'a mut [S],
    /// Out: norms of the gradients of each step's states, as [`flows`] lists them, zero at padded steps. Empty where they
    /// are not wanted.
    pub norms: &'a mut [S],
    /// Length of each whole sequence, at least 1 and at most the times of `dy`.
    pub lengths: &'a [u32],
    /// Steps of the sequence before these.
    pub first_step: usize,
    /// Steps that begin anew.
    pub resets: Resets<'a>,
    /// The states that they began with.
    pub initial: Initial<'a, S>,
    /// What stayed of states was drawn by these.
    pub masks: Option<Masks>,
    /// What dropout left of h where products read it.
    pub left: Option<Left<'a>>,
    /// In and out: the sums of the gradients of the states that steps began anew with; empty without resets.
    pub initial_gradients: [&'a mut [S]; MOST_STATES],
}

/// Packs `weight_hh` of each direction, that of forward, and `weight_hr` of a projection, into `packed`, of
/// [`LayerShape::backward_packed_len`] elements.
pub fn pack_backward<S: Scalar>(
    threads: Threads,
    layer: &LayerShape,
    w_hh: &Tensors<'_, S>,
    w_hr: Option<&Tensors<'_, S>>,
    packed: &mut [S],
) -> Result<()> {
    layer.check()?;
    layer.check_tensors("weight_hh", w_hh, layer.width(0))?;
    layer.check_projection(w_hr)?;
    expect("the packed weights", packed.len(), &[layer.backward_packed_len()])?;
    let each = packed.len() / layer.directions;
    for (direction, packed) in packed.chunks_exact_mut(each.max(1)).enumerate() {
        let (mut rest, hidden, width) = (packed, layer.hidden, layer.width(0));
        for Phase { gates, .. } in layer.recipe.phases() {
            let depth = gates.len() * hidden;
            let rows = &w_hh.of(direction)[gates.start * hidden * width..gates.end * hidden * width];
            let (now, after) = rest.split_at_mut(panel::packed_len(depth, width));
            panel::pack(threads, rows, depth, width, now);
            rest = after;
        }
        if let Some(w_hr) = w_hr {
            panel::pack(threads, w_hr.of(direction), width, hidden, rest);
        }
    }
    Ok(())
}

/// Runs all steps of `layer` backward: `dh += dy`, the cell, then `dh ← direct part + da·W_hh`, for each step, sequence
/// and direction, as `partition` deals them out. With a projection the cell's gradient is `dm = dh·W_hr`, and dh is left behind the
/// saved values.
pub fn backward<S: Scalar>(
    partition: &Partition,
    layer: &LayerShape,
    weights: Recurrent<'_, S>,
    buffers: Backward<'_, S>,
) -> Result<()> {
    layer.check()?;
    let Recurrent { packed, w_ch, .. } = weights;
    layer.check_peepholes(w_ch.as_ref())?;
    let times = buffers.dy.map_or(usize::MAX, |dy| dy.len() / layer.state_len(0));
    layer.check_lengths(buffers.lengths, times)?;
    let (steps, batch, hidden) = (layer.batch.steps, layer.batch.batch, layer.hidden);
    expect("the packed weights", packed.len(), &[layer.backward_packed_len()])?;
    expect("saved", buffers.saved.len(), &layer.shape(steps, layer.saved_width(), true))?;
    layer.check_states("", steps + 1, buffers.states.map(<[S]>::len))?;
    layer.check_states("d", 1, buffers.gradients.each_ref().map(|gradients| gradients.len()))?;
    let (direct_width, flows) = (follow_width(layer.recipe) * hidden, flows(layer.recipe));
    let follows = !buffers.norms.is_empty();
    expect("direct", buffers.direct.len(), &layer.shape(1, direct_width, follows))?;
    expect("norms", buffers.norms.len(), &layer.shape(steps, flows, follows))?;
    buffers.dy.map_or(Ok(()), |dy| expect("dy", dy.len(), &layer.shape(times, layer.width(0), true)))?;

    let needed = buffers.lengths.iter().map(|&length| length as usize).max().unwrap_or(0);
    layer.check_resets(&buffers.resets, &buffers.initial, needed)?;
    let begun = buffers.initial_gradients.each_ref().map(|gradients| gradients.len());
    layer.check_states("the gradient of the initial ", usize::from(layer.recipe.resets()), begun)?;
    partition.check(batch, layer.directions)?;
    let Backward { saved, states, dy, gradients, direct, norms, lengths, first_step, .. } = buffers;
    let Backward { resets, initial, masks, left, initial_gradients, .. } = buffers;
    let (each, phases) = (packed.len() / layer.directions, phases(layer));
    let parts = [(saved, layer.saved_width()), (direct, direct_width), (norms, flows)];
    let lists = [gradients, initial_gradients].map(|list| {
        let mut state = 0..;
        list.map(|gradients| (gradients, layer.width(state.next().unwrap_or_default())))
    });
    let work =
        |task: &Task, member: Member<'_>, parts: [TaskRows<'_, S>; 3], lists: [[TaskRows<'_, S>; MOST_STATES]; 2]| {
            let ([saved, direct, norms], [gradients, initial_gradients]) = (parts, lists);
            let direction = task.direction();
            let worker = Worker {
                member,
                layer,
                width: layer.width(0),
                projected: layer.recipe.projected_slot(),
                rows: task.rows(),
                direction,
                packed: &packed[direction * each..][..each],
                phases: &phases,
                w_ch: w_ch.map_or(&[], |w_ch| w_ch.of(direction)),
                clip: layer.recipe.options().clip.gradient.map(|limit| Limit::new(Some(limit))),
                saved,
                states,
                dy,
                gradients,
                direct,
                norms,
                lengths,
                first_step,
                anew: Anew { layer, direction, lengths, first_step, resets, initial },
                zoneout: Zoneout::new(&layer.recipe, masks),
                left: left.map(|left| LeftRows::new(left, layer, direction, task.rows())),
                initial_gradients,
            };
            worker.run();
        };
    // SAFETY: between two meetings members write columns of h's gradient, or of what is their own, and read `saved`; or they run
    // the cells of sequences of their own; or they write columns of their own of a slot of `saved` that none of them reads; or
    // they write columns of their own of `saved` and of h's gradient, and read no others; or they write columns of their own of
    // the slot of `saved` that a projection has read, and read what lies behind the slots.
    unsafe { partition.run(parts, lists, work) };
    Ok(())
}

/// One task, some sequences in one direction, or a member's share of it.
struct Worker<'a, S> {
    member: Member<'a>,
    layer: &'a LayerShape,
    /// Elements of h, and the slot that a projection reads, asked once for all steps.
    width: usize,
    projected: Option<usize>,
    rows: Range<usize>,
    direction: usize,
    packed: &'a [S],
    phases: &'a [Option<Back>],
    w_ch: &'a [S],
    /// Of the gradient of h before each cell.
    clip: Option<Limit<S>>,
    saved: TaskRows<'a, S>,
    states: [&'a [S]; MOST_STATES],
    dy: Option<&'a [S]>,
    gradients: [TaskRows<'a, S>; MOST_STATES],
    direct: TaskRows<'a, S>,
    norms: TaskRows<'a, S>,
    lengths: &'a [u32],
    first_step: usize,
    anew: Anew<'a, S>,
    zoneout: Option<Zoneout<S>>,
    left: Option<LeftRows<S>>,
    initial_gradients: [TaskRows<'a, S>; MOST_STATES],
}

impl<'a, S: Scalar> Worker<'a, S> {
    fn run(mut self) {
        let products = self.layer.recipe.phases().len();
        let (hidden, width) = (self.layer.hidden, self.width);
        let projected = Projected::of(self.layer, self.direction, self.lengths, self.packed, [width, hidden]);
        for step in (0..self.layer.batch.steps).rev() {
            if let (Some(projected), Some(slot)) = (&projected, self.projected) {
                self.arrived(step, projected);
                self.member.meet();
                projected.backward(self.member, self.rows.clone(), [step, self.first_step + step], &mut self.saved);
                self.member.meet();
                self.projected_gates(step, slot);
            } else {
                self.gates(step);
            }
            // Without a product no unit waits for another.
            if products == 0 {
                continue;
            }
            self.member.meet();
            if products > 1 {
                self.phases(step);
            }
            self.state(step);
            self.member.meet();
        }
        for row in self.own_rows() {
            self.pass_on(0, row);
        }
    }

    /// A member's share of the sequences.
    fn own_rows(&self) -> Range<usize> {
        let share = self.member.share(self.rows.len());
        self.rows.start + share.start..self.rows.start + share.end
    }

    /// Where a step began anew, the gradients of the states that it saw are of the initial ones, and nothing is left for the
    /// states before it.
    fn pass_on(&mut self, step: usize, row: usize) {
        if self.anew.at(step, row).is_none() {
            return;
        }
        for (gradient, sum) in self.gradients.iter_mut().zip(&mut self.initial_gradients) {
            let (gradient, sum) = (gradient.row_mut(0, row), sum.row_mut(0, row));
            sum.iter_mut().zip(&*gradient).for_each(|(sum, gradient)| *sum += *gradient);
            gradient.fill(S::ZERO);
        }
        let carried = self.layer.recipe.width_of_states(self.layer.hidden);
        let direct = self.direct.row_mut(0, row);
        let carried = carried.min(direct.len());
        direct[..carried].fill(S::ZERO);
    }

    /// Whether sequence `row` has a step `step`.
    fn runs_at(&self, row: usize, step: usize) -> bool {
        self.lengths[row] as usize > self.first_step + step
    }

    /// This direction's row of a buffer `[.., B, D·width]` that is only read; empty for an empty buffer.
    fn state_row(&self, buffer: &'a [S], width: usize, block: usize, row: usize) -> &'a [S] {
        let start = ((block * self.layer.batch.batch + row) * self.layer.directions + self.direction) * width;
        buffer.get(start..start + width).unwrap_or(&[])
    }

    /// The output's gradient of a step of a sequence; empty where there is none.
    #[inline(always)]
    fn dy_row(&self, step: usize, row: usize) -> &'a [S] {
        let time = self.layer.other_side(self.direction, self.first_step + step, self.lengths[row] as usize);
        self.dy.map_or(&[][..], |dy| self.state_row(dy, self.width, time, row))
    }

    /// With a projection: the whole gradient of a step's h to behind its saved values, where the weights' gradient reads it, and
    /// nothing of it left to come directly.
    fn arrived(&mut self, step: usize, projected: &Projected<'a, S>) {
        let behind = self.layer.recipe.saved() * self.layer.hidden;
        for row in self.own_rows() {
            self.pass_on(step + 1, row);
            if !self.runs_at(row, step) {
                continue;
            }
            let (dy, clip) = (self.dy_row(step, row), self.clip);
            let after = self.state_row(self.states[0], self.width, step + 1, row);
            let [dh, ..] = &mut self.gradients;
            let dh = dh.row_mut(0, row);
            dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += *dy);
            if let Some(clip) = clip {
                dh.iter_mut().for_each(|dh| *dh = clip.of(*dh));
            }
            projected.unless_clipped(dh, after);
            let kept = self.saved.row_mut(step, row).get_mut(behind..).unwrap_or_default();
            kept.iter_mut().zip(&*dh).for_each(|(kept, dh)| *kept = *dh);
            dh.fill(S::ZERO);
        }
    }

    /// Turns the saved values of a step into gradients of its pre-activations.
    fn gates(&mut self, step: usize) {
        for row in self.own_rows() {
            self.pass_on(step + 1, row);
            if !self.runs_at(row, step) {
                self.saved.row_mut(step, row).fill(S::ZERO);
                self.norms.row_mut(step, row).fill(S::ZERO);
                continue;
            }
            let (done, dy) = (self.first_step + step, self.dy_row(step, row));
            let at = |step: usize| self.states.map(|states| self.state_row(states, self.width, step, row));
            let (before, after) = (at(step), at(step + 1));
            let mut gradients = self.gradients.each_mut().map(|gradients| gradients.row_mut(0, row));
            let [dh, ..] = &mut gradients;
            dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += *dy);
            if let Some(clip) = self.clip {
                dh.iter_mut().for_each(|dh| *dh = clip.of(*dh));
            }
            let (recipe, w_ch) = (&self.layer.recipe, self.w_ch);
            let (saved, norms) = (self.saved.row_mut(step, row), self.norms.row_mut(step, row));
            let at = self.layer.site(self.direction, done, row);
            let mut states = BackwardRow { at, saved, before, after, w_ch, gradients, whole: Default::default() };
            if let Some(initial) = self.anew.at(step, row) {
                states.before = initial;
            }
            match norms.is_empty() {
                true => cell::step_backward(recipe, self.zoneout.as_mut(), &mut states),
                false => {
                    let direct = self.direct.row_mut(0, row);
                    follow(recipe, self.zoneout.as_mut(), &mut states, dy, direct, norms);
                }
            }
        }
    }

    /// The same with a projection, whose gradients have arrived: the cell's gradient of h is that of what it makes, in slot `slot`.
    fn projected_gates(&mut self, step: usize, slot: usize) {
        let hidden = self.layer.hidden;
        for row in self.own_rows() {
            if !self.runs_at(row, step) {
                self.saved.row_mut(step, row).fill(S::ZERO);
                continue;
            }
            let [_, c] = self.states;
            let at = |step: usize| [&[][..], self.state_row(c, hidden, step, row)];
            let (before, after) = (at(step), at(step + 1));
            let [_, dc] = &mut self.gradients;
            let (saved, behind) = self.saved.row_mut(step, row).split_at_mut(slot * hidden);
            let gradients = [behind.get_mut(..hidden).unwrap_or_default(), dc.row_mut(0, row)];
            let (at, w_ch) = (self.layer.site(self.direction, self.first_step + step, row), self.w_ch);
            let mut states = BackwardRow { at, saved, before, after, w_ch, gradients, whole: Default::default() };
            if let Some(initial) = self.anew.at(step, row) {
                states.before = initial;
            }
            cell::step_backward(&self.layer.recipe, self.zoneout.as_mut(), &mut states);
        }
    }

    /// Passes a step's gradients back through its phases but the first, the last of them first.
    fn phases(&mut self, step: usize) {
        let hidden = self.layer.hidden;
        for back in self.phases.iter().skip(1).rev().flatten() {
            let Operand::Saved(slot) = back.operand else { continue };
            let rows = running(self.lengths, self.rows.clone(), self.first_step + step);
            let (product, own) = self.through(step, back, rows.clone());
            let columns = slot * hidden + own.start..slot * hidden + own.end;
            // SAFETY: a product reads gates of its phase, and writes another slot, of which the team's members have columns each.
            let reads = unsafe { self.saved.again() };
            let to = Slots { part: &mut self.saved, place: |row| (step, rows.start + row), columns };
            product.run(&reads, false, to);
            self.member.meet();
            for row in rows.clone() {
                if self.runs_at(row, step) {
                    self.between(step, row, own.clone());
                }
            }
            self.member.meet();
        }
    }

    /// What comes between two phases of a step of one sequence, of some units: others of the team have theirs.
    fn between(&mut self, step: usize, row: usize, own: Range<usize>) {
        let h = match self.anew.at(step, row) {
            Some([initial, ..]) => initial,
            None => self.state_row(self.states[0], self.width, step, row),
        };
        let Self { layer, ref rows, ref mut saved, ref mut gradients, ref mut left, .. } = *self;
        let (hidden, slots) = (layer.hidden, layer.recipe.saved());
        let columns = |slot: usize| match slot < slots {
            true => slot * hidden + own.start..slot * hidden + own.end,
            false => slots * hidden..slots * hidden,
        };
        let saved = saved.columns_mut(step, row, std::array::from_fn::<_, MOST_SLOTS, _>(columns));
        let [dh, ..] = gradients;
        let [dh] = dh.columns_mut(0, row, [own.clone()]);
        let Some(left) = left else {
            let h_read = h.get(own).unwrap_or_default();
            return cell::between_backward(&layer.recipe, &mut BetweenBackward { saved, h_read, dh });
        };
        let (h_read, back) = left.between(row - rows.start, own.clone(), h);
        cell::between_backward(&layer.recipe, &mut BetweenBackward { saved, h_read, dh: back });
        left.add_back(row - rows.start, own, dh);
    }

    /// The product of a step with the rows of `W_hh` of a phase, and a member's columns of it.
    fn through(&self, step: usize, back: &'a Back, rows: Range<usize>) -> (Through<'a, S>, Range<usize>) {
        let Self { member, layer, width, packed, .. } = *self;
        let hidden = layer.hidden;
        let (own, panels) = shared(member, back.slots.len() * hidden, width);
        let packed = &packed[back.packed.clone()][panels];
        (Through { hidden, packed, slots: back.slots, step, rows, columns: own.len() }, own)
    }

    /// Adds to the gradient of h what comes through the weights of the first phase: `da·W_hh`.
    fn state(&mut self, step: usize) {
        let rows = running(self.lengths, self.rows.clone(), self.first_step + step);
        let Some(first) = self.phases.iter().flatten().next() else { return };
        let (product, own) = self.through(step, first, rows.clone());
        let Self { width, ref saved, ref mut gradients, ref mut left, .. } = *self;
        let [dh, ..] = gradients;
        let Some(left) = left else {
            // A sequence that does not run at this step has nothing but zeros to add.
            return product.run(
                saved,
                true,
                Slots { part: &mut *dh, place: |row| (0, rows.start + row), columns: own.clone() },
            );
        };
        // Columns of its own in rows of the room, then what dropout leaves of them.
        let first = rows.start - self.rows.start;
        let data = &mut left.room()[first * width..];
        product.run(saved, false, Strided { data, stride: width, columns: own.clone() });
        for row in rows.clone() {
            // Its own columns alone: others of the team have theirs.
            let mut columns = [&mut [][..]];
            dh.rows_mut(|_| (0, row), own.clone(), &mut columns);
            let [dh] = columns;
            let at = row - self.rows.start;
            let left = left.row(at)[own.clone()].iter().zip(&left.factors(at)[own.clone()]);
            dh.iter_mut().zip(left).for_each(|(dh, (sum, factor))| *dh += *sum * *factor);
        }
    }
}
