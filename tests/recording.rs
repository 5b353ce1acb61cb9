//! What recording a time step costs the host: 2 µs at most, one dispatch a step.

mod common;

use common::{forced, gpu};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, RnnConfig};

/// Steps of the layer, enough that what is spent once does not show.
const STEPS: usize = 1000;

#[test]
fn a_step_is_recorded_in_two_microseconds() {
    let device = forced(gpu(), "stepwise", None);
    let config = RnnConfig::new(Cell::Gru, 1, 1);
    let params = Parameters::new(&device, tensors(&config, "")).expect("parameters");
    let options = Options { strategy: Some("stepwise"), ..Options::default() };
    let rnn = Rnn::new(&device, config, BatchShape::new(STEPS, 1), Mode::Infer, options).expect("a plan");
    let [x, y] = ["x", "y"].map(|name| device.alloc(name, STEPS).expect("a sequence"));
    let (reserve, workspace) = (rnn.reserve().expect("a reserve"), rnn.workspace().expect("a workspace"));
    let bound = rnn.bind(&params, "", &Io::new(&x, &y), &Gradients::default(), &reserve, &workspace).expect("a layer");
    // Whatever else the machine does only adds, so the least of some runs counts.
    let once = || device.time(|recorder| bound.forward.record(recorder)).expect("a run").record_ms;
    let least = (0..20).map(|_| once()).fold(f64::INFINITY, f64::min);
    let each = least * 1e3 / STEPS as f64;
    assert!(each <= 2.0, "{each} µs a step");
}
