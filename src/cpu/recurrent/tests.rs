//! Whole sequences: gradients against finite differences, `f32` against `f64`, and what must not change a result.

use super::*;
use crate::cpu::threads::Threads;

/// One layer with everything that goes in, in `f64`.
#[derive(Clone)]
struct Case {
    layer: Layer,
    lengths: Vec<u32>,
    /// Input projections `[T, B, D, G·H]`.
    input: Vec<f64>,
    w_hh: Vec<f64>,
    b_hh: Vec<f64>,
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

fn convert<S: Scalar>(values: &[f64]) -> Vec<S> {
    values.iter().map(|&x| S::from_f64(x)).collect()
}

impl Case {
    fn new(cell: Cell, hidden: usize, directions: usize, steps: usize, lengths: &[u32]) -> Self {
        let layer = Layer { cell, hidden, directions, batch: BatchShape::new(steps, lengths.len()) };
        let (gates, scale) = (layer.gate_width(), 1.0 / (hidden as f64).sqrt());
        Self {
            layer,
            lengths: lengths.to_vec(),
            input: values(layer.batch.rows() * directions * gates, 0.1, 1.0),
            w_hh: values(directions * gates * hidden, 0.2, scale),
            b_hh: values(directions * gates, 0.3, 0.5),
            h0: values(layer.state_len(), 0.4, 0.8),
            c0: values(layer.dc_len(), 0.5, 0.8),
            dy: values(layer.batch.rows() * directions * hidden, 0.6, 1.0),
            dh: values(layer.state_len(), 0.7, 1.0),
            dc: values(layer.dc_len(), 0.8, 1.0),
        }
    }

    fn forward<S: Scalar>(&self, threads: usize) -> Buffers<S> {
        let layer = &self.layer;
        let mut saved = vec![S::from_f64(7.0); layer.saved_len()];
        let rows = saved.chunks_exact_mut(layer.saved_width());
        for (row, input) in rows.zip(self.input.chunks_exact(layer.gate_width())) {
            row[..input.len()].copy_from_slice(&convert(input));
        }
        let (mut h, mut c) = (convert(&self.h0), convert(&self.c0));
        h.resize(layer.h_len(), S::ZERO);
        c.resize(layer.c_len(), S::ZERO);
        let (w, b) = (convert::<S>(&self.w_hh), convert::<S>(&self.b_hh));
        let w: Vec<_> = w.chunks_exact(w.len() / layer.directions).collect();
        let b: Vec<_> = b.chunks_exact(b.len() / layer.directions).collect();
        let weights = Weights { w_hh: &w, b_hh: Some(&b) };
        let mut workspace = vec![S::from_f64(f64::NAN); layer.forward_workspace_len()];
        let buffers = Forward { saved: &mut saved, h: &mut h, c: &mut c, lengths: &self.lengths, first_step: 0 };
        forward(Threads::new(threads).unwrap(), layer, &weights, buffers, &mut workspace).unwrap();
        Buffers { saved, h, c, dh: convert(&self.dh), dc: convert(&self.dc) }
    }

