// Dropout of what one layer gives to the next (torch.nn.LSTM's `dropout`), of inputs and of weights: values are left with a
// probability and divided by it, or become zero. A value's fate depends on the seed, the draw, the layer, what it is and its
// place. That of outputs is their place in time order, so that states in step order and their gradients in time order have the
// same mask; inputs have one mask at all steps.

struct Dropout {
    batch: u32, width: u32, hidden: u32, first: u32, // element, of rows [.., B, D·H], of the first that is worked on
    end: u32, first_row: u32, from_offset: u32, to_offset: u32, // first_row: step or time of row 0
    layer: u32, below: u32, // words of what is left
    first_reversed: u32, random: u32, // random: where in `lengths` the seed's two words and the draw are
    scale: f32, // 1 / probability, or 0 where nothing is left
    per_row: u32, adds: u32, // whether rows have masks of their own, and whether to add to what is there
}

@group(0) @binding(0) var<uniform> u: Dropout;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;      // [B], and the random state
@group(0) @binding(2) var<storage, read> source: array<source_t>;  // FROM_SOURCE 1: outputs in step order; 2: rows as they are; else `to`
@group(0) @binding(3) var<storage, read_write> to: array<to_t>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var i = u.first + id.x; i < u.end; i += groups.x * LANES) {
        let column = i % u.width;
        let sequence = i / u.width % u.batch;
        var row = u.first_row + i / (u.width * u.batch);
        var value: f32;
        if FROM_SOURCE == 0u {
            value = f32(to[u.to_offset + i]);
        } else {
            value = f32(source[u.from_offset + i]);
        }
        if FROM_SOURCE == 1u {
            row = other_side(row, lengths[sequence], is_reversed(column / u.hidden, u.first_reversed));
        }
        let place = (row * u.per_row * u.batch + sequence) * u.width + column;
        let key = vec2(lengths[u.random], lengths[u.random + 1u] ^ u.layer);
        let word = threefry(key, vec2(place, lengths[u.random + 2u])).x;
        var sum = 0.0;
        if u.adds != 0u {
            sum = f32(to[u.to_offset + i]);
        }
        // Nothing is added as zero, which makes a zero of a sum that is minus zero.
        to[u.to_offset + i] = to_t(fma(select(0.0, value, word < u.below), u.scale, sum));
    }
}
