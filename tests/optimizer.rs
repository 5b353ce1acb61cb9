//! Optimisers against PyTorch's trajectories, schedules against their closed forms, and every device against the oracle.

mod common;

use common::{Random, devices, gpu, relative_error, small_bindings, tiled};
use wgpu_rnn::Device;
use wgpu_rnn::gpu::AdapterKind;
use wgpu_rnn::kernel::optimizer::slot;
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::train::{LossScale, Optimizer, OptimizerConfig, Schedule};

fn bound(device: &Device, f32_bound: f64) -> f64 {
    if device.float_bytes() == 8 { 1e-11 } else { f32_bound }
}

/// Five steps on `Σ aₖ pₖ² + bₖ pₖ`, whose last b is t/2. The numbers are PyTorch 2's, in float64:
///
/// ```python
/// import torch
/// def run(make, clip=None, schedule=None):
///     p = torch.tensor([0.5, -1.0, 2.0, 0.25], dtype=torch.float64, requires_grad=True)
///     opt = make([p])
///     sch = schedule(opt) if schedule else None
///     for t in range(5):
///         opt.zero_grad()
///         (p * p * torch.tensor([1.0, 2.0, 0.5, -1.0], dtype=torch.float64)
///          + p * torch.tensor([0.1, 0.2, -0.3, t * 0.5], dtype=torch.float64)).sum().backward()
///         if clip: torch.nn.utils.clip_grad_norm_([p], clip)
///         opt.step()
///         if sch: sch.step()
///     return p.tolist()
/// O, S = torch.optim, torch.optim.lr_scheduler
/// run(lambda p: O.SGD(p, 0.1))
/// run(lambda p: O.SGD(p, 0.1, momentum=0.9, weight_decay=0.05), 1.5, lambda o: S.StepLR(o, 2, 0.5))
/// run(lambda p: O.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.01), None,
///     lambda o: S.ExponentialLR(o, 0.9))
/// run(lambda p: O.Adam(p, 0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1), 2.0)
/// run(lambda p: O.Adam(p, 0.1))
/// run(lambda p: O.AdamW(p, 0.1, weight_decay=0.2), 1.0, lambda o: S.CosineAnnealingLR(o, 4, 0.01))
/// run(lambda p: O.AdamW(p, 0.1))
/// ```
#[test]
fn five_steps_are_pytorchs() {
    let nesterov = OptimizerConfig::sgd(0.05).momentum(0.8).nesterov(true).weight_decay(0.01);
    let runs = [
        ("SGD", OptimizerConfig::sgd(0.1), [0.130224, -0.123872, 1.303833, 0.01168]),
        (
            "SGD with momentum",
            OptimizerConfig::sgd(0.1)
                .momentum(0.9)
                .weight_decay(0.05)
                .clip_norm(Some(1.5))
                .schedule(Schedule::Step { every: 2, factor: 0.5 }),
            [0.198309712467, -0.119398313479, 1.459667441802, 0.196297085710],
        ),
        (
            "SGD with Nesterov's momentum",
            nesterov.schedule(Schedule::Exponential { factor: 0.9 }),
            [0.050296609345, 0.109903599738, 1.175992925435, 0.134844350579],
        ),
        (
            "Adam with weight decay",
            OptimizerConfig::adam(0.1).betas(0.8, 0.95).eps(1e-6).weight_decay(0.1).clip_norm(Some(2.0)),
            [0.017257643953, -0.501693269107, 1.498193300403, 0.329856336802],
        ),
        ("Adam", OptimizerConfig::adam(0.1), [0.022958816714, -0.508644175015, 1.503668233811, 0.438773046988]),
        (
            "AdamW with a schedule",
            OptimizerConfig::adamw(0.1)
                .weight_decay(0.2)
                .clip_norm(Some(1.0))
                .schedule(Schedule::Cosine { steps: 4, floor: 0.1 }),
            [0.205026857768, -0.676540950112, 1.622196606770, 0.421354645796],
        ),
        ("AdamW", OptimizerConfig::adamw(0.1), [0.021628522557, -0.504772113306, 1.494778963083, 0.436038578030]),
    ];
    for device in devices() {
        for (name, config, want) in runs {
            // In two tensors, so that there is a gap between them.
            let shapes = [("a".to_string(), vec![3]), ("b".to_string(), vec![1])];
            let params = Parameters::new(&device, shapes).unwrap();
            params.set("a", &[3], &[0.5, -1.0, 2.0]).unwrap();
            params.set("b", &[1], &[0.25]).unwrap();
            let optimizer = Optimizer::new(&params, config).unwrap();
            let read = || {
                let of = |name| device.read_f64(&params.value(name).unwrap()).unwrap();
                [of("a"), of("b")].concat()
            };
            for t in 0..5 {
                let (a, b) = ([1.0, 2.0, 0.5, -1.0], [0.1, 0.2, -0.3, f64::from(t) * 0.5]);
                let gradient: Vec<f64> =
                    read().iter().zip(a.iter().zip(b)).map(|(p, (a, b))| 2.0 * a * p + b).collect();
                device.write_f64(&params.gradient("a").unwrap(), &gradient[..3]).unwrap();
                device.write_f64(&params.gradient("b").unwrap(), &gradient[3..]).unwrap();
                device.run(|recorder| optimizer.record(recorder)).unwrap();
                let state = optimizer.read_state().unwrap();
                let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
                assert_eq!((state.step, state.skipped), (t as u64 + 1, 0));
                assert!((state.gradient_norm - norm).abs() <= bound(&device, 1e-6) * norm);
                let rate = config.learning_rate(t as u32);
                assert!((state.learning_rate - rate).abs() <= bound(&device, 1e-6) * rate);
            }
            let error = relative_error(&read(), &want);
            let most = if device.float_bytes() == 8 { 1e-11 } else { 2e-6 };
            assert!(error < most, "{name} on {}: off by {error:e}", device.name());
            let all = device.read(params.values()).unwrap();
            assert!(all[3..64].iter().chain(&all[65..]).all(|&gap| gap == 0.0), "{name} on {}", device.name());
        }
    }
}

