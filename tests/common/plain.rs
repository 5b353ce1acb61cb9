//! The equations of a layer as one would write them on paper: loops over steps, sequences and units in f64, one sum after
//! another. The oracle is checked against this.

use wgpu_rnn::{Activation, Cell, Function, Number};

use super::masks::{drop_inputs, drop_outputs, left, words};
use super::{Layer, Tensors};

/// What one step of one sequence keeps for its way back.
struct Saved {
    /// Arguments of the gates' functions, before any limit, then for a GRU the recurrent part of n.
    arguments: Vec<f64>,
    x: Vec<f64>,
    h_before: Vec<f64>,
    /// What products read of it, and what dropout leaves of 1 there.
    h_read: Vec<f64>,
    h_left: Vec<f64>,
    c_before: Vec<f64>,
    /// Before and after the limit of what is stored.
    c_full: Vec<f64>,
    c: Vec<f64>,
    /// The shares of h and c before the step in those after it, and that c.
    stays: Vec<[f64; 2]>,
    c_left: Vec<f64>,
}

/// A function, and its slope, at an argument: as ONNX defines them, with the limit of arguments.
fn function(activation: Activation, limit: Option<Number>, a: f64) -> (f64, f64) {
    let limit = limit.map_or(f64::INFINITY, |limit| f64::from(limit.get()));
    let (alpha, beta) = (f64::from(activation.alpha()), f64::from(activation.beta()));
    let x = a.clamp(-limit, limit);
    let one = |yes: bool| f64::from(u8::from(yes));
    let (value, slope) = match activation.function() {
        Function::Sigmoid => {
            let y = 1.0 / (1.0 + (-x).exp());
            (y, y * (1.0 - y))
        }
        Function::Tanh => (x.tanh(), 1.0 - x.tanh() * x.tanh()),
        Function::Relu => (x.max(0.0), one(x > 0.0)),
        Function::Affine => (alpha * x + beta, alpha),
        Function::LeakyRelu if x < 0.0 => (alpha * x, alpha),
        Function::Elu if x < 0.0 => (alpha * (x.exp() - 1.0), alpha * x.exp()),
        Function::LeakyRelu | Function::Elu => (x, 1.0),
        Function::ThresholdedRelu => (if x > alpha { x } else { 0.0 }, one(x > alpha)),
        Function::ScaledTanh => {
            let t = (beta * x).tanh();
            (alpha * t, alpha * beta * (1.0 - t * t))
        }
        Function::HardSigmoid => {
            let line = alpha * x + beta;
            (line.clamp(0.0, 1.0), alpha * one(line > 0.0 && line < 1.0))
        }
        Function::Softsign => (x / (1.0 + x.abs()), (1.0 + x.abs()).powi(-2)),
        Function::Softplus => ((1.0 + x.exp()).ln(), 1.0 / (1.0 + (-x).exp())),
    };
    (value, if a.abs() > limit { 0.0 } else { slope })
}

/// A value within a limit, and whether it was within it before.
fn within(limit: Option<Number>, value: f64) -> (f64, f64) {
    let limit = limit.map_or(f64::INFINITY, |limit| f64::from(limit.get()));
    (value.clamp(-limit, limit), f64::from(u8::from(value.abs() <= limit)))
}

/// A direction of a layer: names of its tensors end in this.
struct Side<'a> {
    layer: &'a Layer,
    /// Whether to train: then masks are drawn.
    trains: bool,
    index: usize,
    direction: usize,
    suffix: String,
    inputs: usize,
}

