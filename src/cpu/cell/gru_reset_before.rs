//! GRU whose reset gate acts before the product (Cho et al. 2014). Saved slots: r, z, n, p.
//!
//! ```text
//! r = σ(a_r)   z = σ(a_z)      a = W_ih·x + b_ih + W_hh·h_prev + b_hh
//! p = r⊙h_prev                 n = tanh(W_in·x + b_in + W_hn·p + b_hn)
//! h = (1-z)⊙n + z⊙h_prev
//! ```

use pulp::Simd;

use super::hooks::{Hooks, note, unless_clipped};
use super::{BackwardRow, BetweenBackward, BetweenForward, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

/// r, z and p.
#[inline(always)]
pub(super) fn between_forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: &mut BetweenForward<'_, S>) {
    let h_read = row.h_read;
    let [r, z, _, p, flags] = slots(row.saved, h_read.len());
    flags.fill(S::ZERO);
    for (bit, gate) in [&mut *r, z].into_iter().enumerate() {
        note(flags, gate.iter().copied(), bit, hooks.inputs());
        gate.iter_mut().for_each(|x| *x = hooks.gate::<A>(*x));
    }
    p.iter_mut().zip(r).zip(h_read).for_each(|((p, r), h)| *p = *r * *h);
}

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, before: [h_prev, ..], after: [h, ..], .. } = row;
    let [_, z, n, _, flags] = slots(saved, h.len());
    note(flags, n.iter().copied(), 2, hooks.inputs());
    n.iter_mut().for_each(|x| *x = hooks.candidate::<A>(*x));
    for (((h, h_prev), z), n) in h.iter_mut().zip(h_prev).zip(z).zip(n) {
        *h = (S::ONE - *z) * *n + *z * *h_prev;
    }
}

/// ```text
/// da_n = dh⊙(1-z)⊙(1-n²)    da_z = dh⊙(h_prev-n)⊙z⊙(1-z)    dh_prev = z⊙dh + (through the weights)
/// ```
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, before: [h_prev, ..], gradients: [dh, ..], .. } = row;
    let [_, z, n, _, flags] = slots(saved, dh.len());
    for (((dh, h_prev), z), n) in dh.iter_mut().zip(h_prev).zip(&mut *z).zip(&mut *n) {
        let (dz, dn) = (*dh * (*h_prev - *n), *dh * (S::ONE - *z));
        *n = dn * hooks.candidate_slope(*n);
        *dh *= *z;
        *z = dz * hooks.gate_slope(*z);
    }
    unless_clipped(flags, z, 1);
    unless_clipped(flags, n, 2);
}

/// ```text
/// dp = W_hnᵀ·da_n    da_r = dp⊙h_prev⊙r⊙(1-r)    dh_prev += dp⊙r
/// ```
#[inline(always)]
pub(super) fn between_backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: &mut BetweenBackward<'_, S>) {
    let BetweenBackward { saved: [r, _, _, p, flags], h_read, dh } = row;
    for (((p, r), h), dh) in p.iter_mut().zip(&mut **r).zip(*h_read).zip(&mut **dh) {
        let dp = *p;
        *p = *r * *h;
        *dh += dp * *r;
        *r = dp * *h * hooks.gate_slope(*r);
    }
    unless_clipped(flags, r, 0);
}
