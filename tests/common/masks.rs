//! Masks as one would write them on paper.

use wgpu_rnn::Number;

use super::Layer;

/// Threefry-2x32 of 20 rounds, written from the paper's figure rather than from the library's text.
fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let words = [key[0], key[1], 0x1bd1_1bda ^ key[0] ^ key[1]];
    let [mut a, mut b] = [counter[0].wrapping_add(words[0]), counter[1].wrapping_add(words[1])];
    for (group, rotations) in [[13, 15, 26, 6], [17, 29, 16, 24]].iter().cycle().take(5).enumerate() {
        for rotation in rotations {
            a = a.wrapping_add(b);
            b = b.rotate_left(*rotation) ^ a;
        }
        a = a.wrapping_add(words[(group + 1) % 3]);
        b = b.wrapping_add(words[(group + 2) % 3]).wrapping_add(group as u32 + 1);
    }
    [a, b]
}

/// The words of a place by the first draw: of a layer's outputs (0), states (1), inputs (2) or weights (3).
pub fn words(kind: u32, index: usize, place: usize) -> [u32; 2] {
    let key = [super::SEED as u32, (super::SEED >> 32) as u32 ^ index as u32 ^ kind << 24];
    threefry(key, [place as u32, 1])
}

/// What dropout leaves of 1.
pub fn left(probability: Number, words: [u32; 2]) -> f64 {
    let kept = 1.0 - f64::from(probability.get());
    match f64::from(words[0]) < (kept * 4_294_967_296.0).round() {
        true if kept == 1.0 => 1.0,
        true => f64::from((1.0 / kept) as f32),
        false => 0.0,
    }
}

/// Dropout of what a layer gives to the next, or of its gradient, in time order.
pub fn drop_outputs(layer: &Layer, index: usize, values: &mut [f64]) {
    for (place, value) in values.iter_mut().enumerate() {
        *value *= left(layer.config.dropout, words(0, index, place));
    }
}

/// Dropout of a layer's inputs, or of their gradients: the same at all times.
pub fn drop_inputs(layer: &Layer, index: usize, values: &mut [f64]) {
    let row = layer.shape.batch * layer.config.layer_input(index);
    for (place, value) in values.iter_mut().enumerate() {
        *value *= left(layer.config.input_dropout, words(2, index, place % row));
    }
}
