// C = A·B or C = C + A·B with cooperative matrices: one subgroup makes 2 × 2 of them. A and B are f16, C is f32, nothing is
// mapped and nothing lies across an edge. Operands are loaded straight from storage: in modules with cooperative matrices
// workgroup memory is not to be relied on, as barriers may not publish what was written to it.
//
// Matrices follow each other over k from the last to the first; within one the order is the hardware's. Lanes are those
// of the largest subgroup; should subgroups be smaller, each of a workgroup makes the same sums.

@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> b: array<f16>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

fn left(part: Part, row: u32, k: u32) -> Left {
    let at = part.a + row * u.a_row + k * u.a_column;
    if A_ALONG == 1u {
        return coopLoad<Left>(&a[at], u.a_column);
    }
    return coopLoadT<Left>(&a[at], u.a_row);
}

fn right(part: Part, k: u32, column: u32) -> Right {
    return coopLoadT<Right>(&b[part.b + k * u.b_row + column], u.b_row);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    let part = part_of(group.z);
    let row = u.first_row + group.y * (2u * SIZE);
    let column = group.x * (2u * SIZE);
    // Each corner and the stride have names: naga's SPIR-V writer can't find an expression that a store is the first to use.
    let stride = u.c_row;
    let at_00 = part.c + row * stride + column;
    let at_01 = at_00 + SIZE;
    let at_10 = at_00 + SIZE * stride;
    let at_11 = at_10 + SIZE;

    var sums_00 = Sums();
    var sums_01 = Sums();
    var sums_10 = Sums();
    var sums_11 = Sums();
    if u.accumulate == 1u {
        sums_00 = coopLoadT<Sums>(&c[at_00], stride);
        sums_01 = coopLoadT<Sums>(&c[at_01], stride);
        sums_10 = coopLoadT<Sums>(&c[at_10], stride);
        sums_11 = coopLoadT<Sums>(&c[at_11], stride);
    }
    for (var end = part.k_end; end > part.k_first; end -= SIZE) {
        let k = end - SIZE;
        let left_0 = left(part, row, k);
        let left_1 = left(part, row + SIZE, k);
        let right_0 = right(part, k, column);
        let right_1 = right(part, k, column + SIZE);
        sums_00 = coopMultiplyAdd(left_0, right_0, sums_00);
        sums_01 = coopMultiplyAdd(left_0, right_1, sums_01);
        sums_10 = coopMultiplyAdd(left_1, right_0, sums_10);
        sums_11 = coopMultiplyAdd(left_1, right_1, sums_11);
    }
    coopStoreT(sums_00, &c[at_00], stride);
    coopStoreT(sums_01, &c[at_01], stride);
    coopStoreT(sums_10, &c[at_10], stride);
    coopStoreT(sums_11, &c[at_11], stride);
}