#[test]
fn schedules_are_their_closed_forms() {
    let schedules = [
        Schedule::Constant,
        Schedule::Step { every: 7, factor: 0.3 },
        Schedule::Exponential { factor: 0.98 },
        Schedule::Exponential { factor: 0.99999 },
        Schedule::Cosine { steps: 37, floor: 0.05 },
        Schedule::Cosine { steps: 1_000_000, floor: 0.0 },
    ];
    for device in devices() {
        let params = Parameters::new(&device, [("p".to_string(), vec![1])]).unwrap();
        for (schedule, warmup) in schedules.into_iter().flat_map(|schedule| [(schedule, 0), (schedule, 5)]) {
            let config = OptimizerConfig::sgd(0.125).schedule(schedule).warmup(warmup);
            let optimizer = Optimizer::new(&params, config).unwrap();
            for step in [0, 1, 4, 5, 6, 12, 13, 20, 41, 42, 43, 700, 100_000, 999_000] {
                device.write_u32(optimizer.progress()[1], &[step, 0, 0]).unwrap();
                device.run(|recorder| optimizer.record(recorder)).unwrap();
                let (got, want) = (optimizer.read_state().unwrap().learning_rate, config.learning_rate(step));
                let off = (got - want).abs();
                let most = bound(&device, 3e-6) * want + 1e-8;
                assert!(off <= most, "{schedule:?}, step {step}, {}: {got:e}, expected {want:e}", device.name());
            }
        }
    }
    let of = |schedule, step| OptimizerConfig::sgd(1.0).schedule(schedule).warmup(4).learning_rate(step);
    let cosine = Schedule::Cosine { steps: 10, floor: 0.2 };
    assert_eq!([0, 1, 2, 3, 4].map(|step| of(cosine, step)), [0.25, 0.5, 0.75, 1.0, 1.0]);
    assert!((of(cosine, 9) - 0.6).abs() < 1e-15);
    assert_eq!([of(cosine, 14), of(cosine, 1000)], [0.2, 0.2]);
    let step = Schedule::Step { every: 3, factor: 0.5 };
    assert_eq!([4, 6, 7, 10].map(|at| of(step, at)), [1.0, 1.0, 0.5, 0.25]);
}

