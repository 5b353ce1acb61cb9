// to[column, row] = from[row, column], for each direction.

struct Transpose {
    rows: u32, columns: u32, from_row: u32, to_row: u32,
    from_offset: u32, from_direction: u32, to_offset: u32, to_direction: u32,
}

@group(0) @binding(0) var<uniform> u: Transpose;
@group(0) @binding(1) var<storage, read> matrix: array<f32>;
@group(0) @binding(2) var<storage, read_write> transposed: array<transposed_t>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let source = u.from_offset + id.z * u.from_direction;
    let destination = u.to_offset + id.z * u.to_direction;
    for (var i = id.x; i < u.rows * u.columns; i += groups.x * LANES) {
        // Stores are contiguous over lanes.
        let row = i % u.rows;
        let column = i / u.rows;
        transposed[destination + column * u.to_row + row] = transposed_t(matrix[source + row * u.from_row + column]);
    }
}
