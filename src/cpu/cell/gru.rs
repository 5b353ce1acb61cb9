//! GRU (`torch.nn.GRU`: the reset gate acts after the product). Saved slots: r, z, n, q.
//!
//! ```text
//! r = σ(a_r)   z = σ(a_z)      a = W_ih·x + b_ih + W_hh·h_prev + b_hh
//! q = W_hn·h_prev + b_hn       n = tanh(W_in·x + b_in + r⊙q)
//! h = (1-z)⊙n + z⊙h_prev
//! ```

use pulp::Simd;

use super::hooks::{Hooks, note, unless_clipped};
use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, before: [h_prev, ..], after: [h, ..], .. } = row;
    let [r, z, n, q, flags] = slots(saved, h.len());
    flags.fill(S::ZERO);
    for (bit, gate) in [&mut *r, &mut *z].into_iter().enumerate() {
        note(flags, gate.iter().copied(), bit, hooks.inputs());
        gate.iter_mut().for_each(|x| *x = hooks.gate::<A>(*x));
    }
    let arguments = n.iter().zip(&*r).zip(&*q).map(|((n, r), q)| *n + *r * *q);
    note(flags, arguments, 2, hooks.inputs());
    for ((n, r), q) in n.iter_mut().zip(r).zip(q) {
        *n = hooks.candidate::<A>(*n + *r * *q);
    }
    for (((h, h_prev), z), n) in h.iter_mut().zip(h_prev).zip(z).zip(n) {
        *h = (S::ONE - *z) * *n + *z * *h_prev;
    }
}

/// ```text
/// da_n = dh⊙(1-z)⊙(1-n²)    dq = da_n⊙r    da_r = da_n⊙q⊙r⊙(1-r)    da_z = dh⊙(h_prev-n)⊙z⊙(1-z)
/// dh_prev = z⊙dh + (through the weights)
/// ```
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, before: [h_prev, ..], gradients: [dh, ..], .. } = row;
    let [r, z, n, q, flags] = slots(saved, dh.len());
    for (((dh, h_prev), z), n) in dh.iter_mut().zip(h_prev).zip(&mut *z).zip(&mut *n) {
        let (dz, dn) = (*dh * (*h_prev - *n), *dh * (S::ONE - *z));
        *n = dn * hooks.candidate_slope(*n);
        *dh *= *z;
        *z = dz * hooks.gate_slope(*z);
    }
    unless_clipped(flags, z, 1);
    unless_clipped(flags, n, 2);
    for ((da, r), q) in n.iter().zip(&mut *r).zip(q) {
        let (dr, dq) = (*da * *q, *da * *r);
        *r = dr * hooks.gate_slope(*r);
        *q = dq;
    }
    unless_clipped(flags, r, 0);
    flags.fill(S::ZERO);
}
