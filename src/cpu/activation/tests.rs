//! Accuracy of the `f32` functions against `f64`, over the whole range.

use crate::cpu::scalar::Scalar;

/// Distance of `got` from `want` in units of the last place of `f32` at `want`.
fn ulps(got: f32, want: f64) -> f64 {
    let nearest = want as f32;
    let exponent = (nearest.abs().to_bits() >> 23).max(1) as i32 - 127;
    (f64::from(got) - want).abs() / 2f64.powi(exponent - 23)
}

/// Every `step`-th `f32` bit pattern: all magnitudes, both signs, infinities and NaNs.
fn sweep(step: usize) -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(step).map(f32::from_bits)
}

/// Evenly spaced values where the functions bend.
fn dense() -> impl Iterator<Item = f32> {
    (-1_100_000..=1_100_000).map(|i| i as f32 * 1e-4)
}

/// Largest error over the sweeps, checking NaN on the way.
fn worst(slice: fn(&mut [f32]), reference: fn(f64) -> f64) -> (f64, f32) {
    let inputs: Vec<f32> = sweep(997).chain(dense()).collect();
    let mut got = inputs.clone();
    slice(&mut got);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in inputs.iter().zip(&got) {
        if x.is_nan() {
            assert!(y.is_nan(), "f(NaN) = {y}");
            continue;
        }
        assert!(!y.is_nan(), "f({x}) is NaN");
        let error = ulps(y, reference(f64::from(x)));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn sigmoid_within_4_ulps() {
    let (error, x) = worst(f32::sigmoid_slice, f64::sigmoid);
    assert!(error < 4.0, "{error} ulps at {x}");
}

#[test]
fn tanh_within_4_ulps() {
    let (error, x) = worst(f32::tanh_slice, f64::tanh);
    assert!(error < 4.0, "{error} ulps at {x}");
}

#[test]
fn limits() {
    for large in [1e4, f32::MAX, f32::INFINITY] {
        assert_eq!(large.sigmoid(), 1.0);
        assert_eq!((-large).sigmoid(), 0.0);
        assert_eq!(Scalar::tanh(large), 1.0);
        assert_eq!(Scalar::tanh(-large), -1.0);
    }
    for large in [1e4, f64::MAX, f64::INFINITY] {
        assert_eq!(large.sigmoid(), 1.0);
        assert_eq!((-large).sigmoid(), 0.0);
        assert_eq!(Scalar::tanh(-large), -1.0);
    }
    assert!(f32::NAN.sigmoid().is_nan() && f64::NAN.sigmoid().is_nan());
    assert_eq!(0f32.sigmoid(), 0.5);
}

#[test]
fn tanh_of_tiny_is_its_argument() {
    for x in [0.0, -0.0, f32::MIN_POSITIVE, -1e-40, 1e-20, -1e-5] {
        assert_eq!(Scalar::tanh(x).to_bits(), x.to_bits(), "{x}");
    }
}

#[test]
fn slices_equal_scalars_bit_for_bit() {
    let inputs: Vec<f32> = dense().step_by(1009).collect();
    let (mut s, mut t) = (inputs.clone(), inputs.clone());
    f32::sigmoid_slice(&mut s);
    f32::tanh_slice(&mut t);
    for ((x, s), t) in inputs.iter().zip(s).zip(t) {
        assert_eq!(s.to_bits(), x.sigmoid().to_bits());
        assert_eq!(t.to_bits(), Scalar::tanh(*x).to_bits());
    }
}
