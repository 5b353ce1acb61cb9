// x above α, else 0.

fn thresholded_relu_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return unless_nan(x, select(0.0, x, x > alpha));
}

fn thresholded_relu_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return select(1.0, 0.0, size_bits(y) == 0u);
}
