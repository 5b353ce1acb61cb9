// One time step of one layer backward, all its directions. Dispatch i of a chunk of n steps works on step n - 1 - i:
// it brings the gradient of that step's h together (what the later step passes through W_hh, what reached it directly,
// what comes from the output), then runs the cell. The saved values become gradients of the pre-activations, in place.
// The last dispatch, i = n, only passes step 0 through W_hh, which leaves the gradient of the chunk's first state.
//
// PHASE: which of a step's products this passes back. The first is that of the later step, and what is above. The others, the
// last of them first, come behind it: they pass back what the cell has just left of this step, and end with what is between phases.
//
// With a projection the first has the elements of h for units and ends with the gradient of that, which it leaves behind the saved
// values; PHASE one behind the last passes that back through W_hr, and runs the cell.
//
// Here are the buffers; unit_backward.wgsl runs the cell; alone.wgsl or shared.wgsl makes the product with W_hh, for which
// this names its operand: the gradients of the later step, one part a gate.

struct Recurrent {
    batch: u32, hidden: u32, directions: u32, steps: u32,
    w_direction: u32, dy_order: u32, // dy_order: 0 no dy, 1 time order, 2 step order
    first_unit: u32, first_row: u32, // where what this dispatch does of the step begins
    @align(16) rows: Rows,
    @align(16) recipe: Recipe,
}

struct Step {
    index: u32,
}

@group(0) @binding(0) var<uniform> u: Recurrent;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // [D][G·H, H]: W_hh; behind it W_hr, peepholes
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read> h: array<h_t>;            // [steps + 1, B, D, H]
@group(0) @binding(5) var<storage, read> c: array<c_t>;            // the same, for cells that have it
@group(0) @binding(6) var<storage, read> dy: array<dy_t>;           // [T, B, D·H] in time order, or of the chunk in step order
@group(0) @binding(7) var<storage, read_write> saved: array<saved_t>;  // [steps, B, D, SAVED, H] (saved_place)
// [B, D, H] of dh, then of dc for cells that have c, carried from dispatch to dispatch; with resets the initial states and
// their gradients likewise; then follow.wgsl's.
@group(0) @binding(8) var<storage, read_write> carry: array<f32>;

const SUMS: u32 = 1u;
// Columns of a row of W_hh, in units.
const STRIDE: u32 = 1u;
const PROJECTS: bool = PROJECTION && PHASE == PHASES;
const FIRST_GATE: u32 = (PHASE_BOUNDS >> (4u * PHASE)) & 15u;
// The operand of a projection has one part.
const END_GATE: u32 = select((PHASE_BOUNDS >> (4u * PHASE + 4u)) & 15u, FIRST_GATE + 1u, PROJECTS);

// Units that the phase makes, and terms of their sums, a part.
fn columns() -> u32 {
    if PHASE == 0u {
        return h_width();
    }
    return u.hidden;
}

fn depth() -> u32 {
    if PROJECTS {
        return h_width();
    }
    return u.hidden;
}

// The first of the phase's rows of W_hh, or of W_hr.
fn first_weight(direction: u32) -> u32 {
    if PROJECTS {
        return direction * u.recipe.projection_direction + u.recipe.projection;
    }
    return direction * u.w_direction + FIRST_GATE * u.hidden * columns();
}

// Step done by the dispatch before.
fn later() -> u32 {
    return u.steps - step.index;
}

// The first dispatch has no later step in its chunk, and the last no step of its own.
fn parts() -> u32 {
    let without = select(u.steps, 0u, PHASE == 0u);
    return select(END_GATE - FIRST_GATE, 0u, step.index == without);
}

fn part_offset(part: u32) -> u32 {
    if PROJECTS {
        return u.hidden * SAVED;
    }
    return hidden_slot(FIRST_GATE + part) * u.hidden;
}

fn operand_row(sequence: u32, direction: u32) -> u32 {
    var at = later();
    if PHASE > 0u {
        at = max(at, 1u) - 1u;
    }
    return saved_place((at * u.batch + sequence) * u.directions + direction);
}

fn operand(at: u32) -> f32 {
    return f32(saved[at]);
}

fn start(weights: u32, column: u32) -> f32 {
    return 0.0;
}

