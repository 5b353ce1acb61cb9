// What every kernel of a product is called with. Sums run over k from the last to the first: one that starts from what C
// holds goes on where the product before it ended, so a sum may be cut anywhere and keeps its bits. MAPPED says which
// operand's rows go through the step-to-time map: 0 none, 1 A, 2 B (rows are k), 3 C.

struct Gemm {
    m: u32, n: u32, k: u32, first_row: u32,
    a_offset: u32, a_row: u32, a_column: u32, a_direction: u32,
    b_offset: u32, b_row: u32, b_direction: u32, bias_offset: u32,
    c_offset: u32, c_row: u32, c_direction: u32, bias_direction: u32,
    accumulate: u32, // 0 no, 1 sums start from C, 2 C is added to finished sums
    has_bias: u32, first_direction: u32,
    split: u32, // columns from here on belong to direction 1 of the layer below
    slice: u32, // how much of k one workgroup sums; the slices' sums are c_slice apart in C
    first_slice: u32, c_slice: u32, directions: u32,
    @align(16) rows: Rows,
}

@group(0) @binding(0) var<uniform> u: Gemm;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;

// What a workgroup works on, from its z: direction, range of k, first elements.
struct Part {
    direction: u32,
    k_first: u32, k_end: u32,
    a: u32, b: u32, c: u32,
}

fn part_of(z: u32) -> Part {
    let direction = u.first_direction + z % u.directions;
    let slice = z / u.directions;
    let k_first = (u.first_slice + slice) * u.slice;
    return Part(
        direction,
        k_first, min(u.k, k_first + u.slice),
        u.a_offset + direction * u.a_direction,
        u.b_offset + direction * u.b_direction,
        u.c_offset + direction * u.c_direction + slice * u.c_slice,
    );
}
