// Gated recurrent unit, gates r, z, n, reset after the product (torch.nn.GRU):
//   r = σ(x_r + r_r)   z = σ(x_z + r_z)   q = W_hn h + b_hn   n = tanh(x_n + r q)
//   h' = (1 - z) n + z h
// Saved: r, z, n, q. After backward: the gradients of the pre-activations of r, z, n and of q.

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    let reset = sigmoid(x[0] + r[0]);
    let update = sigmoid(x[1] + r[1]);
    let n = hyperbolic_tangent(fma(reset, r[2], x[2]));
    return Forward(array<f32, SAVED>(reset, update, n, r[2]), fma(update, h - n, n), 0.0);
}

fn cell_backward(saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    let reset = saved[0];
    let update = saved[1];
    let n = saved[2];
    let q = saved[3];
    let dn = dh * (1.0 - update) * fma(-n, n, 1.0);
    return Backward(
        array<f32, SAVED>(
            dn * q * reset * (1.0 - reset),
            dh * (h - n) * update * (1.0 - update),
            dn,
            dn * reset,
        ),
        dh * update,
        0.0,
        0.0,
    );
}
