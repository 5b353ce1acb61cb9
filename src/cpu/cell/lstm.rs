//! LSTM (`torch.nn.LSTM`). Saved slots: i, f, g, o.
//!
//! ```text
//! i = σ(a_i)   f = σ(a_f)   g = tanh(a_g)   o = σ(a_o)      a = W_ih·x + b_ih + W_hh·h_prev + b_hh
//! c = f⊙c_prev + i⊙g        h = o⊙tanh(c)
//! ```

use pulp::Simd;

use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, row: ForwardRow<'_, S>) {
    let hidden = row.h.len();
    let [i, f, g, o] = slots(row.saved, hidden);
    for gate in [&mut *i, &mut *f, &mut *o] {
        gate.iter_mut().for_each(|x| *x = x.sigmoid::<A>());
    }
    g.iter_mut().for_each(|x| *x = x.tanh::<A>());
    for ((((c, c_prev), i), f), g) in row.c.iter_mut().zip(row.c_prev).zip(i).zip(f).zip(g) {
        *c = *f * *c_prev + *i * *g;
    }
    for ((h, c), o) in row.h.iter_mut().zip(row.c).zip(o) {
        *h = *o * c.tanh::<A>();
    }
}

/// ```text
/// da_o = dh⊙tanh(c)⊙o⊙(1-o)       dc' = dc + dh⊙o⊙(1-tanh²(c))
/// da_i = dc'⊙g⊙i⊙(1-i)   da_f = dc'⊙c_prev⊙f⊙(1-f)   da_g = dc'⊙i⊙(1-g²)   dc_prev = dc'⊙f
/// ```
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, row: BackwardRow<'_, S>) {
    let [i, f, g, o] = slots(row.saved, row.dh.len());
    for (((dh, dc), c), o) in row.dh.iter_mut().zip(&mut *row.dc).zip(row.c).zip(o) {
        let t = c.tanh::<A>();
        *dc += *dh * *o * (S::ONE - t * t);
        *o = *dh * t * *o * (S::ONE - *o);
        *dh = S::ZERO;
    }
    row.dc_all.iter_mut().zip(&*row.dc).for_each(|(all, dc)| *all = *dc);
    for ((dc, i), g) in row.dc.iter().zip(i).zip(g) {
        let (di, dg) = (*dc * *g, *dc * *i);
        *i = di * *i * (S::ONE - *i);
        *g = dg * (S::ONE - *g * *g);
    }
    for ((dc, c_prev), f) in row.dc.iter_mut().zip(row.c_prev).zip(f) {
        let (df, dc_prev) = (*dc * *c_prev, *dc * *f);
        *f = df * *f * (S::ONE - *f);
        *dc = dc_prev;
    }
}
