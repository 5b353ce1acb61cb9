// counts[i] = Σ counts[j] over j < i: the place of the first row of each digit and run. One workgroup; a lane has a run of
// neighbours.

struct Places { count: u32, each: u32 } // each: of a lane

@group(0) @binding(0) var<uniform> u: Places;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

var<workgroup> sums: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    let first = min(lane * u.each, u.count);
    let end = min(first + u.each, u.count);
    var sum = 0u;
    for (var i = first; i < end; i++) {
        sum += counts[i];
    }
    sums[lane] = sum;
    workgroupBarrier();
    var before = 0u;
    for (var other = 0u; other < lane; other++) {
        before += sums[other];
    }
    for (var i = first; i < end; i++) {
        let own = counts[i];
        counts[i] = before;
        before += own;
    }
}
