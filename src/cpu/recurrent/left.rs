//! What dropout leaves of h where products of steps read it. Twin of `shaders/lib/left.wgsl`.

use std::ops::Range;

use super::LayerShape;
use crate::cpu::scalar::Scalar;

/// A bit for each element of the states `[B, D, H]`, and the factor of those that are left.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// Words of bits.
    pub bits: &'a [u32],
    /// What is left is multiplied by this.
    pub scale: f32,
}

impl Left<'_> {
    /// What an element of the states, or of their gradient, is multiplied by.
    #[inline]
    pub fn factor<S: Scalar>(&self, own: usize) -> S {
        let word = self.bits.get(own / 32).copied().unwrap_or(0);
        if (word >> (own % 32)) & 1 == 1 { S::from_f64(f64::from(self.scale)) } else { S::ZERO }
    }
}

/// The factors of a task's sequences, and room for rows that they are applied to.
pub(super) struct LeftRows<S> {
    /// `[rows, width of h]`.
    factors: Vec<S>,
    room: Vec<S>,
    /// The same for gradients of what comes between phases, where there are several.
    back: Vec<S>,
    hidden: usize,
}

impl<S: Scalar> LeftRows<S> {
    /// Of some sequences in one direction of a layer.
    pub(super) fn new(left: Left<'_>, layer: &LayerShape, direction: usize, rows: Range<usize>) -> Self {
        let hidden = layer.width(0);
        let first = |row: usize| (row * layer.directions + direction) * hidden;
        let row = |row| (0..hidden).map(move |unit| left.factor(first(row) + unit));
        let room = vec![S::ZERO; rows.len() * hidden];
        let between = layer.recipe.phases().len() > 1;
        let back = if between { room.clone() } else { Vec::new() };
        Self { factors: rows.flat_map(row).collect(), back, room, hidden }
    }

    /// The factors of row `row` of the task.
    pub(super) fn factors(&self, row: usize) -> &[S] {
        &self.factors[row * self.hidden..][..self.hidden]
    }

    /// Room for a row.
    pub(super) fn row(&self, row: usize) -> &[S] {
        &self.room[row * self.hidden..][..self.hidden]
    }

    /// Keeps what is left of a row.
    pub(super) fn read(&mut self, row: usize, h: &[S]) {
        let (to, factors) = (&mut self.room[row * self.hidden..], &self.factors[row * self.hidden..]);
        to.iter_mut().zip(h).zip(factors).for_each(|((to, h), factor)| *to = *h * *factor);
    }

    /// What products read of some units of a row's h, and zeros for its gradient.
    pub(super) fn between(&mut self, row: usize, own: Range<usize>, h: &[S]) -> (&[S], &mut [S]) {
        self.read(row, h);
        let own = row * self.hidden + own.start..row * self.hidden + own.end;
        let back = &mut self.back[own.clone()];
        back.fill(S::ZERO);
        (&self.room[own], back)
    }

    /// Adds that gradient, as far as dropout leaves it, to that of h.
    pub(super) fn add_back(&self, row: usize, own: Range<usize>, dh: &mut [S]) {
        let own = row * self.hidden + own.start..row * self.hidden + own.end;
        let back = self.back[own.clone()].iter().zip(&self.factors[own]);
        dh.iter_mut().zip(back).for_each(|(dh, (back, factor))| *dh += *back * *factor);
    }

    /// The room, to write.
    pub(super) fn room(&mut self) -> &mut [S] {
        &mut self.room
    }
}
