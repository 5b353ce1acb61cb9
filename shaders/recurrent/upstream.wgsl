// Output gradient in step order from a window of it in time order, for sequences whose output gradient does not fit one
// binding: to[s, b, direction, unit] = dy at the time of step s, where that time is in the window.

struct Upstream {
    first: u32, end: u32, width: u32, hidden: u32, // elements from the first to before the end
    @align(16) rows: Rows,
}

@group(0) @binding(0) var<uniform> u: Upstream;
@group(0) @binding(1) var<storage, read> dy: array<dy_t>;              // [window, B, D·H]
@group(0) @binding(2) var<storage, read> lengths: array<u32>;          // [B]
@group(0) @binding(3) var<storage, read_write> upstream: array<upstream_t>; // [steps, B, D, H]

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var i = u.first + id.x; i < u.end; i += groups.x * LANES) {
        let column = i % u.width;
        let row = row_without_padding(u.rows, i / u.width, is_reversed(column / u.hidden, u.rows.first_reversed));
        if row != NOWHERE {
            upstream[i] = upstream_t(dy[row * u.width + column]);
        }
    }
}
