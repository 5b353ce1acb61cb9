//! How parameters begin.

use super::*;
use crate::{Bias, Cell, Device, StepOptions};

#[test]
fn the_logarithm_is_right() {
    for i in 1..10_000 {
        let x = f64::from(i) * 1.7e-4;
        assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln().abs().max(1.0), "{x}");
    }
    assert!((ln(1e-300) - 1e-300f64.ln()).abs() < 1e-12);
}

#[test]
fn the_same_seed_gives_the_same_numbers_for_ever() {
    let linear = Linear::new(4, 1);
    let of = |seed, prefix| Init::new(seed).tensor(Layer::Linear(&linear), prefix, "weight", &[1, 4]).unwrap();
    assert_eq!(of(1, "a."), of(1, "a."));
    assert_ne!(of(1, "a."), of(2, "a."));
    assert_ne!(of(1, "a."), of(1, "b."));
    assert_eq!(of(1, "a."), [0.29094806, -0.39511287, -0.1660935, 0.1441574]);
    let embedding = Embedding::new(1, 3);
    let normal = Init::new(1).tensor(Layer::Embedding(&embedding), "a.", "weight", &[1, 3]).unwrap();
    assert_eq!(normal, [0.16268852, -1.3688457, 0.47814837]);
}

#[test]
fn distributions_have_their_moments() {
    let embedding = Embedding::new(1000, 100);
    let values = Init::new(3).tensor(Layer::Embedding(&embedding), "", "weight", &[1000, 100]).unwrap();
    let moment = |n: i32| values.iter().map(|&x| f64::from(x).powi(n)).sum::<f64>() / values.len() as f64;
    for (n, want) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
        assert!((moment(n) - want).abs() < 0.05, "moment {n} is {}", moment(n));
    }
    let linear = Linear::new(16, 1000);
    let values = Init::new(3).tensor(Layer::Linear(&linear), "", "weight", &[1000, 16]).unwrap();
    assert!(values.iter().all(|x| x.abs() <= 0.25));
    let square = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
    assert!((square - 0.0625 / 3.0).abs() < 5e-4, "{square}");
}

#[test]
fn orthogonal_blocks_are_orthogonal() {
    for hidden in [1, 2, 7, 64] {
        let config = RnnConfig::new(Cell::Gru, 2, hidden);
        let init = Init { recurrent: Recurrent::Orthogonal, ..Init::new(5) };
        let shape = [3 * hidden, hidden];
        let values = init.tensor(Layer::Rnn(&config), "", "weight_hh_l0", &shape).unwrap();
        for block in values.chunks_exact(hidden * hidden) {
            for (i, a) in block.chunks_exact(hidden).enumerate() {
                for (j, b) in block.chunks_exact(hidden).enumerate() {
                    let dot: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-6, "{hidden}: {i}, {j}");
                }
            }
        }
        let input = init.tensor(Layer::Rnn(&config), "", "weight_ih_l0", &[3 * hidden, 2]).unwrap();
        assert_eq!(input, Init::new(5).tensor(Layer::Rnn(&config), "", "weight_ih_l0", &[3 * hidden, 2]).unwrap());
    }
}

/// Of a projected h blocks are higher than wide, or wider than high.
#[test]
fn orthogonal_blocks_of_a_projection_are_orthogonal_the_shorter_way() {
    for (hidden, size) in [(6, 2), (2, 5)] {
        let options = StepOptions { projection: Some(size), ..StepOptions::NONE };
        let config = RnnConfig::new(Cell::Lstm, 2, hidden).options(options);
        let init = Init { recurrent: Recurrent::Orthogonal, ..Init::new(5) };
        let values = init.tensor(Layer::Rnn(&config), "", "weight_hh_l0", &[4 * hidden, size]).unwrap();
        for block in values.chunks_exact(hidden * size) {
            let short = hidden.min(size);
            let at = |which: usize, along: usize| match hidden > size {
                true => f64::from(block[along * size + which]),
                false => f64::from(block[which * size + along]),
            };
            for (i, j) in (0..short).flat_map(|i| (0..short).map(move |j| (i, j))) {
                let dot: f64 = (0..hidden.max(size)).map(|along| at(i, along) * at(j, along)).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-6, "H{hidden} P{size}: {i}, {j}");
            }
        }
    }
}

#[test]
fn the_forget_gate_starts_open() {
    let config = RnnConfig::new(Cell::Lstm, 2, 3).layers(2).bidirectional(true);
    let params = Parameters::new(&Device::cpu().unwrap(), rnn::tensors(&config, "rnn.")).unwrap();
    let init = Init { forget_bias: Some(1.0), ..Init::new(9) };
    init.apply(&params, "rnn.", Layer::Rnn(&config)).unwrap();
    for entry in params.entries() {
        let values = params.device().read(&params.value(&entry.name).unwrap()).unwrap();
        assert!(values.iter().filter(|x| **x != 0.0).all(|x| x.abs() <= 1.0));
        if entry.name.contains("bias") {
            let want = if entry.name.contains("bias_ih") { [1.0; 3] } else { [0.0; 3] };
            assert_eq!(values[3..6], want, "{}", entry.name);
            assert!(values[..3].iter().chain(&values[6..]).all(|x| *x != 0.0 && x.abs() < 0.578));
        }
    }
    let gru = RnnConfig::new(Cell::Gru, 2, 3);
    let bias = |init: Init| init.tensor(Layer::Rnn(&gru), "", "bias_ih_l0", &[9]).unwrap();
    assert_eq!(bias(init), bias(Init::new(9)));
}

