//! The two element types, `f32` and `f64`, under one trait.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use pulp::Simd;

use crate::cpu::activation::{double, single};
use crate::cpu::simd::Lanes;

mod sealed {
    /// Keeps [`super::Scalar`] to the two types that the products are written for.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// An element: `f32`, the type of every device, or `f64`, the reference.
pub trait Scalar:
    sealed::Sealed
    + Lanes
    + bytemuck::Pod
    + Send
    + Sync
    + Default
    + PartialOrd
    + Debug
    + Display
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// ∞.
    const INFINITY: Self;
    /// Name of the type, for messages.
    const NAME: &'static str;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The whole number below, for what is in 0..2³².
    fn to_u32(self) -> u32;
    /// The same value as `f64` (exact).
    fn to_f64(self) -> f64;
    /// `eˣ`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// `eˣ − 1`, right near zero.
    fn exp_m1(self) -> Self;
    /// `ln(1 + x)`, right near zero.
    fn ln_1p(self) -> Self;
    /// `√x`.
    fn sqrt(self) -> Self;
    /// `|x|`.
    fn abs(self) -> Self;
    /// The larger of the two; the other one where one is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller of the two; the other one where one is NaN.
    fn min(self, other: Self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Not a number.
    fn is_nan(self) -> bool;
    /// Whether its sign bit is set.
    fn is_sign_negative(self) -> bool;
    /// Its size with the sign of another.
    fn copysign(self, sign: Self) -> Self;
    /// `self·a + b` with one rounding. Slow where the processor has no such instruction.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Hyperbolic tangent, in a loop compiled for A; see [`activation`](crate::cpu::activation) for its accuracy.
    fn tanh<A: Simd>(self) -> Self;
    /// `σ(x) = 1 / (1 + e⁻ˣ)`, in a loop compiled for A; see [`activation`](crate::cpu::activation) for its accuracy.
    fn sigmoid<A: Simd>(self) -> Self;
    /// The product of matrices that suits this processor.
    fn product() -> Product<Self>;
}

/// `dst ← alpha·dst + beta·lhs·rhs` of the `gemm` crates: m, n, k; dst, its strides by column and row, whether it is read; lhs
/// with its strides, rhs with its strides; alpha, beta; three conjugations, which real numbers have none of; threads. `dst` must
/// not be closer by column than by row.
pub type Product<S> = unsafe fn(
    usize,
    usize,
    usize,
    *mut S,
    isize,
    isize,
    bool,
    *const S,
    isize,
    isize,
    *const S,
    isize,
    isize,
    S,
    S,
    bool,
    bool,
    bool,
    gemm_common::Parallelism,
);

macro_rules! scalar {
    ($type:ident, $tanh:expr, $sigmoid:expr, $product:expr) => {
        impl Scalar for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $type::INFINITY;
            const NAME: &'static str = stringify!($type);

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn to_u32(self) -> u32 {
                self as u32
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $type::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $type::ln(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                $type::exp_m1(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $type::ln_1p(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $type::abs(self)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                $type::max(self, other)
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                $type::min(self, other)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $type::is_finite(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $type::is_nan(self)
            }
            #[inline(always)]
            fn is_sign_negative(self) -> bool {
                $type::is_sign_negative(self)
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                $type::copysign(self, sign)
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $type::mul_add(self, a, b)
            }
            #[inline(always)]
            fn tanh<A: Simd>(self) -> Self {
                $tanh(self)
            }
            #[inline(always)]
            fn sigmoid<A: Simd>(self) -> Self {
                $sigmoid(self)
            }
            fn product() -> Product<Self> {
                $product()
            }
        }
    };
}
scalar!(f32, single::tanh::<A>, single::sigmoid::<A>, gemm_f32::gemm::f32::get_gemm_fn);
scalar!(f64, double::tanh, double::sigmoid, gemm_f64::gemm::f64::get_gemm_fn);
