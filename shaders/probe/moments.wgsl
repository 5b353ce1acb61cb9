// What the values of each column do over the rows that are not padding: a workgroup a tile of columns, its lanes rows
// apart. Sums are of the distance from the column's first value, so that a small spread around a large mean is not lost.
//
//   moments [7][columns]: that first value; Σ distance; Σ distance²; rows with a value below -HIGH, within LOW of zero,
//   and above HIGH; Σ ln(max(value, LEAST)), which says of a gate what is left after many steps

const TILE_COLUMNS: u32 = 8u;
const SLICES: u32 = LANES / TILE_COLUMNS;
const MOMENTS: u32 = 7u;
const LOW: f32 = 0.05;
const HIGH: f32 = 0.95;
const LEAST: f32 = 1e-30;

struct Sizes {
    rows: u32,       // steps · B
    columns: u32,
    first: u32,      // of the columns that this dispatch does
    end: u32,        // the first that it does not
    batch: u32,
    first_step: u32, // of the first row
    offset: u32,     // of the first row
    to: u32,
    begins: u32,     // 1: nothing is there yet; 0: these rows are added
}

@group(0) @binding(0) var<uniform> u: Sizes;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
@group(0) @binding(2) var<storage, read> values: array<values_t>;      // [rows, columns]
@group(0) @binding(3) var<storage, read_write> moments: array<f32>;

var<workgroup> sums: array<f32, (MOMENTS - 1u) * LANES>; // of all but the first value [lanes]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var tile = u.first + group.x * TILE_COLUMNS; tile < u.end; tile += groups.x * TILE_COLUMNS) {
        let column = tile + lane % TILE_COLUMNS;
        let here = column < u.end;
        var first = 0.0;
        if here && u.begins == 1u {
            // Every sequence has a first step.
            first = f32(values[u.offset + column]);
        } else if here {
            first = moments[u.to + column];
        }
        var found = array<f32, MOMENTS>();
        let rows = select(0u, u.rows, here);
        for (var row = lane / TILE_COLUMNS; row < rows; row += SLICES) {
            if u.first_step + row / u.batch < lengths[row % u.batch] {
                let value = f32(values[u.offset + row * u.columns + column]);
                let distance = value - first;
                found[1] += distance;
                found[2] = fma(distance, distance, found[2]);
                // By bits: NaN is in no range.
                let size = size_bits(value);
                let beyond = size > bitcast<u32>(HIGH) && size <= INFINITY_BITS;
                let negative = (bitcast<u32>(value) & SIGN_BIT) != 0u;
                found[3] += select(0.0, 1.0, beyond && negative);
                found[4] += select(0.0, 1.0, size < bitcast<u32>(LOW));
                found[5] += select(0.0, 1.0, beyond && !negative);
                found[6] += log(max(value, LEAST));
            }
        }
        workgroupBarrier();
        for (var m = 1u; m < MOMENTS; m++) {
            sums[(m - 1u) * LANES + lane] = found[m];
        }
        workgroupBarrier();
        // All lanes have read the first value by now.
        if here && lane < TILE_COLUMNS {
            moments[u.to + column] = first;
            for (var m = 1u; m < MOMENTS; m++) {
                // Over slices, in order.
                var sum = 0.0;
                for (var slice = 0u; slice < SLICES; slice++) {
                    sum += sums[(m - 1u) * LANES + slice * TILE_COLUMNS + lane];
                }
                let at = u.to + m * u.columns + column;
                if u.begins == 1u {
                    moments[at] = sum;
                } else {
                    moments[at] += sum;
                }
            }
        }
    }
}
