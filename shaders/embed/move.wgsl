// sorted = the rows in order of the digit. `counts` holds the next place of each digit and run.

@group(0) @binding(3) var<storage, read_write> counts: array<u32>; // [DIGITS, runs]
@group(0) @binding(4) var<storage, read_write> sorted: array<u32>; // [rows]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let run = u.first_run + id.x;
    if run >= u.end_run {
        return;
    }
    let end = min((run + 1u) * u.run, u.rows);
    for (var place = run * u.run; place < end; place++) {
        let row = row_at(place);
        let slot = digit_of(row) * u.runs + run;
        let to = counts[slot];
        counts[slot] = to + 1u;
        sorted[to] = row;
    }
}
