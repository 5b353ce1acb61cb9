// Which elements of the states [B, D, H] dropout leaves, at all steps alike: a bit each, for lib/left.wgsl. An element's fate
// depends on the seed, the draw, the layer and its place.

struct Left {
    first: u32, end: u32, // words of bits, from the first to before the end
    layer: u32, // the masks of this layer
    below: u32, // words of what is left
    random: u32, // where in `lengths` the seed's two words and the draw are, one more, and then the bits
}

@group(0) @binding(0) var<uniform> u: Left;
@group(0) @binding(1) var<storage, read_write> lengths: array<u32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let key = vec2(lengths[u.random], lengths[u.random + 1u] ^ u.layer);
    let draw = lengths[u.random + 2u];
    for (var word = u.first + id.x; word < u.end; word += groups.x * LANES) {
        var bits = 0u;
        for (var bit = 0u; bit < 32u; bit++) {
            let left = threefry(key, vec2(word * 32u + bit, draw)).x < u.below;
            bits |= select(0u, 1u << bit, left);
        }
        lengths[u.random + 4u + word] = bits;
    }
}
