//! What `tests/shaders.rs` looks for in kernels is found where it is planted.

mod common;

use std::collections::BTreeSet;

use wgpu::naga;

/// The searches find what they look for: directly, under a name, in a variable, a member, a call, an argument.
#[test]
fn planted_products_are_found() {
    let source = "
struct Pair { sum: f32, product: f32 }
fn pair(a: f32, b: f32) -> Pair { return Pair(a + b, a * b); }
fn added(a: f32, b: f32) -> f32 { return a + b; }
fn half(a: f32) -> f32 { return a / 2.0; }
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(1)
fn main() {
    let a = x[0];
    let b = x[1];
    x[2] = a * b + x[3];
    x[3] = x[4] - -(a * b);
    let named = a * b;
    x[5] = named + a;
    var kept = a;
    kept = a * b;
    kept += b;
    x[6] = kept;
    x[7] = pair(a, b).product + a;
    x[8] = pair(a, b).sum + a;
    x[9] = added(a * b, a);
    x[10] = half(a) + b;
    x[11] = fma(a, b, a * b);
    x[12] = a * b * a;
    x[13] = f32(3u * 4u + u32(a));
    x[14] = f32(select(vec2(1u), vec2(u32(a)), vec2(a, b) < vec2(1.0)).x);
}
";
    let module = naga::front::wgsl::parse_str(source).expect("WGSL");
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    let info = validator.validate(&module).expect("valid");
    let lines: BTreeSet<usize> =
        common::ir::contractible(&module, &info, source).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), [4, 11, 12, 14, 17, 19, 22]);
    assert_eq!(common::ir::integer_vector_selects(&module, &info, source).len(), 1);
}
