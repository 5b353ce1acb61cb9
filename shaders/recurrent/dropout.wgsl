// Dropout of what one layer gives to the next (torch.nn.LSTM's `dropout`): values are kept with a probability and divided by it,
// or become zero. A value's fate depends on the seed, the draw, the layer and its place in time order, so that states in step
// order and their gradients in time order have the same mask.

struct Dropout {
    batch: u32, width: u32, hidden: u32, first: u32, // element, of rows [.., B, D·H], of the first that is worked on
    end: u32, first_row: u32, from_offset: u32, to_offset: u32, // first_row: step or time of row 0
    layer: u32, most: u32, // kept: words up to it
    first_reversed: u32,
    scale: f32, // 1 / probability, or 0 where nothing is kept
}

@group(0) @binding(0) var<uniform> u: Dropout;
@group(0) @binding(1) var<storage, read> random: array<u32>;       // the seed's two words, the draw
@group(0) @binding(2) var<storage, read> lengths: array<u32>;      // [B]
@group(0) @binding(3) var<storage, read> source: array<source_t>;  // with FROM_SOURCE 1 in step order; else `to` in time order
@group(0) @binding(4) var<storage, read_write> to: array<to_t>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var i = u.first + id.x; i < u.end; i += groups.x * LANES) {
        let column = i % u.width;
        let sequence = i / u.width % u.batch;
        var time = u.first_row + i / (u.width * u.batch);
        var value: f32;
        if FROM_SOURCE == 1u {
            time = other_side(time, lengths[sequence], is_reversed(column / u.hidden, u.first_reversed));
            value = f32(source[u.from_offset + i]);
        } else {
            value = f32(to[u.to_offset + i]);
        }
        let place = (time * u.batch + sequence) * u.width + column;
        let word = threefry(vec2(random[0], random[1] ^ u.layer), vec2(place, random[2])).x;
        to[u.to_offset + i] = to_t(select(0.0, value * u.scale, word < u.most));
    }
}
