//! Sigmoid and tanh.
//!
//! [`double`] is the standard library's, and the reference. [`single`] is branch-free, so that a loop over it becomes
//! vector code. It is made of additions, products and one division that every processor rounds alike, and of sums with a
//! product that are rounded once wherever A has an instruction for it, so the bits do not depend on the vector width.
//! Error of both, over all of `f32`: below 4 units in the last place (subnormal results included). NaN gives NaN and ±∞
//! gives the limits.

/// `f64`: the plain equations, on the standard library.
pub mod double {
    /// `σ(x) = 1 / (1 + e⁻ˣ)`, as `eˣ / (1 + eˣ)` for negative x, where `e⁻ˣ` could overflow.
    #[inline(always)]
    pub fn sigmoid(x: f64) -> f64 {
        let e = (-x.abs()).exp();
        if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
    }

    /// Hyperbolic tangent.
    #[inline(always)]
    pub fn tanh(x: f64) -> f64 {
        x.tanh()
    }
}

/// `f32`: branch-free.
pub mod single {
    use pulp::Simd;

    /// `a·b + c`, rounded once where A does that in one instruction.
    #[inline(always)]
    fn fused<A: Simd>(a: f32, b: f32, c: f32) -> f32 {
        if A::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
    }

    /// `σ(x) = 1 / (1 + e⁻ˣ)`, as `eˣ / (1 + eˣ)` for negative x, down to the smallest subnormal.
    #[inline(always)]
    pub fn sigmoid<A: Simd>(x: f32) -> f32 {
        let size = x.abs();
        // Below -104, σ rounds to zero. A comparison, unlike `min`, lets NaN through.
        let size = if size > 104.0 { 104.0 } else { size };
        let (n, p) = reduce::<A>(-size);
        // 2ⁿ reaches below the smallest normal number: in two factors, each of them normal.
        let half = n >> 1;
        let e = (1.0 + p) * power_of_two(half) * power_of_two(n - half);
        let numerator = if x < 0.0 { e } else { 1.0 };
        numerator / (1.0 + e)
    }

    /// `tanh(x) = -m / (2 + m)` with `m = e^(-2|x|) - 1`, and the sign of x. No cancellation: m is computed as
    /// `2ⁿ·p + (2ⁿ - 1)`, whose terms never nearly cancel, and is `-2|x|` for small x.
    #[inline(always)]
    pub fn tanh<A: Simd>(x: f32) -> f32 {
        let size = x.abs();
        // From 9.02 on, tanh rounds to 1.
        let size = if size > 20.0 { 20.0 } else { size };
        let (n, p) = reduce::<A>(-2.0 * size);
        let scale = power_of_two(n);
        let m = fused::<A>(scale, p, scale - 1.0);
        (-m / (2.0 + m)).copysign(x)
    }

    /// `(n, p)` with `eˣ = 2ⁿ·(1 + p)`, n whole and `|p| < 0.42`, for `-105 < x ≤ 0`. The polynomial is Cephes' `expf`
    /// (Moshier): `eʳ - 1 = r + r²·q(r)` for `|r| ≤ ln 2 / 2`.
    #[inline(always)]
    fn reduce<A: Simd>(x: f32) -> (i32, f32) {
        /// Adding it to a small number leaves the nearest whole number in the low bits of the mantissa.
        const ROUND: f32 = 12_582_912.0;
        /// ln 2 in two parts, the first with zeros at its end, so that its product with n is exact.
        const LN_2_HIGH: f32 = 0.693_359_4;
        const LN_2_LOW: f32 = -2.121_944_4e-4;

        let shifted = fused::<A>(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = fused::<A>(-n, LN_2_LOW, fused::<A>(-n, LN_2_HIGH, x));
        let q = 1.987_569_1e-4;
        let q = fused::<A>(q, r, 1.398_2e-3);
        let q = fused::<A>(q, r, 8.333_452e-3);
        let q = fused::<A>(q, r, 4.166_579_6e-2);
        let q = fused::<A>(q, r, 1.666_666_5e-1);
        let q = fused::<A>(q, r, 0.5);
        let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        (n, fused::<A>(r * r, q, r))
    }

    /// `2ⁿ` for `-126 ≤ n ≤ 127`.
    #[inline(always)]
    fn power_of_two(n: i32) -> f32 {
        f32::from_bits((n.wrapping_add(127) as u32) << 23)
    }
}

#[cfg(test)]
mod tests;
