// x, or α x below zero, whose sign its value has, be it zero.

fn leaky_relu_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return unless_nan(x, select(x, alpha * x, is_negative(x)));
}

fn leaky_relu_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return select(1.0, alpha, is_negative(y));
}
