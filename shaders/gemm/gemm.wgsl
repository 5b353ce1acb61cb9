// C = A·B (+ bias) (+ C): one invocation makes RM rows × RN columns of C in registers.
//
// Lanes of a workgroup take neighbouring columns, so that loads of B and stores of C are contiguous over lanes, and all
// lanes share the rows, so that loads of A are uniform. Sums run over k from the last to the first: one that starts from
// what C holds goes on where the product before it ended, so a sum may be cut anywhere and keeps its bits.
// MAPPED says which operand's rows go through the step-to-time map: 0 none, 1 A, 2 B (rows are k), 3 C.

struct Gemm {
    m: u32, n: u32, k: u32, first_row: u32,
    a_offset: u32, a_row: u32, a_column: u32, a_direction: u32,
    b_offset: u32, b_row: u32, b_direction: u32, bias_offset: u32,
    c_offset: u32, c_row: u32, c_direction: u32, bias_direction: u32,
    accumulate: u32, // 0 no, 1 sums start from C, 2 C is added to finished sums
    has_bias: u32, first_direction: u32,
    split: u32, // columns from here on belong to direction 1 of the layer below
    rows: Rows,
}

@group(0) @binding(0) var<uniform> u: Gemm;
@group(0) @binding(1) var<storage, read> a: array<a_t>;
@group(0) @binding(2) var<storage, read> b: array<b_t>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
@group(0) @binding(5) var<storage, read_write> c: array<c_t>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = u.first_direction + group.z;
    let row0 = u.first_row + group.y * RM;
    let column0 = group.x * (LANES * RN) + lane;
    let a_base = u.a_offset + direction * u.a_direction;
    let b_base = u.b_offset + direction * u.b_direction;
    let c_base = u.c_offset + direction * u.c_direction;

    // Rows of A for columns of the same and of the other direction; edges repeat the last row and are not stored.
    var same: array<u32, RM>;
    var other: array<u32, RM>;
    for (var i = 0u; i < RM; i++) {
        let row = min(row0 + i, u.m - 1u);
        if MAPPED == 1u {
            same[i] = row_without_padding(u.rows, row, direction == 1u);
            other[i] = row_without_padding(u.rows, row, direction != 1u);
        } else {
            same[i] = row;
        }
    }
    var columns: array<u32, RN>;
    for (var j = 0u; j < RN; j++) {
        columns[j] = min(column0 + j * LANES, u.n - 1u);
    }

    var sums: array<array<f32, RN>, RM>;
    if u.accumulate == 1u {
        for (var i = 0u; i < RM; i++) {
            for (var j = 0u; j < RN; j++) {
                sums[i][j] = f32(c[c_base + min(row0 + i, u.m - 1u) * u.c_row + columns[j]]);
            }
        }
    }
    for (var left_over = u.k; left_over > 0u; left_over--) {
        let k = left_over - 1u;
        var right: array<f32, RN>;
        if MAPPED == 2u {
            let row_same = row_without_padding(u.rows, k, direction == 1u);
            let row_other = row_without_padding(u.rows, k, direction != 1u);
            for (var j = 0u; j < RN; j++) {
                let row = select(row_other, row_same, columns[j] < u.split);
                let value = f32(b[b_base + min(row, u.rows.window_rows - 1u) * u.b_row + columns[j]]);
                right[j] = select(value, 0.0, row == NOWHERE);
            }
        } else {
            for (var j = 0u; j < RN; j++) {
                right[j] = f32(b[b_base + k * u.b_row + columns[j]]);
            }
        }
        for (var i = 0u; i < RM; i++) {
            var left: f32;
            if MAPPED == 1u {
                let row = select(other[i], same[i], k < u.split);
                let value = f32(a[a_base + min(row, u.rows.window_rows - 1u) * u.a_row + k * u.a_column]);
                left = select(value, 0.0, row == NOWHERE);
            } else {
                left = f32(a[a_base + same[i] * u.a_row + k * u.a_column]);
            }
            for (var j = 0u; j < RN; j++) {
                sums[i][j] = fma(left, right[j], sums[i][j]);
            }
        }
    }

    for (var i = 0u; i < RM; i++) {
        var row = row0 + i;
        if row >= u.m {
            break;
        }
        if MAPPED == 3u {
            row = row_with_padding(u.rows, row, direction == 1u);
            if row == NOWHERE {
                continue;
            }
        }
        for (var j = 0u; j < RN; j++) {
            let column = column0 + j * LANES;
            if column < u.n {
                var value = sums[i][j];
                if u.has_bias != 0u {
                    value += bias[u.bias_offset + direction * u.bias_direction + column];
                }
                let at = c_base + row * u.c_row + column;
                if u.accumulate == 2u {
                    value += f32(c[at]);
                }
                c[at] = c_t(value);
            }
        }
    }
}