// Behind a phase that is not the first.
fn finish_between(direction: u32, sequence: u32, unit: u32, gradient: f32) {
    if step.index == u.steps {
        return;
    }
    let now = u.rows.first_step + later() - 1u;
    if now >= lengths[sequence] {
        return;
    }
    let own = own_place(sequence, direction, unit);
    let m = (later() - 1u) * u.batch + sequence;
    let row = m * u.directions + direction;
    let h_seen = states_around(is_reset(sequence, now, direction), m, direction, unit).x;
    let done = unit_between_backward(row, unit, saved_values(row, unit), operand_of_h(now, own, h_seen), gradient, FIRST_GATE);
    carry[own] = plus_through_operand(now, own, carry[own], done.dh);
}

// The whole gradient of an element of h after the step, to where W_hr passes it back and its own gradient reads it. Nothing of it
// is left to come directly.
fn finish_arrived(direction: u32, sequence: u32, unit: u32, sum: f32) {
    let own = h_place(sequence, direction, unit);
    let after = u.rows.first_step + later();
    let through = plus_through_operand(after, own, carry[own], sum);
    let dh = one_passed_on(is_reset(sequence, after, direction), own, through);
    if step.index == u.steps {
        carry[own] = dh;
        return;
    }
    let m = (later() - 1u) * u.batch + sequence;
    let kept = kept_gradient_place(m * u.directions + direction) + unit;
    if after - 1u >= lengths[sequence] {
        saved[kept] = saved_t(0.0);
        carry[own] = dh;
        return;
    }
    var whole = dh + dy_of(m, direction, unit);
    if CLIPS_GRADIENT {
        whole = limited(whole, u.recipe.clip_gradient);
    }
    if CLIPS_PROJECTION {
        // As it is stored: at its limit.
        let after_step = f32(h[m * u.directions * h_width() + direction * h_width() + unit + h_count()]);
        let limit = f32(h_t(u.recipe.clip_projection));
        whole = select(whole, 0.0, abs(after_step) >= limit);
    }
    saved[kept] = saved_t(whole);
    carry[own] = 0.0;
}

// The cell of one unit of one sequence, `dm` the gradient of what it makes.
fn finish_projected(direction: u32, sequence: u32, unit: u32, dm: f32) {
    let own = own_place(sequence, direction, unit);
    let own_c = h_count() + own;
    let after = u.rows.first_step + later();
    let dc = one_passed_on(is_reset(sequence, after, direction), own_c, carry[own_c]);
    if step.index == u.steps {
        carry[own_c] = dc;
        return;
    }
    let m = (later() - 1u) * u.batch + sequence;
    let row = m * u.directions + direction;
    let now = after - 1u;
    if now >= lengths[sequence] {
        pad_backward(row, unit);
        return;
    }
    let at = Site(sequence, now, direction, unit);
    let states = states_around(is_reset(sequence, now, direction), m, direction, unit);
    carry[own_c] = unit_backward(at, row, saved_values(row, unit), states, dm, dc).dc;
}

// The cell of one unit of one sequence.
fn finish(direction: u32, sequence: u32, unit: u32, sums: array<f32, SUMS>) {
    if PROJECTS {
        finish_projected(direction, sequence, unit, sums[0]);
        return;
    }
    if PROJECTION && PHASE == 0u {
        finish_arrived(direction, sequence, unit, sums[0]);
        return;
    }
    if PHASE > 0u {
        finish_between(direction, sequence, unit, sums[0]);
        return;
    }
    let own = (sequence * u.directions + direction) * u.hidden + unit;
    let own_c = u.batch * u.directions * u.hidden + own;
    var dc = 0.0;
    if HAS_C {
        dc = carry[own_c];
    }
    let after = u.rows.first_step + later();
    let through = plus_through_operand(after, own, carry[own], sums[0]);
    let site_after = Site(sequence, after, direction, unit);
    let saw = passed_on(is_reset(sequence, after, direction), site_after, vec2(through, dc));
    let dh = saw.x;
    dc = saw.y;
    if step.index == u.steps {
        carry[own] = dh;
        if HAS_C {
            carry[own_c] = dc;
        }
        return;
    }
    let m = (later() - 1u) * u.batch + sequence;
    let row = m * u.directions + direction;
    let now = u.rows.first_step + later() - 1u;
    if now >= lengths[sequence] {
        pad_backward(row, unit);
        carry[own] = dh;
        return;
    }
    let at = Site(sequence, now, direction, unit);
    let states = states_around(is_reset(sequence, now, direction), m, direction, unit);
    let done = unit_backward(at, row, saved_values(row, unit), states, dh, dc);
    carry[own] = done.dh;
    if HAS_C {
        carry[own_c] = done.dc;
    }
}
