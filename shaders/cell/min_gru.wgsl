// minGRU (Feng et al. 2024), gates z, n, of the input alone:
//   f = 1 - σ(x_z)   n = x_n
//   h' = f h + (1 - f) n
// Saved: f, n. After backward: the gradients of x_z and x_n.

fn cell_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let z = gate(x[0]);
    let n = candidate(x[1]);
    done.h = fma(1.0 - z, h, z * n);
    done.saved[0] = 1.0 - z;
    done.saved[1] = n;
    if CLIPS_INPUTS {
        done.saved[CLIPPED] = f32(clipped_input(x[0], 0u) | clipped_input(x[1], 1u));
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    let clipped = clipped_of(saved);
    let stays = saved[0];
    let n = saved[1];
    done.saved[0] = unless_clipped(clipped, 0u, dh * (n - h) * gate_slope(1.0 - stays));
    done.saved[1] = unless_clipped(clipped, 1u, dh * (1.0 - stays) * candidate_slope(n));
    done.dh = dh * stays;
    return done;
}
