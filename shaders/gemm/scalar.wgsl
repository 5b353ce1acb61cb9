// Four neighbouring elements at a time of operands of any strides and sizes. Edges are clamped on the way in and
// guarded on the way out.

@group(0) @binding(1) var<storage, read> a: array<a_t>;
@group(0) @binding(2) var<storage, read> b: array<b_t>;
@group(0) @binding(5) var<storage, read_write> c: array<c_t>;

// How many k one load of A brings.
const A_DEPTH: u32 = 1u;

// Rows of A at column k: `rows` are where the four rows begin.
fn load_a(rows: vec4<u32>, k: u32) -> array<vec4<f32>, A_DEPTH> {
    let at = rows + k * u.a_column;
    return array(vec4(f32(a[at.x]), f32(a[at.y]), f32(a[at.z]), f32(a[at.w])));
}

// Four columns of B from `column` on: `rows` are where each one's row begins.
fn load_b(rows: vec4<u32>, column: u32) -> vec4<f32> {
    let at = rows + min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(u.n - 1u));
    return vec4(f32(b[at.x]), f32(b[at.y]), f32(b[at.z]), f32(b[at.w]));
}

fn load_c(row: u32, column: u32) -> vec4<f32> {
    let at = row + min(vec4(column) + vec4(0u, 1u, 2u, 3u), vec4(u.n - 1u));
    return vec4(f32(c[at.x]), f32(c[at.y]), f32(c[at.z]), f32(c[at.w]));
}

fn store_c(row: u32, column: u32, value: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if column + i < u.n {
            c[row + column + i] = c_t(value[i]);
        }
    }
}
