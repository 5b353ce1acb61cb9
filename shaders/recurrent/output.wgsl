// Output in time order from states in step order: y[t, b, direction, unit] = h after the step that was at time t, zero
// in padding. Only times of the bound window and steps of the bound chunk are written.

struct Output {
    batch: u32, hidden: u32, directions: u32, first_step: u32,
    steps: u32, first_time: u32, first: u32, end: u32, // elements of y, from the first to before the end
    first_reversed: u32,
}

@group(0) @binding(0) var<uniform> u: Output;
@group(0) @binding(1) var<storage, read> h: array<h_t>;            // [steps + 1, B, D, H]
@group(0) @binding(2) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;      // [times, B, D·H]

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let width = u.directions * u.hidden;
    for (var i = u.first + id.x; i < u.end; i += groups.x * LANES) {
        let column = i % width;
        let sequence = (i / width) % u.batch;
        let time = u.first_time + i / (width * u.batch);
        let length = lengths[sequence];
        let reversed = is_reversed(column / u.hidden, u.first_reversed);
        let local = other_side(time, length, reversed) - u.first_step;
        if local < u.steps {
            let state = f32(h[((local + 1u) * u.batch + sequence) * width + column]);
            y[i] = y_t(select(0.0, state, time < length));
        }
    }
}
