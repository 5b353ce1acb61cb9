//! minGRU (Feng et al. 2024). Saved slots: f, n.
//!
//! ```text
//! f = 1 − σ(a_z)   n = a_n        a = W_ih·x + b_ih
//! h = f⊙h_prev + (1-f)⊙n
//! ```

use pulp::Simd;

use super::hooks::{Hooks, note, unless_clipped};
use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, before: [h_prev, ..], after: [h, ..], .. } = row;
    let [f, n, flags] = slots(saved, h.len());
    flags.fill(S::ZERO);
    note(flags, f.iter().copied(), 0, hooks.inputs());
    note(flags, n.iter().copied(), 1, hooks.inputs());
    for (((h, h_prev), f), n) in h.iter_mut().zip(h_prev).zip(f).zip(n) {
        let z = hooks.gate::<A>(*f);
        *f = S::ONE - z;
        *n = hooks.candidate::<A>(*n);
        *h = *f * *h_prev + z * *n;
    }
}

/// ```text
/// da_n = dh⊙(1-f)⊙φ'    da_z = dh⊙(n-h_prev)⊙(1-f)⊙f    dh_prev = f⊙dh
/// ```
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, before: [h_prev, ..], gradients: [dh, ..], .. } = row;
    let [f, n, flags] = slots(saved, dh.len());
    for (((dh, h_prev), f), n) in dh.iter_mut().zip(h_prev).zip(&mut *f).zip(&mut *n) {
        let (dz, dn) = (*dh * (*n - *h_prev), *dh * (S::ONE - *f));
        *n = dn * hooks.candidate_slope(*n);
        *dh *= *f;
        *f = dz * hooks.gate_slope(S::ONE - *f);
    }
    unless_clipped(flags, f, 0);
    unless_clipped(flags, n, 1);
    flags.fill(S::ZERO);
}