impl Side<'_> {
    fn tensor(&self, stem: &str) -> Option<&[f64]> {
        self.layer.given.get(&format!("{stem}_{}", self.suffix)).map(Vec::as_slice)
    }

    /// `W·v + b` for gate `gate` and unit `unit`.
    fn product(&self, which: &str, gate: usize, unit: usize, values: &[f64]) -> f64 {
        let row = gate * self.layer.config.hidden + unit;
        let weights = self.tensor(&format!("weight_{which}")).expect("weights");
        let bias = self.tensor(&format!("bias_{which}")).map_or(0.0, |bias| bias[row]);
        let first = row * values.len();
        let weights = weights[first..].iter().zip(values).enumerate();
        weights.map(|(column, (w, v))| self.left(which, first + column) * w * v).sum::<f64>() + bias
    }

    /// What dropout leaves of a weight.
    fn left(&self, which: &str, place: usize) -> f64 {
        let config = &self.layer.config;
        let each = config.recipe().gates() * config.hidden * config.hidden;
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

    /// Peephole of i, f or o: 0, 1, 2.
    fn peephole(&self, gate: usize, unit: usize) -> f64 {
        let at = gate - usize::from(self.layer.config.options.coupled);
        self.tensor("weight_ch").map_or(0.0, |weights| weights[at * self.layer.config.hidden + unit])
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
        let own = (sequence * config.directions() + self.direction) * config.hidden + unit;
        let share = config.options.recurrent_dropout.filter(|_| self.trains);
        share.map_or(1.0, |share| left(share, words(4, self.index, own)))
    }

    /// One step of one sequence.
    fn step(&self, at: [usize; 2], x: &[f64], h: &[f64], c: &[f64]) -> (Saved, Vec<f64>) {
        let (cell, hidden, options) = (self.layer.config.cell, self.layer.config.hidden, self.layer.config.options);
        let mut arguments = vec![0.0; 4 * hidden];
        let mut h_next = vec![0.0; hidden];
        let (mut c_full, mut c_next) = (vec![0.0; c.len()], vec![0.0; c.len()]);
        let h_left: Vec<f64> = (0..hidden).map(|unit| self.left_of_h(at[0], unit)).collect();
        let h_read: Vec<f64> = h.iter().zip(&h_left).map(|(h, left)| h * left).collect();
        let stays: Vec<[f64; 2]> = (0..hidden).map(|unit| self.stays(at, unit)).collect();
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
                    let (a_r, a_z, (input, q)) = (all(0), all(1), of(2));
                    let a_n = input + self.gate(a_r).0 * q;
                    let (z, n) = (self.gate(a_z).0, self.candidate(a_n).0);
                    h_next[u] = (1.0 - z) * n + z * h[u];
                    [a_r, a_z, a_n, q]
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
        let (h_next, c_left) = (left(h, &h_next, 0), left(c, &c_next, 1));
        let (h_before, c_before) = (h.to_vec(), c.to_vec());
        (
            Saved { arguments, x: x.to_vec(), h_before, c_before, c_full, c: c_next, stays, c_left, h_read, h_left },
            h_next,
        )
    }

    /// Back through it: gradients of the pre-activations on the input and on the recurrent side, and of the peepholes; dh and
    /// dc become those of the states before, as far as they do not come through the weights.
    fn back(&self, kept: &Saved, dh: &mut [f64], dc: &mut [f64]) -> [Vec<f64>; 3] {
        let (cell, hidden, options) = (self.layer.config.cell, self.layer.config.hidden, self.layer.config.options);
        let gates = self.layer.config.recipe().gates();
        let (mut da, mut dr) = (vec![0.0; gates * hidden], vec![0.0; gates * hidden]);
        let mut dp = vec![0.0; self.layer.config.recipe().peepholes() * hidden];
        for u in 0..hidden {
            dh[u] = within(options.clip.gradient, dh[u]).0;
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
                    [(dr, dr), (dz, dz), (dn, dn * r)].into_iter().unzip()
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
        [da, dr, dp]
    }
}

/// Everything that a layer gives, forward and backward, under the names of [`Layer::run`].
pub fn plain(layer: &Layer) -> Tensors {
    worked_out(layer, true)
}

/// What it gives to infer.
pub fn plain_to_infer(layer: &Layer) -> Tensors {
    let mut all = worked_out(layer, false);
    all.retain(|name, _| ["y", "hn", "cn"].contains(&name.as_str()));
    all
}

fn worked_out(layer: &Layer, trains: bool) -> Tensors {
    let (config, steps, batch) = (layer.config, layer.shape.steps, layer.shape.batch);
    let (hidden, directions, layers) = (config.hidden, config.directions(), config.layers);
    let lengths = layer.lengths.clone().unwrap_or_else(|| vec![steps; batch]);
    let state = |name: &str, at: usize| {
        layer.given.get(name).map_or(vec![0.0; hidden], |all| all[at * hidden..][..hidden].to_vec())
    };
    let has_c = config.cell.has_c();
    let mut out = Tensors::new();
    for (name, width) in
        layer.given.iter().filter(|(name, _)| name.contains("_l")).map(|(name, values)| (name, values.len()))
    {
        out.insert(format!("grad.{name}"), vec![0.0; width]);
    }
    let names = ["hn", "dh0"].into_iter().chain(has_c.then_some("cn")).chain(has_c.then_some("dc0"));
    for name in names.filter(|name| !config.learns_state || layer.carried || !["dh0", "dc0"].contains(name)) {
        out.insert(name.to_string(), vec![0.0; layers * directions * batch * hidden]);
    }
    // Inputs and kept steps of each layer, and the input above the last: the output.
    let mut inputs = vec![layer.given["x"].clone()];
    let mut kept: Vec<Vec<Vec<Saved>>> = Vec::new();
    let side = |index: usize, direction: usize| Side {
        layer,
        trains,
        index,
        direction,
        suffix: format!("l{index}{}", if direction >= config.first_reversed() { "_reverse" } else { "" }),
        inputs: config.layer_input(index),
    };
    let time = |direction: usize, step: usize, length: usize| {
        if direction < config.first_reversed() { step } else { length - 1 - step }
    };
    // Whether a step begins anew. In the reverse direction it is the step whose later neighbour in time does.
    // What the first step sees is the initial state anyhow, unless that was carried over.
    let anew = |direction: usize, step: usize, b: usize, length: usize| {
        let forward = direction < config.first_reversed();
        let time = if forward { step } else { length - step };
        let may = step > 0 || (layer.carried && forward);
        may && layer.resets.get(time * batch + b).copied().unwrap_or(false)
    };
    for index in 0..layers {
        let mut y = vec![0.0; steps * batch * directions * hidden];
        let mut all = Vec::new();
        if trains {
            drop_inputs(layer, index, &mut inputs[index]);
        }
        for direction in 0..directions {
            let side = side(index, direction);
            for (b, &length) in lengths.iter().enumerate() {
                let at = (index * directions + direction) * batch + b;
                let given = || [state("h0", at), if has_c { state("c0", at) } else { Vec::new() }];
                let begin = || match side.tensor("h0") {
                    Some(h0) => [h0.to_vec(), side.tensor("c0").map_or(Vec::new(), <[f64]>::to_vec)],
                    None if layer.carried => given().map(|state| vec![0.0; state.len()]),
                    None => given(),
                };
                let [mut h, mut c] = if layer.carried { given() } else { begin() };
                let mut sequence = Vec::new();
                for step in 0..length {
                    if anew(direction, step, b, length) {
                        [h, c] = begin();
                    }
                    let row = time(direction, step, length) * batch + b;
                    let (one, next) = side.step([b, step], &inputs[index][row * side.inputs..][..side.inputs], &h, &c);
                    c.clone_from(&one.c_left);
                    h = next;
                    y[(row * directions + direction) * hidden..][..hidden].copy_from_slice(&h);
                    sequence.push(one);
                }
                out.get_mut("hn").expect("hn")[at * hidden..][..hidden].copy_from_slice(&h);
                if let Some(cn) = out.get_mut("cn") {
                    cn[at * hidden..][..hidden].copy_from_slice(&c);
                }
                all.push(sequence);
            }
        }
        kept.push(all);
        if trains && index + 1 < layers {
            drop_outputs(layer, index, &mut y);
        }
        inputs.push(y);
    }
    out.insert("y".to_string(), inputs[layers].clone());
    let mut dy = layer.given.get("dy").cloned().unwrap_or_else(|| vec![0.0; inputs[layers].len()]);
    for index in (0..layers).rev() {
        let mut dx = vec![0.0; steps * batch * config.layer_input(index)];
        for direction in 0..directions {
            let side = side(index, direction);
            for (b, &length) in lengths.iter().enumerate() {
                let at = (index * directions + direction) * batch + b;
                let (mut dh, mut dc) = (state("dhn", at), if has_c { state("dcn", at) } else { Vec::new() });
                let mut initial = [vec![0.0; hidden], vec![0.0; dc.len()]];
                for step in (0..length).rev() {
                    let one = &kept[index][direction * batch + b][step];
                    let row = time(direction, step, length) * batch + b;
                    let above = &dy[(row * directions + direction) * hidden..][..hidden];
                    dh.iter_mut().zip(above).for_each(|(dh, dy)| *dh += dy);
                    let [da, dr, dp] = side.back(one, &mut dh, &mut dc);
                    let to_x = &mut dx[row * side.inputs..][..side.inputs];
                    through(&side, &mut out, "ih", &da, &one.x, to_x);
                    let mut to_h = vec![0.0; hidden];
                    through(&side, &mut out, "hh", &dr, &one.h_read, &mut to_h);
                    let through_dropout = to_h.iter().zip(&one.h_left);
                    dh.iter_mut().zip(through_dropout).for_each(|(dh, (to_h, left))| *dh += to_h * left);
                    if let Some(all) = out.get_mut(&format!("grad.weight_ch_{}", side.suffix)) {
                        all.iter_mut().zip(dp).for_each(|(all, dp)| *all += dp);
                    }
                    if (step == 0 && !layer.carried) || anew(direction, step, b, length) {
                        for (sum, gradient) in initial.iter_mut().zip([&mut dh, &mut dc]) {
                            sum.iter_mut().zip(&*gradient).for_each(|(sum, gradient)| *sum += gradient);
                            gradient.fill(0.0);
                        }
                    }
                }
                let left = if layer.carried { [dh, dc] } else { initial.clone() };
                for ((name, values), left) in [("dh0", &initial[0]), ("dc0", &initial[1])].into_iter().zip(left) {
                    if let Some(to) = out.get_mut(name) {
                        to[at * hidden..][..hidden].copy_from_slice(&left);
                    }
                    if let Some(to) = out.get_mut(&format!("grad.{}_{}", &name[1..], side.suffix)) {
                        to.iter_mut().zip(values).for_each(|(to, value)| *to += value);
                    }
                }
            }
        }
        dy = dx;
        drop_inputs(layer, index, &mut dy);
        if let Some(below) = index.checked_sub(1) {
            drop_outputs(layer, below, &mut dy);
        }
    }
    out.insert("dx".to_string(), dy);
    out
}

/// Gradients of a product's weights and bias, and of what it multiplies.
fn through(side: &Side<'_>, out: &mut Tensors, which: &str, da: &[f64], values: &[f64], to: &mut [f64]) {
    let suffix = &side.suffix;
    let weights = side.tensor(&format!("weight_{which}")).expect("weights");
    for (row, a) in da.iter().enumerate() {
        let range = row * values.len()..(row + 1) * values.len();
        let left: Vec<f64> = range.clone().map(|place| side.left(which, place)).collect();
        let all = to.iter_mut().zip(&weights[range.clone()]).zip(&left);
        all.for_each(|((to, w), left)| *to += a * left * w);
        let dw = &mut out.get_mut(&format!("grad.weight_{which}_{suffix}")).expect("a gradient")[range];
        dw.iter_mut().zip(values).zip(&left).for_each(|((dw, v), left)| *dw += a * left * v);
        if let Some(db) = out.get_mut(&format!("grad.bias_{which}_{suffix}")) {
            db[row] += a;
        }
    }
}
