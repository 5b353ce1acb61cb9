// starts[entry] = the place of its first row among the sorted ones, by bisection; starts[entries] = how many rows have an
// entry.

struct Starts { rows: u32, first: u32, end: u32 } // entries, from the first to before the end

@group(0) @binding(0) var<uniform> u: Starts;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [rows]
@group(0) @binding(2) var<storage, read> order: array<u32>;  // [rows], sorted
@group(0) @binding(3) var<storage, read_write> starts: array<u32>; // [entries + 1]

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var entry = u.first + id.x; entry < u.end; entry += groups.x * LANES) {
        var first = 0u;
        var end = u.rows;
        while first < end {
            let middle = first + (end - first) / 2u;
            if tokens[order[middle]] < entry {
                first = middle + 1u;
            } else {
                end = middle;
            }
        }
        starts[entry] = first;
    }
}