/// Gradients that are not finite change nothing but the count, and the next good step goes on as if they had not been.
#[test]
fn gradients_that_are_not_finite_are_skipped() {
    for device in devices() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let run = |spoil: bool| {
                let params = Parameters::new(&device, [("p".to_string(), vec![300])]).unwrap();
                let optimizer = Optimizer::new(&params, OptimizerConfig::adam(0.1).clip_norm(Some(1.0))).unwrap();
                let mut gradient: Vec<f32> = (0..300).map(|i| (i as f32).sin()).collect();
                let step = |gradient: &[f32]| {
                    device.write(&params.gradient("p").unwrap(), gradient).unwrap();
                    device.run(|recorder| optimizer.record(recorder)).unwrap();
                    optimizer.read_state().unwrap()
                };
                step(&gradient).check().unwrap();
                if spoil {
                    let good = std::mem::replace(&mut gradient[217], bad);
                    let state = step(&gradient);
                    assert!(!state.gradient_norm.is_finite());
                    assert_eq!((state.step, state.skipped), (1, 1));
                    let message = state.check().unwrap_err().to_string();
                    assert!(message.starts_with("the gradient norm at training step 2 is"), "{message}");
                    gradient[217] = good;
                }
                let state = step(&gradient);
                assert_eq!(state.step, 2);
                state.check().unwrap();
                let buffers = [params.values(), optimizer.moments()[0].1, optimizer.moments()[1].1];
                buffers.map(|buffer| device.read(buffer).unwrap())
            };
            assert_eq!(run(true), run(false), "{bad} on {}", device.name());
        }
    }
}

/// A training of 2,000 steps: what is kept by recurrence stays what it stands for.
#[test]
fn bias_corrections_do_not_drift() {
    for device in devices() {
        let params = Parameters::new(&device, [("p".to_string(), vec![1])]).unwrap();
        let optimizer = Optimizer::new(&params, OptimizerConfig::adam(1e-3)).unwrap();
        for steps in [1, 2, 10, 100, 2000] {
            let done = optimizer.read_state().unwrap().step;
            device.run(|recorder| (done..steps).try_for_each(|_| optimizer.record(recorder))).unwrap();
            let state = device.read_f64(optimizer.progress()[0]).unwrap();
            for (got, beta) in [(state[slot::CORRECTION_1], 0.9f64), (state[slot::CORRECTION_2], 0.999)] {
                let want = 1.0 - beta.powi(steps as i32);
                assert!((got / want - 1.0).abs() < bound(&device, 2e-5), "{steps}, {beta}: {got:e}, expected {want:e}");
            }
        }
    }
}

fn many_steps(device: &Device, config: OptimizerConfig, size: usize) -> (Vec<f64>, f64) {
    steps_by(device, config, size, 1.0)
}

/// Three steps by gradients that come multiplied: the parameters then, and the last norm.
fn steps_by(device: &Device, config: OptimizerConfig, size: usize, multiplied: f64) -> (Vec<f64>, f64) {
    let params = Parameters::new(device, [("p".to_string(), vec![size])]).unwrap();
    let optimizer = Optimizer::new(&params.accumulating(), config).unwrap();
    let mut random = Random::new(size as u64);
    params.set_f64("p", &[size], &random.values(size, 1.0)).unwrap();
    for _ in 0..3 {
        let gradients: Vec<f64> = random.values(size, 0.5).into_iter().map(|g| g * multiplied).collect();
        device.write_f64(&params.gradient("p").unwrap(), &gradients).unwrap();
        device.run(|recorder| optimizer.record(recorder)).unwrap();
    }
    let norm = optimizer.read_state().unwrap().gradient_norm;
    (device.read_f64(&params.value("p").unwrap()).unwrap(), norm)
}

#[test]
fn every_device_and_size_agrees_with_the_oracle() {
    let oracle = Device::oracle().unwrap();
    let all = [
        Device::cpu().unwrap(),
        Device::cpu_with_threads(1).unwrap(),
        gpu(),
        tiled(AdapterKind::Gpu),
        small_bindings(1 << 16),
    ];
    let configs = [
        OptimizerConfig::sgd(0.1).weight_decay(0.1),
        OptimizerConfig::sgd(0.1).momentum(0.9).nesterov(true),
        OptimizerConfig::adam(0.01).weight_decay(0.1).clip_norm(Some(1.0)),
        OptimizerConfig::adamw(0.01).clip_norm(Some(1e9)),
    ];
    for size in [1, 63, 64, 65, 2049, 100_003] {
        for config in configs {
            let (want, want_norm) = many_steps(&oracle, config, size);
            for device in &all {
                let (got, norm) = many_steps(device, config, size);
                let error = relative_error(&got, &want);
                assert!(error < 2e-6, "{config:?}, {size} on {}: off by {error:e}", device.name());
                assert!((norm / want_norm - 1.0).abs() < 1e-6, "{size}: {norm}, expected {want_norm}");
                assert_eq!(many_steps(device, config, size), (got, norm), "the same bits");
            }
        }
    }
}

