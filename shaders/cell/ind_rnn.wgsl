// IndRNN (Li et al. 2018), with the rectifier or another function φ; a unit sees its own h alone:
//   h' = φ(x + u h)

fn cell_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let a = fma(peephole(at, 0u), h, x[0]);
    done.h = candidate(a);
    done.saved[0] = done.h;
    if CLIPS_INPUTS {
        done.saved[CLIPPED] = f32(clipped_input(a, 0u));
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    let da = unless_clipped(clipped_of(saved), 0u, dh * candidate_slope(saved[0]));
    done.saved[0] = da;
    done.dh = peephole(at, 0u) * da;
    return done;
}
