// Elman network (torch.nn.RNN), with tanh or another function φ:
//   h' = φ(x + r)

fn cell_forward(at: Site, x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let a = x[0] + r[0];
    done.h = candidate(a);
    done.saved[0] = done.h;
    if CLIPS_INPUTS {
        done.saved[CLIPPED] = f32(clipped_input(a, 0u));
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    done.saved[0] = unless_clipped(clipped_of(saved), 0u, dh * candidate_slope(saved[0]));
    return done;
}
