// Elman network with tanh (torch.nn.RNN):
//   h' = tanh(x + r)

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    let a = hyperbolic_tangent(x[0] + r[0]);
    return Forward(array<f32, SAVED>(a), a, 0.0);
}

fn cell_backward(saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    return Backward(array<f32, SAVED>(dh * fma(-saved[0], saved[0], 1.0)), 0.0, 0.0, 0.0);
}
