//! One direction of a layer as one would write it on paper: a step of one sequence, and its way back.

use wgpu_rnn::Cell;

use super::Layer;
use super::functions::{function, within};
use super::masks::{left, words};

/// What one step of one sequence keeps for its way back.
pub struct Saved {
    /// Arguments of the gates' functions, before any limit, then for a GRU the recurrent part of n, or what that is made from.
    pub arguments: Vec<f64>,
    pub x: Vec<f64>,
    pub h_before: Vec<f64>,
    /// What products read of it, and what dropout leaves of 1 there.
    pub h_read: Vec<f64>,
    pub h_left: Vec<f64>,
    /// What the cell makes as h, which a projection reads.
    pub made: Vec<f64>,
    pub c_before: Vec<f64>,
    /// Before and after the limit of what is stored.
    pub c_full: Vec<f64>,
    pub c: Vec<f64>,
    /// The shares of h and c before the step in those after it, and that c.
    pub stays: Vec<[f64; 2]>,
    pub c_left: Vec<f64>,
}

/// A direction of a layer: names of its tensors end in this.
pub struct Side<'a> {
    pub layer: &'a Layer,
    /// Whether to train: then masks are drawn.
    pub trains: bool,
    pub index: usize,
    pub direction: usize,
    pub suffix: String,
    pub inputs: usize,
}

