// One time step of one layer backward, all its directions. Dispatch i of a chunk of n steps works on step n - 1 - i:
// it brings the gradient of that step's h together (what the later step passes through W_hh, what reached it directly,
// what comes from the output), then runs the cell. The saved values become gradients of the pre-activations, in place.
// The last dispatch, i = n, only passes step 0 through W_hh, which leaves the gradient of the chunk's first state.
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
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // [D][G·H, H]: W_hh; behind it peepholes
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read> h: array<h_t>;            // [steps + 1, B, D, H]
@group(0) @binding(5) var<storage, read> c: array<c_t>;            // the same, for cells that have it
@group(0) @binding(6) var<storage, read> dy: array<dy_t>;           // [T, B, D·H] in time order, or of the chunk in step order
@group(0) @binding(7) var<storage, read_write> saved: array<saved_t>;  // [steps, B, D, SAVED, H]
// [B, D, H] of dh, then of dc for cells that have c, carried from dispatch to dispatch; with resets the initial states and
// their gradients likewise; then follow.wgsl's.
@group(0) @binding(8) var<storage, read_write> carry: array<f32>;

const SUMS: u32 = 1u;

// Step done by the dispatch before.
fn later() -> u32 {
    return u.steps - step.index;
}

// The first dispatch has no later step in its chunk.
fn parts() -> u32 {
    return select(GATES, 0u, step.index == 0u);
}

fn part_offset(part: u32) -> u32 {
    return hidden_slot(part) * u.hidden;
}

fn operand_row(sequence: u32, direction: u32) -> u32 {
    return ((later() * u.batch + sequence) * u.directions + direction) * u.hidden * SAVED;
}

fn operand(at: u32) -> f32 {
    return f32(saved[at]);
}

fn start(weights: u32, column: u32) -> f32 {
    return 0.0;
}

// The cell of one unit of one sequence.
fn finish(direction: u32, sequence: u32, unit: u32, sums: array<f32, SUMS>) {
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
