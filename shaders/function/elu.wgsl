// x, or α (eˣ - 1) below zero.

fn elu_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return unless_nan(x, select(x, alpha * decay(x), is_negative(x)));
}

fn elu_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return select(1.0, y + alpha, is_negative(y));
}
