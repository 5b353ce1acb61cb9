// A span of time steps of one layer backward in one dispatch, all its directions; the last steps first. A workgroup owns
// all units of RB sequences of one direction. A step brings the gradient of its h together (what the later step passes
// through W_hh, what reached it directly, what comes from the output), then runs the cell; the saved values become
// gradients of the pre-activations, in place. After the chunk's first step the last dispatch passes that step through
// W_hh too, which leaves the gradient of the chunk's first state.
//
// Units, rows and slices of k (here the G·H rows of W_hh) are dealt out by sequence.wgsl; held weights are as in
// sequence_forward.wgsl.

struct Sequence {
    batch: u32, hidden: u32, directions: u32, steps: u32,
    span: u32, w_direction: u32, dy_order: u32, // dy_order: 0 no dy, 1 time order, 2 step order
    first_row: u32, // the first sequence of this dispatch
    @align(16) rows: Rows,
    @align(16) recipe: Recipe,
}

struct Step {
    index: u32, // span, counted from the chunk's end
}

@group(0) @binding(0) var<uniform> u: Sequence;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // [D][G·H, H]: W_hh; behind it peepholes
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read> h: array<h_t>;            // [steps + 1, B, D, H]
@group(0) @binding(5) var<storage, read> c: array<c_t>;            // the same, for cells that have it
@group(0) @binding(6) var<storage, read> dy: array<dy_t>;          // [T, B, D·H] in time order, or of the chunk in step order
@group(0) @binding(7) var<storage, read_write> saved: array<saved_t>; // [steps, B, D, SAVED, H]
// [B, D, H] of dh, then of dc for cells that have c, carried from span to span; with resets the initial states and their
// gradients likewise; then follow.wgsl's.
@group(0) @binding(8) var<storage, read_write> carry: array<f32>;

const ROOM: u32 = max(COLUMNS * UNITS_EACH * GATES, SLICE * SPLIT);
const STATES: u32 = ROOM * RB;
const PARTS: u32 = select(0u, LANES * RB, SPLIT > 1u);

// Gradients of the later step's pre-activations on the recurrent side, by row of W_hh; zero beyond them. Then the parts
// of sums. One array, since none may be empty.
var<workgroup> later: array<f32, STATES + PARTS>;

// Sums of some units of each row, over rows of W_hh from k_first to before k_end.
fn product_with(at: Place, i0: u32, weights: u32, k_first: u32, k_end: u32) -> array<array<f32, RB>, TILE> {
    var sums: array<array<f32, RB>, TILE>;
    for (var k = k_first; k < k_end; k++) {
        var row: array<f32, TILE>;
        for (var t = 0u; t < TILE; t++) {
            let unit = min(at.column + (i0 + t) * COLUMNS, u.hidden - 1u);
            row[t] = f32(w[weights + k * u.hidden + unit]);
        }
        for (var r = 0u; r < RB; r++) {
            let gradient = later[k * RB + r];
            for (var t = 0u; t < TILE; t++) {
                sums[t][r] = fma(gradient, row[t], sums[t][r]);
            }
        }
    }
    return sums;
}

// Leaves an invocation's parts of sums for those that add them up.
fn leave_parts(at: Place, sums: array<f32, RB>) {
    for (var r = 0u; r < RB; r++) {
        later[STATES + (at.part * RB + r) * COLUMNS + at.column] = sums[r];
    }
    workgroupBarrier();
}