/// Sums over batches make the steps of their means, beside a loss scale too: the same bits where a batch's share is a power
/// of two.
#[test]
fn sums_over_batches_make_the_steps_of_means() {
    for device in devices() {
        for config in [
            OptimizerConfig::sgd(0.1).momentum(0.9).clip_norm(Some(0.05)),
            OptimizerConfig::adam(0.01).weight_decay(0.1).clip_norm(Some(1.0)),
            OptimizerConfig::adamw(0.01),
        ] {
            let (want, norm) = many_steps(&device, config, 200);
            for scale in [1.0, 1024.0] {
                let scaled = if scale == 1.0 { config } else { config.loss_scale(LossScale::Fixed(scale)) };
                let got = steps_by(&device, scaled.batches(4), 200, 4.0 * scale);
                assert_eq!(got, (want.clone(), norm), "{config:?}, {scale} on {device:?}");
                let (got, norm_of_three) = steps_by(&device, scaled.batches(3), 200, 3.0 * scale);
                let (error, bound) = (relative_error(&got, &want), bound(&device, 2e-6));
                assert!(error <= bound, "{config:?}, {scale} on {device:?}: off by {error:e}");
                assert!((norm_of_three / norm - 1.0).abs() < 1e-6, "{norm_of_three}, expected {norm}");
            }
        }
    }
}

#[test]
fn strange_configurations_are_errors() {
    let params = Parameters::new(&Device::cpu().unwrap(), [("p".to_string(), vec![2])]).unwrap();
    let sgd = OptimizerConfig::sgd(0.1);
    let adam = OptimizerConfig::adam(0.1);
    for (config, message) in [
        (OptimizerConfig::sgd(0.0), "the learning rate must be a finite number above 0, got 0"),
        (OptimizerConfig::adam(f64::NAN), "the learning rate must be a finite number above 0, got NaN"),
        (sgd.momentum(1.0), "the momentum must be at least 0 and below 1, got 1"),
        (sgd.nesterov(true), "the momentum of Nesterov's method must be above 0, got 0"),
        (sgd.betas(0.9, 0.99), "a pair of betas is not available for SGD"),
        (adam.momentum(0.9), "a momentum is not available for Adam"),
        (adam.betas(0.9, 1.0), "beta 2 must be at least 0 and below 1, got 1"),
        (adam.eps(0.0), "epsilon must be an f32 above 0, got 0"),
        (adam.weight_decay(-1.0), "the weight decay must be a finite number of at least 0, got -1"),
        (adam.batches(0), "the batches of a step must be at least 1, got 0"),
        (
            adam.batches(4),
            "a step of 4 batches must be parameters that accumulate, so that gradients are sums, got ones that don't",
        ),
        (adam.clip_norm(Some(0.0)), "the norm to clip to must be a finite number above 0, got 0"),
        (
            adam.schedule(Schedule::Exponential { factor: 0.0 }),
            "the factor of a schedule must be above 0 and at most 1, got 0",
        ),
        (adam.schedule(Schedule::Cosine { steps: 0, floor: 0.0 }), "the steps of a schedule must be at least 1, got 0"),
    ] {
        assert_eq!(Optimizer::new(&params, config).map(drop).unwrap_err().to_string(), message);
    }
    let none = Parameters::new(&Device::cpu().unwrap(), []).unwrap();
    assert!(Optimizer::new(&none, sgd).is_err());
    let names = |config| Optimizer::new(&params, config).unwrap().moments().iter().map(|m| m.0).collect::<Vec<_>>();
    assert_eq!(names(sgd), [""; 0]);
    assert_eq!(names(sgd.momentum(0.5)), ["momentum_buffer"]);
    assert_eq!(names(adam), ["exp_avg", "exp_avg_sq"]);
}
