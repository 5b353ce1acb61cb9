// One optimiser step over all parameters. RULE: 0 SGD, 1 Adam, 2 AdamW, as in torch.optim; the equations are in the
// host file. An invocation owns its elements of every buffer.

struct Update {
    count: u32,
    beta1: f32, rest1: f32, beta2: f32, rest2: f32, // SGD: β₁ is the momentum. rest: 1 − β
    epsilon: f32, decay: f32,
}

@group(0) @binding(0) var<uniform> u: Update;
@group(0) @binding(1) var<storage, read> state: array<f32>;
@group(0) @binding(2) var<storage, read> gradients: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> first: array<f32>;
@group(0) @binding(5) var<storage, read_write> second: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    if state[APPLY] == 0.0 {
        return;
    }
    let rate = state[RATE];
    let clip = state[CLIP];
    let adam_rate = rate / state[CORRECTION_1];
    let root = 1.0 / sqrt(state[CORRECTION_2]);
    for (var i = id.x; i < u.count; i += groups.x * LANES) {
        var value = values[i];
        var gradient = gradients[i] * clip;
        if RULE == 2u {
            value = fma(-rate * u.decay, value, value);
        } else {
            gradient = fma(u.decay, value, gradient);
        }
        if RULE == 0u {
            if MOMENTUM == 1u {
                let velocity = fma(u.beta1, first[i], gradient);
                first[i] = velocity;
                gradient = select(velocity, fma(u.beta1, velocity, gradient), NESTEROV == 1u);
            }
            values[i] = fma(-rate, gradient, value);
        } else {
            let m = fma(u.beta1, first[i], u.rest1 * gradient);
            let v = fma(u.beta2, second[i], u.rest2 * gradient * gradient);
            first[i] = m;
            second[i] = v;
            values[i] = fma(-adam_rate * m, 1.0 / fma(sqrt(v), root, u.epsilon), value);
        }
    }
}
