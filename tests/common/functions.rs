//! Functions as one would write them on paper, with their limits and slopes.

use wgpu_rnn::{Activation, Function, Number};

/// A function, and its slope, at an argument: as ONNX defines them, with the limit of arguments.
pub fn function(activation: Activation, limit: Option<Number>, a: f64) -> (f64, f64) {
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
pub fn within(limit: Option<Number>, value: f64) -> (f64, f64) {
    let limit = limit.map_or(f64::INFINITY, |limit| f64::from(limit.get()));
    (value.clamp(-limit, limit), f64::from(u8::from(value.abs() <= limit)))
}
