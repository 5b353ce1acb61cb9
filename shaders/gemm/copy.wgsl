// to[row, column] = from[row, column] with strides of their own, or zero, or −0, for each direction.

struct Copy {
    rows: u32, columns: u32, from_row: u32, to_row: u32,
    from_offset: u32, from_direction: u32, to_offset: u32, to_direction: u32,
}

@group(0) @binding(0) var<uniform> u: Copy;
@group(0) @binding(1) var<storage, read> source: array<source_t>;
@group(0) @binding(2) var<storage, read_write> destination: array<destination_t>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var i = id.x; i < u.rows * u.columns; i += groups.x * LANES) {
        let row = i / u.columns;
        let column = i % u.columns;
        var value = 0.0;
        if FROM_SOURCE == 1u {
            value = f32(source[u.from_offset + id.z * u.from_direction + row * u.from_row + column]);
        } else if FROM_SOURCE == 2u {
            value = bitcast<f32>(0x80000000u);
        }
        destination[u.to_offset + id.z * u.to_direction + row * u.to_row + column] = destination_t(value);
    }
}
