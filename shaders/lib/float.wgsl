// What a float is, by its bits. A compiler in fast mode takes floats for finite and may fold comparisons that would show
// otherwise, so nothing here compares floats, and what is selected are bits.

const INFINITY_BITS: u32 = 0x7f800000u;
const SIGN_BIT: u32 = 0x80000000u;

// The bits of |x|. They grow with |x|: infinity is above every finite number, NaN above infinity.
fn size_bits(x: f32) -> u32 {
    return bitcast<u32>(x) & ~SIGN_BIT;
}

fn is_nan(x: f32) -> bool {
    return size_bits(x) > INFINITY_BITS;
}

fn is_negative(x: f32) -> bool {
    return (bitcast<u32>(x) & SIGN_BIT) != 0u;
}

fn is_finite(x: f32) -> bool {
    return size_bits(x) < INFINITY_BITS;
}

// `value`, or x where x is NaN.
fn unless_nan(x: f32, value: f32) -> f32 {
    return bitcast<f32>(select(bitcast<u32>(value), bitcast<u32>(x), is_nan(x)));
}

// max(x, 0), or x where x is NaN. Bits from those of −0 up to those of −∞ become 0.
fn rectified(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    return bitcast<f32>(select(bits, 0u, bits - SIGN_BIT <= INFINITY_BITS));
}

// Whether a value is beyond a limit. NaN is not: it stays one.
fn is_beyond(x: f32, limit: f32) -> bool {
    return size_bits(x) > bitcast<u32>(limit) && !is_nan(x);
}

// The value, or the nearest to it within a limit.
fn limited(x: f32, limit: f32) -> f32 {
    let nearest = bitcast<f32>(bitcast<u32>(limit) | (bitcast<u32>(x) & SIGN_BIT));
    return select(x, nearest, is_beyond(x, limit));
}
