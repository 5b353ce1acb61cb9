// dy = (1 − level)/N where y is above its goal, −level/N where it is below, SCALED 1: times scale[0], and of each workgroup
// the sum of max(level·(goal − y), (level − 1)·(goal − y)). Outputs lie level by level for each goal.

struct Quantile { count: u32, first_part: u32, share: f32, levels: u32 } // share: 1/N

@group(0) @binding(0) var<uniform> u: Quantile;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> goal: array<f32>;
@group(0) @binding(3) var<storage, read> levels: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> dy: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts: array<f32>;

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
        let above = y[i] - goal[i / u.levels];
        let level = levels[i % u.levels];
        sum = fma(select(-level, 1.0 - level, above > 0.0), above, sum);
        if GRADIENT == 1u {
            // On its goal 0; what is not a number is neither above nor below, and stays what it is.
            dy[i] = select(select(above, -level * share, above < 0.0), (1.0 - level) * share, above > 0.0);
        }
    }
    let total = workgroup_sum(lane, sum);
    if lane == 0u {
        parts[u.first_part + group.x] = total;
    }
}
