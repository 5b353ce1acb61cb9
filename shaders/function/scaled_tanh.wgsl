// α tanh(β x).

fn scaled_tanh_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return unless_nan(x, alpha * hyperbolic_tangent(beta * x));
}

fn scaled_tanh_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return beta * fma(-y / alpha, y, alpha);
}
