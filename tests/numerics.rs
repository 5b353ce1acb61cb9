//! Sigmoid and tanh of the WGSL library on the GPU against f64: every magnitude from subnormal to 10⁴, both signs, zeros.

mod common;

use wgpu_rnn::shader::{Binding, Fragment, Kernel, Members, Spec, compose};

/// Largest absolute error, about three units in the last place at 1.
const ABSOLUTE: f64 = 2e-7;
/// Largest relative error of tanh, at any magnitude.
const RELATIVE: f64 = 4e-6;

/// Both functions of every input; a kernel of the test's own around the library's file.
static BOTH: Kernel = Kernel {
    name: "both",
    fragments: &[
        Fragment { name: "lib/activation.wgsl", source: include_str!("../shaders/lib/activation.wgsl") },
        Fragment {
            name: "both.wgsl",
            source: "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&x) {
        y[2u * id.x] = sigmoid(x[id.x]);
        y[2u * id.x + 1u] = hyperbolic_tangent(x[id.x]);
    }
}
",
        },
    ],
    bindings: &[Binding::read("x"), Binding::read_write("y")],
    uniform: Members::NONE,
};

/// Sigmoid and tanh of each of `inputs`, from the GPU.
fn on_the_gpu(inputs: &[f32]) -> Vec<[f32; 2]> {
    let engine = common::gpu();
    let gpu = engine.gpu().expect("a GPU");
    let (device, queue) = (gpu.device(), gpu.queue());
    let lanes = 64;
    let composed = compose(&Spec { kernel: &BOTH, cell: None, consts: vec![("LANES", lanes)], halves: vec![] });
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
    let y = engine.alloc("y", 2 * inputs.len()).expect("y");
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
    engine.read(&y).expect("y").chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
}

/// Magnitudes from 10⁻³⁰ to 10⁴, evenly in the logarithm, those around the seams of the two functions, and zero.
fn inputs() -> Vec<f32> {
    let logarithmic = (0..=20_000).map(|i| 10f64.powf(-30.0 + 34.0 * f64::from(i) / 20_000.0) as f32);
    let linear = (0..=20_000).map(|i| i as f32 / 1000.0);
    let seam = (-50i32..=50).map(|i| f32::from_bits((0.625f32.to_bits() as i32 + i) as u32));
    let exact = [0.0, f32::MIN_POSITIVE, 1.0, 87.0, 88.0, 88.8, 89.0, 103.9, 104.0, 1e3, 1e4, 3e38];
    let positive: Vec<f32> = logarithmic.chain(linear).chain(seam).chain(exact).collect();
    positive.iter().copied().chain(positive.iter().map(|x| -x)).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn activations_are_right_at_every_magnitude() {
    let inputs = inputs();
    assert!(inputs.len() > 80_000);
    let mut worst = [0.0f64; 3];
    for (&x, [sigma, tanh]) in inputs.iter().zip(on_the_gpu(&inputs)) {
        let exact = f64::from(x);
        let (sigma_error, tanh_error) = (f64::from(sigma) - sigmoid(exact), f64::from(tanh) - exact.tanh());
        assert!(sigma_error.abs() <= ABSOLUTE, "sigmoid({x:e}) is {sigma:e}, off by {sigma_error:e}");
        assert!(tanh_error.abs() <= ABSOLUTE, "tanh({x:e}) is {tanh:e}, off by {tanh_error:e}");
        let relative = if x == 0.0 { 0.0 } else { (tanh_error / exact.tanh()).abs() };
        assert!(relative <= RELATIVE, "tanh({x:e}) is {tanh:e}, off by a share of {relative:e}");
        let errors = [sigma_error.abs(), tanh_error.abs(), relative];
        worst = std::array::from_fn(|i| worst[i].max(errors[i]));
    }
    println!("worst: sigmoid {:.2e}, tanh {:.2e}, relative {:.2e}", worst[0], worst[1], worst[2]);
}

/// What cells rely on: bounds are kept, tanh is odd and keeps zeros, sigmoid(x) + sigmoid(−x) is 1, neither falls.
#[test]
fn activations_keep_their_shape() {
    let inputs = inputs();
    let mut all: Vec<(f32, [f32; 2])> = inputs.iter().copied().zip(on_the_gpu(&inputs)).collect();
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
            assert!(
                f64::from(high - low) >= -ABSOLUTE,
                "falls from {low:e} to {high:e} between {before:e} and {after:e}"
            );
        }
    }
}
