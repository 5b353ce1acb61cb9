// dweight[entry] = Σ of dy[row] over the rows whose token is the entry, in row order. An invocation owns one column of
// one entry and looks through all tokens, which are the same for all lanes: no two invocations write the same place.

struct Scatter { rows: u32, width: u32, entries: u32 }

@group(0) @binding(0) var<uniform> u: Scatter;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<dy_t>;
@group(0) @binding(3) var<storage, read_write> dweight: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= u.width {
        return;
    }
    for (var entry = group.y; entry < u.entries; entry += groups.y) {
        var sum = 0.0;
        for (var row = 0u; row < u.rows; row++) {
            if tokens[row] == entry {
                sum += f32(dy[row * u.width + column]);
            }
        }
        dweight[entry * u.width + column] = sum;
    }
}
