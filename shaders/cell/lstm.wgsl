// Long short-term memory, gates i, f, g, o (torch.nn.LSTM):
//   i = σ(x_i + r_i)   f = σ(x_f + r_f)   g = tanh(x_g + r_g)   o = σ(x_o + r_o)
//   c' = f c + i g     h' = o tanh(c')
// Peepholes: p_i c and p_f c are added to the arguments of i and f, p_o c' to that of o.
// Coupled: gates f, g, o, and i = 1 - f.

const F: u32 = select(1u, 0u, COUPLED);
const G: u32 = F + 1u;
const O: u32 = F + 2u;

fn cell_forward(at: Site, x: array<f32, GATES>, r: array<f32, GATES>, h: f32, c: f32) -> Forward {
    var done: Forward;
    let seen_before = read_cell(c);
    let a_f = peeped(at, F, seen_before, x[F] + r[F]);
    let a_g = x[G] + r[G];
    let f = gate(a_f);
    let g = candidate(a_g);
    var clipped = clipped_input(a_f, F) | clipped_input(a_g, G);
    var i = 1.0 - f;
    if !COUPLED {
        let a_i = peeped(at, 0u, seen_before, x[0] + r[0]);
        i = gate(a_i);
        clipped |= clipped_input(a_i, 0u);
        done.saved[0] = i;
    }
    let c_next = fma(f, seen_before, i * g);
    done.c = stored_cell(c_next);
    let a_o = peeped(at, F + 1u, read_cell(done.c), x[O] + r[O]);
    let o = gate(a_o);
    clipped |= clipped_cell(c_next) | clipped_input(a_o, O);
    done.h = o * output(done.c);
    done.saved[F] = f;
    done.saved[G] = g;
    done.saved[O] = o;
    if CLIPS_INPUTS || CLIPS_CELL {
        done.saved[CLIPPED] = f32(clipped);
    }
    return done;
}

fn cell_backward(at: Site, saved: array<f32, SAVED>, h: f32, c_before: f32, c: f32, dh: f32, dc: f32) -> Backward {
    var done: Backward;
    let clipped = clipped_of(saved);
    let f = saved[F];
    let g = saved[G];
    let o = saved[O];
    let seen_before = read_cell(c_before);
    let t = output(c);
    let da_o = unless_clipped(clipped, O, dh * t * gate_slope(o));
    done.dc_all = through_peephole(at, F + 1u, through_read(c, da_o), fma(dh * o, output_slope_at(c, t), dc));
    let dc_next = unless_clipped(clipped, GATES, done.dc_all);
    var i = 1.0 - f;
    var by_f = seen_before - g;
    if !COUPLED {
        i = saved[0];
        by_f = seen_before;
    }
    let da_f = unless_clipped(clipped, F, dc_next * by_f * gate_slope(f));
    var dc_before = through_peephole(at, F, da_f, dc_next * f);
    if !COUPLED {
        let da_i = unless_clipped(clipped, 0u, dc_next * g * gate_slope(i));
        dc_before = through_peephole(at, 0u, da_i, dc_before);
        done.saved[0] = da_i;
    }
    done.saved[F] = da_f;
    done.saved[G] = unless_clipped(clipped, G, dc_next * i * candidate_slope(g));
    done.saved[O] = da_o;
    done.dc = through_read(c_before, dc_before);
    return done;
}
