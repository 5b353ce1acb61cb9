// count[0] = how many labels name a class, at least 1. One workgroup; exact below 2²⁴.

struct Count {
    rows: u32, classes: u32,
    begins: u32, // 0: what is there is added
    ends: u32,   // 1: these are the last
}

@group(0) @binding(0) var<uniform> u: Count;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> count: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var found = 0u;
    for (var row = lane; row < u.rows; row += LANES) {
        found += select(0u, 1u, labels[row] < u.classes);
    }
    let total = workgroup_sum(lane, f32(found));
    if lane == 0u {
        var all = total;
        if u.begins == 0u {
            all += count[0];
        }
        count[0] = select(all, max(all, 1.0), u.ends == 1u);
    }
}
