// Elman network with the rectifier (torch.nn.RNN, nonlinearity="relu"):
//   h' = max(x + r, 0)

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    // A NaN stays one, so that a diverged run can be seen.
    let a = rectified(x[0] + r[0]);
    return Forward(array<f32, SAVED>(a), a, 0.0);
}

fn cell_backward(saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    return Backward(array<f32, SAVED>(select(dh, 0.0, size_bits(saved[0]) == 0u)), 0.0, 0.0, 0.0);
}
