// The gradients of a step's states, for those who want to see them. FLOW 1: behind the carried gradients of h and c,
// [CARRIES][B, D, H], and with resets what those need, `carry` holds
//   [CARRIES][B, D, H]          gradients of h and c that pass from step to step directly, not through W_hh
//   [steps, B, D, FLOWS, H]    gradients of the states after each step: of h, of c where there is one, and what of the
//                              last of them came directly; zero in padding
// What comes directly is what the same step makes of it: its equations are linear in the gradients.

const FLOWS: u32 = CARRIES + 1u;

// Where a unit of row `row` (step, sequence, direction) has its gradients.
fn flow_place(row: u32, unit: u32) -> u32 {
    return (2u * CARRIES + FOR_RESETS) * u.batch * u.directions * u.hidden + row * FLOWS * u.hidden + unit;
}

// A step of a unit whose cell is run with these, and what came of it: `own` is the unit's place in carried gradients.
fn follow(
    at: Site, own: u32, row: u32, values: array<f32, SAVED>, states: vec4<f32>, dh_now: f32, done: Backward,
) {
    let direct_h = (CARRIES + FOR_RESETS) * u.batch * u.directions * u.hidden + own;
    let direct_c = direct_h + u.batch * u.directions * u.hidden;
    var dh_direct = carry[direct_h];
    var dc_direct = 0.0;
    if HAS_C {
        dc_direct = carry[direct_c];
    }
    if is_reset(at.sequence, at.step + 1u, at.direction) {
        dh_direct = 0.0;
        dc_direct = 0.0;
    }
    dh_direct += states.w;
    let direct = step_backward(at, values, states.x, states.y, states.z, dh_direct, dc_direct);
    carry[direct_h] = direct.dh;
    let to = flow_place(row, at.unit);
    carry[to] = dh_now;
    if HAS_C {
        carry[direct_c] = direct.dc;
        carry[to + u.hidden] = done.dc_all;
        carry[to + 2u * u.hidden] = direct.dc_all;
    } else {
        carry[to + u.hidden] = dh_direct;
    }
}

// A step that a sequence does not have.
fn follow_padding(row: u32, unit: u32) {
    let at = flow_place(row, unit);
    for (var f = 0u; f < FLOWS; f++) {
        carry[at + f * u.hidden] = 0.0;
    }
}
