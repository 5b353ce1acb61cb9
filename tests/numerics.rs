//! The functions of the WGSL library against f64: a transcription in plain Rust over all of f32, and the GPU, whose bits are
//! those of the transcription where it rounds as IEEE 754 says.

mod common;

use wgpu_rnn::shader::{Binding, Fragment, Kernel, Members, Spec, compose};

/// Units in the last place that a result may be off.
const ULPS: f64 = 4.0;

/// All functions of every input; a kernel of the test's own around the library's files.
static ALL: Kernel = Kernel {
    name: "all",
    fragments: &[
        Fragment { name: "lib/float.wgsl", source: include_str!("../shaders/lib/float.wgsl") },
        Fragment { name: "lib/exponential.wgsl", source: include_str!("../shaders/lib/exponential.wgsl") },
        Fragment { name: "lib/activation.wgsl", source: include_str!("../shaders/lib/activation.wgsl") },
        Fragment {
            name: "all.wgsl",
            source: "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&x) {
        let value = x[id.x];
        let at = 6u * id.x;
        y[at] = sigmoid(value);
        y[at + 1u] = hyperbolic_tangent(value);
        y[at + 2u] = exponential(value);
        y[at + 3u] = logarithm(value);
        y[at + 4u] = rectified(value);
        y[at + 5u] = select(0.0, 1.0, is_nan(value)) + select(0.0, 2.0, is_finite(value));
    }
}
",
        },
    ],
    bindings: &[Binding::read("x"), Binding::read_write("y")],
    uniform: Members::NONE,
};

/// What the kernel leaves of an input.
const EACH: usize = 6;

/// Everything of each of `inputs`, from the GPU.
fn on_the_gpu(inputs: &[f32]) -> Vec<[f32; EACH]> {
    let engine = common::gpu();
    let gpu = engine.gpu().expect("a GPU");
    let (device, queue) = (gpu.device(), gpu.queue());
    let lanes = 64;
    let composed = compose(&Spec { kernel: &ALL, recipe: None, consts: vec![("LANES", lanes)], halves: vec![] });
    let source = wgpu::ShaderSource::Wgsl(composed.source.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let x = engine.upload("x", inputs).expect("x");
    let y = engine.alloc("y", EACH * inputs.len()).expect("y");
    let whole = [&x, &y].map(|buffer| buffer.wgpu().expect("on the GPU").0.as_entire_binding());
    let entries = [0, 1].map(|binding| wgpu::BindGroupEntry { binding, resource: whole[binding as usize].clone() });
    let layout = pipeline.get_bind_group_layout(0);
    let group =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups((inputs.len() as u32).div_ceil(lanes), 1, 1);
    drop(pass);
    queue.submit([encoder.finish()]);
    engine.read(&y).expect("y").as_chunks().0.to_vec()
}

/// Magnitudes from the smallest subnormal to infinity, evenly in the logarithm, densely where the functions bend, around the
/// seams, zero and NaN.
fn inputs() -> Vec<f32> {
    let logarithmic = (0..0x7f80_0000u32).step_by(99_991).map(f32::from_bits);
    let linear = (0..=20_000).map(|i| i as f32 / 1000.0);
    let around = |seam: f32| (-50i32..=50).map(move |i| f32::from_bits((seam.to_bits() as i32 + i) as u32));
    let seams =
        [0.625, 9.02, 20.0, 87.4, 103.9, 104.0, std::f32::consts::LN_2, 0.346_573_6, 1.0, std::f32::consts::SQRT_2];
    let exact = [0.0, f32::MIN_POSITIVE, 88.0, 1e3, 1e4, 3e38, f32::MAX, f32::INFINITY];
    let positive: Vec<f32> = logarithmic.chain(linear).chain(seams.into_iter().flat_map(around)).chain(exact).collect();
    positive.iter().copied().chain(positive.iter().map(|x| -x)).collect()
}

/// NaN of every kind: quiet and signalling, with the largest and the smallest payload.
const NANS: [u32; 6] = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xff80_0001, 0x7fff_ffff, 0xffff_ffff];

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

