// Steps before which a sequence's state returns to its initial value. Twin of `Resets` in src/cpu/recurrent/resets.rs.
//
// A kernel that includes this declares `lengths: array<u32>`: the length of each of the B sequences, then, where there are
// resets, rows of as many words as hold a bit for each sequence: one for the first step of a reversed direction, then one for
// each time.

// Whether step `step` of a sequence begins anew. In a reversed direction it is the step whose later neighbour in time begins
// anew: what lies between two resets is a sequence of its own.
fn begins_anew(sequence: u32, step: u32, reversed: bool, batch: u32) -> bool {
    let length = lengths[sequence];
    if step >= length {
        return false;
    }
    let row = select(step + 1u, select(length - step + 1u, 0u, step == 0u), reversed);
    let word = lengths[batch + row * ((batch + 31u) / 32u) + sequence / 32u];
    return ((word >> (sequence % 32u)) & 1u) != 0u;
}
