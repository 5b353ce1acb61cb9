// Exponential and logarithm of our own: a device's are only right in a range, to a few units in the last place or worse,
// and in fast mode what becomes of infinities and NaN is open. Nothing here overflows on the way.

// Adding it to a number of less than 2²² leaves the nearest whole number in the low bits of the sum.
const NEAREST: f32 = 12582912.0;
const NEAREST_BITS: i32 = 0x4b400000;
const LOG2_E: f32 = 1.44269504;
// ln 2 in two parts, the first with zeros at its end, so that its product with a whole number of at most 11 bits is exact.
const LN_2_HIGH: f32 = 0.693359375;
const LN_2_LOW: f32 = -2.12194440e-4;

// eˣ = 2ⁿ·(1 + p), |p| < 0.42.
struct Power { n: i32, p: f32 }

// For −105 < x ≤ 0. The polynomial is Cephes' expf (S. Moshier, netlib.org/cephes, public domain coefficients):
// eʳ − 1 = r + r²·q(r) for |r| ≤ ln 2 / 2. Twin of `reduce` in src/cpu/activation.rs.
fn power(x: f32) -> Power {
    let n = bitcast<i32>(fma(x, LOG2_E, NEAREST)) - NEAREST_BITS;
    let whole = f32(n);
    let r = fma(-whole, LN_2_LOW, fma(-whole, LN_2_HIGH, x));
    var q = 1.9875691500e-4;
    q = fma(q, r, 1.3981999507e-3);
    q = fma(q, r, 8.3334519073e-3);
    q = fma(q, r, 4.1665795894e-2);
    q = fma(q, r, 1.6666665459e-1);
    q = fma(q, r, 5.0000001201e-1);
    return Power(n, fma(r * r, q, r));
}

// 2ⁿ for −126 ≤ n ≤ 127.
fn power_of_two(n: i32) -> f32 {
    return bitcast<f32>((n + 127) << 23u);
}

// eˣ in two factors whose product is rounded only where it is subnormal: 2ⁿ alone reaches below the smallest normal number.
struct Factors { high: f32, low: f32 }

fn factors(power: Power) -> Factors {
    let half = power.n >> 1u;
    let scale = power_of_two(half);
    // Not 1 + p, which a compiler may take apart: p is a sum itself.
    return Factors(fma(scale, power.p, scale), power_of_two(power.n - half));
}

// The bits of 104. From there on e⁻ˣ rounds to zero.
const MOST_POWER: u32 = 0x42d00000u;

// eˣ for x ≤ 0, −∞ included, and NaN for NaN.
fn exponential(x: f32) -> f32 {
    let e = factors(power(-bitcast<f32>(min(size_bits(x), MOST_POWER))));
    return unless_nan(x, e.high * e.low);
}

// ln x for finite x ≥ 1, and NaN for NaN. With x = 2ᵉ·(1 + f), f from √½ − 1 to √2 − 1, and Cephes' logf.
fn logarithm(x: f32) -> f32 {
    const ROOT_HALF: i32 = 0x3f3504f3;
    let bits = bitcast<i32>(x);
    let e = (bits - ROOT_HALF) >> 23u;
    let f = bitcast<f32>(bits - (e << 23u)) - 1.0;
    let z = f * f;
    var p = 7.0376836292e-2;
    p = fma(p, f, -1.1514610310e-1);
    p = fma(p, f, 1.1676998740e-1);
    p = fma(p, f, -1.2420140846e-1);
    p = fma(p, f, 1.4249322787e-1);
    p = fma(p, f, -1.6668057665e-1);
    p = fma(p, f, 2.0000714765e-1);
    p = fma(p, f, -2.4999993993e-1);
    p = fma(p, f, 3.3333331174e-1);
    let small = fma(-0.5, z, fma(f32(e), LN_2_LOW, f * z * p));
    return unless_nan(x, fma(f32(e), LN_2_HIGH, f + small));
}
