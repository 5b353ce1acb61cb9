// counts[digit, run] = how many rows of the run have the digit.

@group(0) @binding(3) var<storage, read_write> counts: array<u32>; // [DIGITS, runs]

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let run = u.first_run + id.x;
    if run >= u.end_run {
        return;
    }
    for (var digit = 0u; digit < DIGITS; digit++) {
        counts[digit * u.runs + run] = 0u;
    }
    let end = min((run + 1u) * u.run, u.rows);
    for (var place = run * u.run; place < end; place++) {
        counts[digit_of(row_at(place)) * u.runs + run] += 1u;
    }
}
