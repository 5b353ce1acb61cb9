// Of each workgroup the sum of squares of the gradients, times `share`. SCALED 1: they come multiplied by scale[0]. Both are
// taken off before they are squared, so that only what is too large itself overflows.

struct Norm { count: u32, first_part: u32, share: f32 }

@group(0) @binding(0) var<uniform> u: Norm;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var unscale = u.share;
    if SCALED == 1u {
        unscale *= inverse_of(scale[0]);
    }
    var sum = 0.0;
    for (var i = group.x * LANES + lane; i < u.count; i += groups.x * LANES) {
        let gradient = gradients[i] * unscale;
        sum = fma(gradient, gradient, sum);
    }
    let total = workgroup_sum(lane, sum);
    if lane == 0u {
        parts[u.first_part + group.x] = total;
    }
}
