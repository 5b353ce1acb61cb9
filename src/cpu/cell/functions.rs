//! The functions of a recipe, and their slopes by their values. Twin of `shaders/function/`.

use pulp::Simd;

use crate::activation::{Activation, Function};
use crate::cpu::scalar::Scalar;
use crate::recipe::{Activations, Recipe};

/// The functions of a cell: of gates, of what is added to the state, and of the cell state on its way to h. Slopes are by values.
pub(super) trait Functions<S: Scalar>: Copy {
    fn gate<A: Simd>(self, a: S) -> S;
    fn gate_slope(self, y: S) -> S;
    fn candidate<A: Simd>(self, a: S) -> S;
    fn candidate_slope(self, y: S) -> S;
    fn output<A: Simd>(self, c: S) -> S;
    fn output_slope(self, y: S) -> S;
}

/// Those of a cell without options: σ, for what is added to the state tanh or what CANDIDATE says, and tanh or, with [`BARE`],
/// nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual<const CANDIDATE: u8>;

/// What is added to the state: the rectifier, or what the product gives as it is; the same, and h sees the cell state as it is.
pub(super) const RECTIFIED: u8 = 1;
pub(super) const AS_IT_IS: u8 = 2;
pub(super) const BARE: u8 = 3;

impl<S: Scalar, const CANDIDATE: u8> Functions<S> for Usual<CANDIDATE> {
    #[inline(always)]
    fn gate<A: Simd>(self, a: S) -> S {
        a.sigmoid::<A>()
    }
    #[inline(always)]
    fn gate_slope(self, y: S) -> S {
        y * (S::ONE - y)
    }
    #[inline(always)]
    fn candidate<A: Simd>(self, a: S) -> S {
        match CANDIDATE {
            RECTIFIED => rectified(a),
            AS_IT_IS | BARE => a,
            _ => a.tanh::<A>(),
        }
    }
    #[inline(always)]
    fn candidate_slope(self, y: S) -> S {
        match CANDIDATE {
            RECTIFIED if y == S::ZERO => S::ZERO,
            RECTIFIED | AS_IT_IS | BARE => S::ONE,
            _ => S::ONE - y * y,
        }
    }
    #[inline(always)]
    fn output<A: Simd>(self, c: S) -> S {
        if CANDIDATE == BARE { c } else { c.tanh::<A>() }
    }
    #[inline(always)]
    fn output_slope(self, y: S) -> S {
        if CANDIDATE == BARE { S::ONE } else { S::ONE - y * y }
    }
}

/// Those of a recipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<S> {
    gate: Applied<S>,
    candidate: Applied<S>,
    output: Applied<S>,
}

impl<S: Scalar> Named<S> {
    pub(super) fn new(recipe: &Recipe) -> Self {
        let Activations { gate, candidate, output } = recipe.activations();
        Self { gate: Applied::new(gate), candidate: Applied::new(candidate), output: Applied::new(output) }
    }
}

impl<S: Scalar> Functions<S> for Named<S> {
    #[inline(always)]
    fn gate<A: Simd>(self, a: S) -> S {
        self.gate.value::<A>(a)
    }
    #[inline(always)]
    fn gate_slope(self, y: S) -> S {
        self.gate.slope(y)
    }
    #[inline(always)]
    fn candidate<A: Simd>(self, a: S) -> S {
        self.candidate.value::<A>(a)
    }
    #[inline(always)]
    fn candidate_slope(self, y: S) -> S {
        self.candidate.slope(y)
    }
    #[inline(always)]
    fn output<A: Simd>(self, c: S) -> S {
        self.output.value::<A>(c)
    }
    #[inline(always)]
    fn output_slope(self, y: S) -> S {
        self.output.slope(y)
    }
}

/// A function with its numbers as S.
#[derive(Clone, Copy, Debug)]
struct Applied<S> {
    function: Function,
    alpha: S,
    beta: S,
}

impl<S: Scalar> Applied<S> {
    fn new(activation: Activation) -> Self {
        let [alpha, beta] = [activation.alpha(), activation.beta()].map(|number| S::from_f64(f64::from(number)));
        Self { function: activation.function(), alpha, beta }
    }

