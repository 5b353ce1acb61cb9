//! The equations of a layer as one would write them on paper: loops over steps, sequences and units in f64, one sum after
//! another. The oracle is checked against this.

use super::masks::{drop_inputs, drop_outputs};
use super::side::{Saved, Side};
use super::{Layer, Tensors};

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
    let [width, of_c] = [0, 1].map(|state| config.width(state));
    let lengths = layer.lengths.clone().unwrap_or_else(|| vec![steps; batch]);
    let state = |name: &str, at: usize| {
        let width = if name.contains('c') { of_c } else { width };
        layer.given.get(name).map_or(vec![0.0; width], |all| all[at * width..][..width].to_vec())
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
        let width = if name.contains('c') { of_c } else { width };
        out.insert(name.to_string(), vec![0.0; layers * directions * batch * width]);
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
        let mut y = vec![0.0; steps * batch * directions * width];
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
                    y[(row * directions + direction) * width..][..width].copy_from_slice(&h);
                    sequence.push(one);
                }
                out.get_mut("hn").expect("hn")[at * width..][..width].copy_from_slice(&h);
                if let Some(cn) = out.get_mut("cn") {
                    cn[at * of_c..][..of_c].copy_from_slice(&c);
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
                let mut initial = [vec![0.0; width], vec![0.0; dc.len()]];
                for step in (0..length).rev() {
                    let one = &kept[index][direction * batch + b][step];
                    let row = time(direction, step, length) * batch + b;
                    let above = &dy[(row * directions + direction) * width..][..width];
                    dh.iter_mut().zip(above).for_each(|(dh, dy)| *dh += dy);
                    let [da, dr, dp] = match out.get_mut(&format!("grad.weight_hr_{}", side.suffix)) {
                        None => side.back(one, &mut dh, &mut dc),
                        Some(dw) => {
                            let mut dm = side.back_through_projection(one, &dh, dw);
                            dh.fill(0.0);
                            side.back(one, &mut dm, &mut dc)
                        }
                    };
                    let to_x = &mut dx[row * side.inputs..][..side.inputs];
                    through(&side, &mut out, "ih", &da, |_| &one.x, to_x);
                    let mut to_h = vec![0.0; width];
                    // What n's weights read with the reset before them, whose gradient has been passed back already.
                    let reads = |row: usize| match config.options.reset_before && row >= 2 * hidden {
                        true => &one.arguments[3 * hidden..],
                        false => &one.h_read[..],
                    };
                    if config.recipe().has_product() {
                        through(&side, &mut out, "hh", &dr, reads, &mut to_h);
                    }
                    let through_dropout = to_h.iter().zip(&one.h_left);
                    dh.iter_mut().zip(through_dropout).for_each(|(dh, (to_h, left))| *dh += to_h * left);
                    let own = if config.recipe().has_product() || config.cell.has_c() { "ch" } else { "hh" };
                    if let Some(all) = out.get_mut(&format!("grad.weight_{own}_{}", side.suffix)) {
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
                        to[at * left.len()..][..left.len()].copy_from_slice(&left);
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

/// Gradients of a product's weights and bias, and of what it multiplies, of which each row reads its own.
fn through<'v>(
    side: &Side<'_>,
    out: &mut Tensors,
    which: &str,
    da: &[f64],
    reads: impl Fn(usize) -> &'v [f64],
    to: &mut [f64],
) {
    let suffix = &side.suffix;
    let weights = side.tensor(&format!("weight_{which}")).expect("weights");
    let own = reads(0);
    for (row, a) in da.iter().enumerate() {
        let values = reads(row);
        let range = row * values.len()..(row + 1) * values.len();
        let left: Vec<f64> = range.clone().map(|place| side.left(which, place)).collect();
        let passes = f64::from(u8::from(std::ptr::eq(values, own)));
        let all = to.iter_mut().zip(&weights[range.clone()]).zip(&left);
        all.for_each(|((to, w), left)| *to += passes * a * left * w);
        let dw = &mut out.get_mut(&format!("grad.weight_{which}_{suffix}")).expect("a gradient")[range];
        dw.iter_mut().zip(values).zip(&left).for_each(|((dw, v), left)| *dw += a * left * v);
        if let Some(db) = out.get_mut(&format!("grad.bias_{which}_{suffix}")) {
            db[row] += a;
        }
    }
}
