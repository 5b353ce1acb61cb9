//! Elman network (`torch.nn.RNN`) with φ, tanh or another function. Saved slot: h.
//!
//! ```text
//! h = φ(W_ih·x + b_ih + W_hh·h_prev + b_hh)
//! ```

use pulp::Simd;

use super::hooks::{Hooks, note, unless_clipped};
use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, after: [h, ..], .. } = row;
    let [a, flags] = slots(saved, h.len());
    flags.fill(S::ZERO);
    note(flags, a.iter().copied(), 0, hooks.inputs());
    for (a, h) in a.iter_mut().zip(h) {
        *a = hooks.candidate::<A>(*a);
        *h = *a;
    }
}

/// `da = dh⊙φ'`, for tanh `φ' = 1 - h²`.
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, gradients: [dh, ..], .. } = row;
    let [a, flags] = slots(saved, dh.len());
    for (a, dh) in a.iter_mut().zip(dh) {
        *a = *dh * hooks.candidate_slope(*a);
        *dh = S::ZERO;
    }
    unless_clipped(flags, a, 0);
    flags.fill(S::ZERO);
}
