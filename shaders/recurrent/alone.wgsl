// Product of a recurrent step without help: an invocation sums all of WIDTH units of RB sequences, then runs their cells.
//
// Lanes take neighbouring units, so that the weights are read contiguously; the operand is uniform over lanes. No
// workgroup memory and no barrier: a software adapter pays dearly for both.

const WIDTH: u32 = max(1u, UNITS / LANES);

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let b0 = u.first_row + group.y * RB;
    var units: array<u32, WIDTH>;
    var weights: array<u32, WIDTH>;
    for (var n = 0u; n < WIDTH; n++) {
        units[n] = u.first_unit + group.x * UNITS + n * LANES + lane;
        weights[n] = first_weight(direction) + min(units[n], columns() - 1u);
    }
    var rows: array<u32, RB>;
    var sums: array<array<array<f32, SUMS>, WIDTH>, RB>;
    for (var i = 0u; i < RB; i++) {
        rows[i] = operand_row(min(b0 + i, u.batch - 1u), direction);
        for (var n = 0u; n < WIDTH; n++) {
            for (var g = 0u; g < SUMS; g++) {
                sums[i][n][g] = start(weights[n], g);
            }
        }
    }
    for (var part = 0u; part < parts(); part++) {
        let offset = part_offset(part);
        var at = part * depth() * STRIDE * columns();
        for (var k = 0u; k < depth(); k++) {
            var column: array<array<f32, SUMS>, WIDTH>;
            for (var n = 0u; n < WIDTH; n++) {
                for (var g = 0u; g < SUMS; g++) {
                    column[n][g] = f32(w[weights[n] + at + g * columns()]);
                }
            }
            for (var i = 0u; i < RB; i++) {
                let value = operand(rows[i] + offset + k);
                for (var n = 0u; n < WIDTH; n++) {
                    for (var g = 0u; g < SUMS; g++) {
                        sums[i][n][g] = fma(value, column[n][g], sums[i][n][g]);
                    }
                }
            }
            at += STRIDE * columns();
        }
    }
    for (var n = 0u; n < WIDTH; n++) {
        if units[n] < columns() {
            for (var i = 0u; i < RB; i++) {
                if b0 + i < u.batch {
                    finish(direction, b0 + i, units[n], sums[i][n]);
                }
            }
        }
    }
}
