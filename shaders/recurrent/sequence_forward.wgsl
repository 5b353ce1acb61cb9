// A span of time steps of one layer in one dispatch, all its directions. A workgroup owns all units of RB sequences of
// one direction, so that nothing but its own barriers stands between two steps.
//
// Units and rows are dealt out by sequence.wgsl. Lanes take neighbouring units, so that W_hhᵀ is read contiguously; h is
// uniform over the lanes of a slice. HELD: the weights of an invocation stay in its registers for the whole span.

struct Sequence {
    batch: u32, hidden: u32, directions: u32, first_step: u32,
    steps: u32, span: u32, w_direction: u32, has_bias: u32,
    has_y: u32, first_row: u32, // the first sequence of this dispatch
    @align(16) recipe: Recipe,
}

struct Step {
    index: u32, // span within the bound chunk
}

@group(0) @binding(0) var<uniform> u: Sequence;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // [D]: W_hhᵀ [H, G·H], b_hh, peepholes
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read_write> saved: array<saved_t>; // [steps, B, D, SAVED, H]
@group(0) @binding(5) var<storage, read_write> h: array<h_t>;      // [steps + 1, B, D, H]
@group(0) @binding(6) var<storage, read_write> c: array<c_t>;      // the same, for cells that have it
// The state in full precision where h and c are stored in half: [B, D, H] of h, then of c. Then with resets the initial
// states likewise.
@group(0) @binding(7) var<storage, read_write> carry: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<y_t>;      // [T, B, D·H] in time order, of the last layer

const ROOM: u32 = max(COLUMNS * UNITS_EACH, SLICE * SPLIT);
const STATES: u32 = (1u + PHASES) * ROOM * RB;
const OPERANDS: u32 = 2u * ROOM * RB;
const PARTS: u32 = select(0u, LANES * RB * GATES, SPLIT > 1u);

