//! The equations of a layer as one would write them on paper: loops over steps, sequences and units in f64, one sum after
//! another. The oracle is checked against this.

use wgpu_rnn::Cell;

use super::{Layer, Tensors};

/// What one step of one sequence keeps for its way back.
struct Kept {
    /// Gate values, then for a GRU the recurrent part of n.
    gates: Vec<f64>,
    x: Vec<f64>,
    h_before: Vec<f64>,
    c_before: Vec<f64>,
    c: Vec<f64>,
}

/// A direction of a layer: names of its tensors end in this.
struct Side<'a> {
    layer: &'a Layer,
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
        let weights = &weights[row * values.len()..][..values.len()];
        weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() + bias
    }

    /// One step of one sequence.
    fn step(&self, x: &[f64], h: &[f64], c: &[f64]) -> (Kept, Vec<f64>) {
        let (cell, hidden) = (self.layer.config.cell, self.layer.config.hidden);
        let sigmoid = |a: f64| 1.0 / (1.0 + (-a).exp());
        let mut gates = vec![0.0; 4 * hidden];
        let (mut h_next, mut c_next) = (vec![0.0; hidden], vec![0.0; c.len()]);
        for u in 0..hidden {
            let of = |gate| (self.product("ih", gate, u, x), self.product("hh", gate, u, h));
            let all = |gate| of(gate).0 + of(gate).1;
            let values = match cell {
                Cell::Lstm => {
                    let [i, f, g, o] = [sigmoid(all(0)), sigmoid(all(1)), all(2).tanh(), sigmoid(all(3))];
                    c_next[u] = f * c[u] + i * g;
                    h_next[u] = o * c_next[u].tanh();
                    [i, f, g, o]
                }
                Cell::Gru => {
                    let (r, z, (input, q)) = (sigmoid(all(0)), sigmoid(all(1)), of(2));
                    let n = (input + r * q).tanh();
                    h_next[u] = (1.0 - z) * n + z * h[u];
                    [r, z, n, q]
                }
                Cell::RnnTanh | Cell::RnnRelu => {
                    h_next[u] = if cell == Cell::RnnTanh { all(0).tanh() } else { all(0).max(0.0) };
                    [h_next[u], 0.0, 0.0, 0.0]
                }
            };
            values.iter().enumerate().for_each(|(gate, value)| gates[gate * hidden + u] = *value);
        }
        let kept = Kept { gates, x: x.to_vec(), h_before: h.to_vec(), c_before: c.to_vec(), c: c_next };
        (kept, h_next)
    }

    /// Back through it: gradients of the pre-activations on the input and on the recurrent side; dh and dc become those of
    /// the states before, as far as they do not come through the weights.
    fn back(&self, kept: &Kept, dh: &mut [f64], dc: &mut [f64]) -> [Vec<f64>; 2] {
        let (cell, hidden) = (self.layer.config.cell, self.layer.config.hidden);
        let (mut da, mut dr) = (vec![0.0; cell.gates() * hidden], vec![0.0; cell.gates() * hidden]);
        for u in 0..hidden {
            let value = |gate: usize| kept.gates[gate * hidden + u];
            let slope = |gate: usize| value(gate) * (1.0 - value(gate));
            let (input, recurrent): (Vec<f64>, Vec<f64>) = match cell {
                Cell::Lstm => {
                    let t = kept.c[u].tanh();
                    let all = dc[u] + dh[u] * value(3) * (1.0 - t * t);
                    let g = 1.0 - value(2) * value(2);
                    let gates = [
                        all * value(2) * slope(0),
                        all * kept.c_before[u] * slope(1),
                        all * value(0) * g,
                        dh[u] * t * slope(3),
                    ];
                    (dc[u], dh[u]) = (all * value(1), 0.0);
                    gates.iter().map(|gate| (*gate, *gate)).unzip()
                }
                Cell::Gru => {
                    let dn = dh[u] * (1.0 - value(1)) * (1.0 - value(2) * value(2));
                    let r = dn * value(3) * slope(0);
                    let z = dh[u] * (kept.h_before[u] - value(2)) * slope(1);
                    dh[u] *= value(1);
                    [(r, r), (z, z), (dn, dn * value(0))].into_iter().unzip()
                }
                _ => {
                    let h = value(0);
                    let slope = if cell == Cell::RnnTanh { 1.0 - h * h } else { f64::from(u8::from(h > 0.0)) };
                    let a = dh[u] * slope;
                    dh[u] = 0.0;
                    [(a, a)].into_iter().unzip()
                }
            };
            for gate in 0..cell.gates() {
                da[gate * hidden + u] = input[gate];
                dr[gate * hidden + u] = recurrent[gate];
            }
        }
        [da, dr]
    }
}

/// Everything that a layer gives, forward and backward, under the names of [`Layer::run`].
pub fn plain(layer: &Layer) -> Tensors {
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
    for name in ["hn", "dh0"].into_iter().chain(has_c.then_some("cn")).chain(has_c.then_some("dc0")) {
        out.insert(name.to_string(), vec![0.0; layers * directions * batch * hidden]);
    }
    // Inputs and kept steps of each layer, and the input above the last: the output.
    let mut inputs = vec![layer.given["x"].clone()];
    let mut kept: Vec<Vec<Vec<Kept>>> = Vec::new();
    let side = |index: usize, direction: usize| Side {
        layer,
        suffix: format!("l{index}{}", if direction == 1 { "_reverse" } else { "" }),
        inputs: config.layer_input(index),
    };
    let time = |direction: usize, step: usize, length: usize| if direction == 0 { step } else { length - 1 - step };
    for index in 0..layers {
        let mut y = vec![0.0; steps * batch * directions * hidden];
        let mut all = Vec::new();
        for direction in 0..directions {
            let side = side(index, direction);
            for (b, &length) in lengths.iter().enumerate() {
                let at = (index * directions + direction) * batch + b;
                let (mut h, mut c) = (state("h0", at), if has_c { state("c0", at) } else { Vec::new() });
                let mut sequence = Vec::new();
                for step in 0..length {
                    let row = time(direction, step, length) * batch + b;
                    let (one, next) = side.step(&inputs[index][row * side.inputs..][..side.inputs], &h, &c);
                    c.clone_from(&one.c);
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
                for step in (0..length).rev() {
                    let one = &kept[index][direction * batch + b][step];
                    let row = time(direction, step, length) * batch + b;
                    let above = &dy[(row * directions + direction) * hidden..][..hidden];
                    dh.iter_mut().zip(above).for_each(|(dh, dy)| *dh += dy);
                    let [da, dr] = side.back(one, &mut dh, &mut dc);
                    let to_x = &mut dx[row * side.inputs..][..side.inputs];
                    through(&side, &mut out, "ih", &da, &one.x, to_x);
                    through(&side, &mut out, "hh", &dr, &one.h_before, &mut dh);
                }
                for (name, values) in [("dh0", &dh), ("dc0", &dc)] {
                    if let Some(to) = out.get_mut(name) {
                        to[at * hidden..][..hidden].copy_from_slice(values);
                    }
                }
            }
        }
        dy = dx;
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
        to.iter_mut().zip(&weights[range.clone()]).for_each(|(to, w)| *to += a * w);
        let dw = &mut out.get_mut(&format!("grad.weight_{which}_{suffix}")).expect("a gradient")[range];
        dw.iter_mut().zip(values).for_each(|(dw, v)| *dw += a * v);
        if let Some(db) = out.get_mut(&format!("grad.bias_{which}_{suffix}")) {
            db[row] += a;
        }
    }
}
