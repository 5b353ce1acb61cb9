// 1 / (1 + e⁻ˣ).

fn sigmoid_value(x: f32, alpha: f32, beta: f32) -> f32 {
    return sigmoid(x);
}

fn sigmoid_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    return y * (1.0 - y);
}
