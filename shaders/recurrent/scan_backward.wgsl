// A span of time steps of one layer backward in one dispatch, all its directions, the last steps first, where no product of a step
// reads h. An invocation has one unit of one sequence. The saved values become gradients of the pre-activations, in place.

struct Scan {
    batch: u32, hidden: u32, directions: u32, steps: u32,
    span: u32, dy_order: u32, // dy_order: 0 no dy, 1 time order, 2 step order
    first: u32, end: u32, // units of [B, D, H] that this dispatch does, from the first to before the end
    @align(16) rows: Rows,
    @align(16) recipe: Recipe,
}

struct Step {
    index: u32, // span, counted from the chunk's end
}

@group(0) @binding(0) var<uniform> u: Scan;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<w_t>;            // peepholes, [D]
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read> h: array<h_t>;            // [steps + 1, B, D, H]
@group(0) @binding(5) var<storage, read> c: array<c_t>;            // the same, for cells that have it
@group(0) @binding(6) var<storage, read> dy: array<dy_t>;          // [T, B, D·H] in time order, or of the chunk in step order
@group(0) @binding(7) var<storage, read_write> saved: array<saved_t>; // [steps, B, D, SAVED, H]
// [B, D, H] of dh, then of dc for cells that have c, carried from span to span; with resets the initial states and their
// gradients likewise; then follow.wgsl's.
@group(0) @binding(8) var<storage, read_write> carry: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var own = u.first + id.x; own < u.end; own += groups.x * LANES) {
        run(own);
    }
}

// The steps of the unit whose place is `own`.
fn run(own: u32) {
    let unit = own % u.hidden;
    let direction = own / u.hidden % u.directions;
    let sequence = own / (u.hidden * u.directions);
    let length = lengths[sequence];
    let first = step.index * u.span;
    let end = min(first + u.span, u.steps);
    var gradients = vec2(carry[own], 0.0);
    if HAS_C {
        gradients.y = carry[state_count() + own];
    }
    for (var n = first; n < end; n++) {
        let s = u.steps - 1u - n;
        let now = u.rows.first_step + s;
        let m = s * u.batch + sequence;
        let row = m * u.directions + direction;
        // What the step after saw is not this one's where that began anew.
        let after = Site(sequence, now + 1u, direction, unit);
        gradients = passed_on(is_reset(sequence, now + 1u, direction), after, gradients);
        if now >= length {
            pad_backward(row, unit);
            continue;
        }
        let at = Site(sequence, now, direction, unit);
        let states = states_around(is_reset(sequence, now, direction), m, direction, unit);
        let done = unit_backward(at, row, saved_values(row, unit), states, gradients.x, gradients.y);
        gradients = vec2(done.dh, done.dc);
    }
    if end == u.steps {
        let begin = Site(sequence, u.rows.first_step, direction, unit);
        gradients = passed_on(is_reset(sequence, u.rows.first_step, direction), begin, gradients);
    }
    carry[own] = gradients.x;
    if HAS_C {
        carry[state_count() + own] = gradients.y;
    }
}
