// dweight[entry] = Σ of dy[row] over the rows whose token is the entry, in row order: rows come sorted by token. An invocation
// owns one column of one entry. Places from `first` to before `end` are summed; where these are not the first, or gradients
// add up, a sum goes on from what is there.

struct Scatter {
    width: u32,
    first_entry: u32, end_entry: u32,
    first: u32, end: u32,
    begins: u32, // 1: every entry is written
}

@group(0) @binding(0) var<uniform> u: Scatter;
@group(0) @binding(1) var<storage, read> order: array<u32>;  // [rows], sorted
@group(0) @binding(2) var<storage, read> starts: array<u32>; // [entries + 1]
@group(0) @binding(3) var<storage, read> dy: array<dy_t>;
@group(0) @binding(4) var<storage, read_write> dweight: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= u.width {
        return;
    }
    for (var entry = u.first_entry + group.y; entry < u.end_entry; entry += groups.y) {
        let begin = max(starts[entry], u.first);
        let stop = min(starts[entry + 1u], u.end);
        let at = entry * u.width + column;
        var sum = 0.0;
        if u.begins == 0u {
            if begin >= stop {
                continue;
            }
            sum = dweight[at];
        }
        for (var place = begin; place < stop; place++) {
            sum += f32(dy[order[place] * u.width + column]);
        }
        dweight[at] = sum;
    }
}
