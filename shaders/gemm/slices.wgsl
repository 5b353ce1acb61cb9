// C = (C +) Σ of the sums of slices, from the last slice to the first, (+ bias). One invocation an element.

struct Sizes {
    first: u32, end: u32, columns: u32, slices: u32, part_slice: u32, // elements from the first to before the end
    part_direction: u32, c_offset: u32, c_row: u32, c_direction: u32,
    accumulate: u32, first_direction: u32, has_bias: u32, bias_offset: u32,
    bias_direction: u32,
}

@group(0) @binding(0) var<uniform> u: Sizes;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [slice, direction, rows, columns]
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<c_t>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let direction = u.first_direction + id.z;
    for (var at = u.first + id.x; at < u.end; at += groups.x * LANES) {
        let to = u.c_offset + direction * u.c_direction + at / u.columns * u.c_row + at % u.columns;
        let first = direction * u.part_direction + at;
        var end = u.slices;
        var sum: f32;
        if u.accumulate != 0u {
            sum = f32(c[to]);
        } else {
            end--;
            sum = parts[end * u.part_slice + first];
        }
        while end > 0u {
            end--;
            sum += parts[end * u.part_slice + first];
        }
        if u.has_bias != 0u {
            sum += bias[u.bias_offset + direction * u.bias_direction + at % u.columns];
        }
        c[to] = c_t(sum);
    }
}
