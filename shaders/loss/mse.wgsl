// dy = 2(y − goal)/N, SCALED 1: times scale[0], and of each workgroup the sum of (y − goal)².

struct Mse { count: u32, first_part: u32, share: f32, levels: u32 } // share: 2/N

@group(0) @binding(0) var<uniform> u: Mse;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> goal: array<f32>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var share = u.share;
    if SCALED == 1u {
        share *= scale[0];
    }
    var sum = 0.0;
    for (var i = group.x * LANES + lane; i < u.count; i += groups.x * LANES) {
        let difference = y[i] - goal[i];
        sum = fma(difference, difference, sum);
        if GRADIENT == 1u {
            dy[i] = share * difference;
        }
    }
    let total = workgroup_sum(lane, sum);
    if lane == 0u {
        parts[u.first_part + group.x] = total;
    }
}
