// A new draw: what is random from now on is of another number, until the next one.

@group(0) @binding(0) var<storage, read_write> random: array<u32>; // the seed's two words, the draw

@compute @workgroup_size(1)
fn main() {
    random[2] += 1u;
}
