// One step of what an optimiser keeps beside its moments: learning rate of the step, what gradients are multiplied by
// (their share of a mean and the clip scale, over the loss scale), the next loss scale, and 1 − β₁ᵗ and 1 − β₂ᵗ by c ← β·c + (1 − β), which loses
// nothing where 1 − βᵗ would cancel. A norm that is not finite holds everything but the loss scale where it is and is
// counted. One invocation; slots of `state` come from the host.

struct Advance {
    rate: f32, max_norm: f32, warmup: u32, steps: u32,
    beta1: f32, rest1: f32, beta2: f32, rest2: f32, // rest: 1 − β
    factor: f32, // DECAY 1, 2: log2 of the factor; 3: the floor
    growth: f32, backoff: f32, interval: u32, // of the loss scale
    share: f32, // of each batch in the mean of those that were added up
}

@group(0) @binding(0) var<uniform> u: Advance;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read_write> counters: array<u32>;

// cos²(πx/2) for x in [0, 1], of which `rest` is 1 − x: Taylor's series of the sine below π/4, exact to f32. (WGSL's own cos
// may be off by 2⁻¹¹.)
fn half_cosine(x: f32, rest: f32) -> f32 {
    let a = 1.5707963267948966 * min(x, rest);
    let z = a * a;
    var p = 1.0 / 362880.0;
    p = fma(p, z, -1.0 / 5040.0);
    p = fma(p, z, 1.0 / 120.0);
    p = fma(p, z, -1.0 / 6.0);
    let sine = fma(a * z, p, a);
    return select(sine * sine, fma(-sine, sine, 1.0), x < 0.5);
}

fn learning_rate(step: u32) -> f32 {
    if step < u.warmup {
        return u.rate * (f32(step + 1u) / f32(u.warmup));
    }
    let after = step - u.warmup;
    if DECAY == 1u {
        return u.rate * exp2(f32(after / u.steps) * u.factor);
    } else if DECAY == 2u {
        return u.rate * exp2(f32(after) * u.factor);
    } else if DECAY == 3u {
        let done = min(after, u.steps);
        let left = half_cosine(f32(done) / f32(u.steps), f32(u.steps - done) / f32(u.steps));
        return u.rate * fma(1.0 - u.factor, left, u.factor);
    }
    return u.rate;
}

// The next step's loss scale.
fn rescale(by: f32) {
    state[SCALE] = clamp(state[SCALE] * by, LEAST_SCALE, MOST_SCALE);
    counters[GOOD] = 0u;
}

@compute @workgroup_size(1)
fn main() {
    let norm = state[NORM];
    if !is_finite(norm) {
        state[APPLY] = 0.0;
        counters[SKIPPED] += 1u;
        if SCALED == 1u {
            rescale(u.backoff);
        }
        return;
    }
    let step = counters[STEP];
    counters[STEP] = step + 1u;
    state[APPLY] = 1.0;
    state[RATE] = learning_rate(step);
    var clip = select(1.0, min(1.0, u.max_norm / (norm + 1e-6)), CLIPS == 1u);
    if SCALED == 1u {
        clip *= inverse_of(state[SCALE]);
        counters[GOOD] += 1u;
        if counters[GOOD] >= u.interval {
            rescale(u.growth);
        }
    }
    state[CLIP] = clip * u.share;
    state[CORRECTION_1] = fma(u.beta1, state[CORRECTION_1], u.rest1);
    state[CORRECTION_2] = fma(u.beta2, state[CORRECTION_2], u.rest2);
}
