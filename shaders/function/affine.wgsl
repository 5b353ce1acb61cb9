// α x + β.

fn affine_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return fma(alpha, x, beta);
}

fn affine_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return alpha;
}
