//! Each cell's backward against finite differences of its forward.

use super::*;

const H: usize = 5;

/// Inputs of one step and the gradients that arrive at its outputs.
#[derive(Clone)]
struct Case {
    input: Vec<f64>,
    recurrent: Vec<f64>,
    h_prev: Vec<f64>,
    c_prev: Vec<f64>,
    w_ch: Vec<f64>,
    dh: Vec<f64>,
    dc: Vec<f64>,
}

/// States after one step, and the saved values.
struct Outcome {
    saved: Vec<f64>,
    h: Vec<f64>,
    c: Vec<f64>,
}

fn values(len: usize, seed: f64) -> Vec<f64> {
    (0..len).map(|i| (i as f64 * 1.37 + seed).sin()).collect()
}

impl Case {
    fn new(cell: Cell) -> Self {
        let (gates, c) = (cell.gates() * H, if cell.has_c() { H } else { 0 });
        Self {
            input: values(gates, 0.1),
            recurrent: values(gates, 0.7),
            h_prev: values(H, 1.1),
            c_prev: values(c, 1.9),
            w_ch: values(Recipe::of(cell).peepholes() * H, 2.7),
            dh: values(H, 2.3),
            dc: values(c, 3.1),
        }
    }

    fn run(&self, cell: Cell) -> Outcome {
        let mut saved = self.input.clone();
        saved.resize(cell.saved() * H, 0.0);
        for (slot, recurrent) in cell.row().hidden_slots.iter().zip(self.recurrent.chunks_exact(H)) {
            let slot = &mut saved[slot * H..][..H];
            slot.iter_mut().zip(recurrent).for_each(|(sum, x)| *sum += x);
        }
        let (mut h, mut c) = (vec![0.0; H], vec![0.0; self.c_prev.len()]);
        let before = [&self.h_prev[..], &self.c_prev[..]];
        let mut row =
            ForwardRow { at: Site::default(), saved: &mut saved, before, w_ch: &self.w_ch, after: [&mut h, &mut c] };
        forward(&cell.into(), &mut row);
        Outcome { saved, h, c }
    }

    /// `⟨dh, h⟩ + ⟨dc, c⟩`, whose gradients backward computes.
    fn loss(&self, cell: Cell) -> f64 {
        let Outcome { h, c, .. } = self.run(cell);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(&self.dh, &h) + dot(&self.dc, &c)
    }

    /// Central difference of the loss in element `i` of the field that `field` picks.
    fn slope(&self, cell: Cell, field: fn(&mut Self) -> &mut Vec<f64>, i: usize) -> f64 {
        const STEP: f64 = 1e-5;
        let moved = |by: f64| {
            let mut case = self.clone();
            field(&mut case)[i] += by;
            case.loss(cell)
        };
        (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
    }
}

#[test]
fn backward_is_the_derivative_of_forward() {
    for &cell in Cell::ALL {
        let case = Case::new(cell);
        let Outcome { mut saved, h, c } = case.run(cell);
        let (mut dh, mut dc) = (case.dh.clone(), case.dc.clone());
        let mut dc_all = vec![0.0; c.len()];
        let mut row = BackwardRow {
            at: Site::default(),
            saved: &mut saved,
            before: [&case.h_prev, &case.c_prev],
            after: [&h, &c],
            w_ch: &case.w_ch,
            gradients: [&mut dh, &mut dc],
            whole: [&mut [], &mut dc_all],
        };
        backward(&cell.into(), &mut row);
        let close = |got: f64, want: f64, what: &str| {
            assert!((got - want).abs() < 1e-8, "{cell}: {what} is {got}, the slope is {want}");
        };
        for i in 0..cell.gates() * H {
            close(saved[i], case.slope(cell, |case| &mut case.input, i), "da on the input side");
            if let Some(slot) = cell.row().hidden_slots.get(i / H) {
                let hidden = slot * H + i % H;
                close(saved[hidden], case.slope(cell, |case| &mut case.recurrent, i), "da on the recurrent side");
            }
        }
        for (i, dh) in dh.iter().enumerate() {
            close(*dh, case.slope(cell, |case| &mut case.h_prev, i), "dh_prev");
        }
        for (i, dc) in dc.iter().enumerate() {
            close(*dc, case.slope(cell, |case| &mut case.c_prev, i), "dc_prev");
        }
        // c gets to h through tanh and the output gate alone, of the SRU through the gate r as it is: with the gate's own values, a
        // finite difference of that.
        for (i, all) in dc_all.iter().enumerate() {
            let saved = case.run(cell).saved;
            let slope = match cell {
                Cell::Sru => saved[2 * H + i],
                _ => saved[3 * H + i] * ((c[i] + 1e-5).tanh() - (c[i] - 1e-5).tanh()) / 2e-5,
            };
            close(*all, case.dc[i] + case.dh[i] * slope, "the whole dc");
        }
    }
}

#[test]
fn large_pre_activations_stay_finite() {
    for &cell in Cell::ALL {
        for size in [1e4f32, -1e4] {
            let c_len = if cell.has_c() { 3 } else { 0 };
            let mut saved = vec![size; cell.saved() * 3];
            let (mut h, mut c) = ([0.0; 3], vec![0.0; c_len]);
            let c_prev = vec![0.5; c_len];
            let before = [&[0.5; 3][..], &c_prev];
            let mut row =
                ForwardRow { at: Site::default(), saved: &mut saved, before, w_ch: &[], after: [&mut h, &mut c] };
            forward(&cell.into(), &mut row);
            assert!(h.iter().chain(&c).chain(&saved).all(|x| x.is_finite()), "{cell}: {h:?}");
        }
    }
}

#[test]
fn short_rows_do_not_panic() {
    for &cell in Cell::ALL {
        let (mut h, mut dh) = ([0.0f32; 2], [0.0f32; 2]);
        let empty = || &mut [][..];
        let mut row =
            ForwardRow { at: Site::default(), saved: empty(), before: [&[]; 2], w_ch: &[], after: [&mut h, empty()] };
        forward(&cell.into(), &mut row);
        let mut row = BackwardRow {
            at: Site::default(),
            saved: empty(),
            before: [&[]; 2],
            after: [&[]; 2],
            w_ch: &[],
            gradients: [&mut dh, empty()],
            whole: [empty(), empty()],
        };
        backward(&cell.into(), &mut row);
    }
}
