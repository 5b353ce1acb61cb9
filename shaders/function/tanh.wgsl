// tanh(x).

fn tanh_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return hyperbolic_tangent(x);
}

fn tanh_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return fma(-y, y, 1.0);
}
