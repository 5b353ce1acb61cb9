//! Accuracy of the `f32` functions against `f64`, over the whole range.

use pulp::{Simd, WithSimd};

use crate::cpu::scalar::Scalar;
use crate::cpu::simd::vectorised;

/// Distance of `got` from `want` in units of the last place of `f32` at `want`.
fn ulps(got: f32, want: f64) -> f64 {
    let nearest = want as f32;
    let exponent = (nearest.abs().to_bits() >> 23).max(1) as i32 - 127;
    (f64::from(got) - want).abs() / 2f64.powi(exponent - 23)
}

/// Every `step`-th `f32` bit pattern, all magnitudes, both signs and NaNs, and the places where something changes.
fn sweep(step: usize) -> impl Iterator<Item = f32> {
    let places = [0.0, f32::MIN_POSITIVE, 9.02, 20.0, 87.4, 103.9, 104.0, 104.1, 1e4, f32::MAX, f32::INFINITY];
    let both = places.into_iter().flat_map(|place| [place, -place]);
    (0..=u32::MAX).step_by(step).map(f32::from_bits).chain(both)
}

/// Evenly spaced values where the functions bend.
fn dense() -> impl Iterator<Item = f32> {
    (-1_100_000..=1_100_000).map(|i| i as f32 * 1e-4)
}

/// One of the two functions.
#[derive(Clone, Copy, Debug)]
enum Function {
    Sigmoid,
    Tanh,
}

/// Replaces every element by its function value.
struct Map<'a>(Function, &'a mut [f32]);

impl WithSimd for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<A: Simd>(self, _: A) {
        match self.0 {
            Function::Sigmoid => self.1.iter_mut().for_each(|x| *x = x.sigmoid::<A>()),
            Function::Tanh => self.1.iter_mut().for_each(|x| *x = Scalar::tanh::<A>(*x)),
        }
    }
}

/// With every instruction set that this processor has; the last is the plainest.
fn each_set(function: Function, inputs: &[f32]) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    let mut map = |run: &dyn Fn(Map<'_>)| {
        let mut values = inputs.to_vec();
        run(Map(function, &mut values));
        all.push(values);
    };
    map(&|map| vectorised(map));
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = pulp::x86::V3::try_new() {
        map(&|map| Simd::vectorize(avx2, map));
    }
    map(&|map| map.with_simd(pulp::Scalar));
    all
}

/// Checks the error over the sweeps, and NaN.
fn within_4_ulps(function: Function, reference: fn(f64) -> f64) {
    let inputs: Vec<f32> = sweep(997).chain(dense()).collect();
    for got in each_set(function, &inputs) {
        for (&x, y) in inputs.iter().zip(got) {
            assert_eq!(x.is_nan(), y.is_nan(), "{function:?}({x}) = {y}");
            let error = if x.is_nan() { 0.0 } else { ulps(y, reference(f64::from(x))) };
            assert!(error < 4.0, "{function:?}({x}) = {y}: {error} ulps");
        }
    }
}

#[test]
fn sigmoid_within_4_ulps() {
    within_4_ulps(Function::Sigmoid, f64::sigmoid::<pulp::Scalar>);
}

#[test]
fn tanh_within_4_ulps() {
    within_4_ulps(Function::Tanh, Scalar::tanh::<pulp::Scalar>);
}

#[test]
fn limits() {
    for large in [1e4, f32::MAX, f32::INFINITY] {
        assert_eq!(large.sigmoid::<pulp::Scalar>(), 1.0);
        assert_eq!((-large).sigmoid::<pulp::Scalar>(), 0.0);
        assert_eq!(Scalar::tanh::<pulp::Scalar>(large), 1.0);
        assert_eq!(Scalar::tanh::<pulp::Scalar>(-large), -1.0);
    }
    for large in [1e4, f64::MAX, f64::INFINITY] {
        assert_eq!(large.sigmoid::<pulp::Scalar>(), 1.0);
        assert_eq!((-large).sigmoid::<pulp::Scalar>(), 0.0);
        assert_eq!(Scalar::tanh::<pulp::Scalar>(-large), -1.0);
    }
    assert!(f32::NAN.sigmoid::<pulp::Scalar>().is_nan() && f64::NAN.sigmoid::<pulp::Scalar>().is_nan());
    assert_eq!(0f32.sigmoid::<pulp::Scalar>(), 0.5);
}

#[test]
fn tanh_of_tiny_is_its_argument() {
    for x in [0.0, -0.0, f32::MIN_POSITIVE, -1e-40, 1e-20, -1e-5] {
        assert_eq!(Scalar::tanh::<pulp::Scalar>(x).to_bits(), x.to_bits(), "{x}");
    }
}

#[test]
fn bits_do_not_depend_on_the_width() {
    let inputs: Vec<f32> = dense().step_by(1009).collect();
    for function in [Function::Sigmoid, Function::Tanh] {
        let all = each_set(function, &inputs);
        let fused: Vec<Vec<u32>> =
            all[..all.len() - 1].iter().map(|values| values.iter().map(|x| x.to_bits()).collect()).collect();
        assert!(fused.windows(2).all(|pair| pair[0] == pair[1]), "{function:?}");
    }
}
