// Sigmoid and tanh, right for every input: no quotient of infinities, no cancellation near zero; ±∞ give the limits and NaN
// gives NaN. Where the device rounds a division and a `fma` once, the bits of `single` in src/cpu/activation.rs.

// σ(x) = 1 / (1 + e⁻ˣ), as eˣ / (1 + eˣ) for negative x.
fn sigmoid(x: f32) -> f32 {
    let e = factors(power(-bitcast<f32>(min(size_bits(x), MOST_POWER))));
    let negative = (bitcast<u32>(x) & SIGN_BIT) != 0u;
    return unless_nan(x, select(1.0, e.high * e.low, negative) / fma(e.high, e.low, 1.0));
}

// The bits of 20. From 9.02 on, tanh rounds to 1.
const MOST_TANH: u32 = 0x41a00000u;

// tanh(x) = −m / (2 + m) with m = e^(−2|x|) − 1, and the sign of x. No cancellation: m is 2ⁿ·p + (2ⁿ − 1), whose terms never
// nearly cancel, and is −2|x| for small x.
fn hyperbolic_tangent(x: f32) -> f32 {
    let e = power(-2.0 * bitcast<f32>(min(size_bits(x), MOST_TANH)));
    let scale = power_of_two(e.n);
    let m = fma(scale, e.p, scale - 1.0);
    let size = -m / (2.0 + m);
    return unless_nan(x, bitcast<f32>(size_bits(size) | (bitcast<u32>(x) & SIGN_BIT)));
}

// exp(-|x|) - 1, without cancellation; from 20 on it is -1.
fn decay(x: f32) -> f32 {
    let e = power(-bitcast<f32>(min(size_bits(x), MOST_TANH)));
    let scale = power_of_two(e.n);
    return unless_nan(x, fma(scale, e.p, scale - 1.0));
}
