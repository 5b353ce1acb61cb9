// Four neighbouring elements at a time, in one load or store: for operands whose sizes, strides and offsets along the
// contiguous dimension are multiples of four. Then no four of them lie across an edge. A_ALONG is the contiguous
// dimension of A: 0 k, 1 its rows.

@group(0) @binding(1) var<storage, read> a: array<vec4<a_t>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<b_t>>;
@group(0) @binding(5) var<storage, read_write> c: array<vec4<c_t>>;

// How many k one load of A brings.
const A_DEPTH: u32 = 4u - 3u * A_ALONG;

// Rows of A at columns from k on: `rows` are where the four rows begin.
fn load_a(rows: vec4<u32>, k: u32) -> array<vec4<f32>, A_DEPTH> {
    var columns: array<vec4<f32>, A_DEPTH>;
    if A_ALONG == 1u {
        columns[0] = vec4<f32>(a[(rows.x + k * u.a_column) / 4u]);
        return columns;
    }
    let at = (rows + k) / 4u;
    let block = transpose(mat4x4<f32>(
        vec4<f32>(a[at.x]), vec4<f32>(a[at.y]), vec4<f32>(a[at.z]), vec4<f32>(a[at.w]),
    ));
    for (var i = 0u; i < A_DEPTH; i++) {
        columns[i] = block[i];
    }
    return columns;
}

// Four columns of B from `column` on; they share the row that begins at `rows`.
fn load_b(rows: vec4<u32>, column: u32) -> vec4<f32> {
    return vec4<f32>(b[(rows.x + min(column, u.n - 4u)) / 4u]);
}

fn load_c(row: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(c[(row + min(column, u.n - 4u)) / 4u]);
}

fn store_c(row: u32, column: u32, value: vec4<f32>) {
    if column < u.n {
        c[(row + column) / 4u] = vec4<c_t>(value);
    }
}
