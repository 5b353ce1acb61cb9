// One time step of one layer backward, all its directions. Dispatch i of a chunk of n steps works on step n - 1 - i:
// it brings the gradient of that step's h together (what the later step passes through W_hh, what reached it directly,
// what comes from the output), then runs the cell. The saved values become gradients of the pre-activations, in place.
// The last dispatch, i = n, only passes step 0 through W_hh, which leaves the gradient of the chunk's first state.
//
// An invocation owns one unit of RB sequences. Lanes take neighbouring units, so that rows of W_hh are read
// contiguously; the later step's gradients are uniform over lanes.

struct Recurrent {
    batch: u32, hidden: u32, directions: u32, steps: u32,
    w_direction: u32, dy_order: u32, pad0: u32, pad1: u32, // dy_order: 0 no dy, 1 time order, 2 step order
    rows: Rows,
}

struct Step {
    index: u32,
}

@group(0) @binding(0) var<uniform> u: Recurrent;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // [D][G·H, H]: W_hh
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read> h: array<h_t>;            // [steps + 1, B, D, H]
@group(0) @binding(5) var<storage, read> c: array<c_t>;            // the same, for cells that have it
@group(0) @binding(6) var<storage, read> dy: array<dy_t>;           // [T, B, D·H] in time order, or of the chunk in step order
@group(0) @binding(7) var<storage, read_write> saved: array<saved_t>;  // [steps, B, D, SAVED, H]
@group(0) @binding(8) var<storage, read_write> dh: array<f32>;     // [B, D, H], carried from dispatch to dispatch
@group(0) @binding(9) var<storage, read_write> dc: array<f32>;     // the same

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let unit = min(group.x * LANES + lane, u.hidden - 1u);
    let stores = group.x * LANES + lane < u.hidden;
    let b0 = group.y * RB;
    let width = u.directions * u.hidden;
    let weights = direction * u.w_direction + unit;
    // Step done by the dispatch before, and this one's.
    let later = u.steps - step.index;

    var sums: array<f32, RB>;
    if step.index > 0u {
        var rows: array<u32, RB>;
        for (var i = 0u; i < RB; i++) {
            rows[i] = ((later * u.batch + min(b0 + i, u.batch - 1u)) * width + direction * u.hidden) * SAVED;
        }
        for (var g = 0u; g < GATES; g++) {
            let slots = HIDDEN_SLOTS;
            let slot = slots[g] * u.hidden;
            for (var j = 0u; j < u.hidden; j++) {
                let weight = f32(w[weights + (g * u.hidden + j) * u.hidden]);
                for (var i = 0u; i < RB; i++) {
                    sums[i] = fma(f32(saved[rows[i] + slot + j]), weight, sums[i]);
                }
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
        let carry = sequence * width + direction * u.hidden + unit;
        var dh_now = dh[carry] + sums[i];
        if step.index == u.steps {
            dh[carry] = dh_now;
            continue;
        }
        let m = (later - 1u) * u.batch + sequence;
        let state = m * width + direction * u.hidden + unit;
        let slots = (m * width + direction * u.hidden) * SAVED + unit;
        if u.rows.first_step + later - 1u >= lengths[sequence] {
            // Padding: gradients of the final state wait for the sequence's own last step.
            for (var s = 0u; s < SAVED; s++) {
                saved[slots + s * u.hidden] = saved_t(0.0);
            }
            dh[carry] = dh_now;
            continue;
        }
        if u.dy_order == 2u {
            dh_now += f32(dy[state]);
        } else if u.dy_order == 1u {
            let row = row_without_padding(u.rows, m, direction == 1u);
            if row != NOWHERE {
                dh_now += f32(dy[row * width + direction * u.hidden + unit]);
            }
        }
        var values: array<f32, SAVED>;
        for (var s = 0u; s < SAVED; s++) {
            values[s] = f32(saved[slots + s * u.hidden]);
        }
        var c_before = 0.0;
        var c_after = 0.0;
        var dc_now = 0.0;
        if HAS_C {
            c_before = f32(c[state]);
            c_after = f32(c[state + u.batch * width]);
            dc_now = dc[carry];
        }
        let done = cell_backward(values, f32(h[state]), c_before, c_after, dh_now, dc_now);
        for (var s = 0u; s < SAVED; s++) {
            saved[slots + s * u.hidden] = saved_t(done.saved[s]);
        }
        dh[carry] = done.dh;
        if HAS_C {
            dc[carry] = done.dc;
        }
    }
}
