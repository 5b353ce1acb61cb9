// sums[part, column] = Σ over the part's rows of matrix[row, column], with FACTORS each times its factor, from the last row to
// the first, starting from zero or from what the sum holds. Parts are runs of rows that never reach over a multiple of
// `run_rows`; a second sum, over the parts, finishes it, always in the same order.

struct ColumnSum {
    rows: u32, columns: u32, row: u32, offset: u32,
    part_rows: u32, to_row: u32, to_offset: u32, accumulate: u32,
    run_rows: u32, parts: u32, factors_row: u32, factors_offset: u32,
    most_factor: f32, // infinite: no limit
}

@group(0) @binding(0) var<uniform> u: ColumnSum;
@group(0) @binding(1) var<storage, read> matrix: array<matrix_t>;
@group(0) @binding(2) var<storage, read> factors: array<factors_t>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

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
    let each = (u.run_rows + u.part_rows - 1u) / u.part_rows;
    for (var part = group.y; part < u.parts; part += groups.y) {
        let run = part / each * u.run_rows;
        let first = run + part % each * u.part_rows;
        let at = u.to_offset + part * u.to_row + column;
        var sum = 0.0;
        if u.accumulate != 0u {
            sum = sums[at];
        }
        for (var end = min(min(first + u.part_rows, run + u.run_rows), u.rows); end > first; end--) {
            let value = f32(matrix[u.offset + (end - 1u) * u.row + column]);
            if FACTORS == 1u {
                let factor = f32(factors[u.factors_offset + (end - 1u) * u.factors_row + column]);
                sum = fma(value, limited(factor, u.most_factor), sum);
            } else {
                sum += value;
            }
        }
        sums[at] = sum;
    }
}
