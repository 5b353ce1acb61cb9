// The functions of a recipe, which ONNX lists. A kernel's text names three of them as constants, so that a compiler leaves
// nothing of the others; alpha and beta are in its uniform. Twin of src/cpu/cell/functions.rs, numbers as in
// src/activation.rs.

const SIGMOID = 0u;
const TANH = 1u;
const RELU = 2u;
const AFFINE = 3u;
const LEAKY_RELU = 4u;
const THRESHOLDED_RELU = 5u;
const SCALED_TANH = 6u;
const HARD_SIGMOID = 7u;
const ELU = 8u;
const SOFTSIGN = 9u;
const SOFTPLUS = 10u;

// The bits of the largest finite number.
const MOST_FINITE: u32 = 0x7f7fffffu;

fn is_negative(x: f32) -> bool {
    return (bitcast<u32>(x) & SIGN_BIT) != 0u;
}

// e⁻ˣ − 1 for x ≥ 0, without cancellation; from 20 on it is -1.
fn decay(x: f32) -> f32 {
    let e = power(-bitcast<f32>(min(size_bits(x), MOST_TANH)));
    let scale = power_of_two(e.n);
    return unless_nan(x, fma(scale, e.p, scale - 1.0));
}

// ln(1 + e) for e in 0..1. Below 2⁻¹⁰ two terms of the series are enough.
fn logarithm_beside_one(e: f32) -> f32 {
    return select(logarithm(1.0 + e), fma(-0.5 * e, e, e), e < 0.0009765625);
}

fn activate(function: u32, alpha: f32, beta: f32, x: f32) -> f32 {
    switch function {
        case SIGMOID: {
            return sigmoid(x);
        }
        case TANH: {
            return hyperbolic_tangent(x);
        }
        case RELU: {
            return rectified(x);
        }
        case AFFINE: {
            return fma(alpha, x, beta);
        }
        case LEAKY_RELU: {
            return unless_nan(x, select(x, alpha * x, is_negative(x)));
        }
        case THRESHOLDED_RELU: {
            return unless_nan(x, select(0.0, x, x > alpha));
        }
        case SCALED_TANH: {
            return unless_nan(x, alpha * hyperbolic_tangent(beta * x));
        }
        case HARD_SIGMOID: {
            return unless_nan(x, clamp(fma(alpha, x, beta), 0.0, 1.0));
        }
        case ELU: {
            return unless_nan(x, select(x, alpha * decay(x), is_negative(x)));
        }
        case SOFTSIGN: {
            let size = bitcast<f32>(min(size_bits(x), MOST_FINITE));
            let value = size / (1.0 + size);
            return unless_nan(x, bitcast<f32>(bitcast<u32>(value) | (bitcast<u32>(x) & SIGN_BIT)));
        }
        default: {
            let size = bitcast<f32>(size_bits(x));
            return rectified(x) + logarithm_beside_one(exponential(-size));
        }
    }
}

// The slope of a function where its value is y.
fn slope(function: u32, alpha: f32, beta: f32, y: f32) -> f32 {
    switch function {
        case SIGMOID: {
            return y * (1.0 - y);
        }
        case TANH: {
            return fma(-y, y, 1.0);
        }
        case RELU: {
            return select(1.0, 0.0, size_bits(y) == 0u);
        }
        case AFFINE: {
            return alpha;
        }
        case LEAKY_RELU: {
            return select(1.0, alpha, is_negative(y));
        }
        case THRESHOLDED_RELU: {
            return select(1.0, 0.0, size_bits(y) == 0u);
        }
        case SCALED_TANH: {
            return beta * fma(-y / alpha, y, alpha);
        }
        case HARD_SIGMOID: {
            return select(0.0, alpha, y > 0.0 && y < 1.0);
        }
        case ELU: {
            return select(1.0, y + alpha, is_negative(y));
        }
        case SOFTSIGN: {
            let rest = 1.0 - bitcast<f32>(size_bits(y));
            return rest * rest;
        }
        default: {
            return -decay(y);
        }
    }
}
