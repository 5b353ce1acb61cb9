// Norms of the gradients that backward left (follow.wgsl): a workgroup a row, of one step, sequence, direction and state.
// Divided by the largest first, so that squares neither overflow nor vanish before the gradients themselves do.

struct Flow { rows: u32, hidden: u32, first: u32, to: u32 }

@group(0) @binding(0) var<uniform> u: Flow;
@group(0) @binding(1) var<storage, read> carry: array<f32>;        // from `first` on [rows, H]
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;  // from `to` on [rows]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var row = group.x; row < u.rows; row += groups.x) {
        let start = u.first + row * u.hidden;
        var largest = 0.0;
        for (var i = lane; i < u.hidden; i += LANES) {
            largest = max(largest, abs(carry[start + i]));
        }
        let unit = workgroup_max(lane, largest);
        // Of nothing but zeros, and where something is infinite, what is summed is what there is.
        let scale = select(1.0, unit, size_bits(unit) > 0u && is_finite(unit));
        var sum = 0.0;
        for (var i = lane; i < u.hidden; i += LANES) {
            let part = carry[start + i] / scale;
            sum = fma(part, part, sum);
        }
        let total = workgroup_sum(lane, sum);
        if lane == 0u {
            norms[u.to + row] = sqrt(total) * scale;
        }
    }
}