fn sum_of_parts(at: Place, r: u32) -> f32 {
    var sum = 0.0;
    for (var p = 0u; p < SPLIT; p++) {
        sum += later[STATES + (p * RB + r) * COLUMNS + at.column];
    }
    return sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = place(group, lane);
    let direction = at.direction;
    let units = unit_count();
    let rows = row_count(u.first_row + group.y * RB);
    let width = u.directions * u.hidden;
    let gates = GATES * u.hidden;
    let weights = direction * u.w_direction;
    let first = step.index * u.span;
    let end = min(first + u.span, u.steps);
    // Of the rows of W_hh that the first phase passes back through.
    let slice = slice_of(at, phase_end(0u) * u.hidden);
    let k_first = slice.x;
    let k_end = slice.y;

    for (var i = lane; i < STATES; i += LANES) {
        later[i] = 0.0;
    }
    workgroupBarrier();
    var gradients: array<f32, UNITS_EACH * OWN>;
    var gradients_c: array<f32, UNITS_EACH * OWN>;
    // Sums of the gradients of initial states.
    var for_initial: array<vec2<f32>, UNITS_EACH * OWN>;
    for (var i = 0u; i < units; i++) {
        for (var j = 0u; j < rows; j++) {
            let unit = at.column + i * COLUMNS;
            let r = at.part + j * SPLIT;
            if !exists(at, unit, r) {
                continue;
            }
            let own = (at.b0 + r) * width + direction * u.hidden + unit;
            gradients[i * OWN + j] = carry[own];
            if HAS_C {
                gradients_c[i * OWN + j] = carry[u.batch * width + own];
            }
            for_initial[i * OWN + j] = sums_for_initial(Site(at.b0 + r, 0u, direction, unit));
            if first > 0u {
                let m = (u.steps - first) * u.batch + at.b0 + r;
                let slots = (m * u.directions + direction) * u.hidden * SAVED + unit;
                for (var g = 0u; g < GATES; g++) {
                    later[(g * u.hidden + unit) * RB + r] = f32(saved[slots + hidden_slot(g) * u.hidden]);
                }
            }
        }
    }
    var lengths_own: array<u32, OWN>;
    for (var j = 0u; j < rows; j++) {
        lengths_own[j] = lengths[sequence_of(at, j)];
    }

    let only = min(at.column, u.hidden - 1u);
    // Which rows begin anew at the step after the one that is worked on, and at that.
    var anew_after = rows_anew(at, rows, u.rows.first_step + u.steps - first);
    var anew = rows_anew(at, rows, u.rows.first_step + u.steps - min(first + 1u, u.steps));
    var mine: array<f32, SLICE>;
    // Arrays of numbers and vectors: FXC unrolls the loop over steps for an array of structures.
    var values_ahead: array<array<f32, SAVED>, OWN>;
    var states_ahead: array<vec4<f32>, OWN>;
    if ROLLED == 0u {
        if HELD == 1u {
            for (var k = 0u; k < SLICE; k++) {
                let place = weights + min(k_first + k, gates - 1u) * u.hidden + only;
                mine[k] = select(0.0, f32(w[place]), k_first + k < k_end);
            }
        }
        for (var j = 0u; j < rows; j++) {
            let m = (u.steps - 1u - first) * u.batch + sequence_of(at, j);
            // Others have no sequence of their own, and what is another workgroup's is being written.
            if at.part + j * SPLIT < RB {
                values_ahead[j] = saved_values(m * u.directions + direction, only);
                states_ahead[j] = states_around(is_anew(anew, j), m, direction, only);
            }
        }
    }
    workgroupBarrier();

    for (var n = first; n <= end; n++) {
        // The pass after a span belongs to the next one, or, after the chunk's first step, to this one.
        if n == end && n < u.steps {
            break;
        }
        var values_now: array<array<f32, SAVED>, OWN>;
        var states_now: array<vec4<f32>, OWN>;
        let step_before = u.steps - 1u - min(n + 1u, u.steps - 1u);
        let anew_before = rows_anew(at, rows, u.rows.first_step + step_before);
        if ROLLED == 0u {
            values_now = values_ahead;
            states_now = states_ahead;
            for (var j = 0u; j < rows; j++) {
                if at.part + j * SPLIT < RB {
                    let m = step_before * u.batch + sequence_of(at, j);
                    values_ahead[j] = saved_values(m * u.directions + direction, only);
                    states_ahead[j] = states_around(is_anew(anew_before, j), m, direction, only);
                }
            }
        }
        if n > 0u {
            let after = u.rows.first_step + u.steps - n;
            for (var i0 = 0u; i0 < units; i0 += TILE) {
                var sums: array<array<f32, RB>, TILE>;
                if HELD == 1u {
                    for (var k = 0u; k < SLICE; k++) {
                        for (var r = 0u; r < RB; r++) {
                            sums[0][r] = fma(later[(k_first + k) * RB + r], mine[k], sums[0][r]);
                        }
                    }
                } else {
                    sums = product_with(at, i0, weights, k_first, k_end);
                }
                if SPLIT > 1u {
                    leave_parts(at, sums[0]);
                    for (var j = 0u; j < rows; j++) {
                        let sum = sum_of_parts(at, min(at.part + j * SPLIT, RB - 1u));
                        let place = own_place(sequence_of(at, j), direction, only);
                        gradients[j] = plus_through_operand(after, place, gradients[j], sum);
                    }
                } else {
                    for (var t = 0u; t < TILE; t++) {
                        for (var r = 0u; r < RB; r++) {
                            let unit = min(at.column + (i0 + t) * COLUMNS, u.hidden - 1u);
                            let own = (i0 + t) * OWN + r;
                            let place = own_place(sequence_of(at, r), direction, unit);
                            gradients[own] = plus_through_operand(after, place, gradients[own], sums[t][r]);
                        }
                    }
                }
            }
        }
        if n == u.steps {
            break;
        }
        // Where k is split, the barrier above parts what is read from what is written next.
        if SPLIT == 1u {
            workgroupBarrier();
        }
        for (var i = 0u; i < units; i++) {
            let unit = at.column + i * COLUMNS;
            for (var j = 0u; j < rows; j++) {
                let r = at.part + j * SPLIT;
                if !exists(at, unit, r) {
                    continue;
                }
                let sequence = at.b0 + r;
                let s = u.steps - 1u - n;
                let m = s * u.batch + sequence;
                let row = m * u.directions + direction;
                let now = u.rows.first_step + s;
                let own = i * OWN + j;
                let left = parted(is_anew(anew_after, j), vec2(gradients[own], gradients_c[own]));
                for_initial[own] += left.initial;
                gradients[own] = left.before.x;
                gradients_c[own] = left.before.y;
                if now >= lengths_own[j] {
                    pad_backward(row, unit);
                    for (var g = 0u; g < GATES; g++) {
                        later[(g * u.hidden + unit) * RB + r] = 0.0;
                    }
                    continue;
                }
                var values: array<f32, SAVED>;
                var states: vec4<f32>;
                if ROLLED == 0u {
                    values = values_now[j];
                    states = states_now[j];
                } else {
                    values = saved_values(row, unit);
                    states = states_around(is_anew(anew, j), m, direction, unit);
                }
                let site = Site(sequence, now, direction, unit);
                let done = unit_backward(site, row, values, states, gradients[own], gradients_c[own]);
                gradients[own] = done.dh;
                if HAS_C {
                    gradients_c[own] = done.dc;
                }
                for (var v = 0u; v < SAVED; v++) {
                    let g = slot_gate(v);
                    if g < GATES {
                        // As it will be read after the span.
                        later[(g * u.hidden + unit) * RB + r] = f32(saved_t(done.saved[v]));
                    }
                    if PHASES > 1u && ROLLED == 0u {
                        values_now[j][v] = f32(saved_t(done.saved[v]));
                    }
                }
            }
        }
        workgroupBarrier();
        // The step's other phases, the last first, and what is before each.
        if PHASES > 1u {
            for (var phase = PHASES - 1u; phase > 0u; phase--) {
                let first_gate = phase_first(phase);
                let rows_before = first_gate * u.hidden;
                let own_slice = slice_of(at, phase_end(phase) * u.hidden - rows_before);
                for (var i0 = 0u; i0 < units; i0 += TILE) {
                    let sums = product_with(at, i0, weights, rows_before + own_slice.x, rows_before + own_slice.y);
                    if SPLIT > 1u {
                        leave_parts(at, sums[0]);
                    }
                    for (var t = 0u; t < TILE; t++) {
                        let unit = at.column + (i0 + t) * COLUMNS;
                        for (var j = 0u; j < OWN; j++) {
                            let r = at.part + j * SPLIT;
                            let s = u.steps - 1u - n;
                            let now = u.rows.first_step + s;
                            if !exists(at, unit, r) || now >= lengths_own[j] {
                                continue;
                            }
                            // Without a split an invocation's own rows are all rows.
                            var gradient = sums[t][j];
                            if SPLIT > 1u {
                                gradient = sum_of_parts(at, r);
                            }
                            let m = s * u.batch + at.b0 + r;
                            let row = m * u.directions + direction;
                            var values: array<f32, SAVED>;
                            var h_seen: f32;
                            if ROLLED == 0u {
                                values = values_now[j];
                                h_seen = states_now[j].x;
                            } else {
                                values = saved_values(row, unit);
                                h_seen = states_around(is_anew(anew, j), m, direction, unit).x;
                            }
                            let place = own_place(at.b0 + r, direction, unit);
                            let h_read = operand_of_h(now, place, h_seen);
                            let done = unit_between_backward(row, unit, values, h_read, gradient, first_gate);
                            let own = (i0 + t) * OWN + j;
                            gradients[own] = plus_through_operand(now, place, gradients[own], done.dh);
                            for (var v = 0u; v < SAVED; v++) {
                                let g = slot_gate(v);
                                if g < first_gate {
                                    later[(g * u.hidden + unit) * RB + r] = f32(saved_t(done.saved[v]));
                                }
                            }
                        }
                    }
                }
                workgroupBarrier();
            }
        }
        anew_after = anew;
        anew = anew_before;
    }

    for (var i = 0u; i < units; i++) {
        for (var j = 0u; j < rows; j++) {
            let unit = at.column + i * COLUMNS;
            let r = at.part + j * SPLIT;
            if !exists(at, unit, r) {
                continue;
            }
            let own = (at.b0 + r) * width + direction * u.hidden + unit;
            var left = vec2(gradients[i * OWN + j], gradients_c[i * OWN + j]);
            let site = Site(at.b0 + r, u.rows.first_step, direction, unit);
            leave_for_initial(site, for_initial[i * OWN + j]);
            if end == u.steps {
                left = passed_on(is_anew(anew_after, j), site, left);
            }
            carry[own] = left.x;
            if HAS_C {
                carry[u.batch * width + own] = left.y;
            }
        }
    }
}
