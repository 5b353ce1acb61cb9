//! Whole sequences: gradients against finite differences, `f32` against `f64`, and what must not change a result.

use super::*;
use crate::cell::Cell;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Partition, Pool, Threads};

/// Of a batch without resets.
const fn never(batch: usize) -> Resets<'static> {
    Resets { bits: &[], batch }
}

fn weights<'a, S>(packed: &'a [S], b_hh: Option<Tensors<'a, S>>, w_ch: Option<Tensors<'a, S>>) -> Recurrent<'a, S> {
    Recurrent { packed, b_hh, w_ch }
}

/// One layer with everything that goes in, in `f64`.
#[derive(Clone)]
struct Case {
    layer: LayerShape,
    lengths: Vec<u32>,
    /// Input projections `[T, B, D, G·H]`.
    input: Vec<f64>,
    w_hh: Vec<f64>,
    b_hh: Vec<f64>,
    w_ch: Vec<f64>,
    h0: Vec<f64>,
    c0: Vec<f64>,
    dy: Vec<f64>,
    dh: Vec<f64>,
    dc: Vec<f64>,
}

/// Buffers after forward or backward.
#[derive(Clone, Debug, PartialEq)]
struct Buffers<S> {
    saved: Vec<S>,
    h: Vec<S>,
    c: Vec<S>,
    dh: Vec<S>,
    dc: Vec<S>,
}

fn values(len: usize, seed: f64, scale: f64) -> Vec<f64> {
    // Rounded to f32, so that both precisions begin with the same numbers.
    (0..len).map(|i| f64::from(((i as f64 * 1.618 + seed).sin() * scale) as f32)).collect()
}

/// One tensor of each direction, without gaps.
fn each<'a, S>(name: &str, all: &'a [S], directions: usize) -> Tensors<'a, S> {
    let len = all.len() / directions;
    Tensors::new(name, all, directions, len, len).unwrap()
}

fn convert<S: Scalar>(values: &[f64]) -> Vec<S> {
    values.iter().map(|&x| S::from_f64(x)).collect()
}

impl Case {
    fn new(cell: Cell, hidden: usize, directions: usize, steps: usize, lengths: &[u32]) -> Self {
        let layer = LayerShape {
            recipe: cell.into(),
            hidden,
            directions,
            first_reversed: 1,
            batch: BatchShape::new(steps, lengths.len()),
        };
        let (gates, scale) = (layer.gate_width(), 1.0 / (hidden as f64).sqrt());
        let of_c = if cell.has_c() { layer.state_len(1) } else { 0 };
        Self {
            layer,
            lengths: lengths.to_vec(),
            input: values(layer.batch.rows() * directions * gates, 0.1, 1.0),
            w_hh: values(directions * gates * hidden, 0.2, scale),
            b_hh: values(directions * gates, 0.3, 0.5),
            w_ch: values(directions * layer.recipe.peepholes() * hidden, 0.9, 0.5),
            h0: values(layer.state_len(0), 0.4, 0.8),
            c0: values(of_c, 0.5, 0.8),
            dy: values(layer.batch.rows() * directions * hidden, 0.6, 1.0),
            dh: values(layer.state_len(0), 0.7, 1.0),
            dc: values(of_c, 0.8, 1.0),
        }
    }

    /// Calls `work` with a partition for so many threads, on these: in teams where it can be and they are wanted.
    fn on<R: Send>(&self, threads: usize, teams: bool, work: impl FnOnce(&Partition) -> R + Send) -> R {
        let (threads, layer) = (Threads::new(threads).unwrap(), &self.layer);
        let partition = match teams {
            true => Partition::together(threads, layer.batch.batch, layer.directions, 1 << 20, 1),
            false => Partition::new(threads, layer.batch.batch, layer.directions),
        };
        Pool::new(threads).unwrap().run_together(|| work(&partition))
    }

