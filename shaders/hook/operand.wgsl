// What the product of a step reads of the h that the step sees: what dropout leaves of it, or, without RECURRENT_DROPOUT, itself.
// `own` is its place in the states.

fn operand_of_h(step: u32, own: u32, h_seen: f32) -> f32 {
    if RECURRENT_DROPOUT {
        return left_of(h_seen, own, u.recipe.left, u.recipe.left_scale);
    }
    return h_seen;
}

// The gradient of that h, `sum`, with what comes back from the product: `gradient` is that of what it read.
fn plus_through_operand(step: u32, own: u32, sum: f32, gradient: f32) -> f32 {
    if RECURRENT_DROPOUT {
        return plus_left_of(sum, gradient, own, u.recipe.left, u.recipe.left_scale);
    }
    return sum + gradient;
}

// That h, of what a product read of it and of what was kept beside.
fn h_of(read: f32, kept: f32) -> f32 {
    return select(read, kept, RECURRENT_DROPOUT);
}
