// Product of a recurrent step where no packed copy of all weights is held: a workgroup takes LANES units after LANES
// units. It packs their weights into memory of its own, then sums all of them for RB sequences after RB sequences and
// runs their cells. An invocation packs what it will read itself, so nothing has to wait for anything.
//
// The sums are those of alone.wgsl, to the bit.

@group(0) @binding(8) var<storage, read_write> own: array<f32>; // [D][G·H]: b_hh, then [D][workgroups][H][G][LANES]

fn pack(weights: u32, to: u32) {
    for (var g = 0u; g < SUMS; g++) {
        for (var k = 0u; k < u.hidden; k++) {
            own[to + (k * SUMS + g) * LANES] = f32(w[weights + g * u.hidden * u.hidden + k]);
        }
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let direction = group.z;
    let biases = u.directions * STRIDE * u.hidden;
    let packed = biases + (direction * groups.x + group.x) * u.hidden * SUMS * LANES + lane;
    for (var first = u.first_unit + group.x * LANES; first < u.end_unit; first += groups.x * LANES) {
        // Lanes beyond the last unit work on it too, and store nothing.
        let unit = min(first + lane, u.hidden - 1u);
        pack(direction * u.w_direction + first_weight_in_place() + unit * u.hidden, packed);
        var from_bias: array<f32, SUMS>;
        if u.has_bias != 0u {
            for (var g = 0u; g < SUMS; g++) {
                from_bias[g] = own[(direction * STRIDE + FIRST_GATE + g) * u.hidden + unit];
            }
        }
        for (var b0 = u.first_row; b0 < u.end_row; b0 += RB) {
            var rows: array<u32, RB>;
            var sums: array<array<f32, SUMS>, RB>;
            for (var i = 0u; i < RB; i++) {
                rows[i] = operand_row(min(b0 + i, u.batch - 1u), direction);
                sums[i] = from_bias;
            }
            var at = packed;
            for (var k = 0u; k < u.hidden; k++) {
                var column: array<f32, SUMS>;
                for (var g = 0u; g < SUMS; g++) {
                    column[g] = own[at + g * LANES];
                }
                for (var i = 0u; i < RB; i++) {
                    let value = operand(rows[i] + k);
                    for (var g = 0u; g < SUMS; g++) {
                        sums[i][g] = fma(value, column[g], sums[i][g]);
                    }
                }
                at += SUMS * LANES;
            }
            if first + lane < u.hidden {
                for (var i = 0u; i < RB; i++) {
                    if b0 + i < u.batch {
                        finish(direction, b0 + i, unit, sums[i]);
                    }
                }
            }
        }
    }
}
