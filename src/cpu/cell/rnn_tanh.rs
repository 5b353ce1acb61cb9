//! Elman network with tanh (`torch.nn.RNN`). Saved slot: h.
//!
//! ```text
//! h = tanh(W_ih·x + b_ih + W_hh·h_prev + b_hh)
//! ```

use pulp::Simd;

use super::{BackwardRow, ForwardRow};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, row: ForwardRow<'_, S>) {
    for (a, h) in row.saved.iter_mut().zip(row.h) {
        *a = a.tanh::<A>();
        *h = *a;
    }
}

/// `da = dh⊙(1-h²)`.
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, row: BackwardRow<'_, S>) {
    for (a, dh) in row.saved.iter_mut().zip(row.dh) {
        *a = *dh * (S::ONE - *a * *a);
        *dh = S::ZERO;
    }
}
