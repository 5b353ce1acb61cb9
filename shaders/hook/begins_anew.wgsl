// Sequences that begin anew within a batch: a step that does sees the initial state in place of the one before it, and its gradient
// goes there. Without RESETS all of this is the identity.
//
// Behind what is carried, `carry` holds the initial states, [B, D, H] of h, then of c, and in backward the sums of their gradients
// likewise.

// What `carry` holds for that, in states of one kind.
const FOR_RESETS: u32 = select(0u, 2u * CARRIES, RESETS);

// A bit that no place in a buffer has: what is read is the initial state.
const INITIAL: u32 = 0x80000000u;

// Whether a step of a sequence begins anew.
fn is_reset(sequence: u32, step: u32, direction: u32) -> bool {
    if !RESETS {
        return false;
    }
    return begins_anew(sequence, step, is_reversed(direction, u.recipe.first_reversed), u.batch);
}

// The states that a step sees. Loads are not in branches: LLVM, below software adapters, takes many times as long to compile those.
fn seen(anew: bool, at: Site, h_before: f32, c_before: f32) -> vec2<f32> {
    if RESETS {
        var first = vec2(0.0);
        // What a projection has made is of other units.
        if !PROJECTION {
            first.x = carry[initial_place(at.sequence, at.direction, at.unit)];
        }
        if HAS_C {
            first.y = carry[u.recipe.initial + h_count() + own_place(at.sequence, at.direction, at.unit)];
        }
        return select(vec2(h_before, c_before), first, anew);
    }
    return vec2(h_before, c_before);
}

// Where products of a step read a sequence's h: from place `row` of `h` on, or its initial one.
fn row_seen(anew: bool, sequence: u32, direction: u32, row: u32) -> u32 {
    if RESETS {
        return select(row, INITIAL | initial_place(sequence, direction, 0u), anew);
    }
    return row;
}

// The h at such a place, and that place in the states of one step, where those before the step begin at `first`.
fn h_seen(at: u32) -> f32 {
    if RESETS {
        if (at & INITIAL) != 0u {
            return carry[at & ~INITIAL];
        }
    }
    return f32(h[at]);
}

fn own_seen(at: u32, first: u32) -> u32 {
    if RESETS {
        return select(at - first, (at & ~INITIAL) - u.recipe.initial, (at & INITIAL) != 0u);
    }
    return at - first;
}

// Where the sums of gradients of a unit's initial states are, and these sums.
fn initial_gradient_place(at: Site) -> u32 {
    return initial_place(at.sequence, at.direction, at.unit) + carried_count();
}

fn sums_for_initial(at: Site) -> vec2<f32> {
    var sums = vec2(0.0);
    if RESETS {
        let place = initial_gradient_place(at);
        sums.x = carry[place];
        if HAS_C {
            sums.y = carry[place + state_count()];
        }
    }
    return sums;
}

fn leave_for_initial(at: Site, sums: vec2<f32>) {
    if RESETS {
        let place = initial_gradient_place(at);
        carry[place] = sums.x;
        if HAS_C {
            carry[place + state_count()] = sums.y;
        }
    }
}

// What gradients of the states that a step saw are for: those of the states before it, and those of the initial ones.
struct Parted {
    before: vec2<f32>,
    initial: vec2<f32>,
}

fn parted(anew: bool, gradients: vec2<f32>) -> Parted {
    if RESETS {
        return Parted(select(gradients, vec2(0.0), anew), select(vec2(0.0), gradients, anew));
    }
    return Parted(gradients, vec2(0.0));
}

// The gradients of the states before a step; those of the initial ones are added to what is there.
fn passed_on(anew: bool, at: Site, gradients: vec2<f32>) -> vec2<f32> {
    if RESETS {
        if anew {
            leave_for_initial(at, sums_for_initial(at) + gradients);
            return vec2(0.0);
        }
    }
    return gradients;
}

// The same of one state, of which this is the place among the sums.
fn one_passed_on(anew: bool, place: u32, gradient: f32) -> f32 {
    if RESETS {
        if anew {
            let sum = u.recipe.initial + carried_count() + place;
            carry[sum] = carry[sum] + gradient;
            return 0.0;
        }
    }
    return gradient;
}
