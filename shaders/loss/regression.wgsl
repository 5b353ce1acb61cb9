// Gradient of each output, SCALED 1: times scale[0], and of each workgroup the sum of what outputs miss their goals by.
//   QUANTILE 0: sum of (y − goal)², dy = share·(y − goal), share 2/N
//   QUANTILE 1: sum of max(level·(goal − y), (level − 1)·(goal − y)), dy = (1 − level)·share above the goal, −level·share
//               below, share 1/N. Outputs lie level by level for each goal.

struct Regression { count: u32, first_part: u32, share: f32, levels: u32 }

@group(0) @binding(0) var<uniform> u: Regression;
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
        var slope = 0.0;
        if QUANTILE == 1u {
            let above = y[i] - goal[i / u.levels];
            let level = levels[i % u.levels];
            let rate = select(-level, 1.0 - level, above > 0.0);
            sum = fma(rate, above, sum);
            // On its goal 0; what is not a number is neither above nor below, and stays what it is.
            slope = unless_nan(above, select(rate * share, 0.0, size_bits(above) == 0u));
        } else {
            let above = y[i] - goal[i];
            sum = fma(above, above, sum);
            slope = share * above;
        }
        if GRADIENT == 1u {
            dy[i] = slope;
        }
    }
    let total = workgroup_sum(lane, sum);
    if lane == 0u {
        parts[u.first_part + group.x] = total;
    }
}