/// What `got` is off, in units of the last place of f32 at `want`.
fn ulps(got: f32, want: f64) -> f64 {
    let exponent = ((want as f32).abs().to_bits() >> 23).max(1) as i32 - 127;
    (f64::from(got) - want).abs() / 2f64.powi(exponent - 23)
}

/// The library's files in Rust, line for line.
mod transcribed {
    pub fn unless_nan(x: f32, value: f32) -> f32 {
        if x.is_nan() { x } else { value }
    }

    fn power(x: f32) -> (i32, f32) {
        let n = x.mul_add(std::f32::consts::LOG2_E, 12_582_912.0).to_bits() as i32 - 0x4b40_0000;
        let whole = n as f32;
        let r = (-whole).mul_add(-2.121_944_4e-4, (-whole).mul_add(0.693_359_4, x));
        let q = [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
        let q = q.into_iter().fold(1.987_569_1e-4f32, |q, next| q.mul_add(r, next));
        (n, (r * r).mul_add(q, r))
    }

    fn power_of_two(n: i32) -> f32 {
        f32::from_bits(((n + 127) << 23) as u32)
    }

    fn factors((n, p): (i32, f32)) -> (f32, f32) {
        let half = n >> 1;
        let scale = power_of_two(half);
        (scale.mul_add(p, scale), power_of_two(n - half))
    }

    fn size(x: f32, most: f32) -> f32 {
        f32::from_bits((x.to_bits() & 0x7fff_ffff).min(most.to_bits()))
    }

    pub fn exponential(x: f32) -> f32 {
        let (high, low) = factors(power(-size(x, 104.0)));
        unless_nan(x, high * low)
    }

    pub fn sigmoid(x: f32) -> f32 {
        let (high, low) = factors(power(-size(x, 104.0)));
        let numerator = if x.is_sign_negative() { high * low } else { 1.0 };
        unless_nan(x, numerator / high.mul_add(low, 1.0))
    }

    pub fn hyperbolic_tangent(x: f32) -> f32 {
        let (n, p) = power(-2.0 * size(x, 20.0));
        let scale = power_of_two(n);
        let m = scale.mul_add(p, scale - 1.0);
        unless_nan(x, (-m / (2.0 + m)).copysign(x))
    }

    pub fn logarithm(x: f32) -> f32 {
        let bits = x.to_bits() as i32;
        let e = bits.wrapping_sub(0x3f35_04f3) >> 23;
        let f = f32::from_bits(bits.wrapping_sub(e << 23) as u32) - 1.0;
        let z = f * f;
        let p = [
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ];
        let p = p.into_iter().fold(7.037_683_6e-2f32, |p, next| p.mul_add(f, next));
        let e = e as f32;
        let small = (-0.5f32).mul_add(z, e.mul_add(-2.121_944_4e-4, f * z * p));
        unless_nan(x, e.mul_add(0.693_359_4, f + small))
    }
}

/// A function in f32 and what it should be, for the inputs it is defined for.
type Function = (&'static str, fn(f32) -> f32, fn(f64) -> f64, fn(f32) -> bool);

const FUNCTIONS: [Function; 4] = [
    ("sigmoid", transcribed::sigmoid, sigmoid, |_| true),
    ("tanh", transcribed::hyperbolic_tangent, f64::tanh, |_| true),
    ("exponential", transcribed::exponential, f64::exp, |x| x <= 0.0),
    ("logarithm", transcribed::logarithm, f64::ln, |x| (1.0..f32::INFINITY).contains(&x)),
];

#[test]
fn transcribed_functions_are_right_over_all_of_f32() {
    let exact = [0.0, -0.0, 1.0, 104.0, -104.0, 20.0, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY];
    for (name, function, want, defined) in FUNCTIONS {
        let mut worst = (0.0, 0.0);
        let all = (0..=u32::MAX).step_by(1009).chain(NANS).map(f32::from_bits).chain(exact);
        for x in all {
            let got = function(x);
            if x.is_nan() {
                assert!(got.is_nan(), "{name} of NaN is {got}");
            } else if defined(x) {
                let error = ulps(got, want(f64::from(x)));
                assert!(error <= ULPS - 1.0, "{name}({x:e}) is {got:e}, off by {error} ulps");
                worst = if error > worst.0 { (error, x) } else { worst };
            }
        }
        println!("{name}: {:.3} ulps at {:e}", worst.0, worst.1);
    }
}

/// The smallest normal number: a device may take what is below it for zero, what goes in and what comes out.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64;

#[test]
fn functions_are_right_on_the_gpu() {
    let inputs = inputs();
    assert!(inputs.len() > 80_000);
    let mut same = [[0usize; 2]; FUNCTIONS.len()];
    let mut worst = [0.0f64; FUNCTIONS.len()];
    for (&x, all) in inputs.iter().zip(on_the_gpu(&inputs)) {
        for (at, ((name, function, want, defined), got)) in FUNCTIONS.into_iter().zip(all).enumerate() {
            if !defined(x) {
                continue;
            }
            let want = want(f64::from(x));
            let (error, flushed) = (ulps(got, want), want.abs() < SMALLEST && got == 0.0);
            assert!(error <= ULPS || flushed, "{name}({x:e}) is {got:e}, off by {error} ulps");
            worst[at] = if flushed { worst[at] } else { worst[at].max(error) };
            let is_same = got.to_bits() == function(x).to_bits() || flushed;
            same[at] = [same[at][0] + usize::from(is_same), same[at][1] + 1];
        }
        let small = x.abs() < f32::MIN_POSITIVE && all[4] == 0.0;
        assert!(all[4] == x.max(0.0) || small, "rectified({x:e}) is {:e}", all[4]);
        assert_eq!(all[5], if x.is_finite() { 2.0 } else { 0.0 }, "{x:e}");
    }
    println!("worst: {worst:?} ulps; the transcription's bits in {same:?}");
}

#[test]
fn nan_stays_nan_on_the_gpu() {
    let inputs = NANS.map(f32::from_bits);
    for (x, all) in inputs.iter().zip(on_the_gpu(&inputs)) {
        assert!(all[..5].iter().all(|y| y.is_nan()), "{:x} becomes {all:?}", x.to_bits());
        assert_eq!(all[5], 1.0, "{:x} is not taken for NaN", x.to_bits());
    }
}

/// What cells rely on: bounds are kept, tanh is odd and keeps zeros, sigmoid(x) + sigmoid(−x) is 1, neither falls.
#[test]
fn activations_keep_their_shape() {
    let inputs = inputs();
    let both = on_the_gpu(&inputs).into_iter().map(|all| [all[0], all[1]]);
    let mut all: Vec<(f32, [f32; 2])> = inputs.iter().copied().zip(both).collect();
    let (positive, negative) = all.split_at(all.len() / 2);
    for ((x, [sigma, tanh]), (minus_x, [sigma_of_minus, tanh_of_minus])) in positive.iter().zip(negative) {
        assert_eq!(*minus_x, -x);
        assert!((0.0..=1.0).contains(sigma) && (0.0..=1.0).contains(tanh), "at {x:e}: {sigma:e} and {tanh:e}");
        assert_eq!(*tanh, -tanh_of_minus, "at {x:e}");
        assert!((sigma + sigma_of_minus - 1.0).abs() <= 2.0 * f32::EPSILON, "at {x:e}: {sigma:e}, {sigma_of_minus:e}");
        if *x == 0.0 {
            assert_eq!([*sigma, *sigma_of_minus, *tanh, *tanh_of_minus], [0.5, 0.5, 0.0, 0.0]);
        }
        if *x >= 20.0 {
            assert_eq!([*sigma, *tanh], [1.0, 1.0], "at {x:e}");
        }
    }
    all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    for pair in all.windows(2) {
        let [(before, low), (after, high)] = [pair[0], pair[1]];
        for (low, high) in low.iter().zip(high) {
            assert!(f64::from(high - low) >= -2e-7, "falls from {low:e} to {high:e} between {before:e} and {after:e}");
        }
    }
}