    fn backward<S: Scalar>(&self, threads: usize) -> Buffers<S> {
        let layer = &self.layer;
        let Buffers { mut saved, h, c, mut dh, mut dc } = self.forward::<S>(threads);
        let (w, dy) = (convert::<S>(&self.w_hh), convert::<S>(&self.dy));
        let w: Vec<_> = w.chunks_exact(w.len() / layer.directions).collect();
        let mut workspace = vec![S::from_f64(f64::NAN); layer.backward_workspace_len()];
        let lengths = &self.lengths;
        let buffers = Backward {
            saved: &mut saved,
            h: &h,
            c: &c,
            dy: Some(&dy),
            dh: &mut dh,
            dc: &mut dc,
            lengths,
            first_step: 0,
        };
        backward(Threads::new(threads).unwrap(), layer, &w, buffers, &mut workspace).unwrap();
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
        let Layer { hidden, directions, batch, .. } = self.layer;
        let Buffers { h, c, dh, dc, .. } = self.forward::<f64>(1);
        let row = |t: usize, b: usize, d: usize| ((t * batch.batch + b) * directions + d) * hidden;
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let outputs = self.steps().map(|(d, b, s, t)| dot(&h[row(s + 1, b, d)..][..hidden], &self.dy[row(t, b, d)..]));
        let last = batch.steps * self.layer.state_len();
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
            let Layer { hidden, batch, .. } = case.layer;
            let (gates, saved_width) = (case.layer.gate_width(), case.layer.saved_width());
            let Buffers { saved, h, dh, dc, .. } = case.backward::<f64>(2);
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
                let column = cell.row().hidden_slots[gate] * hidden + unit;
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
            let (single, double) = (case.forward::<f32>(2), case.forward::<f64>(1));
            let pairs = [(&single.h, &double.h), (&single.c, &double.c), (&single.saved, &double.saved)];
            assert!(pairs.iter().all(|(x, y)| distance(x, y) < 1e-5), "{cell} forward");
            let (single, double) = (case.backward::<f32>(2), case.backward::<f64>(1));
            let pairs = [(&single.dh, &double.dh), (&single.dc, &double.dc), (&single.saved, &double.saved)];
            assert!(pairs.iter().all(|(x, y)| distance(x, y) < 1e-4), "{cell} backward");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for &cell in Cell::ALL {
        let case = Case::new(cell, 21, 2, 12, &[12, 5, 1, 7, 12, 3, 9, 2, 12, 11, 4]);
        let one = case.backward::<f32>(1);
        for threads in [2, 3, 4, 16] {
            assert_eq!(case.backward::<f32>(threads), one, "{cell} on {threads} threads");
        }
    }
}

#[test]
fn a_sequence_does_not_see_its_batch_or_its_padding() {
    for &cell in Cell::ALL {
        let (hidden, steps) = (19, 9);
        let whole = Case::new(cell, hidden, 1, steps, &[9, 4, 6]);
        let full = whole.forward::<f32>(1);
        for (b, &length) in whole.lengths.iter().enumerate() {
            let pick = |x: &[f64], width: usize, blocks: usize| -> Vec<f64> {
                (0..blocks).flat_map(|t| x[(t * 3 + b) * width..][..width].to_vec()).collect()
            };
            let mut alone = Case::new(cell, hidden, 1, length as usize, &[length]);
            alone.input = pick(&whole.input, alone.layer.gate_width(), length as usize);
            alone.h0 = pick(&whole.h0, hidden, 1);
            alone.c0 = if cell.has_c() { pick(&whole.c0, hidden, 1) } else { Vec::new() };
            let got = alone.forward::<f32>(1);
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

#[test]
fn one_step_at_a_time_equals_the_whole_sequence() {
    for &cell in Cell::ALL {
        let case = Case::new(cell, 18, 1, 6, &[6, 6]);
        let want = case.forward::<f32>(1);
        let step = Layer { batch: BatchShape::new(1, 2), ..case.layer };
        let (w, b) = (convert::<f32>(&case.w_hh), convert::<f32>(&case.b_hh));
        let mut packed = vec![0.0; step.forward_packed_len()];
        pack_forward(Threads::ONE, &step, &[&w], &mut packed).unwrap();
        let mut scratch = vec![0.0; step.forward_scratch_len()];
        let (mut h, mut c) = (convert::<f32>(&case.h0), convert::<f32>(&case.c0));
        for input in case.input.chunks_exact(2 * step.gate_width()) {
            let mut saved = vec![0.0; step.saved_len()];
            let rows = saved.chunks_exact_mut(step.saved_width());
            for (row, input) in rows.zip(input.chunks_exact(step.gate_width())) {
                row[..input.len()].copy_from_slice(&convert(input));
            }
            h.resize(step.h_len(), 0.0);
            c.resize(step.c_len(), 0.0);
            let buffers = Forward { saved: &mut saved, h: &mut h, c: &mut c, lengths: &[1, 1], first_step: 0 };
            forward_packed(Threads::ONE, &step, &packed, Some(&[&b]), buffers, &mut scratch).unwrap();
            h.drain(..step.state_len());
            c.drain(..step.dc_len());
        }
        assert_eq!(h, want.h[6 * step.state_len()..], "{cell}");
        assert_eq!(c, want.c[6 * step.dc_len()..], "{cell}");
    }
}

#[test]
fn bad_input_is_an_error() {
    let case = Case::new(Cell::Lstm, 4, 1, 3, &[3, 2]);
    let layer = &case.layer;
    let w = vec![0f32; 4 * 4 * 4];
    let attempt = |saved: usize, h: usize, c: usize, lengths: &[u32], w: &[f32], workspace: usize| {
        let (mut saved, mut h, mut c) = (vec![0.0; saved], vec![0.0; h], vec![0.0; c]);
        let buffers = Forward { saved: &mut saved, h: &mut h, c: &mut c, lengths, first_step: 0 };
        forward(Threads::ONE, layer, &Weights { w_hh: &[w], b_hh: None }, buffers, &mut vec![0.0; workspace])
    };
    let (saved, h, c, space) = (layer.saved_len(), layer.h_len(), layer.c_len(), layer.forward_workspace_len());
    assert!(attempt(saved, h, c, &[3, 2], &w, space).is_ok());
    assert!(attempt(saved - 1, h, c, &[3, 2], &w, space).is_err());
    assert!(attempt(saved, h + 1, c, &[3, 2], &w, space).is_err());
    assert!(attempt(saved, h, 0, &[3, 2], &w, space).is_err());
    assert!(attempt(saved, h, c, &[3, 4], &w, space).is_ok(), "a sequence may go on after these steps");
    assert!(attempt(saved, h, c, &[0, 3], &w, space).is_err());
    assert!(attempt(saved, h, c, &[3], &w, space).is_err());
    assert!(attempt(saved, h, c, &[3, 2], &w[1..], space).is_err());
    assert!(attempt(saved, h, c, &[3, 2], &w, space - 1).is_err());
    assert!(Layer { directions: 3, ..*layer }.check().is_err());
    assert!(Layer { hidden: usize::MAX / 2, ..*layer }.check().is_err());
    assert!(Layer { hidden: 0, ..*layer }.check().is_err());
}
