// A phase of a time step of one layer, all its directions: gates from a product with W_hh and, in the last phase, states. Here
// are the buffers; unit_forward.wgsl runs the cell; alone.wgsl, shared.wgsl or repacked.wgsl makes the product, for which this
// names its operand: the h of the step before, or what the phase before has made. PHASE: which one this is; the one behind the
// last is that of a projection, whose units are the elements of h.

struct Recurrent {
    batch: u32, hidden: u32, directions: u32, first_step: u32,
    w_direction: u32, has_bias: u32,
    first_unit: u32, end_unit: u32, first_row: u32, end_row: u32, // what of the step this dispatch does
    @align(16) recipe: Recipe,
}

struct Step {
    index: u32, // step within the bound chunk
}

@group(0) @binding(0) var<uniform> u: Recurrent;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // [D]: W_hhᵀ [H, G·H], b_hh, peepholes, W_hrᵀ; repacked.wgsl: W_hh
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read_write> saved: array<saved_t>; // [steps, B, D, SAVED, H] (saved_place)
@group(0) @binding(5) var<storage, read_write> h: array<h_t>;      // [steps + 1, B, D, H]
@group(0) @binding(6) var<storage, read_write> c: array<c_t>;      // the same, for cells that have it
// The state in full precision where h and c are stored in half: [B, D, H] of h, then of c. An invocation owns its units.
// Then with resets the initial states likewise.
@group(0) @binding(7) var<storage, read_write> carry: array<f32>;

// Sums of a unit: the gates of the phase. The operand has one part.
const FIRST_GATE: u32 = (PHASE_BOUNDS >> (4u * PHASE)) & 15u;
const PROJECTS: bool = PROJECTION && PHASE == PHASES;
const SUMS: u32 = select((PHASE_BOUNDS >> (4u * PHASE + 4u)) & 15u, FIRST_GATE + 1u, PROJECTS) - FIRST_GATE;
const IS_LAST: bool = PHASE + 1u == PHASES;
// Columns of a row of W_hhᵀ, in units, and in repacked.wgsl blocks of b_hh; of W_hrᵀ.
const STRIDE: u32 = select(GATES, 1u, PROJECTS);

// Units that the phase makes, and terms of their sums.
fn columns() -> u32 {
    if PROJECTS {
        return h_width();
    }
    return u.hidden;
}

fn depth() -> u32 {
    if PHASE == 0u {
        return h_width();
    }
    return u.hidden;
}

// The first of the phase's columns.
fn first_weight(direction: u32) -> u32 {
    if PROJECTS {
        return direction * u.recipe.projection_direction + u.recipe.projection;
    }
    return direction * u.w_direction + FIRST_GATE * u.hidden;
}

// The same in W_hh as it is.
fn first_weight_in_place() -> u32 {
    return FIRST_GATE * u.hidden * u.hidden;
}

fn parts() -> u32 {
    return 1u;
}

fn part_offset(part: u32) -> u32 {
    return 0u;
}

fn operand_row(sequence: u32, direction: u32) -> u32 {
    let row = (step.index * u.batch + sequence) * u.directions + direction;
    if PHASE > 0u {
        return saved_place(row) + select(phase_operand(PHASE), CELL_SAVED, PROJECTS) * u.hidden;
    }
    let anew = is_reset(sequence, u.first_step + step.index, direction);
    return row_seen(anew, sequence, direction, row * h_width());
}

fn operand(at: u32) -> f32 {
    if PHASE > 0u {
        return f32(saved[at]);
    }
    return operand_of_h(u.first_step + step.index, own_seen(at, step.index * h_count()), h_seen(at));
}

// What a sum starts from: b_hh, which lies behind the rows of the packed W_hhᵀ. Not for repacked.wgsl.
fn start(weights: u32, gate: u32) -> f32 {
    if PROJECTS || u.has_bias == 0u {
        return 0.0;
    }
    return f32(w[weights + (h_width() * GATES + gate) * u.hidden]);
}

// An element of h, of what the cells have made.
fn finish_projection(direction: u32, sequence: u32, unit: u32, sum: f32) {
    let state = ((step.index * u.batch + sequence) * u.directions + direction) * h_width() + unit;
    let own = h_place(sequence, direction, unit);
    var after = sum;
    if CLIPS_PROJECTION {
        after = limited(sum, u.recipe.clip_projection);
    }
    if u.first_step + step.index >= lengths[sequence] {
        after = f32(h[state]);
        if CARRIED == 1u {
            after = carry[own];
        }
    }
    h[state + h_count()] = h_t(after);
    if CARRIED == 1u {
        carry[own] = after;
    }
}

// What the phase makes of one unit of one sequence: in the last the cell.
fn finish(direction: u32, sequence: u32, unit: u32, sums: array<f32, SUMS>) {
    if PROJECTS {
        finish_projection(direction, sequence, unit, sums[0]);
        return;
    }
    let row = (step.index * u.batch + sequence) * u.directions + direction;
    let state = row * u.hidden + unit;
    let own = (sequence * u.directions + direction) * u.hidden + unit;
    let own_c = h_count() + own;
    var h_before = 0.0;
    var c_before = 0.0;
    if CARRIED == 1u {
        if !PROJECTION {
            h_before = carry[own];
        }
        if HAS_C {
            c_before = carry[own_c];
        }
    } else {
        if !PROJECTION {
            h_before = f32(h[state]);
        }
        if HAS_C {
            c_before = f32(c[state]);
        }
    }
    let now = u.first_step + step.index;
    if now >= lengths[sequence] {
        if IS_LAST {
            leave_states(row, unit, h_before, c_before);
        }
        return;
    }
    let at = Site(sequence, now, direction, unit);
    let before = seen(is_reset(sequence, now, direction), at, h_before, c_before);
    var parts: array<f32, GATES>;
    // A projection has returned: its own first gate is none of the cell's.
    for (var g = 0u; g < SUMS; g++) {
        parts[select(FIRST_GATE + g, 0u, PROJECTS)] = sums[g];
    }
    if !IS_LAST {
        unit_between(true, row, unit, projected(row, unit), parts, operand_of_h(now, own, before.x));
        return;
    }
    let read = select(15u, phase_operand(PHASE), PHASE > 0u);
    let done = unit_forward(at, row, projected(row, unit), parts, before.x, before.y, read);
    if CARRIED == 1u {
        if !PROJECTION {
            carry[own] = done.h;
        }
        if HAS_C {
            carry[own_c] = done.c;
        }
    }
}
