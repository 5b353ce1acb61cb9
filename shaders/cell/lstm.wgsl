// Long short-term memory, gates i, f, g, o (torch.nn.LSTM):
//   i = σ(x_i + r_i)   f = σ(x_f + r_f)   g = tanh(x_g + r_g)   o = σ(x_o + r_o)
//   c' = f c + i g     h' = o tanh(c')

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    let i = sigmoid(x[0] + r[0]);
    let f = sigmoid(x[1] + r[1]);
    let g = hyperbolic_tangent(x[2] + r[2]);
    let o = sigmoid(x[3] + r[3]);
    let c_next = fma(f, c, i * g);
    return Forward(array<f32, SAVED>(i, f, g, o), o * hyperbolic_tangent(c_next), c_next);
}

fn cell_backward(saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    let i = saved[0];
    let f = saved[1];
    let g = saved[2];
    let o = saved[3];
    let t = hyperbolic_tangent(c);
    let dc_all = fma(dh * o, fma(-t, t, 1.0), dc);
    return Backward(
        array<f32, SAVED>(
            dc_all * g * i * (1.0 - i),
            dc_all * c_before * f * (1.0 - f),
            dc_all * i * fma(-g, g, 1.0),
            dh * t * o * (1.0 - o),
        ),
        0.0,
        dc_all * f,
        dc_all,
    );
}
