//! Running a loop with the widest vectors that this processor has.
//!
//! Most loops are ordinary Rust over slices, which the compiler vectorises; what differs between processors is only the
//! instruction set that it may assume, and [`vectorised`] picks that at run time. The one loop that must keep its sums
//! in registers, the product, names its vectors through [`Lanes`].

use pulp::{Arch, Simd, WithSimd};

/// Runs `op` compiled for the best instruction set found: AVX-512, or AVX2 with FMA, on
/// x86-64, NEON on AArch64. What `op` calls must be `#[inline(always)]`, or it is compiled for the baseline only.
#[inline]
pub fn vectorised<Op: WithSimd>(op: Op) -> Op::Output {
    Arch::new().dispatch(op)
}

/// The vectors of an element type, whatever the instruction set.
pub trait Lanes: Copy + Sized {
    /// A vector of instruction set A.
    type Vector<A: Simd>: bytemuck::Pod;

    /// The whole vectors in `values`, from its start.
    fn vectors<A: Simd>(values: &[Self]) -> &[Self::Vector<A>];
    /// The same, to write.
    fn vectors_mut<A: Simd>(values: &mut [Self]) -> &mut [Self::Vector<A>];
    /// `value` in every lane.
    fn splat<A: Simd>(arch: A, value: Self) -> Self::Vector<A>;
    /// `a + b`.
    fn plus<A: Simd>(arch: A, a: Self::Vector<A>, b: Self::Vector<A>) -> Self::Vector<A>;
    /// `a·b + c`, in one instruction if A has it.
    fn multiply_add<A: Simd>(arch: A, a: Self::Vector<A>, b: Self::Vector<A>, c: Self::Vector<A>) -> Self::Vector<A>;
}

macro_rules! lanes {
    ($type:ident, $vector:ident, $vectors:ident, $vectors_mut:ident, $splat:ident, $add:ident, $multiply_add:ident) => {
        impl Lanes for $type {
            type Vector<A: Simd> = A::$vector;

            #[inline(always)]
            fn vectors<A: Simd>(values: &[Self]) -> &[A::$vector] {
                A::$vectors(values).0
            }
            #[inline(always)]
            fn vectors_mut<A: Simd>(values: &mut [Self]) -> &mut [A::$vector] {
                A::$vectors_mut(values).0
            }
            #[inline(always)]
            fn splat<A: Simd>(arch: A, value: Self) -> A::$vector {
                arch.$splat(value)
            }
            #[inline(always)]
            fn plus<A: Simd>(arch: A, a: A::$vector, b: A::$vector) -> A::$vector {
                arch.$add(a, b)
            }
            #[inline(always)]
            fn multiply_add<A: Simd>(arch: A, a: A::$vector, b: A::$vector, c: A::$vector) -> A::$vector {
                arch.$multiply_add(a, b, c)
            }
        }
    };
}
lanes!(f32, f32s, as_simd_f32s, as_mut_simd_f32s, splat_f32s, add_f32s, mul_add_e_f32s);
lanes!(f64, f64s, as_simd_f64s, as_mut_simd_f64s, splat_f64s, add_f64s, mul_add_e_f64s);
