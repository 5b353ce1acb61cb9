// Simple recurrent unit (Lei et al. 2018), gates n, f, r, k, of the input and a unit's own cell state:
//   n = x_n   f = σ(x_f + v_f c)   r = σ(x_r + v_r c)   k = x_k
//   c' = f c + (1 - f) n           h' = r φ(c') + (1 - r) k
// No step reads h.

fn cell_forward(at: Site, x: array<f32, READS>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let seen_before = read_cell(c);
    let a_f = fma(peephole(at, 0u), seen_before, x[1]);
    let a_r = fma(peephole(at, 1u), seen_before, x[2]);
    let n = candidate(x[0]);
    let f = gate(a_f);
    let reset = gate(a_r);
    let c_next = fma(f, seen_before, (1.0 - f) * n);
    done.c = stored_cell(c_next);
    done.h = fma(reset, output(done.c), (1.0 - reset) * x[3]);
    done.saved[0] = n;
    done.saved[1] = f;
    done.saved[2] = reset;
    done.saved[3] = x[3];
    if CLIPS_INPUTS || CLIPS_CELL {
        let clipped = clipped_input(x[0], 0u) | clipped_input(a_f, 1u) | clipped_input(a_r, 2u) | clipped_cell(c_next);
        done.saved[CLIPPED] = f32(clipped);
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    let clipped = clipped_of(saved);
    let n = saved[0];
    let f = saved[1];
    let reset = saved[2];
    let seen_before = read_cell(c_before);
    let t = output(c);
    let da_r = unless_clipped(clipped, 2u, dh * (t - saved[3]) * gate_slope(reset));
    done.dc_all = fma(dh * reset, output_slope_at(c, t), dc);
    let dc_next = unless_clipped(clipped, GATES, done.dc_all);
    let da_f = unless_clipped(clipped, 1u, dc_next * (seen_before - n) * gate_slope(f));
    done.saved[0] = unless_clipped(clipped, 0u, dc_next * (1.0 - f) * candidate_slope(n));
    done.saved[1] = da_f;
    done.saved[2] = da_r;
    done.saved[3] = dh * (1.0 - reset);
    let through = fma(peephole(at, 0u), da_f, fma(peephole(at, 1u), da_r, dc_next * f));
    done.dc = through_read(c_before, through);
    return done;
}
