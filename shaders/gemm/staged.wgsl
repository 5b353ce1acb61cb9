// C = A·B (+ bias) (+ C): a workgroup makes BM rows × BN columns of C. It brings BK columns of A and rows of B at a time
// into its own memory, each element once, and every invocation makes TM × TN sums from there in registers. The next
// block is loaded while the last one is multiplied.
//
// Lanes take elements of A along its contiguous dimension, A_ALONG: 0 k, 1 its rows; elements of B along its columns.
// Edges: what is loaded beyond m and n repeats the last row or column and is not stored; beyond k it is zero.

// In vec4: groups of four rows and columns, lanes across the tile, groups an invocation.
const M4: u32 = BM / 4u;
const N4: u32 = BN / 4u;
const LANES_X: u32 = BN / TN;
const LANES_Y: u32 = BM / TM;
const TM4: u32 = TM / 4u;
const TN4: u32 = TN / 4u;
// One more, so that lanes that store along k don't meet in one bank.
const A_STRIDE: u32 = M4 + 1u;

const A_LOADS: u32 = M4 * (BK / A_DEPTH);
const B_LOADS: u32 = BK * N4;
const A_EACH: u32 = (A_LOADS + LANES - 1u) / LANES;
const B_EACH: u32 = (B_LOADS + LANES - 1u) / LANES;

var<workgroup> left: array<vec4<f32>, BK * A_STRIDE>;
var<workgroup> right: array<vec4<f32>, BK * N4>;

// Where four rows of A begin, for columns of the same and of the other direction.
struct RowsOfA { same: vec4<u32>, other: vec4<u32> }

struct Place { k: u32, group: u32 }

// Which load of A is a lane's i-th: four rows, and k within the block.
fn place_a(load: u32) -> Place {
    if A_ALONG == 1u {
        return Place(load / M4, load % M4);
    }
    const DEEP = BK / A_DEPTH;
    return Place((load % DEEP) * A_DEPTH, load / DEEP);
}

fn rows_of_a(row0: u32, part: Part) -> RowsOfA {
    var rows: RowsOfA;
    for (var i = 0u; i < 4u; i++) {
        let row = min(row0 + i, u.m - 1u);
        if MAPPED == 1u {
            rows.same[i] = row_without_padding(u.rows, row, is_reversed(part.direction, u.rows.first_reversed));
            rows.other[i] = row_without_padding(u.rows, row, !is_reversed(part.direction, u.rows.first_reversed));
        } else {
            rows.same[i] = row;
        }
    }
    return rows;
}

// Rows, with 0 for those that are nowhere. Arithmetic, since GLSL before 4.50 has no selection by components of integers.
fn or_first(rows: vec4<u32>) -> vec4<u32> {
    return rows * vec4<u32>(rows != vec4(NOWHERE));
}

fn fetch_a(rows: RowsOfA, k: u32, part: Part) -> array<vec4<f32>, A_DEPTH> {
    var which = rows.same;
    if MAPPED == 1u && k >= u.split {
        which = rows.other;
    }
    let absent = which == vec4(NOWHERE);
    let inside = k < part.k_end;
    var values = load_a(part.a + or_first(which) * u.a_row, select(part.k_first, k, inside));
    for (var i = 0u; i < A_DEPTH; i++) {
        values[i] = select(values[i], vec4(0.0), absent | vec4(!inside));
    }
    return values;
}