#[test]
fn chrono_gates_keep_for_as_long_as_is_asked() {
    let (hidden, steps) = (2000, 50);
    let init = Init { chrono: Some(steps), forget_bias: Some(7.0), ..Init::new(3) };
    let bias = |cell: Cell, stem: &str, init: Init| {
        let config = RnnConfig::new(cell, 2, hidden);
        init.tensor(Layer::Rnn(&config), "", stem, &[cell.gates() * hidden]).unwrap()
    };
    let block = |all: &[f32], gate: usize| all[gate * hidden..][..hidden].to_vec();
    for (cell, keep) in [(Cell::Lstm, 1), (Cell::Gru, 1)] {
        let all = bias(cell, "bias_ih_l0", init);
        let lasts: Vec<f64> = block(&all, keep).iter().map(|&bias| f64::from(bias).exp()).collect();
        assert!(lasts.iter().all(|&lasts| lasts > 0.999 && lasts < 49.001));
        let mean = lasts.iter().sum::<f64>() / hidden as f64;
        assert!((mean - 25.0).abs() < 1.0, "{mean}");
        assert!(block(&bias(cell, "bias_hh_l0", init), keep).iter().all(|&bias| bias == 0.0));
        assert_eq!(block(&all, 2), block(&bias(cell, "bias_ih_l0", Init::new(3)), 2), "n or g");
    }
    // A bias alone has the value, whichever it is.
    let alone = RnnConfig::new(Cell::Lstm, 2, hidden).bias(Bias::Recurrent);
    for (init, least) in [(init, 0.0), (Init { forget_bias: Some(1.0), ..Init::new(3) }, 1.0)] {
        let values = init.tensor(Layer::Rnn(&alone), "", "bias_hh_l0", &[4 * hidden]).unwrap();
        assert!(block(&values, 1).iter().all(|&bias| bias >= least), "{values:?}");
    }
    let lstm = bias(Cell::Lstm, "bias_ih_l0", init);
    assert!(block(&lstm, 0).iter().zip(block(&lstm, 1)).all(|(i, f)| *i == -f));
    assert_eq!(bias(Cell::RnnTanh, "bias_ih_l0", init), bias(Cell::RnnTanh, "bias_ih_l0", Init::new(3)));
    let short = Init { chrono: Some(2), ..init };
    let config = RnnConfig::new(Cell::Gru, 2, 3);
    let error = short.tensor(Layer::Rnn(&config), "", "bias_ih_l0", &[9]).unwrap_err().to_string();
    assert_eq!(error, "the steps of chrono initialisation must be at least 3, got 2");
}

#[test]
fn chrono_is_refused_where_gates_would_not_keep() {
    let init = Init { chrono: Some(21), ..Init::new(3) };
    let refused = |config: RnnConfig| match init.tensor(Layer::Rnn(&config), "", "weight_hh_l0", &[12, 3]) {
        Err(error) => error.to_string(),
        Ok(values) => format!("{} values", values.len()),
    };
    let lstm = RnnConfig::new(Cell::Lstm, 2, 3);
    let options = |text: &str| lstm.options(text.parse().unwrap());
    assert_eq!(refused(lstm), "36 values");
    assert_eq!(refused(options("clip_inputs=3,candidate=relu")), "36 values");
    assert_eq!(
        refused(options("clip_inputs=2.5")),
        "the limit of a gate's argument that is to keep for 20 steps must be at least 2.9957323, got 2.5"
    );
    let hard = "gates of another function than the sigmoid, by which a bias of ln u keeps for u steps";
    assert_eq!(refused(options("gate=hard_sigmoid")), format!("chrono initialisation is not available for {hard}"));
    assert_eq!(refused(lstm.bias(false)), "chrono initialisation is not available for a layer without biases");
    let rnn = RnnConfig::new(Cell::RnnTanh, 2, 3).bias(false);
    assert!(init.tensor(Layer::Rnn(&rnn), "", "weight_hh_l0", &[3, 3]).is_ok(), "it has no gates");
}

#[test]
fn strange_tensors_are_errors() {
    let linear = Linear::new(4, 2);
    let of = |stem, shape: &[usize]| Init::new(0).tensor(Layer::Linear(&linear), "", stem, shape).map(drop);
    let message = |result: Result<()>| result.unwrap_err().to_string();
    assert_eq!(
        message(of("weights", &[2, 4])),
        "`weights` in the initialiser belongs to no part of this layer; expected weight, bias"
    );
    assert_eq!(message(of("weight", &[4, 2])), "`weight` must have shape [2, 4], got [4, 2]");
}
