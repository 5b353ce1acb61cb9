// Steps before which a sequence's state returns to its initial value. Twin of `Resets` in src/cpu/recurrent/resets.rs.
//
// A kernel that includes this declares `lengths: array<u32>`: the length of each of the B sequences, then, where there are
// resets, for each time as many words as hold a bit for each sequence.

// Whether step `step` of a sequence begins anew. Its first one does. In a reversed direction it is the step whose later
// neighbour in time begins anew: what lies between two resets is a sequence of its own.
fn begins_anew(sequence: u32, step: u32, reversed: bool, batch: u32) -> bool {
    let length = lengths[sequence];
    if step == 0u || step >= length {
        return step == 0u;
    }
    let time = select(step, length - step, reversed);
    let word = lengths[batch + time * ((batch + 31u) / 32u) + sequence / 32u];
    return ((word >> (sequence % 32u)) & 1u) != 0u;
}