    fn forward<S: Scalar>(&self, threads: usize, teams: bool) -> Buffers<S> {
        let layer = &self.layer;
        let mut saved = vec![S::from_f64(7.0); layer.saved_len()];
        let rows = saved.chunks_exact_mut(layer.saved_width());
        for (row, input) in rows.zip(self.input.chunks_exact(layer.gate_width())) {
            row[..input.len()].copy_from_slice(&convert(input));
        }
        let (mut h, mut c) = (convert(&self.h0), convert(&self.c0));
        h.resize(layer.states_len(0), S::ZERO);
        c.resize(if layer.recipe.has_c() { layer.states_len(1) } else { 0 }, S::ZERO);
        let (w, b) = (convert::<S>(&self.w_hh), convert::<S>(&self.b_hh));
        let b = each("bias_hh", &b, layer.directions);
        let w_ch = convert::<S>(&self.w_ch);
        let w_ch = (!w_ch.is_empty()).then(|| each("weight_ch", &w_ch, layer.directions));
        let nan = S::from_f64(f64::NAN);
        let mut packed = vec![nan; layer.forward_packed_len()];
        pack_forward(Threads::ONE, layer, &each("weight_hh", &w, layer.directions), None, &mut packed).unwrap();
        let (lengths, y) = (&self.lengths[..], &mut []);
        let buffers = Forward {
            projection: None,
            saved: &mut saved,
            keeps: true,
            states: [&mut h, &mut c],
            y,
            lengths,
            first_step: 0,
            resets: never(lengths.len()),
            initial: Initial::none(),
            masks: None,
            left: None,
        };
        self.on(threads, teams, |partition| forward(partition, layer, weights(&packed, Some(b), w_ch), buffers))
            .unwrap();
        Buffers { saved, h, c, dh: convert(&self.dh), dc: convert(&self.dc) }
    }

    fn backward<S: Scalar>(&self, threads: usize, teams: bool) -> Buffers<S> {
        let layer = &self.layer;
        let Buffers { mut saved, h, c, mut dh, mut dc } = self.forward::<S>(threads, teams);
        let (w, dy) = (convert::<S>(&self.w_hh), convert::<S>(&self.dy));
        let w_ch = convert::<S>(&self.w_ch);
        let w_ch = (!w_ch.is_empty()).then(|| each("weight_ch", &w_ch, layer.directions));
        let nan = S::from_f64(f64::NAN);
        let mut packed = vec![nan; layer.backward_packed_len()];
        pack_backward(Threads::ONE, layer, &each("weight_hh", &w, layer.directions), None, &mut packed).unwrap();
        let lengths = &self.lengths;
        let buffers = Backward {
            saved: &mut saved,
            states: [&h, &c],
            dy: Some(&dy),
            gradients: [&mut dh, &mut dc],
            direct: &mut [],
            norms: &mut [],
            lengths,
            first_step: 0,
            resets: never(lengths.len()),
            initial: Initial::none(),
            masks: None,
            left: None,
            initial_gradients: [&mut [], &mut []],
        };
        self.on(threads, teams, |partition| backward(partition, layer, weights(&packed, None, w_ch), buffers)).unwrap();
        Buffers { saved, h, c, dh, dc }
    }

    /// Block and time of every running step of every sequence and direction: `(direction, sequence, step, time)`.
    fn steps(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let ends = self.lengths.iter().map(|&n| n as usize).enumerate();
        ends.flat_map(|(b, n)| (0..n).map(move |s| (0, b, s, s)).chain((0..n).map(move |s| (1, b, s, n - 1 - s))))
            .filter(|&(d, ..)| d < self.layer.directions)
    }

    /// `⟨dy, y⟩ + ⟨dh, h_n⟩ + ⟨dc, c_n⟩`.
    fn loss(&self) -> f64 {
        let LayerShape { hidden, directions, batch, .. } = self.layer;
        let Buffers { h, c, dh, dc, .. } = self.forward::<f64>(1, false);
        let row = |t: usize, b: usize, d: usize| ((t * batch.batch + b) * directions + d) * hidden;
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let outputs = self.steps().map(|(d, b, s, t)| dot(&h[row(s + 1, b, d)..][..hidden], &self.dy[row(t, b, d)..]));
        let last = batch.steps * self.layer.state_len(0);
        outputs.sum::<f64>() + dot(&h[last..], &dh) + dot(c.get(last..).unwrap_or(&[]), &dc)
    }

