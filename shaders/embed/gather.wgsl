// y[row] = weight[token[row]]; a token beyond the table reads as zeros.

struct Gather {
    width: u32, entries: u32,
    first: u32, end: u32, // elements of y, from the first to before the end
}

@group(0) @binding(0) var<uniform> u: Gather;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<y_t>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var i = u.first + id.x; i < u.end; i += groups.x * LANES) {
        let token = tokens[i / u.width];
        let value = weight[min(token, u.entries - 1u) * u.width + i % u.width];
        y[i] = y_t(select(0.0, value, token < u.entries));
    }
}
