// C = A·B (+ bias) (+ C): one invocation makes RM rows × RN columns of C in registers, and nothing is staged.
//
// Lanes of a workgroup take neighbouring columns, so that loads of B and stores of C are contiguous over lanes, and all
// lanes share the rows, so that loads of A are uniform. Best on software adapters, and where C has few rows.

@group(0) @binding(1) var<storage, read> a: array<a_t>;
@group(0) @binding(2) var<storage, read> b: array<b_t>;
@group(0) @binding(5) var<storage, read_write> c: array<c_t>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let part = part_of(group.z);
    let direction = part.direction;
    let row0 = u.first_row + group.y * RM;
    let column0 = group.x * (LANES * RN) + lane;

    // Rows of A for columns of the same and of the other direction; edges repeat the last row and are not stored.
    var same: array<u32, RM>;
    var other: array<u32, RM>;
    for (var i = 0u; i < RM; i++) {
        let row = min(row0 + i, u.m - 1u);
        if MAPPED == 1u {
            same[i] = row_without_padding(u.rows, row, is_reversed(direction, u.rows.first_reversed));
            other[i] = row_without_padding(u.rows, row, !is_reversed(direction, u.rows.first_reversed));
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
                sums[i][j] = f32(c[part.c + min(row0 + i, u.m - 1u) * u.c_row + columns[j]]);
            }
        }
    }
    for (var end = part.k_end; end > part.k_first; end--) {
        let k = end - 1u;
        var right: array<f32, RN>;
        if MAPPED == 2u {
            let row_same = row_without_padding(u.rows, k, is_reversed(direction, u.rows.first_reversed));
            let row_other = row_without_padding(u.rows, k, !is_reversed(direction, u.rows.first_reversed));
            for (var j = 0u; j < RN; j++) {
                let row = select(row_other, row_same, columns[j] < u.split);
                let value = f32(b[part.b + min(row, u.rows.window_rows - 1u) * u.b_row + columns[j]]);
                right[j] = select(value, 0.0, row == NOWHERE);
            }
        } else {
            for (var j = 0u; j < RN; j++) {
                right[j] = f32(b[part.b + k * u.b_row + columns[j]]);
            }
        }
        for (var i = 0u; i < RM; i++) {
            var left: f32;
            if MAPPED == 1u {
                let row = select(other[i], same[i], k < u.split);
                let value = f32(a[part.a + min(row, u.rows.window_rows - 1u) * u.a_row + k * u.a_column]);
                left = select(value, 0.0, row == NOWHERE);
            } else {
                left = f32(a[part.a + same[i] * u.a_row + k * u.a_column]);
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
            row = row_with_padding(u.rows, row, is_reversed(direction, u.rows.first_reversed));
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
                let at = part.c + row * u.c_row + column;
                if u.accumulate == 2u {
                    value += f32(c[at]);
                }
                c[at] = c_t(value);
            }
        }
    }
}
