//! SRU (Lei et al. 2018). Saved slots: n, f, r, k.
//!
//! ```text
//! n = a_n   f = σ(a_f + v_f⊙c_prev)   r = σ(a_r + v_r⊙c_prev)   k = a_k      a = W_ih·x + b_ih
//! c = f⊙c_prev + (1-f)⊙n              h = r⊙φ(c) + (1-r)⊙k
//! ```

use pulp::Simd;

use super::hooks::{Hooks, note, peep, through_peepholes, unless_clipped};
use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, before: [_, c_prev, ..], w_ch, after: [h, c, ..], .. } = row;
    let [n, f, r, k, flags] = slots(saved, h.len());
    let (v_f, v_r) = w_ch.split_at(h.len().min(w_ch.len()));
    flags.fill(S::ZERO);
    peep(hooks, f, v_f, c_prev);
    peep(hooks, r, v_r, c_prev);
    for (bit, gate) in [&mut *n, &mut *f, &mut *r].into_iter().enumerate() {
        note(flags, gate.iter().copied(), bit, hooks.inputs());
    }
    n.iter_mut().for_each(|x| *x = hooks.candidate::<A>(*x));
    f.iter_mut().chain(&mut *r).for_each(|x| *x = hooks.gate::<A>(*x));
    for (((c, c_prev), f), n) in c.iter_mut().zip(c_prev).zip(f).zip(n) {
        *c = *f * hooks.as_read().of(*c_prev) + (S::ONE - *f) * *n;
    }
    note(flags, c.iter().copied(), 4, hooks.cell());
    for (((h, c), r), k) in h.iter_mut().zip(c).zip(r).zip(k) {
        *c = hooks.cell().of(*c);
        *h = *r * hooks.output::<A>(*c) + (S::ONE - *r) * *k;
    }
}

/// ```text
/// da_r = dh⊙(φ(c)-k)⊙r⊙(1-r)    da_k = dh⊙(1-r)    dc' = dc + dh⊙r⊙φ'
/// da_f = dc'⊙(c_prev-n)⊙f⊙(1-f)    da_n = dc'⊙(1-f)    dc_prev = dc'⊙f + v_f⊙da_f + v_r⊙da_r
/// ```
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, before: [_, c_prev, ..], after: [_, c, ..], w_ch, gradients, whole, .. } = row;
    let [_, whole_dc, ..] = whole;
    let [dh, dc, ..] = gradients;
    let [n, f, r, k, flags] = slots(saved, dh.len());
    let (v_f, v_r) = w_ch.split_at(dh.len().min(w_ch.len()));
    for ((((dh, dc), c), r), k) in dh.iter_mut().zip(&mut *dc).zip(c).zip(&mut *r).zip(k) {
        let t = hooks.output::<A>(*c);
        let dr = *dh * (t - *k);
        *dc += *dh * *r * hooks.output_slope(*c, t);
        *k = *dh * (S::ONE - *r);
        *r = dr * hooks.gate_slope(*r);
        *dh = S::ZERO;
    }
    whole_dc.iter_mut().zip(&*dc).for_each(|(whole, dc)| *whole = *dc);
    unless_clipped(flags, dc, 4);
    for (((dc, c_prev), f), n) in dc.iter_mut().zip(c_prev).zip(&mut *f).zip(&mut *n) {
        let (df, dn, dc_prev) = (*dc * (hooks.as_read().of(*c_prev) - *n), *dc * (S::ONE - *f), *dc * *f);
        *n = dn * hooks.candidate_slope(*n);
        *f = df * hooks.gate_slope(*f);
        *dc = dc_prev;
    }
    for (bit, gate) in [n, &mut *f, &mut *r].into_iter().enumerate() {
        unless_clipped(flags, gate, bit);
    }
    dc.iter_mut().zip(c_prev).for_each(|(dc, c_prev)| *dc = hooks.through_read(*c_prev, *dc));
    through_peepholes(hooks, f, v_f, c_prev, dc);
    through_peepholes(hooks, r, v_r, c_prev, dc);
    flags.fill(S::ZERO);
}
