//! GRU (`torch.nn.GRU`: the reset gate acts after the product). Saved slots: r, z, n, q.
//!
//! ```text
//! r = σ(a_r)   z = σ(a_z)      a = W_ih·x + b_ih + W_hh·h_prev + b_hh
//! q = W_hn·h_prev + b_hn       n = tanh(W_in·x + b_in + r⊙q)
//! h = (1-z)⊙n + z⊙h_prev
//! ```

use pulp::Simd;

use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, row: ForwardRow<'_, S>) {
    let hidden = row.h.len();
    let [r, z, n, q] = slots(row.saved, hidden);
    for gate in [&mut *r, &mut *z] {
        gate.iter_mut().for_each(|x| *x = x.sigmoid::<A>());
    }
    for ((n, r), q) in n.iter_mut().zip(r).zip(q) {
        *n = (*n + *r * *q).tanh::<A>();
    }
    for (((h, h_prev), z), n) in row.h.iter_mut().zip(row.h_prev).zip(z).zip(n) {
        *h = (S::ONE - *z) * *n + *z * *h_prev;
    }
}

/// ```text
/// da_n = dh⊙(1-z)⊙(1-n²)    dq = da_n⊙r    da_r = da_n⊙q⊙r⊙(1-r)    da_z = dh⊙(h_prev-n)⊙z⊙(1-z)
/// dh_prev = z⊙dh + (through the weights)
/// ```
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, row: BackwardRow<'_, S>) {
    let [r, z, n, q] = slots(row.saved, row.dh.len());
    for (((dh, h_prev), z), n) in row.dh.iter_mut().zip(row.h_prev).zip(z).zip(&mut *n) {
        let (dz, dn) = (*dh * (*h_prev - *n), *dh * (S::ONE - *z));
        *n = dn * (S::ONE - *n * *n);
        *dh *= *z;
        *z = dz * *z * (S::ONE - *z);
    }
    for ((da, r), q) in n.iter().zip(r).zip(q) {
        let (dr, dq) = (*da * *q, *da * *r);
        *r = dr * *r * (S::ONE - *r);
        *q = dq;
    }
}