fn fetch_b(k: u32, column: u32, part: Part) -> vec4<f32> {
    let inside = k < part.k_end;
    var rows = vec4(select(part.k_first, k, inside));
    if MAPPED == 2u {
        let same = row_without_padding(u.rows, rows.x, is_reversed(part.direction, u.rows.first_reversed));
        let other = row_without_padding(u.rows, rows.x, !is_reversed(part.direction, u.rows.first_reversed));
        let columns = vec4(column) + vec4(0u, 1u, 2u, 3u);
        rows = vec4(other) + vec4(same - other) * vec4<u32>(columns < vec4(u.split));
    }
    let absent = rows == vec4(NOWHERE);
    let value = load_b(part.b + or_first(rows) * u.b_row, column);
    return select(value, vec4(0.0), absent | vec4(!inside));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let part = part_of(group.z);
    let row0 = u.first_row + group.y * BM;
    let column0 = group.x * BN;

    var rows: array<RowsOfA, A_EACH>;
    for (var i = 0u; i < A_EACH; i++) {
        rows[i] = rows_of_a(row0 + place_a(lane + i * LANES).group * 4u, part);
    }
    // Rows and columns of the sums, in groups of four that lie LANES_Y and LANES_X groups apart.
    let y = lane / LANES_X;
    let x = lane % LANES_X;
    var sums: array<array<vec4<f32>, TN4>, TM>;
    if u.accumulate == 1u {
        for (var i = 0u; i < TM; i++) {
            let row = min(row0 + (y + i / 4u * LANES_Y) * 4u + i % 4u, u.m - 1u);
            for (var j = 0u; j < TN4; j++) {
                sums[i][j] = load_c(part.c + row * u.c_row, column0 + (x + j * LANES_X) * 4u);
            }
        }
    }

    var next_a: array<array<vec4<f32>, A_DEPTH>, A_EACH>;
    var next_b: array<vec4<f32>, B_EACH>;
    let blocks = (part.k_end - part.k_first + BK - 1u) / BK;
    // One round more than there are blocks: each multiplies what the one before it loaded.
    for (var round = 0u; round <= blocks; round++) {
        if round > 0u {
            workgroupBarrier();
            for (var i = 0u; i < A_EACH; i++) {
                let load = lane + i * LANES;
                if load < A_LOADS {
                    let place = place_a(load);
                    for (var j = 0u; j < A_DEPTH; j++) {
                        left[(place.k + j) * A_STRIDE + place.group] = next_a[i][j];
                    }
                }
            }
            for (var i = 0u; i < B_EACH; i++) {
                let load = lane + i * LANES;
                if load < B_LOADS {
                    right[load] = next_b[i];
                }
            }
            workgroupBarrier();
        }
        if round < blocks {
            let k0 = part.k_first + (blocks - 1u - round) * BK;
            for (var i = 0u; i < A_EACH; i++) {
                next_a[i] = fetch_a(rows[i], k0 + place_a(lane + i * LANES).k, part);
            }
            for (var i = 0u; i < B_EACH; i++) {
                let load = lane + i * LANES;
                next_b[i] = fetch_b(k0 + load / N4, column0 + load % N4 * 4u, part);
            }
        }
        if round > 0u {
            for (var end = BK; end > 0u; end--) {
                let k = end - 1u;
                var b4: array<vec4<f32>, TN4>;
                for (var j = 0u; j < TN4; j++) {
                    b4[j] = right[k * N4 + x + j * LANES_X];
                }
                for (var i = 0u; i < TM4; i++) {
                    let a4 = left[k * A_STRIDE + y + i * LANES_Y];
                    for (var j = 0u; j < TN4; j++) {
                        sums[i * 4u][j] = fma(vec4(a4.x), b4[j], sums[i * 4u][j]);
                        sums[i * 4u + 1u][j] = fma(vec4(a4.y), b4[j], sums[i * 4u + 1u][j]);
                        sums[i * 4u + 2u][j] = fma(vec4(a4.z), b4[j], sums[i * 4u + 2u][j]);
                        sums[i * 4u + 3u][j] = fma(vec4(a4.w), b4[j], sums[i * 4u + 3u][j]);
                    }
                }
            }
        }
    }

    for (var i = 0u; i < TM; i++) {
        var row = row0 + (y + i / 4u * LANES_Y) * 4u + i % 4u;
        if row >= u.m {
            continue;
        }
        if MAPPED == 3u {
            row = row_with_padding(u.rows, row, is_reversed(part.direction, u.rows.first_reversed));
            if row == NOWHERE {
                continue;
            }
        }
        for (var j = 0u; j < TN4; j++) {
            let column = column0 + (x + j * LANES_X) * 4u;
            var value = sums[i][j];
            if u.has_bias != 0u {
                let at = u.bias_offset + part.direction * u.bias_direction;
                let columns = at + min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(u.n - 1u));
                value += vec4(bias[columns.x], bias[columns.y], bias[columns.z], bias[columns.w]);
            }
            if u.accumulate == 2u {
                value += load_c(part.c + row * u.c_row, column);
            }
            store_c(part.c + row * u.c_row, column, value);
        }
    }
}
