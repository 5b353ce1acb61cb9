// A span of time steps of one layer in one dispatch, all its directions, where no product of a step reads h: what a unit does
// depends on no other, and an invocation has one unit of one sequence.

struct Scan {
    batch: u32, hidden: u32, directions: u32, first_step: u32,
    steps: u32, span: u32, has_y: u32,
    first: u32, end: u32, // units of [B, D, H] that this dispatch does, from the first to before the end
    @align(16) recipe: Recipe,
}

struct Step {
    index: u32, // span within the bound chunk
}

@group(0) @binding(0) var<uniform> u: Scan;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> w: array<f32>;            // peepholes, as they are in the parameters
@group(0) @binding(3) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(4) var<storage, read_write> saved: array<saved_t>; // [steps, B, D, SAVED, H]
@group(0) @binding(5) var<storage, read_write> h: array<h_t>;      // [steps + 1, B, D, H]
@group(0) @binding(6) var<storage, read_write> c: array<c_t>;      // the same, for cells that have it
// The state in full precision where h and c are stored in half: [B, D, H] of h, then of c. Then with resets the initial
// states likewise.
@group(0) @binding(7) var<storage, read_write> carry: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<y_t>;      // [T, B, D·H] in time order, of the last layer

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
    let reversed = is_reversed(direction, u.recipe.first_reversed);
    let length = lengths[sequence];
    let first = step.index * u.span;
    let end = min(first + u.span, u.steps);
    var h_before: f32;
    var c_before = 0.0;
    if CARRIED == 1u {
        h_before = carry[own];
        if HAS_C {
            c_before = carry[state_count() + own];
        }
    } else {
        h_before = f32(h[first * state_count() + own]);
        if HAS_C {
            c_before = f32(c[first * state_count() + own]);
        }
    }
    // The input projections of the step after are on their way while this one is worked on.
    let row_of = sequence * u.directions + direction;
    let rows = u.batch * u.directions;
    var ahead = projected(first * rows + row_of, unit);
    for (var s = first; s < end; s++) {
        let now = u.first_step + s;
        let row = s * rows + row_of;
        let x = ahead;
        ahead = projected(min(s + 1u, end - 1u) * rows + row_of, unit);
        if now >= length {
            leave_states(row, unit, h_before, c_before);
            if u.has_y != 0u {
                y[now * state_count() + own] = y_t(0.0);
            }
            continue;
        }
        let at = Site(sequence, now, direction, unit);
        let before = seen(is_reset(sequence, now, direction), at, h_before, c_before);
        var nothing: array<f32, GATES>;
        let done = unit_forward(at, row, x, nothing, before.x, before.y, 15u);
        h_before = done.h;
        c_before = done.c;
        if u.has_y != 0u {
            y[other_side(now, length, reversed) * state_count() + own] = y_t(done.h);
        }
    }
    if CARRIED == 1u {
        carry[own] = h_before;
        if HAS_C {
            carry[state_count() + own] = c_before;
        }
    }
}
