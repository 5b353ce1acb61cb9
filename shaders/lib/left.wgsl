// What dropout leaves of h where products of steps read it, by a bit for each element of the states [B, D, H].
//
// A kernel that includes this declares `lengths: array<u32>`, in which the bits are.

// The sum and what is left of a value's gradient, in one rounding everywhere.
fn plus_left_of(sum: f32, value: f32, own: u32, left: u32, scale: f32) -> f32 {
    let word = lengths[left + own / 32u];
    return select(sum, fma(value, scale, sum), ((word >> (own % 32u)) & 1u) != 0u);
}

// Of a value: `own` is its place in the states, `left` where the bits begin.
fn left_of(value: f32, own: u32, left: u32, scale: f32) -> f32 {
    let word = lengths[left + own / 32u];
    return select(0.0, value * scale, ((word >> (own % 32u)) & 1u) != 0u);
}
