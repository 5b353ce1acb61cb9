// result[at] = scale · Σ parts, MODE 1: divided by count[0], MODE 2: its square root. One workgroup.

struct Total { parts: u32, at: u32, scale: f32 }

@group(0) @binding(0) var<uniform> u: Total;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read> count: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < u.parts; i += LANES) {
        sum += parts[i];
    }
    var total = workgroup_sum(lane, sum) * u.scale;
    if lane == 0u {
        if MODE == 1u {
            total /= count[0];
        } else if MODE == 2u {
            total = sqrt(total);
        }
        result[u.at] = total;
    }
}
