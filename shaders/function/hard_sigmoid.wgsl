// max(0, min(1, α x + β)).

fn hard_sigmoid_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return unless_nan(x, clamp(fma(alpha, x, beta), 0.0, 1.0));
}

fn hard_sigmoid_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return select(0.0, alpha, y > 0.0 && y < 1.0);
}
