// A step forward of one unit of one sequence, as the kernels of one step and of many do it: `row` is the step's, sequence's
// and direction's, counted over the bound chunk.

// The unit's input projections, and what phases before have made of them.
fn projected(row: u32, unit: u32) -> array<f32, READS> {
    var x: array<f32, READS>;
    let slots = saved_place(row) + unit;
    for (var g = 0u; g < READS; g++) {
        x[g] = f32(saved[slots + g * u.hidden]);
    }
    return x;
}

// What a phase before the last makes, with its sums and what products read of h, as it is stored. `keeps`: it is, for the next.
fn unit_between(
    keeps: bool, row: u32, unit: u32, x: array<f32, READS>, sums: array<f32, GATES>, h_read: f32,
) -> array<f32, READS> {
    let made = between_forward(x, sums, h_read);
    var stored: array<f32, READS>;
    let slots = saved_place(row) + unit;
    for (var s = 0u; s < READS; s++) {
        stored[s] = f32(saved_t(made[s]));
        if keeps {
            saved[slots + s * u.hidden] = saved_t(made[s]);
        }
    }
    return stored;
}

// The states after the step. A projection leaves h itself.
fn leave_states(row: u32, unit: u32, h_after: f32, c_after: f32) {
    let next = (row + u.batch * u.directions) * u.hidden + unit;
    if !PROJECTION {
        h[next] = h_t(h_after);
    }
    if HAS_C {
        c[next] = c_t(c_after);
    }
}

// The cell, with sums of h W_hhᵀ + b_hh, from the states before the step. `read`: a slot that is there already and that others
// may be reading now; 15: none.
fn unit_forward(
    at: Site, row: u32, x: array<f32, READS>, sums: array<f32, GATES>, h_before: f32, c_before: f32, read: u32,
) -> Forward {
    let done = step_forward(at, x, sums, h_before, c_before);
    let slots = saved_place(row) + at.unit;
    for (var s = 0u; s < CELL_SAVED; s++) {
        if PHASES < 2u || s != read {
            saved[slots + s * u.hidden] = saved_t(done.saved[s]);
        }
    }
    if PROJECTION {
        saved[slots + CELL_SAVED * u.hidden] = saved_t(done.h);
    }
    leave_states(row, at.unit, done.h, done.c);
    return done;
}