impl Side<'_> {
    pub fn tensor(&self, stem: &str) -> Option<&[f64]> {
        self.layer.given.get(&format!("{stem}_{}", self.suffix)).map(Vec::as_slice)
    }

    /// `W·v + b` for gate `gate` and unit `unit`; zero where there are no such weights.
    fn product(&self, which: &str, gate: usize, unit: usize, values: &[f64]) -> f64 {
        let row = gate * self.layer.config.hidden + unit;
        if which == "hh" && !self.layer.config.recipe().has_product() {
            return 0.0;
        }
        let Some(weights) = self.tensor(&format!("weight_{which}")) else { return 0.0 };
        let bias = self.tensor(&format!("bias_{which}")).map_or(0.0, |bias| bias[row]);
        let first = row * values.len();
        let weights = weights[first..].iter().zip(values).enumerate();
        weights.map(|(column, (w, v))| self.left(which, first + column) * w * v).sum::<f64>() + bias
    }

    /// What dropout leaves of a weight.
    pub fn left(&self, which: &str, place: usize) -> f64 {
        let config = &self.layer.config;
        let each = config.recipe().gates() * config.hidden * config.width(0);
        match self.trains && which == "hh" {
            true => left(config.weight_dropout, words(3, self.index, self.direction * each + place)),
            false => 1.0,
        }
    }

    /// A gate and its slope, and the same of what is added to the state.
    fn gate(&self, a: f64) -> (f64, f64) {
        let recipe = self.layer.config.recipe();
        function(recipe.activations().gate, recipe.options().clip.inputs, a)
    }

    fn candidate(&self, a: f64) -> (f64, f64) {
        let recipe = self.layer.config.recipe();
        function(recipe.activations().candidate, recipe.options().clip.inputs, a)
    }

    /// A cell state as it is read, its gradient's share; what h sees of it, and the slope of that.
    fn read(&self, c: f64) -> (f64, f64) {
        within(self.layer.config.options.clip.cell_as_read, c)
    }

    fn output(&self, c: f64) -> (f64, f64) {
        let recipe = self.layer.config.recipe();
        let (seen, share) = self.read(c);
        let (value, slope) = function(recipe.activations().output, None, seen);
        (value, slope * share)
    }

    /// Peephole of i, f or o: 0, 1, 2; of the SRU's f and r: 0, 1; of the IndRNN's h: 0.
    fn peephole(&self, gate: usize, unit: usize) -> f64 {
        let at = gate - usize::from(self.layer.config.options.coupled);
        let own = if self.layer.config.cell == Cell::IndRnn { "weight_hh" } else { "weight_ch" };
        self.tensor(own).map_or(0.0, |weights| weights[at * self.layer.config.hidden + unit])
    }

    /// How much stays of h and of c of a unit.
    fn stays(&self, [sequence, step]: [usize; 2], unit: usize) -> [f64; 2] {
        let config = &self.layer.config;
        let shares = config.options.zoneout.all().map(|(_, share)| share.map_or(0.0, |share| f64::from(share.get())));
        let row = (step * self.layer.shape.batch + sequence) * config.directions() + self.direction;
        let words = words(1, self.index, row * config.hidden + unit);
        match self.trains {
            true => [0, 1].map(|s| f64::from(u8::from(f64::from(words[s]) < (shares[s] * 4_294_967_296.0).round()))),
            false => shares,
        }
    }

    /// What dropout leaves of a unit's h where products read it.
    fn left_of_h(&self, sequence: usize, unit: usize) -> f64 {
        let config = &self.layer.config;
        let own = (sequence * config.directions() + self.direction) * config.width(0) + unit;
        let share = config.options.recurrent_dropout.filter(|_| self.trains);
        share.map_or(1.0, |share| left(share, words(4, self.index, own)))
    }

    /// One step of one sequence.
    pub fn step(&self, at: [usize; 2], x: &[f64], h: &[f64], c: &[f64]) -> (Saved, Vec<f64>) {
        let (cell, hidden, options) = (self.layer.config.cell, self.layer.config.hidden, self.layer.config.options);
        let mut arguments = vec![0.0; 4 * hidden];
        let mut h_next = vec![0.0; hidden];
        let (mut c_full, mut c_next) = (vec![0.0; c.len()], vec![0.0; c.len()]);
        let h_left: Vec<f64> = (0..h.len()).map(|unit| self.left_of_h(at[0], unit)).collect();
        let h_read: Vec<f64> = h.iter().zip(&h_left).map(|(h, left)| h * left).collect();
        let stays: Vec<[f64; 2]> = (0..hidden).map(|unit| self.stays(at, unit)).collect();
        // What the candidate's product of a GRU with the reset before it reads.
        let reset = |u: usize| self.gate(self.product("ih", 0, u, x) + self.product("hh", 0, u, &h_read)).0 * h_read[u];
        let h_reset: Vec<f64> = if options.reset_before { (0..hidden).map(reset).collect() } else { Vec::new() };
        for u in 0..hidden {
            let of = |gate| (self.product("ih", gate, u, x), self.product("hh", gate, u, &h_read));
            let all = |gate| of(gate).0 + of(gate).1;
            let values = match cell {
                Cell::Lstm => {
                    // Where i and f are coupled the tensors begin with f.
                    let first = 1 - usize::from(options.coupled);
                    let seen = self.read(c[u]).0;
                    let a_f = all(first) + self.peephole(1, u) * seen;
                    let a_g = all(first + 1);
                    let f = self.gate(a_f).0;
                    let mut a_i = 0.0;
                    let mut i = 1.0 - f;
                    if !options.coupled {
                        a_i = all(0) + self.peephole(0, u) * seen;
                        i = self.gate(a_i).0;
                    }
                    c_full[u] = f * seen + i * self.candidate(a_g).0;
                    c_next[u] = within(options.clip.cell, c_full[u]).0;
                    let a_o = all(first + 2) + self.peephole(2, u) * self.read(c_next[u]).0;
                    h_next[u] = self.gate(a_o).0 * self.output(c_next[u]).0;
                    [a_i, a_f, a_g, a_o]
                }
                Cell::Gru => {
                    let (a_r, a_z, (input, mut q)) = (all(0), all(1), of(2));
                    let mut a_n = input + self.gate(a_r).0 * q;
                    if options.reset_before {
                        a_n = input + self.product("hh", 2, u, &h_reset);
                        q = h_reset[u];
                    }
                    let (z, n) = (self.gate(a_z).0, self.candidate(a_n).0);
                    h_next[u] = (1.0 - z) * n + z * h[u];
                    [a_r, a_z, a_n, q]
                }
                Cell::MinGru => {
                    let (a_z, a_n) = (all(0), all(1));
                    let z = self.gate(a_z).0;
                    h_next[u] = (1.0 - z) * h[u] + z * self.candidate(a_n).0;
                    [a_z, a_n, 0.0, 0.0]
                }
                Cell::MinLstm => {
                    let (a_f, a_i, a_n) = (all(0), all(1), all(2));
                    let (f, i) = (self.gate(a_f).0, self.gate(a_i).0);
                    h_next[u] = f / (f + i) * h[u] + i / (f + i) * self.candidate(a_n).0;
                    [a_f, a_i, a_n, 0.0]
                }
                Cell::Sru => {
                    let (a_n, a_k, seen) = (all(0), all(3), self.read(c[u]).0);
                    let (a_f, a_r) = (all(1) + self.peephole(0, u) * seen, all(2) + self.peephole(1, u) * seen);
                    let (f, r) = (self.gate(a_f).0, self.gate(a_r).0);
                    c_full[u] = f * seen + (1.0 - f) * self.candidate(a_n).0;
                    c_next[u] = within(options.clip.cell, c_full[u]).0;
                    h_next[u] = r * self.output(c_next[u]).0 + (1.0 - r) * a_k;
                    [a_n, a_f, a_r, a_k]
                }
                Cell::IndRnn => {
                    let a = all(0) + self.peephole(0, u) * h[u];
                    h_next[u] = self.candidate(a).0;
                    [a, 0.0, 0.0, 0.0]
                }
                Cell::RnnTanh | Cell::RnnRelu => {
                    h_next[u] = self.candidate(all(0)).0;
                    [all(0), 0.0, 0.0, 0.0]
                }
            };
            values.iter().enumerate().for_each(|(gate, value)| arguments[gate * hidden + u] = *value);
        }
        let left = |before: &[f64], made: &[f64], state: usize| -> Vec<f64> {
            let both = before.iter().zip(made).zip(&stays);
            both.map(|((before, made), stays)| stays[state] * before + (1.0 - stays[state]) * made).collect()
        };
        let made = h_next;
        let h_next = self.projected(&made).unwrap_or_else(|| left(h, &made, 0));
        let c_left = left(c, &c_next, 1);
        let (h_before, c_before) = (h.to_vec(), c.to_vec());
        (
            Saved {
                arguments,
                x: x.to_vec(),
                h_before,
                c_before,
                c_full,
                c: c_next,
                stays,
                c_left,
                h_read,
                h_left,
                made,
            },
            h_next,
        )
    }

    /// h as a projection makes it, if there is one.
    fn projected(&self, made: &[f64]) -> Option<Vec<f64>> {
        let weights = self.tensor("weight_hr")?;
        let sum = |row: &[f64]| row.iter().zip(made).map(|(w, m)| w * m).sum();
        let limit = self.layer.config.options.clip.projection;
        Some(weights.chunks_exact(made.len()).map(sum).map(|h| within(limit, h).0).collect())
    }

    /// Back through that: the gradient of what it read, from that of h; what the limit leaves of this is added to that of the
    /// weights, times what it read.
    pub fn back_through_projection(&self, kept: &Saved, dh: &[f64], dw: &mut [f64]) -> Vec<f64> {
        let weights = self.tensor("weight_hr").expect("weights");
        let mut dm = vec![0.0; kept.made.len()];
        for (row, dh) in dh.iter().enumerate() {
            let clip = self.layer.config.options.clip;
            let h: f64 = weights[row * kept.made.len()..].iter().zip(&kept.made).map(|(w, m)| w * m).sum();
            let dh = within(clip.gradient, *dh).0 * within(clip.projection, h).1;
            for (unit, dm) in dm.iter_mut().enumerate() {
                let place = row * kept.made.len() + unit;
                *dm += dh * weights[place];
                dw[place] += dh * kept.made[unit];
            }
        }
        dm
    }

    /// Back through it: gradients of the pre-activations on the input and on the recurrent side, and of the peepholes; dh and
    /// dc become those of the states before, as far as they do not come through the weights. Of a GRU with the reset before the
    /// product dh has that part too which comes through the weights of n, and what these read is the last.
    pub fn back(&self, kept: &Saved, dh: &mut [f64], dc: &mut [f64]) -> [Vec<f64>; 3] {
        let (cell, hidden, options) = (self.layer.config.cell, self.layer.config.hidden, self.layer.config.options);
        let gates = self.layer.config.recipe().gates();
        let (mut da, mut dr) = (vec![0.0; gates * hidden], vec![0.0; gates * hidden]);
        let mut dp = vec![0.0; self.layer.config.recipe().peepholes() * hidden];
        for u in 0..hidden {
            if options.projection.is_none() {
                dh[u] = within(options.clip.gradient, dh[u]).0;
            }
            let [of_h, of_c] = kept.stays[u];
            let staying = [of_h * dh[u], of_c * dc.get(u).unwrap_or(&0.0)];
            dh[u] *= 1.0 - of_h;
            dc.iter_mut().skip(u).take(1).for_each(|dc| *dc *= 1.0 - of_c);
            let argument = |gate: usize| kept.arguments[gate * hidden + u];
            let (input, recurrent): (Vec<f64>, Vec<f64>) = match cell {
                Cell::Lstm => {
                    let ((f, f_slope), (g, g_slope)) = (self.gate(argument(1)), self.candidate(argument(2)));
                    let (i, i_slope) = if options.coupled { (1.0 - f, 0.0) } else { self.gate(argument(0)) };
                    let (o, o_slope) = self.gate(argument(3));
                    let (t, t_slope) = self.output(kept.c[u]);
                    let ((seen, share), (seen_after, share_after)) =
                        (self.read(kept.c_before[u]), self.read(kept.c[u]));
                    let da_o = dh[u] * t * o_slope;
                    let all = dc[u] + dh[u] * o * t_slope + da_o * self.peephole(2, u) * share_after;
                    let all = all * within(options.clip.cell, kept.c_full[u]).1;
                    let da_i = all * g * i_slope;
                    let da_f = all * if options.coupled { seen - g } else { seen } * f_slope;
                    let mut before = all * f + da_f * self.peephole(1, u);
                    let mut seen_by = vec![(da_f, seen), (da_o, seen_after)];
                    let mut all_gates = vec![da_f, all * i * g_slope, da_o];
                    if !options.coupled {
                        before += da_i * self.peephole(0, u);
                        seen_by.insert(0, (da_i, seen));
                        all_gates.insert(0, da_i);
                    }
                    for (gate, (da, seen)) in seen_by.into_iter().enumerate().filter(|_| options.peephole) {
                        dp[gate * hidden + u] = da * seen;
                    }
                    (dc[u], dh[u]) = (before * share, 0.0);
                    all_gates.iter().map(|gate| (*gate, *gate)).unzip()
                }
                Cell::Gru => {
                    let ((r, r_slope), (z, z_slope)) = (self.gate(argument(0)), self.gate(argument(1)));
                    let (n, n_slope) = self.candidate(argument(2));
                    let dn = dh[u] * (1.0 - z) * n_slope;
                    let dr = dn * argument(3) * r_slope;
                    let dz = dh[u] * (kept.h_before[u] - n) * z_slope;
                    dh[u] *= z;
                    match options.reset_before {
                        // That of r comes through the weights of n.
                        true => [(0.0, 0.0), (dz, dz), (dn, dn)].into_iter().unzip(),
                        false => [(dr, dr), (dz, dz), (dn, dn * r)].into_iter().unzip(),
                    }
                }
                Cell::MinGru => {
                    let ((z, z_slope), (n, n_slope)) = (self.gate(argument(0)), self.candidate(argument(1)));
                    let (dz, dn) = (dh[u] * (n - kept.h_before[u]) * z_slope, dh[u] * z * n_slope);
                    dh[u] *= 1.0 - z;
                    [(dz, 0.0), (dn, 0.0)].into_iter().unzip()
                }
                Cell::MinLstm => {
                    let ((f, f_slope), (i, i_slope)) = (self.gate(argument(0)), self.gate(argument(1)));
                    let (n, n_slope) = self.candidate(argument(2));
                    // h is (f·h + i·n) / (f + i).
                    let by_sum = dh[u] * (kept.h_before[u] - n) / ((f + i) * (f + i));
                    let (df, di, dn) = (by_sum * i * f_slope, -by_sum * f * i_slope, dh[u] * i / (f + i) * n_slope);
                    dh[u] *= f / (f + i);
                    [(df, 0.0), (di, 0.0), (dn, 0.0)].into_iter().unzip()
                }
                Cell::Sru => {
                    let ((n, n_slope), (f, f_slope)) = (self.candidate(argument(0)), self.gate(argument(1)));
                    let ((r, r_slope), (t, t_slope)) = (self.gate(argument(2)), self.output(kept.c[u]));
                    let (seen, share) = self.read(kept.c_before[u]);
                    let all = (dc[u] + dh[u] * r * t_slope) * within(options.clip.cell, kept.c_full[u]).1;
                    let (df, dr) = (all * (seen - n) * f_slope, dh[u] * (t - argument(3)) * r_slope);
                    let gates = [all * (1.0 - f) * n_slope, df, dr, dh[u] * (1.0 - r)];
                    (dp[u], dp[hidden + u]) = (df * seen, dr * seen);
                    dc[u] = (all * f + self.peephole(0, u) * df + self.peephole(1, u) * dr) * share;
                    dh[u] = 0.0;
                    gates.map(|gate| (gate, 0.0)).into_iter().unzip()
                }
                Cell::IndRnn => {
                    let a = dh[u] * self.candidate(argument(0)).1;
                    dp[u] = a * kept.h_before[u];
                    dh[u] = self.peephole(0, u) * a;
                    [(a, 0.0)].into_iter().unzip()
                }
                _ => {
                    let a = dh[u] * self.candidate(argument(0)).1;
                    dh[u] = 0.0;
                    [(a, a)].into_iter().unzip()
                }
            };
            dh[u] += staying[0];
            dc.iter_mut().skip(u).take(1).for_each(|dc| *dc += staying[1]);
            for gate in 0..gates {
                da[gate * hidden + u] = input[gate];
                dr[gate * hidden + u] = recurrent[gate];
            }
        }
        if options.reset_before {
            self.back_through_reset(kept, dh, &mut da, &mut dr);
        }
        [da, dr, dp]
    }

    /// From the gradients of n, of a GRU with the reset before its product, to those of r, and of h.
    fn back_through_reset(&self, kept: &Saved, dh: &mut [f64], da: &mut [f64], dr: &mut [f64]) {
        let (hidden, weights) = (self.layer.config.hidden, self.tensor("weight_hh").expect("weights"));
        for u in 0..hidden {
            let (r, r_slope) = self.gate(kept.arguments[u]);
            let of = |row: usize| {
                let place = row * hidden + u;
                da[row] * self.left("hh", place) * weights[place]
            };
            let d_reset: f64 = (2 * hidden..3 * hidden).map(of).sum();
            dh[u] += d_reset * r * kept.h_left[u];
            da[u] = d_reset * kept.h_read[u] * r_slope;
            dr[u] = da[u];
        }
    }
}