// What products read of h before the step and after it, in turn, then what phases read that are not the first; zero where there
// is no unit or no sequence. Then the parts of sums. One array, since none may be empty.
var<workgroup> states: array<f32, STATES + PARTS>;

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
    let slice = slice_of(at, u.hidden);
    let k_first = slice.x;
    let k_end = slice.y;

    for (var i = lane; i < STATES; i += LANES) {
        states[i] = 0.0;
    }
    workgroupBarrier();
    let anew_first = rows_anew(at, rows, u.first_step + first);
    var cells: array<f32, UNITS_EACH * OWN>;
    // h itself, where products read what dropout leaves of it.
    var whole: array<f32, UNITS_EACH * OWN>;
    for (var i = 0u; i < units; i++) {
        for (var j = 0u; j < rows; j++) {
            let unit = at.column + i * COLUMNS;
            let r = at.part + j * SPLIT;
            if !exists(at, unit, r) {
                continue;
            }
            let own = (at.b0 + r) * width + direction * u.hidden + unit;
            let slot = first * u.batch * width + own;
            var h_before: f32;
            var c_before = 0.0;
            if CARRIED == 1u {
                h_before = carry[own];
                if HAS_C {
                    c_before = carry[u.batch * width + own];
                }
            } else {
                h_before = f32(h[slot]);
                if HAS_C {
                    c_before = f32(c[slot]);
                }
            }
            let site = Site(at.b0 + r, u.first_step + first, direction, unit);
            let before = seen(is_anew(anew_first, j), site, h_before, c_before);
            states[unit * RB + r] = operand_of_h(u.first_step + first, own, before.x);
            whole[i * OWN + j] = before.x;
            if HAS_C {
                cells[i * OWN + j] = before.y;
            }
        }
    }
    var lengths_own: array<u32, OWN>;
    for (var j = 0u; j < rows; j++) {
        lengths_own[j] = lengths[sequence_of(at, j)];
    }

    // With one unit an invocation, what does not change stays in registers, and the input projections of the step after
    // are on their way while this one is worked on.
    let only = min(at.column, u.hidden - 1u);
    var mine: array<array<f32, GATES>, SLICE>;
    var bias: array<f32, GATES>;
    var ahead: array<array<f32, READS>, OWN>;
    if ROLLED == 0u {
        if HELD == 1u {
            for (var k = 0u; k < SLICE; k++) {
                for (var g = 0u; g < GATES; g++) {
                    let place = weights + min(k_first + k, u.hidden - 1u) * gates + g * u.hidden + only;
                    mine[k][g] = select(0.0, f32(w[place]), k_first + k < k_end);
                }
            }
        }
        if u.has_bias != 0u && at.part == 0u {
            for (var g = 0u; g < GATES; g++) {
                bias[g] = f32(w[weights + u.hidden * gates + g * u.hidden + only]);
            }
        }
        for (var j = 0u; j < rows; j++) {
            // Others have no sequence of their own, and what is another workgroup's is being written.
            if at.part + j * SPLIT < RB {
                ahead[j] = projected((first * u.batch + sequence_of(at, j)) * u.directions + direction, only);
            }
        }
    }
    workgroupBarrier();

    var before = 0u;
    for (var s = first; s < end; s++) {
        let after = ROOM * RB - before;
        let anew_next = rows_anew(at, rows, u.first_step + s + 1u);
        var x: array<array<f32, READS>, OWN>;
        if ROLLED == 0u {
            x = ahead;
            let row = min(s + 1u, end - 1u) * u.batch;
            for (var j = 0u; j < rows; j++) {
                if at.part + j * SPLIT < RB {
                    ahead[j] = projected((row + sequence_of(at, j)) * u.directions + direction, only);
                }
            }
        }
        for (var phase = 0u; phase < PHASES; phase++) {
            var operand = before;
            if PHASES > 1u && phase > 0u {
                operand = OPERANDS + (phase - 1u) * ROOM * RB;
                workgroupBarrier();
            }
            for (var i0 = 0u; i0 < units; i0 += TILE) {
                var sums: array<array<array<f32, GATES>, RB>, TILE>;
                if ROLLED == 0u {
                    for (var r = 0u; r < RB; r++) {
                        sums[0][r] = bias;
                    }
                } else if u.has_bias != 0u && at.part == 0u {
                    for (var t = 0u; t < TILE; t++) {
                        let unit = min(at.column + (i0 + t) * COLUMNS, u.hidden - 1u);
                        for (var g = 0u; g < GATES; g++) {
                            let value = f32(w[weights + u.hidden * gates + g * u.hidden + unit]);
                            for (var r = 0u; r < RB; r++) {
                                sums[t][r][g] = value;
                            }
                        }
                    }
                }
                // Of the gates of the phase.
                if HELD == 1u {
                    for (var k = 0u; k < SLICE; k++) {
                        for (var r = 0u; r < RB; r++) {
                            let state = states[operand + (k_first + k) * RB + r];
                            for (var g = 0u; g < GATES; g++) {
                                if is_of_phase(phase, g) {
                                    sums[0][r][g] = fma(state, mine[k][g], sums[0][r][g]);
                                }
                            }
                        }
                    }
                } else {
                    for (var k = k_first; k < k_end; k++) {
                        var row: array<array<f32, GATES>, TILE>;
                        for (var t = 0u; t < TILE; t++) {
                            let unit = min(at.column + (i0 + t) * COLUMNS, u.hidden - 1u);
                            for (var g = 0u; g < GATES; g++) {
                                if is_of_phase(phase, g) {
                                    row[t][g] = f32(w[weights + k * gates + g * u.hidden + unit]);
                                }
                            }
                        }
                        for (var r = 0u; r < RB; r++) {
                            let state = states[operand + k * RB + r];
                            for (var t = 0u; t < TILE; t++) {
                                for (var g = 0u; g < GATES; g++) {
                                    if is_of_phase(phase, g) {
                                        sums[t][r][g] = fma(state, row[t][g], sums[t][r][g]);
                                    }
                                }
                            }
                        }
                    }
                }
                if SPLIT > 1u {
                    for (var r = 0u; r < RB; r++) {
                        for (var g = 0u; g < GATES; g++) {
                            states[STATES + ((at.part * RB + r) * GATES + g) * COLUMNS + at.column] = sums[0][r][g];
                        }
                    }
                    workgroupBarrier();
                }
                var totals: array<array<f32, GATES>, TILE * RB>;
                var tiles = TILE;
                if ROLLED == 1u {
                    tiles = min(TILE, units - i0);
                    for (var t = 0u; t < TILE; t++) {
                        for (var r = 0u; r < RB; r++) {
                            totals[t * RB + r] = sums[t][r];
                        }
                    }
                }
                for (var t = 0u; t < tiles; t++) {
                    let i = i0 + t;
                    let unit = at.column + i * COLUMNS;
                    for (var j = 0u; j < rows; j++) {
                        let r = at.part + j * SPLIT;
                        if !exists(at, unit, r) {
                            continue;
                        }
                        let sequence = at.b0 + r;
                        let row = (s * u.batch + sequence) * u.directions + direction;
                        let now = u.first_step + s;
                        let length = lengths_own[j];
                        let here = unit * RB + r;
                        let h_before = h_of(states[before + here], whole[i * OWN + j]);
                        if now >= length {
                            if PHASES > 1u && phase + 1u < PHASES {
                                continue;
                            }
                            states[after + here] = states[before + here];
                            leave_states(row, unit, h_before, cells[i * OWN + j]);
                            if u.has_y != 0u {
                                y[(now * u.batch + sequence) * width + direction * u.hidden + unit] = y_t(0.0);
                            }
                            continue;
                        }
                        var recurrent: array<f32, GATES>;
                        if SPLIT > 1u {
                            for (var p = 0u; p < SPLIT; p++) {
                                for (var g = 0u; g < GATES; g++) {
                                    recurrent[g] += states[STATES + ((p * RB + r) * GATES + g) * COLUMNS + at.column];
                                }
                            }
                        } else if ROLLED == 1u {
                            recurrent = totals[t * RB + r];
                        } else {
                            recurrent = sums[t][r];
                        }
                        var input: array<f32, READS>;
                        if ROLLED == 0u {
                            input = x[j];
                        } else {
                            input = projected(row, unit);
                        }
                        if PHASES > 1u && phase + 1u < PHASES {
                            let made = unit_between(ROLLED == 1u, row, unit, input, recurrent, states[before + here]);
                            if ROLLED == 0u {
                                x[j] = made;
                            }
                            for (var v = 0u; v < READS; v++) {
                                if v == phase_operand(phase + 1u) {
                                    states[OPERANDS + phase * ROOM * RB + here] = made[v];
                                }
                            }
                            continue;
                        }
                        let site = Site(sequence, now, direction, unit);
                        let done = unit_forward(site, row, input, recurrent, h_before, cells[i * OWN + j], 15u);
                        let next = seen(is_anew(anew_next, j), Site(sequence, now + 1u, direction, unit), done.h, done.c);
                        let own = own_place(sequence, direction, unit);
                        states[after + here] = operand_of_h(now + 1u, own, next.x);
                        whole[i * OWN + j] = next.x;
                        if HAS_C {
                            cells[i * OWN + j] = next.y;
                        }
                        if u.has_y != 0u {
                            let time = other_side(now, length, is_reversed(direction, u.recipe.first_reversed));
                            y[(time * u.batch + sequence) * width + direction * u.hidden + unit] = y_t(done.h);
                        }
                    }
                }
            }
        }
        before = after;
        workgroupBarrier();
    }

    if CARRIED == 1u {
        for (var i = 0u; i < units; i++) {
            for (var j = 0u; j < rows; j++) {
                let unit = at.column + i * COLUMNS;
                let r = at.part + j * SPLIT;
                if !exists(at, unit, r) {
                    continue;
                }
                let own = (at.b0 + r) * width + direction * u.hidden + unit;
                carry[own] = h_of(states[before + unit * RB + r], whole[i * OWN + j]);
                if HAS_C {
                    carry[u.batch * width + own] = cells[i * OWN + j];
                }
            }
        }
    }
}
