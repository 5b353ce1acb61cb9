// Product of a recurrent step by a workgroup together: UNITS units of RB sequences, each sum cut into SLICES.
//
// Lanes take neighbouring units, so that the weights are read contiguously, then slices. The operand is staged in
// workgroup memory, so that a workgroup reads each element from storage once, in quads: four neighbours in k. Slice s
// sums quads s, s + SLICES, …, which spreads any length evenly. The partial sums of a unit and sequence are added in
// the order of slices, by the invocation of that unit whose slice is the sequence's number, which then runs the cell:
// RB must not exceed SLICES.

const SLICES: u32 = LANES / UNITS;
// 32 bytes a lane for the operand and as many for partial sums: with 256 lanes, all that every device has. Cells of
// several gates bring the sums of two sequences together at a time.
const QUADS: u32 = 2u * LANES / RB;
const ROUND: u32 = min(RB, select(2u, 8u, SUMS == 1u));

var<workgroup> operands: array<vec4<f32>, RB * QUADS>;             // [RB][QUADS]
var<workgroup> partial: array<f32, ROUND * SUMS * LANES>;       // [ROUND][SUMS][SLICES][UNITS]

// Element k of the operand of `terms` terms; zero beyond them. Vectors are built from calls rather than element by
// element in a loop: an index that is no constant makes FXC unroll every loop around it, or give up.
fn operand_at(row: u32, k: u32, terms: u32) -> f32 {
    var value = 0.0;
    if k < terms {
        value = operand(row + part_offset(k / depth()) + k % depth());
    }
    return value;
}

// The weight of term k, from where column g begins; zero beyond them: zero times a weight that is not finite would not be.
fn weight_at(column: u32, k: u32, terms: u32) -> f32 {
    return select(0.0, f32(w[column + min(k, terms - 1u) * STRIDE * columns()]), k < terms);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let slice = lane / UNITS;
    let column = lane % UNITS;
    let unit = min(u.first_unit + group.x * UNITS + column, columns() - 1u);
    let b0 = u.first_row + group.y * RB;
    let weights = first_weight(direction) + unit;
    let terms = parts() * depth();

    var sums: array<array<f32, SUMS>, RB>;
    if slice == 0u {
        for (var i = 0u; i < RB; i++) {
            for (var g = 0u; g < SUMS; g++) {
                sums[i][g] = start(weights, g);
            }
        }
    }
    for (var first = 0u; first < terms; first += 4u * QUADS) {
        let quads = min(QUADS, (terms - first + 3u) / 4u);
        workgroupBarrier();
        for (var e = lane; e < RB * quads; e += LANES) {
            let i = e / quads;
            let row = operand_row(min(b0 + i, u.batch - 1u), direction);
            let k = first + 4u * (e % quads);
            operands[i * QUADS + e % quads] = vec4(
                operand_at(row, k, terms), operand_at(row, k + 1u, terms),
                operand_at(row, k + 2u, terms), operand_at(row, k + 3u, terms),
            );
        }
        workgroupBarrier();
        for (var q = slice; q < quads; q += SLICES) {
            let k = first + 4u * q;
            var four: array<vec4<f32>, SUMS>;
            for (var g = 0u; g < SUMS; g++) {
                let at = weights + g * columns();
                four[g] = vec4(
                    weight_at(at, k, terms), weight_at(at, k + 1u, terms),
                    weight_at(at, k + 2u, terms), weight_at(at, k + 3u, terms),
                );
            }
            for (var i = 0u; i < RB; i++) {
                let quad = operands[i * QUADS + q];
                for (var g = 0u; g < SUMS; g++) {
                    var sum = fma(quad.x, four[g].x, sums[i][g]);
                    sum = fma(quad.y, four[g].y, sum);
                    sum = fma(quad.z, four[g].z, sum);
                    sums[i][g] = fma(quad.w, four[g].w, sum);
                }
            }
        }
    }

    var total: array<f32, SUMS>;
    for (var first = 0u; first < RB; first += ROUND) {
        workgroupBarrier();
        for (var i = 0u; i < ROUND; i++) {
            for (var g = 0u; g < SUMS; g++) {
                partial[(i * SUMS + g) * LANES + lane] = sums[first + i][g];
            }
        }
        workgroupBarrier();
        if slice >= first && slice < first + ROUND {
            for (var g = 0u; g < SUMS; g++) {
                for (var s = 0u; s < SLICES; s++) {
                    total[g] += partial[((slice - first) * SUMS + g) * LANES + s * UNITS + column];
                }
            }
        }
    }
    if slice < RB && b0 + slice < u.batch && u.first_unit + group.x * UNITS + column < columns() {
        finish(direction, b0 + slice, unit, total);
    }
}
