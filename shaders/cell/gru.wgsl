// Gated recurrent unit, gates r, z, n, reset after the product (torch.nn.GRU):
//   r = σ(x_r + r_r)   z = σ(x_z + r_z)   q = W_hn h + b_hn   n = tanh(x_n + r q)
//   h' = (1 - z) n + z h
// Saved: r, z, n, q. After backward: the gradients of the pre-activations of r, z, n and of q.

fn cell_forward(at: Site, x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let a_r = x[0] + r[0];
    let a_z = x[1] + r[1];
    let reset = gate(a_r);
    let update = gate(a_z);
    let a_n = fma(reset, r[2], x[2]);
    let n = candidate(a_n);
    done.h = fma(update, h - n, n);
    done.saved[0] = reset;
    done.saved[1] = update;
    done.saved[2] = n;
    done.saved[3] = r[2];
    if CLIPS_INPUTS {
        done.saved[CLIPPED] = f32(clipped_input(a_r, 0u) | clipped_input(a_z, 1u) | clipped_input(a_n, 2u));
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    let clipped = clipped_of(saved);
    let reset = saved[0];
    let update = saved[1];
    let n = saved[2];
    let dn = unless_clipped(clipped, 2u, dh * (1.0 - update) * candidate_slope(n));
    done.saved[0] = unless_clipped(clipped, 0u, dn * saved[3] * gate_slope(reset));
    done.saved[1] = unless_clipped(clipped, 1u, dh * (h - n) * gate_slope(update));
    done.saved[2] = dn;
    done.saved[3] = dn * reset;
    done.dh = dh * update;
    return done;
}
