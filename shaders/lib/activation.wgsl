// Sigmoid and tanh that are right for every finite input: no quotient of infinities, no cancellation near zero.

fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

// Below 0.625 the odd polynomial of Cephes' tanhf (S. Moshier, netlib.org/cephes, public domain coefficients), above it
// the exponential, whose argument is never positive.
fn hyperbolic_tangent(x: f32) -> f32 {
    let z = x * x;
    var p = -5.70498872745e-3;
    p = fma(p, z, 2.06390887954e-2);
    p = fma(p, z, -5.37397155531e-2);
    p = fma(p, z, 1.33314422036e-1);
    p = fma(p, z, -3.33332819422e-1);
    let near = fma(p * z, x, x);
    let e = exp(-2.0 * abs(x));
    let far = sign(x) * ((1.0 - e) / (1.0 + e));
    return select(far, near, abs(x) < 0.625);
}
