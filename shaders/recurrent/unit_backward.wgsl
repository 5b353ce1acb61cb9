// A step backward of one unit of one sequence, as the kernels of one step and of many do it: `row` is the step's, sequence's
// and direction's, counted over the bound chunk.

// What the cell saved.
fn saved_values(row: u32, unit: u32) -> array<f32, SAVED> {
    var values: array<f32, SAVED>;
    let slots = saved_place(row) + unit;
    for (var s = 0u; s < SAVED; s++) {
        values[s] = f32(saved[slots + s * u.hidden]);
    }
    return values;
}

// The gradient of the output, an element of h wide as that is.
fn dy_of(m: u32, direction: u32, unit: u32) -> f32 {
    var dy_now = 0.0;
    if u.dy_order == 2u {
        dy_now = f32(dy[(m * u.directions + direction) * h_width() + unit]);
    } else if u.dy_order == 1u {
        let time = row_without_padding(u.rows, m, is_reversed(direction, u.rows.first_reversed));
        if time != NOWHERE {
            dy_now = f32(dy[(time * u.directions + direction) * h_width() + unit]);
        }
    }
    return dy_now;
}

// h and c before the step, c after it, and the gradient of the output, as a vector, of which kernels may keep arrays; `m` counts
// steps and sequences, `anew` is whether the step begins anew.
fn states_around(anew: bool, m: u32, direction: u32, unit: u32) -> vec4<f32> {
    let state = (m * u.directions + direction) * u.hidden + unit;
    var h_before = 0.0;
    var c_before = 0.0;
    var c_after = 0.0;
    if HAS_C {
        c_before = f32(c[state]);
        c_after = f32(c[state + u.batch * u.directions * u.hidden]);
    }
    var dy_now = 0.0;
    // What a projection has made is of other units.
    if !PROJECTION {
        dy_now = dy_of(m, direction, unit);
        h_before = f32(h[state]);
    }
    let at = Site(m % u.batch, u.rows.first_step + m / u.batch, direction, unit);
    let before = seen(anew, at, h_before, c_before);
    return vec4(before.x, before.y, c_after, dy_now);
}

// The cell: `states` are those of `states_around`, dh and dc the gradients of the states after the step, dh without that of the
// output. Its saved values become gradients of the pre-activations.
fn unit_backward(at: Site, row: u32, values: array<f32, SAVED>, states: vec4<f32>, dh: f32, dc: f32) -> Backward {
    var dh_now = dh + states.w;
    if CLIPS_GRADIENT && !PROJECTION {
        dh_now = limited(dh_now, u.recipe.clip_gradient);
    }
    let done = step_backward(at, values, states.x, states.y, states.z, dh_now, dc);
    if FLOW == 1u {
        let own = (at.sequence * u.directions + at.direction) * u.hidden + at.unit;
        follow(at, own, row, values, states, dh_now, done);
    }
    let slots = saved_place(row) + at.unit;
    // What a projection has read stays.
    for (var s = 0u; s < CELL_SAVED; s++) {
        saved[slots + s * u.hidden] = saved_t(done.saved[s]);
    }
    return done;
}

// What comes back through a phase that is not the first, after the cell: `values` are what that left in the slots, `gradient` is that
// of what the phase read. It leaves the gradients of the gates before `first_gate`: those of the phase's own others may be reading.
fn unit_between_backward(
    row: u32, unit: u32, values: array<f32, SAVED>, h_read: f32, gradient: f32, first_gate: u32,
) -> Between {
    let done = between_backward(values, h_read, gradient);
    let slots = saved_place(row) + unit;
    for (var s = 0u; s < SAVED; s++) {
        if slot_gate(s) < first_gate {
            saved[slots + s * u.hidden] = saved_t(done.saved[s]);
        }
    }
    return done;
}

// A step that a sequence does not have: gradients of the final state wait for its own last step.
fn pad_backward(row: u32, unit: u32) {
    let slots = saved_place(row) + unit;
    for (var s = 0u; s < SAVED; s++) {
        saved[slots + s * u.hidden] = saved_t(0.0);
    }
    if FLOW == 1u {
        follow_padding(row, unit);
    }
}
