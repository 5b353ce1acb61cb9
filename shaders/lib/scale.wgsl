// The loss scale: gradients come multiplied by it. Twin of `src/kernel/scale.rs`.

const LEAST_SCALE = 6.103515625e-5; // 2⁻¹⁴
const MOST_SCALE = 16777216.0; // 2²⁴

// 1 / scale. Of a power of two it is exact, which a device's division need not be.
fn inverse_of(scale: f32) -> f32 {
    let bits = bitcast<u32>(scale);
    return select(1.0 / scale, bitcast<f32>(0x7f000000u - bits), (bits & 0x007fffffu) == 0u);
}
