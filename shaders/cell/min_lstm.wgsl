// minLSTM (Feng et al. 2024), gates f, i, n, of the input alone:
//   f = σ(x_f)   i = σ(x_i)   n = x_n   s = f / (f + i)
//   h' = s h + (1 - s) n
// Saved: f, i, n, s. After backward: the gradients of x_f, x_i and x_n.

// Below this σ(a) is e^a to all digits, so that s is σ(x_f - x_i) of two such arguments, where the gates themselves may have no
// digits left.
const SMALL: f32 = -36.0;

fn cell_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let f = gate(x[0]);
    let i = gate(x[1]);
    let n = candidate(x[2]);
    let a_f = argument(x[0]);
    let a_i = argument(x[1]);
    let are_small = a_f < SMALL && a_i < SMALL;
    let stays = select(f / (f + i), gate_value(a_f - a_i), are_small);
    let moves = select(i / (f + i), gate_value(a_i - a_f), are_small);
    done.h = fma(stays, h, moves * n);
    done.saved[0] = f;
    done.saved[1] = i;
    done.saved[2] = n;
    done.saved[3] = stays;
    if CLIPS_INPUTS {
        done.saved[CLIPPED] = f32(clipped_input(x[0], 0u) | clipped_input(x[1], 1u) | clipped_input(x[2], 2u));
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    let clipped = clipped_of(saved);
    let f = saved[0];
    let i = saved[1];
    let n = saved[2];
    let stays = saved[3];
    let both = dh * (h - n) * stays * (1.0 - stays);
    done.saved[0] = unless_clipped(clipped, 0u, both * (1.0 - f));
    done.saved[1] = unless_clipped(clipped, 1u, -both * (1.0 - i));
    done.saved[2] = unless_clipped(clipped, 2u, dh * (1.0 - stays) * candidate_slope(n));
    done.dh = dh * stays;
    return done;
}
