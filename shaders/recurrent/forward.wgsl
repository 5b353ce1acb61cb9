// One time step of one layer, all its directions: product with W_hh, gates, states.
//
// An invocation owns one unit of RB sequences: it makes all gates of the unit from h of the step before, then runs the
// cell. Lanes take neighbouring units, so that W_hhᵀ is read contiguously; h is uniform over lanes.

struct Recurrent {
    batch: u32, hidden: u32, directions: u32, first_step: u32,
    w_direction: u32, has_bias: u32, pad0: u32, pad1: u32,
}

struct Step {
    index: u32, // step within the bound chunk
}

@group(0) @binding(0) var<uniform> u: Recurrent;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // [D][H + 1, G·H]: W_hhᵀ, then b_hh
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read_write> saved: array<saved_t>; // [steps, B, D, SAVED, H]
@group(0) @binding(5) var<storage, read_write> h: array<h_t>;      // [steps + 1, B, D, H]
@group(0) @binding(6) var<storage, read_write> c: array<c_t>;      // the same, for cells that have it
// The state in full precision where h and c are stored in half: [B, D, H] of h, then of c. An invocation owns its units.
@group(0) @binding(7) var<storage, read_write> carry: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let unit = min(group.x * LANES + lane, u.hidden - 1u);
    let stores = group.x * LANES + lane < u.hidden;
    let b0 = group.y * RB;
    let width = u.directions * u.hidden;
    let gates = GATES * u.hidden;
    let weights = direction * u.w_direction + unit;

    var rows: array<u32, RB>;
    for (var i = 0u; i < RB; i++) {
        rows[i] = (step.index * u.batch + min(b0 + i, u.batch - 1u)) * width + direction * u.hidden;
    }
    var sums: array<array<f32, GATES>, RB>;
    if u.has_bias != 0u {
        for (var i = 0u; i < RB; i++) {
            for (var g = 0u; g < GATES; g++) {
                sums[i][g] = f32(w[weights + u.hidden * gates + g * u.hidden]);
            }
        }
    }
    for (var k = 0u; k < u.hidden; k++) {
        var column: array<f32, GATES>;
        for (var g = 0u; g < GATES; g++) {
            column[g] = f32(w[weights + k * gates + g * u.hidden]);
        }
        for (var i = 0u; i < RB; i++) {
            let before = f32(h[rows[i] + k]);
            for (var g = 0u; g < GATES; g++) {
                sums[i][g] = fma(before, column[g], sums[i][g]);
            }
        }
    }
    if !stores {
        return;
    }
    for (var i = 0u; i < RB; i++) {
        let sequence = b0 + i;
        if sequence >= u.batch {
            break;
        }
        let state = rows[i] + unit;
        let next = state + u.batch * width;
        let own = sequence * width + direction * u.hidden + unit;
        var h_before: f32;
        var c_before = 0.0;
        if CARRIED == 1u {
            h_before = carry[own];
            if HAS_C {
                c_before = carry[u.batch * width + own];
            }
        } else {
            h_before = f32(h[state]);
            if HAS_C {
                c_before = f32(c[state]);
            }
        }
        if u.first_step + step.index >= lengths[sequence] {
            h[next] = h_t(h_before);
            if HAS_C {
                c[next] = c_t(c_before);
            }
            continue;
        }
        let slots = rows[i] * SAVED + unit;
        var x: array<f32, GATES>;
        for (var g = 0u; g < GATES; g++) {
            x[g] = f32(saved[slots + g * u.hidden]);
        }
        let done = cell_forward(x, sums[i], h_before, c_before);
        for (var s = 0u; s < SAVED; s++) {
            saved[slots + s * u.hidden] = saved_t(done.saved[s]);
        }
        h[next] = h_t(done.h);
        if HAS_C {
            c[next] = c_t(done.c);
        }
        if CARRIED == 1u {
            carry[own] = done.h;
            if HAS_C {
                carry[u.batch * width + own] = done.c;
            }
        }
    }
}
