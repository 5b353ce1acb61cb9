// x / (1 + |x|).

// The bits of the largest finite number.
const MOST_FINITE: u32 = 0x7f7fffffu;

fn softsign_value(x: f32, alpha: f32, beta: f32) -> f32 {
    let size = bitcast<f32>(min(size_bits(x), MOST_FINITE));
    let value = size / (1.0 + size);
    return unless_nan(x, bitcast<f32>(bitcast<u32>(value) | (bitcast<u32>(x) & SIGN_BIT)));
}

fn softsign_slope(y: f32, alpha: f32, beta: f32) -> f32 {
    let rest = 1.0 - bitcast<f32>(size_bits(y));
    return rest * rest;
}
