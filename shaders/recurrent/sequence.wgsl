// How a workgroup of a sequence kernel shares its sequences out. An invocation owns UNITS_EACH units, COLUMNS apart. Where
// there are more invocations than units, SPLIT of them share a unit: each sums over its own slice of k, and the rows are
// dealt out among them for the cell. ROLLED: loops over units and rows stay loops, since unrolled they would be too much
// code.
//
// A kernel that includes this has `batch`, `hidden` and `first_row` in its uniform `u`, and STATES, what it keeps of its sequences in
// its workgroup's array before the parts of sums.

const COLUMNS: u32 = LANES / SPLIT;
// Rows that an invocation runs the cell for.
const OWN: u32 = (RB + SPLIT - 1u) / SPLIT;

struct Place {
    direction: u32,
    b0: u32,     // the workgroup's first sequence
    part: u32,   // slice of k, and the first row that is the invocation's own
    column: u32, // its first unit
}

// Units that an invocation owns: the same number in all of them, since barriers stand in the loop over them.
fn unit_count() -> u32 {
    if ROLLED == 1u {
        return (u.hidden + COLUMNS - 1u) / COLUMNS;
    }
    return UNITS_EACH;
}

// Rows that are an invocation's own, of a workgroup from sequence `b0` on.
fn row_count(b0: u32) -> u32 {
    if ROLLED == 1u {
        return min(RB, u.batch - b0);
    }
    return OWN;
}

fn place(group: vec3<u32>, lane: u32) -> Place {
    var at = Place(group.z, u.first_row + group.y * RB, 0u, lane);
    if SPLIT > 1u {
        at.part = lane / COLUMNS;
        at.column = lane % COLUMNS;
    }
    return at;
}

// Whether there is such a unit, and row `r` of the workgroup is a sequence.
fn exists(at: Place, unit: u32, r: u32) -> bool {
    return unit < u.hidden && r < RB && at.b0 + r < u.batch;
}

// The sequence of an invocation's row j, or the last there is.
fn sequence_of(at: Place, j: u32) -> u32 {
    return min(at.b0 + at.part + j * SPLIT, u.batch - 1u);
}

// Which of an invocation's rows begin anew at a step, a bit each: asked once for all units. OWN is at most 32.
fn rows_anew(at: Place, rows: u32, step: u32) -> u32 {
    if !RESETS {
        return 0u;
    }
    var bits = 0u;
    for (var j = 0u; j < rows; j++) {
        bits |= select(0u, 1u << j, is_reset(sequence_of(at, j), step, at.direction));
    }
    return bits;
}

fn is_anew(bits: u32, j: u32) -> bool {
    return ((bits >> j) & 1u) != 0u;
}

// Terms of a sum over `terms` that are the invocation's: from the first to before the second.
fn slice_of(at: Place, terms: u32) -> vec2<u32> {
    let length = (terms + SPLIT - 1u) / SPLIT;
    let first = at.part * length;
    return vec2(first, min(first + length, terms));
}
