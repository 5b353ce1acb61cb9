// Of each row: −log softmax(logits)[label] and dlogits = (softmax − onehot)/count, SCALED 1: times scale[0]. A
// workgroup takes a row, its lanes the classes. A row whose label names no class has zero gradient and adds nothing.
// The largest logit is taken off before the exponential, so that no sum overflows and the logarithm's argument is at
// least 1.

struct CrossEntropy { rows: u32, classes: u32, first_part: u32 }

@group(0) @binding(0) var<uniform> u: CrossEntropy;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> count: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var losses = 0.0;
    for (var row = group.x; row < u.rows; row += groups.x) {
        let base = row * u.classes;
        let label = labels[row];
        let counts = label < u.classes;

        var most = -3.4028234e38;
        for (var c = lane; c < u.classes; c += LANES) {
            most = max(most, logits[base + c]);
        }
        most = workgroup_max(lane, most);

        var sum = 0.0;
        for (var c = lane; c < u.classes; c += LANES) {
            sum += exponential(logits[base + c] - most);
        }
        sum = workgroup_sum(lane, sum);

        if GRADIENT == 1u {
            var share = 1.0 / count[0];
            if SCALED == 1u {
                share *= scale[0];
            }
            let part = 1.0 / sum;
            for (var c = lane; c < u.classes; c += LANES) {
                let power = exponential(logits[base + c] - most);
                let gradient = fma(power, part, -select(0.0, 1.0, c == label)) * share;
                dlogits[base + c] = select(0.0, gradient, counts);
            }
        }
        if counts {
            losses += logarithm(sum) - (logits[base + label] - most);
        }
    }
    if lane == 0u {
        parts[u.first_part + group.x] = losses;
    }
}
