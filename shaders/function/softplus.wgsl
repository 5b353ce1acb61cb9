// ln(1 + eˣ), without overflow: max(x, 0) + ln(1 + exp(-|x|)).

// ln(1 + e) for e in 0..1. Below 2⁻¹⁰ two terms of the series are enough.
fn logarithm_beside_one(e: f32) -> f32 {
    return select(logarithm(1.0 + e), fma(-0.5 * e, e, e), e < 0.0009765625);
}

fn softplus_value(x: f32, alpha: f32, beta: f32) -> f32 {
    let size = bitcast<f32>(size_bits(x));
    return rectified(x) + logarithm_beside_one(exponential(-size));
}

fn softplus_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return -decay(y);
}
