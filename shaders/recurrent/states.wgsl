// Both states of a layer from one place to another, or zero, for each direction: to[row, column] = from[row, column] with
// strides of their own, the same for h and c.

struct States {
    rows: u32, columns: u32, from_row: u32, to_row: u32,
    from_direction: u32, to_direction: u32, from_h: u32, from_c: u32,
    to_h: u32, to_c: u32, given: u32, // given: bit 0 h, bit 1 c
    together: u32, // whether c goes to the buffer of h too, which is then bound once
}

@group(0) @binding(0) var<uniform> u: States;
@group(0) @binding(1) var<storage, read> h: array<h_t>;
@group(0) @binding(2) var<storage, read> c: array<c_t>;
@group(0) @binding(3) var<storage, read_write> h_to: array<h_to_t>;
@group(0) @binding(4) var<storage, read_write> c_to: array<c_to_t>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var i = id.x; i < u.rows * u.columns; i += groups.x * LANES) {
        let row = i / u.columns;
        let column = i % u.columns;
        let source = id.z * u.from_direction + row * u.from_row + column;
        let destination = id.z * u.to_direction + row * u.to_row + column;
        var first = 0.0;
        if (u.given & 1u) != 0u {
            first = f32(h[u.from_h + source]);
        }
        var second = 0.0;
        if (u.given & 2u) != 0u {
            second = f32(c[u.from_c + source]);
        }
        h_to[u.to_h + destination] = h_to_t(first);
        if u.together != 0u {
            h_to[u.to_c + destination] = h_to_t(second);
        } else {
            c_to[u.to_c + destination] = c_to_t(second);
        }
    }
}
