// A new draw: what is random from now on is of another number, until the next one.

struct Draw {
    random: u32, // where in `lengths` the seed's two words and the draw are
}

@group(0) @binding(0) var<uniform> u: Draw;
@group(0) @binding(1) var<storage, read_write> lengths: array<u32>;

@compute @workgroup_size(1)
fn main() {
    lengths[u.random + 2u] += 1u;
}
