// Step order and time order. A recurrent layer keeps its rows in step order: row (s, b) is what sequence b did in its
// s-th step. Directions before the first reversed one take steps in time order; the others start at their sequence's own
// end, so that step s is at time length - 1 - s. Inputs and outputs are in time order. The map is its own inverse.
//
// A kernel that includes this declares `lengths: array<u32>`, one a sequence.

struct Rows {
    batch: u32,        // B
    first_step: u32,   // step of row 0
    window_first: u32, // first row of the other side that is bound
    window_rows: u32,  // how many rows of it are bound
    first_reversed: u32, // the first direction that starts at the end
}

const NOWHERE: u32 = 0xffffffffu;

// Step or time on the other side. Padding keeps its place.
fn other_side(step: u32, length: u32, reversed: bool) -> u32 {
    return select(step, length - 1u - step, reversed && step < length);
}

fn windowed(rows: Rows, row: u32) -> u32 {
    let local = row - rows.window_first;
    return select(NOWHERE, local, local < rows.window_rows);
}

// Row on the other side for row `m` of a direction that is reversed or not; NOWHERE outside the window.
fn row_with_padding(rows: Rows, m: u32, reversed: bool) -> u32 {
    let step = rows.first_step + m / rows.batch;
    let b = m % rows.batch;
    return windowed(rows, other_side(step, lengths[b], reversed) * rows.batch + b);
}

// The same, and NOWHERE for padding, whose content must not be looked at.
fn row_without_padding(rows: Rows, m: u32, reversed: bool) -> u32 {
    let step = rows.first_step + m / rows.batch;
    let b = m % rows.batch;
    let length = lengths[b];
    if step >= length {
        return NOWHERE;
    }
    return windowed(rows, other_side(step, length, reversed) * rows.batch + b);
}
