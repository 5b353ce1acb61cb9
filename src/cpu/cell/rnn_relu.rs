//! Elman network with the rectifier (`torch.nn.RNN(nonlinearity="relu")`). Saved slot: h.
//!
//! ```text
//! h = max(0, W_ih·x + b_ih + W_hh·h_prev + b_hh)
//! ```

use pulp::Simd;

use super::{BackwardRow, ForwardRow};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, row: ForwardRow<'_, S>) {
    for (a, h) in row.saved.iter_mut().zip(row.h) {
        // Written so that NaN stays NaN.
        *a = if *a <= S::ZERO { S::ZERO } else { *a };
        *h = *a;
    }
}

/// `da = dh` where `h > 0`, else 0.
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, row: BackwardRow<'_, S>) {
    for (a, dh) in row.saved.iter_mut().zip(row.dh) {
        *a = if *a <= S::ZERO { S::ZERO } else { *dh };
        *dh = S::ZERO;
    }
}
