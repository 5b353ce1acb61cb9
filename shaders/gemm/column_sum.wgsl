// sums[part, column] = Σ over the part's rows of matrix[row, column]. Parts are equal runs of rows, summed in order;
// a second run over the parts finishes the sum, always in the same order.

struct ColumnSum {
    rows: u32, columns: u32, row: u32, offset: u32,
    part_rows: u32, to_row: u32, to_offset: u32, accumulate: u32,
}

@group(0) @binding(0) var<uniform> u: ColumnSum;
@group(0) @binding(1) var<storage, read> matrix: array<matrix_t>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= u.columns {
        return;
    }
    for (var part = group.y; part * u.part_rows < u.rows; part += groups.y) {
        let last = min((part + 1u) * u.part_rows, u.rows);
        var sum = 0.0;
        for (var row = part * u.part_rows; row < last; row++) {
            sum += f32(matrix[u.offset + row * u.row + column]);
        }
        let at = u.to_offset + part * u.to_row + column;
        if u.accumulate != 0u {
            sum += sums[at];
        }
        sums[at] = sum;
    }
}