    /// Its value.
    #[inline(always)]
    fn value<A: Simd>(self, x: S) -> S {
        let Self { function, alpha, beta } = self;
        match function {
            Function::Sigmoid => x.sigmoid::<A>(),
            Function::Tanh => x.tanh::<A>(),
            Function::Relu => rectified(x),
            Function::Affine => alpha * x + beta,
            Function::LeakyRelu => {
                if x.is_sign_negative() {
                    alpha * x
                } else {
                    x
                }
            }
            Function::ThresholdedRelu => {
                if x > alpha || x.is_nan() {
                    x
                } else {
                    S::ZERO
                }
            }
            Function::ScaledTanh => alpha * (beta * x).tanh::<A>(),
            // Comparisons, which leave a NaN as it is.
            Function::HardSigmoid => {
                let y = alpha * x + beta;
                if y < S::ZERO {
                    S::ZERO
                } else if y > S::ONE {
                    S::ONE
                } else {
                    y
                }
            }
            Function::Elu => {
                if x.is_sign_negative() {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Function::Softsign if x.abs().is_finite() || x.is_nan() => x / (S::ONE + x.abs()),
            Function::Softsign => S::ONE.copysign(x),
            Function::Softplus => rectified(x) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// Its slope where its value is y.
    #[inline(always)]
    fn slope(self, y: S) -> S {
        let Self { function, alpha, beta } = self;
        let one_if = |yes: bool| if yes { S::ONE } else { S::ZERO };
        match function {
            Function::Sigmoid => y * (S::ONE - y),
            Function::Tanh => S::ONE - y * y,
            Function::Relu | Function::ThresholdedRelu => one_if(y != S::ZERO),
            Function::Affine => alpha,
            Function::LeakyRelu => {
                if y.is_sign_negative() {
                    alpha
                } else {
                    S::ONE
                }
            }
            Function::ScaledTanh => beta * (alpha - y / alpha * y),
            Function::HardSigmoid => {
                if y > S::ZERO && y < S::ONE {
                    alpha
                } else {
                    S::ZERO
                }
            }
            Function::Elu => {
                if y.is_sign_negative() {
                    y + alpha
                } else {
                    S::ONE
                }
            }
            Function::Softsign => (S::ONE - y.abs()) * (S::ONE - y.abs()),
            Function::Softplus => -(-y).exp_m1(),
        }
    }
}

/// `max(x, 0)`, or x where it is NaN.
#[inline(always)]
fn rectified<S: Scalar>(x: S) -> S {
    if x > S::ZERO || x.is_nan() { x } else { S::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::Scalar as NoSimd;

    /// Values against the formulas that ONNX gives, and slopes against differences of the values.
    #[test]
    fn values_and_slopes_are_right() {
        for &function in Function::ALL {
            for numbers in [function.defaults().to_vec(), [0.3, -0.7][..function.defaults().len()].to_vec()] {
                let activation = Activation::with(function, &numbers).unwrap();
                let [a, b] = [activation.alpha(), activation.beta()].map(f64::from);
                let (double, single) = (Applied::<f64>::new(activation), Applied::<f32>::new(activation));
                for step in -200..=200 {
                    // None of them is where a function has a corner.
                    let x = f64::from(step) * 0.0337 + 0.0013;
                    let want = match function {
                        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                        Function::Tanh => x.tanh(),
                        Function::Relu => x.max(0.0),
                        Function::Affine => a * x + b,
                        Function::LeakyRelu => {
                            if x >= 0.0 {
                                x
                            } else {
                                a * x
                            }
                        }
                        Function::ThresholdedRelu => {
                            if x > a {
                                x
                            } else {
                                0.0
                            }
                        }
                        Function::ScaledTanh => a * (b * x).tanh(),
                        Function::HardSigmoid => (a * x + b).clamp(0.0, 1.0),
                        Function::Elu => {
                            if x >= 0.0 {
                                x
                            } else {
                                a * (x.exp() - 1.0)
                            }
                        }
                        Function::Softsign => x / (1.0 + x.abs()),
                        Function::Softplus => (1.0 + x.exp()).ln(),
                    };
                    let y = double.value::<NoSimd>(x);
                    assert!((y - want).abs() < 1e-12, "{activation} of {x} is {y}, not {want}");
                    let narrow = f64::from(single.value::<NoSimd>(x as f32));
                    assert!((narrow - want).abs() < 2e-6, "{activation} of {x} in f32 is {narrow}, not {want}");
                    let d = 1e-6;
                    let slope = (double.value::<NoSimd>(x + d) - double.value::<NoSimd>(x - d)) / (2.0 * d);
                    assert!(
                        (double.slope(y) - slope).abs() < 1e-6,
                        "{activation}' at {x} is {}, not {slope}",
                        double.slope(y)
                    );
                }
                let nan = single.value::<NoSimd>(f32::NAN);
                assert!(nan.is_nan(), "{activation} of NaN is {nan}");
                for x in [f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30] {
                    assert!(!single.value::<NoSimd>(x).is_nan(), "{activation} of {x} is not a number");
                }
            }
        }
    }
}
