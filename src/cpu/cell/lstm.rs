//! LSTM (`torch.nn.LSTM`). Saved slots: i, f, g, o.
//!
//! ```text
//! i = σ(a_i)   f = σ(a_f)   g = tanh(a_g)   o = σ(a_o)      a = W_ih·x + b_ih + W_hh·h_prev + b_hh
//! c = f⊙c_prev + i⊙g        h = o⊙tanh(c)
//! ```
//!
//! Peepholes add `p_i⊙c_prev` and `p_f⊙c_prev` to `a_i` and `a_f`, and `p_o⊙c` to `a_o`. Coupled, `i = 1 - f`, and f, g, o are
//! the slots.

use pulp::Simd;

use super::hooks::{Hooks, note, peep, through_peepholes, unless_clipped};
use super::{BackwardRow, ForwardRow, slots};
use crate::cpu::scalar::Scalar;

/// The slots of a row: i, which is empty where it is coupled, f, g, o, and flags, empty where there are none.
#[inline(always)]
fn gates<S: Scalar>(hooks: impl Hooks<S>, saved: &mut [S], hidden: usize) -> [&mut [S]; 5] {
    let own = if hooks.coupled() { 0 } else { hidden.min(saved.len()) };
    let (i, rest) = saved.split_at_mut(own);
    let [f, g, o, flags] = slots(rest, hidden);
    [i, f, g, o, flags]
}

/// The peepholes of i, f and o.
#[inline(always)]
fn peepholes<S: Scalar>(hooks: impl Hooks<S>, weights: &[S], hidden: usize) -> [&[S]; 3] {
    let own = if hooks.coupled() { 0 } else { hidden.min(weights.len()) };
    let (i, rest) = weights.split_at(own);
    let (f, o) = rest.split_at(hidden.min(rest.len()));
    [i, f, o]
}

#[inline(always)]
pub(super) fn forward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: ForwardRow<'_, S>) {
    let ForwardRow { saved, before: [_, c_prev, ..], w_ch, after: [h, c, ..], .. } = row;
    let [i, f, g, o, flags] = gates(hooks, saved, h.len());
    let [p_i, p_f, p_o] = peepholes(hooks, w_ch, h.len());
    let own = usize::from(!hooks.coupled());
    flags.fill(S::ZERO);
    peep(hooks, i, p_i, c_prev);
    peep(hooks, f, p_f, c_prev);
    for (bit, gate) in [(0, &mut *i), (own, &mut *f)] {
        note(flags, gate.iter().copied(), bit, hooks.inputs());
        gate.iter_mut().for_each(|x| *x = hooks.gate::<A>(*x));
    }
    note(flags, g.iter().copied(), own + 1, hooks.inputs());
    g.iter_mut().for_each(|x| *x = hooks.candidate::<A>(*x));
    if hooks.coupled() {
        for (((c, c_prev), f), g) in c.iter_mut().zip(c_prev).zip(f).zip(g) {
            *c = *f * hooks.as_read().of(*c_prev) + (S::ONE - *f) * *g;
        }
    } else {
        for ((((c, c_prev), i), f), g) in c.iter_mut().zip(c_prev).zip(i).zip(f).zip(g) {
            *c = *f * hooks.as_read().of(*c_prev) + *i * *g;
        }
    }
    note(flags, c.iter().copied(), own + 3, hooks.cell());
    c.iter_mut().for_each(|c| *c = hooks.cell().of(*c));
    peep(hooks, o, p_o, c);
    note(flags, o.iter().copied(), own + 2, hooks.inputs());
    o.iter_mut().for_each(|x| *x = hooks.gate::<A>(*x));
    for ((h, c), o) in h.iter_mut().zip(c).zip(o) {
        *h = *o * hooks.output::<A>(*c);
    }
}

/// ```text
/// da_o = dh⊙tanh(c)⊙o⊙(1-o)       dc' = dc + dh⊙o⊙(1-tanh²(c)) + p_o⊙da_o
/// da_i = dc'⊙g⊙i⊙(1-i)   da_f = dc'⊙c_prev⊙f⊙(1-f)   da_g = dc'⊙i⊙(1-g²)   dc_prev = dc'⊙f + p_i⊙da_i + p_f⊙da_f
/// coupled:  da_f = dc'⊙(c_prev-g)⊙f⊙(1-f)
/// ```
///
/// With a projection dh is the gradient of what that has read, and becomes again what it was: o⊙tanh(c).
#[inline(always)]
pub(super) fn backward<A: Simd, S: Scalar>(_: A, hooks: impl Hooks<S>, row: BackwardRow<'_, S>) {
    let BackwardRow { saved, before: [_, c_prev, ..], after: [_, c, ..], w_ch, gradients, whole, .. } = row;
    let [_, whole_dc, ..] = whole;
    let [dh, dc, ..] = gradients;
    let [i, f, g, o, flags] = gates(hooks, saved, dh.len());
    let [p_i, p_f, p_o] = peepholes(hooks, w_ch, dh.len());
    let own = usize::from(!hooks.coupled());
    for (((dh, dc), c), o) in dh.iter_mut().zip(&mut *dc).zip(c).zip(&mut *o) {
        let t = hooks.output::<A>(*c);
        let (now, made) = (*dh, *o * t);
        *dc += now * *o * hooks.output_slope(*c, t);
        *o = now * t * hooks.gate_slope(*o);
        *dh = if hooks.projects() { made } else { S::ZERO };
    }
    unless_clipped(flags, o, own + 2);
    through_peepholes(hooks, o, p_o, c, dc);
    whole_dc.iter_mut().zip(&*dc).for_each(|(whole, dc)| *whole = *dc);
    unless_clipped(flags, dc, own + 3);
    if hooks.coupled() {
        for (((dc, c_prev), f), g) in dc.iter_mut().zip(c_prev).zip(&mut *f).zip(&mut *g) {
            let (df, dg, dc_prev) = (*dc * (hooks.as_read().of(*c_prev) - *g), *dc * (S::ONE - *f), *dc * *f);
            *g = dg * hooks.candidate_slope(*g);
            *f = df * hooks.gate_slope(*f);
            *dc = dc_prev;
        }
    } else {
        for ((dc, i), g) in dc.iter().zip(&mut *i).zip(&mut *g) {
            let (di, dg) = (*dc * *g, *dc * *i);
            *i = di * hooks.gate_slope(*i);
            *g = dg * hooks.candidate_slope(*g);
        }
        for ((dc, c_prev), f) in dc.iter_mut().zip(c_prev).zip(&mut *f) {
            let (df, dc_prev) = (*dc * hooks.as_read().of(*c_prev), *dc * *f);
            *f = df * hooks.gate_slope(*f);
            *dc = dc_prev;
        }
    }
    for (gate, bit) in [(&mut *i, 0), (&mut *f, own), (g, own + 1)] {
        unless_clipped(flags, gate, bit);
    }
    dc.iter_mut().zip(c_prev).for_each(|(dc, c_prev)| *dc = hooks.through_read(*c_prev, *dc));
    through_peepholes(hooks, i, p_i, c_prev, dc);
    through_peepholes(hooks, f, p_f, c_prev, dc);
    flags.fill(S::ZERO);
}
