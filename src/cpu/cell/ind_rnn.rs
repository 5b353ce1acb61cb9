//! IndRNN (Li et al. 2018) with φ, the rectifier or another function. Saved slot: h.
//!
//! ```text
//! h = φ(W_ih·x + b_ih + u⊙h_prev)
//! ```

use pulp::Simd;

use super::hooks::{Hooks, note, unless_clipped};
use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, before: [h_prev, ..], w_ch: u, after: [h, ..], .. } = row;
    let [a, flags] = slots(saved, h.len());
    flags.fill(S::ZERO);
    a.iter_mut().zip(u).zip(h_prev).for_each(|((a, u), h_prev)| *a += *u * *h_prev);
    note(flags, a.iter().copied(), 0, hooks.inputs());
    for (a, h) in a.iter_mut().zip(h) {
        *a = hooks.candidate::<A>(*a);
        *h = *a;
    }
}

/// `da = dh⊙φ'    dh_prev = u⊙da`
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, w_ch: u, gradients: [dh, ..], .. } = row;
    let [a, flags] = slots(saved, dh.len());
    a.iter_mut().zip(&*dh).for_each(|(a, dh)| *a = *dh * hooks.candidate_slope(*a));
    unless_clipped(flags, a, 0);
    dh.iter_mut().zip(u).zip(a).for_each(|((dh, u), a)| *dh = *u * *a);
    flags.fill(S::ZERO);
}
