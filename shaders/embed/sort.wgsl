// What the passes of a sort of rows by their token share. A pass sorts by one digit of the token, the lowest first, and
// leaves rows of one digit in their order. An invocation has a run of neighbouring places, so it counts and moves them one
// after another, and nothing depends on which invocation is faster.

const DIGIT_BITS: u32 = 6u;
const DIGITS: u32 = 1u << DIGIT_BITS;

struct Sort {
    rows: u32, entries: u32,
    runs: u32, run: u32, // how many there are, and places of each
    first_run: u32, end_run: u32, // of this dispatch
    shift: u32, // of the digit
}

@group(0) @binding(0) var<uniform> u: Sort;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [rows]
@group(0) @binding(2) var<storage, read> order: array<u32>;  // [rows]: rows as the pass before left them

// The row at a place before this pass. FIRST: there was no pass.
fn row_at(place: u32) -> u32 {
    if FIRST == 1u {
        return place;
    }
    return order[place];
}

// Tokens beyond the table come last.
fn digit_of(row: u32) -> u32 {
    return (min(tokens[row], u.entries) >> u.shift) & (DIGITS - 1u);
}
