// Gated recurrent unit whose reset gate acts before the product (Cho et al. 2014), gates r, z, n:
//   r = σ(x_r + r_r)   z = σ(x_z + r_z)   n = tanh(x_n + W_hn (r h) + b_hn)
//   h' = (1 - z) n + z h
// Two phases: r and z, then n from the product with r h. Saved: r, z, n, r h. After backward: the gradients of the
// pre-activations of r, z and n, and r h.

fn between_forward(x: array<f32, READS>, r: array<f32, GATES>, h_read: f32) -> array<f32, READS> {
    var slots = x;
    let a_r = x[0] + r[0];
    let a_z = x[1] + r[1];
    slots[0] = gate(a_r);
    slots[1] = gate(a_z);
    slots[3] = slots[0] * h_read;
    if CLIPS_INPUTS {
        slots[CLIPPED] = f32(clipped_input(a_r, 0u) | clipped_input(a_z, 1u));
    }
    return slots;
}

fn cell_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let update = x[1];
    let a_n = x[2] + r[2];
    let n = candidate(a_n);
    done.h = fma(update, h - n, n);
    done.saved[0] = x[0];
    done.saved[1] = update;
    done.saved[2] = n;
    done.saved[3] = x[3];
    if CLIPS_INPUTS {
        done.saved[CLIPPED] = f32(u32(x[CLIPPED]) | clipped_input(a_n, 2u));
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    let clipped = clipped_of(saved);
    let update = saved[1];
    let n = saved[2];
    done.saved[0] = saved[0];
    done.saved[1] = unless_clipped(clipped, 1u, dh * (h - n) * gate_slope(update));
    done.saved[2] = unless_clipped(clipped, 2u, dh * (1.0 - update) * candidate_slope(n));
    done.saved[3] = saved[3];
    if CLIPS_INPUTS {
        done.saved[CLIPPED] = saved[CLIPPED];
    }
    done.dh = dh * update;
    return done;
}

fn between_backward(saved: array<f32, SAVED>, h_read: f32, gradient: f32) -> Between {
    var done = Between(saved, gradient * saved[0]);
    done.saved[0] = unless_clipped(clipped_of(saved), 0u, gradient * h_read * gate_slope(saved[0]));
    return done;
}
