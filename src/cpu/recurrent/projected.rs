//! The projection of what cells make: `h = W_hr·m` after the cells of a step, and `dm = dh·W_hr` before those of backward. Saved
//! values hold m in their last slot, and the gradient of h behind it.

use std::ops::Range;

use super::{LayerShape, Slots, running, shared};
use crate::cpu::cell::Limit;
use crate::cpu::panel::Product;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Member, TaskRows};

/// A projection, in one direction of a layer.
pub(super) struct Projected<'a, S> {
    layer: &'a LayerShape,
    direction: usize,
    lengths: &'a [u32],
    /// `W_hr`, packed.
    packed: &'a [S],
    /// Columns of a row of saved values with m.
    made: Range<usize>,
    /// And with the gradient of h.
    behind: Range<usize>,
    /// Of h.
    clip: Option<Limit<S>>,
}

impl<'a, S: Scalar> Projected<'a, S> {
    /// Of a layer that has one, whose packed weights of a direction end with `W_hr` as a matrix of so many rows and columns: of H and P
    /// for forward, of P and H for backward.
    pub(super) fn of(
        layer: &'a LayerShape,
        direction: usize,
        lengths: &'a [u32],
        packed: &'a [S],
        [rows, columns]: [usize; 2],
    ) -> Option<Self> {
        let slot = layer.recipe.projected_slot()?;
        let first = packed.len().checked_sub(layer.projection_packed_len(rows, columns))?;
        let made = slot * layer.hidden..(slot + 1) * layer.hidden;
        let behind = made.end..made.end + layer.width(0);
        let clip = layer.recipe.options().clip.projection.map(|limit| Limit::new(Some(limit)));
        Some(Self { layer, direction, lengths, packed: packed.get(first..)?, made, behind, clip })
    }

    /// h and the output of a step of sequences `rows`: a member's columns of them. Step `step` of the call, whose saved values are
    /// block `at`, is step `now` of its sequences.
    pub(super) fn forward(
        &self,
        member: Member<'_>,
        rows: Range<usize>,
        [step, at, now]: [usize; 3],
        saved: &TaskRows<'_, S>,
        h: &mut TaskRows<'_, S>,
        y: &mut TaskRows<'_, S>,
    ) {
        let Self { layer, direction, lengths, packed, ref made, .. } = *self;
        let (own, panels) = shared(member, made.len(), layer.width(0));
        let runs = |row: usize| lengths.get(row).is_some_and(|&length| length as usize > now);
        let mut first = rows.start;
        // Of a sequence that has ended h stays: the others, in runs of neighbours.
        while let Some(start) = (first..rows.end).find(|&row| runs(row)) {
            let end = (start..rows.end).find(|&row| !runs(row)).unwrap_or(rows.end);
            Product {
                packed: &packed[panels.clone()],
                depth: made.len(),
                bias: &[],
                runs: 1,
                a: |row, _| saved.columns(at, start + row, made.clone()),
                rows: end - start,
                columns: own.len(),
                adds: false,
                backwards: step % 2 == 1,
                c: Slots { part: &mut *h, place: |row| (step + 1, start + row), columns: own.clone() },
            }
            .run();
            for (row, &length) in lengths.iter().enumerate().take(end).skip(start) {
                let time = layer.other_side(direction, now, length as usize);
                if let Some(clip) = self.clip {
                    let [h] = h.columns_mut(step + 1, row, [own.clone()]);
                    h.iter_mut().for_each(|h| *h = clip.of(*h));
                }
                let [y] = y.columns_mut(time, row, [own.clone()]);
                y.iter_mut().zip(h.columns(step + 1, row, own.clone())).for_each(|(y, h)| *y = *h);
            }
            first = end;
        }
    }

    /// Leaves nothing of gradients of h where that was beyond its limit: `after` is h as it is stored.
    pub(super) fn unless_clipped(&self, dh: &mut [S], after: &[S]) {
        let Some(clip) = self.clip else { return };
        dh.iter_mut().zip(after).filter(|(_, h)| clip.is_reached(**h)).for_each(|(dh, _)| *dh = S::ZERO);
    }

    /// The gradient of m of a step of sequences `rows`, in the place of m: a member's columns of it, from what lies behind. Step
    /// `step` of the call is step `now` of its sequences.
    pub(super) fn backward(
        &self,
        member: Member<'_>,
        rows: Range<usize>,
        [step, now]: [usize; 2],
        saved: &mut TaskRows<'_, S>,
    ) {
        let Self { packed, ref made, ref behind, lengths, .. } = *self;
        let (own, panels) = shared(member, behind.len(), made.len());
        let rows = running(lengths, rows, now);
        // SAFETY: a product reads what lies behind the slots, and writes a slot, of which the team's members have columns each.
        let reads = unsafe { saved.again() };
        Product {
            packed: &packed[panels],
            depth: behind.len(),
            bias: &[],
            runs: 1,
            a: |row, _| reads.columns(step, rows.start + row, behind.clone()),
            rows: rows.len(),
            columns: own.len(),
            adds: false,
            backwards: step % 2 == 1,
            c: Slots {
                part: saved,
                place: |row| (step, rows.start + row),
                columns: made.start + own.start..made.start + own.end,
            },
        }
        .run();
    }
}