    /// Central difference of the loss in element `i` of the field that `field` picks.
    fn slope(&self, field: fn(&mut Self) -> &mut Vec<f64>, i: usize) -> f64 {
        const STEP: f64 = 1e-5;
        let moved = |by: f64| {
            let mut case = self.clone();
            field(&mut case)[i] += by;
            case.loss()
        };
        (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
    }
}

fn close(got: f64, want: f64, cell: Cell, what: &str) {
    assert!((got - want).abs() < 1e-7, "{cell}: {what} is {got}, the slope is {want}");
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for &cell in Cell::ALL {
        for directions in [1, 2] {
            let case = Case::new(cell, 3, directions, 5, &[5, 1, 3]);
            let LayerShape { hidden, batch, .. } = case.layer;
            let (gates, saved_width) = (case.layer.gate_width(), case.layer.saved_width());
            let Buffers { saved, h, dh, dc, .. } = case.backward::<f64>(2, false);
            for i in 0..case.input.len() {
                let (row, column) = (i / gates, i % gates);
                close(saved[row * saved_width + column], case.slope(|c| &mut c.input, i), cell, "da");
            }
            for (i, dh) in dh.iter().enumerate() {
                close(*dh, case.slope(|c| &mut c.h0, i), cell, "dh0");
            }
            for (i, dc) in dc.iter().enumerate() {
                close(*dc, case.slope(|c| &mut c.c0, i), cell, "dc0");
            }
            // dW_hh = Σ daᵀ·h_prev and db_hh = Σ da, of the recurrent side.
            for i in 0..case.b_hh.len() {
                let (direction, gate, unit) = (i / gates, i % gates / hidden, i % hidden);
                // Gates that see the input alone have no such weights.
                let Some(slot) = cell.row().hidden_slots.get(gate) else { continue };
                let column = slot * hidden + unit;
                let mut db = 0.0;
                let mut dw = vec![0.0; hidden];
                for row in (0..batch.rows()).map(|r| r * directions + direction) {
                    let da = saved[row * saved_width + column];
                    db += da;
                    dw.iter_mut().zip(&h[row * hidden..]).for_each(|(dw, h)| *dw += da * h);
                }
                close(db, case.slope(|c| &mut c.b_hh, i), cell, "db_hh");
                for (k, dw) in dw.iter().enumerate() {
                    close(*dw, case.slope(|c| &mut c.w_hh, i * hidden + k), cell, "dW_hh");
                }
            }
        }
    }
}

/// `‖got - want‖ / ‖want‖`.
fn distance(got: &[f32], want: &[f64]) -> f64 {
    let square = |x: f64| x * x;
    let error: f64 = got.iter().zip(want).map(|(&x, y)| square(f64::from(x) - y)).sum();
    (error / want.iter().map(|&y| square(y)).sum::<f64>().max(f64::MIN_POSITIVE)).sqrt()
}

#[test]
fn single_precision_agrees_with_double() {
    for &cell in Cell::ALL {
        for (hidden, directions, steps, lengths) in
            [(37, 2, 40, &[40, 13, 1, 39, 22, 40, 7][..]), (64, 1, 256, &[256; 9]), (16, 1, 64, &[64])]
        {
            let case = Case::new(cell, hidden, directions, steps, lengths);
            let (single, double) = (case.forward::<f32>(2, false), case.forward::<f64>(1, false));
            let pairs = [(&single.h, &double.h), (&single.c, &double.c), (&single.saved, &double.saved)];
            assert!(pairs.iter().all(|(x, y)| distance(x, y) < 1e-5), "{cell} forward");
            let (single, double) = (case.backward::<f32>(2, false), case.backward::<f64>(1, false));
            let pairs = [(&single.dh, &double.dh), (&single.dc, &double.dc), (&single.saved, &double.saved)];
            assert!(pairs.iter().all(|(x, y)| distance(x, y) < 1e-4), "{cell} backward");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for &cell in Cell::ALL {
        let case = Case::new(cell, 21, 2, 12, &[12, 5, 1, 7, 12, 3, 9, 2, 12, 11, 4]);
        // Fewer panels than members of a team as well.
        let small = Case::new(cell, 5, 2, 6, &[6, 1, 4]);
        for case in [case, small] {
            let one = case.backward::<f32>(1, false);
            for (threads, teams) in [2, 3, 4, 16].into_iter().flat_map(|threads| [(threads, false), (threads, true)]) {
                let got = case.backward::<f32>(threads, teams);
                assert_eq!(got, one, "{cell} on {threads} threads, in teams: {teams}");
            }
        }
    }
}

#[test]
fn a_sequence_does_not_see_its_batch_or_its_padding() {
    for &cell in Cell::ALL {
        let (hidden, steps) = (19, 9);
        let whole = Case::new(cell, hidden, 1, steps, &[9, 4, 6]);
        let full = whole.forward::<f32>(1, false);
        for (b, &length) in whole.lengths.iter().enumerate() {
            let pick = |x: &[f64], width: usize, blocks: usize| -> Vec<f64> {
                (0..blocks).flat_map(|t| x[(t * 3 + b) * width..][..width].to_vec()).collect()
            };
            let mut alone = Case::new(cell, hidden, 1, length as usize, &[length]);
            alone.input = pick(&whole.input, alone.layer.gate_width(), length as usize);
            alone.h0 = pick(&whole.h0, hidden, 1);
            alone.c0 = if cell.has_c() { pick(&whole.c0, hidden, 1) } else { Vec::new() };
            let got = alone.forward::<f32>(1, false);
            for s in 0..=steps {
                let block = s.min(length as usize);
                assert_eq!(full.h[(s * 3 + b) * hidden..][..hidden], got.h[block * hidden..][..hidden], "{cell}");
            }
            for s in length as usize..steps {
                let width = whole.layer.saved_width();
                assert!(full.saved[(s * 3 + b) * width..][..width].iter().all(|&x| x == 0.0), "{cell}");
            }
        }
    }
}

/// What [`Projection`] reads: a sequence, forwards and backwards, and the states of a layer below.
#[test]
fn projections_are_of_the_rows_that_steps_are_at() {
    const WIDTH: usize = 5;
    /// More than are projected at a time.
    const STEPS: usize = 70;
    let all = [(1, false), (2, false), (1, true), (2, true)];
    let all = all.into_iter().flat_map(|case| [(case, true), (case, false)]);
    for ((directions, below), keeps, teams) in all.flat_map(|(case, keeps)| [(case, keeps, false), (case, keeps, true)])
    {
        let lengths = [STEPS as u32, 2, 40];
        let case = Case::new(Cell::Gru, 6, directions, STEPS, &lengths);
        let (layer, gates) = (&case.layer, case.layer.gate_width());
        let columns = if below { directions * WIDTH } else { WIDTH };
        let w_ih = values(directions * gates * columns, 0.9, 1.0);
        let b_ih = values(directions * gates, 0.95, 1.0);
        let mut source = values((STEPS + usize::from(below)) * 3 * columns, 0.97, 1.0);
        let mut want = case.clone();
        for (direction, b, step, time) in case.steps() {
            let x: Vec<f64> = match below {
                false => source[(time * 3 + b) * WIDTH..][..WIDTH].to_vec(),
                true => (0..directions)
                    .flat_map(|d| {
                        let step = if d == 0 { time } else { lengths[b] as usize - 1 - time };
                        source[((step + 1) * 3 + b) * columns + d * WIDTH..][..WIDTH].to_vec()
                    })
                    .collect(),
            };
            for gate in 0..gates {
                let w = &w_ih[(direction * gates + gate) * columns..][..columns];
                let dot: f64 = w.iter().zip(&x).map(|(w, x)| w * x).sum();
                want.input[((step * 3 + b) * directions + direction) * gates + gate] =
                    dot + b_ih[direction * gates + gate];
            }
        }
        let want = want.forward::<f64>(1, false);
        // Padding is not looked at.
        let at = |t: usize, b: usize| ((t + usize::from(below)) * 3 + b) * columns;
        for (t, b) in (0..STEPS).flat_map(|t| (0..3).map(move |b| (t, b))).filter(|&(t, b)| t >= lengths[b] as usize) {
            source[at(t, b)..][..columns].fill(f64::NAN);
        }
        let mut packed = vec![0.0; layer.input_packed_len(columns)];
        pack_input(Threads::ONE, layer, &each("weight_ih", &w_ih, directions), columns, &mut packed).unwrap();
        let mut recurrent = vec![0.0; layer.forward_packed_len()];
        pack_forward(Threads::ONE, layer, &each("weight_hh", &case.w_hh, directions), None, &mut recurrent).unwrap();
        let input = match below {
            false => Input::Sequence { x: &source, width: WIDTH },
            true => Input::Below { h: &source, hidden: WIDTH },
        };
        let projection = Some(Projection { packed: &packed, b_ih: Some(each("bias_ih", &b_ih, directions)), input });
        let (mut saved, mut h) = (vec![f64::NAN; layer.saved_len()], case.h0.clone());
        h.resize(layer.states_len(0), 0.0);
        let mut y = vec![f64::NAN; STEPS * layer.state_len(0)];
        let buffers = Forward {
            projection,
            saved: &mut saved,
            keeps,
            states: [&mut h, &mut []],
            y: &mut y,
            lengths: &case.lengths,
            first_step: 0,
            resets: never(case.lengths.len()),
            initial: Initial::none(),
            masks: None,
            left: None,
        };
        let b_hh = Some(each("bias_hh", &case.b_hh, directions));
        case.on(2, teams, |partition| forward(partition, layer, weights(&recurrent, b_hh, None), buffers)).unwrap();
        let near = |got: &[f64], want: &[f64]| got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(&h, &want.h), "{directions} directions, below: {below}");
        assert!(!keeps || near(&saved, &want.saved), "{directions} directions, below: {below}");
        let mut output = vec![0.0; y.len()];
        for (direction, b, step, time) in case.steps() {
            let from = ((step + 1) * 3 + b) * directions + direction;
            let to = ((time * 3 + b) * directions + direction) * 6;
            output[to..to + 6].copy_from_slice(&h[from * 6..][..6]);
        }
        assert_eq!(y, output);
    }
}

#[test]
fn bad_input_is_an_error() {
    let case = Case::new(Cell::Lstm, 4, 1, 3, &[3, 2]);
    let layer = &case.layer;
    let attempt = |saved: usize, h: usize, c: usize, lengths: &[u32], packed: usize| {
        let (mut saved, mut h, mut c) = (vec![0.0; saved], vec![0.0; h], vec![0.0; c]);
        let (saved, states, y) = (&mut saved[..], [&mut h[..], &mut c[..]], &mut []);
        let buffers = Forward {
            projection: None,
            saved,
            keeps: true,
            states,
            y,
            lengths,
            first_step: 0,
            resets: never(2),
            initial: Initial::none(),
            masks: None,
            left: None,
        };
        let packed = vec![0f32; packed];
        case.on(1, false, |partition| forward(partition, layer, weights(&packed, None, None), buffers))
    };
    let (saved, h, c) = (layer.saved_len(), layer.states_len(0), layer.states_len(1));
    let packed = layer.forward_packed_len();
    assert!(attempt(saved, h, c, &[3, 2], packed).is_ok());
    assert!(attempt(saved - 1, h, c, &[3, 2], packed).is_err());
    assert!(attempt(saved, h + 1, c, &[3, 2], packed).is_err());
    assert!(attempt(saved, h, 0, &[3, 2], packed).is_err());
    assert!(attempt(saved, h, c, &[3, 4], packed).is_ok(), "a sequence may go on after these steps");
    assert!(attempt(saved, h, c, &[0, 3], packed).is_err());
    assert!(attempt(saved, h, c, &[3], packed).is_err());
    assert!(attempt(saved, h, c, &[3, 2], packed - 1).is_err());
    let w = [0f32; 64];
    assert!(Tensors::new("weight_hh", &w, 2, 32, 33).is_err());
    assert!(pack_forward(Threads::ONE, layer, &each("weight_hh", &w[1..], 1), None, &mut vec![0.0; packed]).is_err());
    assert!(LayerShape { directions: 3, ..*layer }.check().is_err());
    assert!(LayerShape { hidden: usize::MAX / 2, ..*layer }.check().is_err());
    assert!(LayerShape { hidden: 0, ..*layer }.check().is_err());
}
