// Sums and maxima over a workgroup of LANES (a power of two), the same for every lane, always in the same order.

var<workgroup> lanes: array<f32, LANES>;

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    lanes[lane] = value;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            lanes[lane] += lanes[lane + width];
        }
        workgroupBarrier();
    }
    return lanes[0];
}

fn workgroup_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    lanes[lane] = value;
    workgroupBarrier();
    for (var width = LANES / 2u; width > 0u; width /= 2u) {
        if lane < width {
            lanes[lane] = max(lanes[lane], lanes[lane + width]);
        }
        workgroupBarrier();
    }
    return lanes[0];
}
