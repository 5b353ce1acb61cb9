//! minLSTM (Feng et al. 2024). Saved slots: f, i, n, s.
//!
//! ```text
//! f = σ(a_f)   i = σ(a_i)   n = a_n        a = W_ih·x + b_ih
//! s = f / (f + i)           h = s⊙h_prev + (1-s)⊙n
//! ```

use pulp::Simd;

use super::functions::Functions;
use super::hooks::{Hooks, note, unless_clipped};
use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, before: [h_prev, ..], after: [h, ..], .. } = row;
    let [f, i, n, s, flags] = slots(saved, h.len());
    flags.fill(S::ZERO);
    for (bit, gate) in [&*f, &*i, &*n].into_iter().enumerate() {
        note(flags, gate.iter().copied(), bit, hooks.inputs());
    }
    let small = S::from_f64(SMALL);
    for ((((f, i), s), n), (h, h_prev)) in f.iter_mut().zip(i).zip(s).zip(n).zip(h.iter_mut().zip(h_prev)) {
        let (a_f, a_i) = (hooks.inputs().of(*f), hooks.inputs().of(*i));
        (*f, *i) = (hooks.gate::<A>(a_f), hooks.gate::<A>(a_i));
        *n = hooks.candidate::<A>(*n);
        let of_small = hooks.functions().gate::<A>(a_f - a_i);
        *s = if a_f < small && a_i < small { of_small } else { *f / (*f + *i) };
        *h = *s * *h_prev + (S::ONE - *s) * *n;
    }
}

/// Below this σ(a) is eᵃ to all digits of an f64, so that `f / (f + i)` is `σ(a_f − a_i)` of two such arguments, where the gates
/// themselves may have no digits left.
const SMALL: f64 = -36.0;

/// ```text
/// ds = dh⊙(h_prev-n)    da_n = dh⊙(1-s)⊙φ'    da_f = ds⊙s⊙(1-s)⊙(1-f)    da_i = −ds⊙s⊙(1-s)⊙(1-i)    dh_prev = s⊙dh
/// ```
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, before: [h_prev, ..], gradients: [dh, ..], .. } = row;
    let [f, i, n, s, flags] = slots(saved, dh.len());
    for ((((f, i), s), n), (dh, h_prev)) in f.iter_mut().zip(&mut *i).zip(s).zip(&mut *n).zip(dh.iter_mut().zip(h_prev))
    {
        let (ds, dn) = (*dh * (*h_prev - *n), *dh * (S::ONE - *s));
        let both = ds * *s * (S::ONE - *s);
        (*f, *i) = (both * (S::ONE - *f), -(both * (S::ONE - *i)));
        *n = dn * hooks.candidate_slope(*n);
        *dh *= *s;
    }
    for (bit, gate) in [f, i, n].into_iter().enumerate() {
        unless_clipped(flags, gate, bit);
    }
    flags.fill(S::ZERO);
}
