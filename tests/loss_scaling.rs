//! Loss scaling: a power of two changes no bit, a dynamic scale follows PyTorch's schedule, and all of it stays on the
//! device.

mod common;

use std::collections::BTreeSet;

use common::{Layer, Random, devices, gpu, relative_error, small_bindings};
use wgpu_rnn::kernel::cross_entropy::IGNORE;
use wgpu_rnn::kernel::optimizer::slot;
use wgpu_rnn::kernel::{Program, variants};
use wgpu_rnn::nn::{Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::shader::Spec;
use wgpu_rnn::train::{LossScale, Optimizer, OptimizerConfig, OptimizerState, Schedule};
use wgpu_rnn::{Buffer, Cell, Device, RnnConfig};

const KINDS: [(&str, OptimizerConfig); 4] = [
    ("SGD", OptimizerConfig::sgd(0.05)),
    ("SGD with momentum", OptimizerConfig::sgd(0.05).momentum(0.9).weight_decay(0.01)),
    ("Adam", OptimizerConfig::adam(0.02).weight_decay(0.01)),
    ("AdamW", OptimizerConfig::adamw(0.02)),
];

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn upload(device: &Device, values: &[f64]) -> Buffer {
    let buffer = device.alloc("test", values.len()).unwrap();
    device.write_f64(&buffer, values).unwrap();
    buffer
}

/// Loss and gradient of both losses with a scale, or without.
fn losses(device: &Device, scale: Option<f64>, rows: usize, classes: usize) -> [(f64, Vec<f64>); 2] {
    let mut random = Random::new((rows * classes) as u64);
    let [y, goal] = [(); 2].map(|()| upload(device, &random.values(rows * classes, 2.0)));
    let label = |row: usize| if row % 5 == 3 { IGNORE } else { (row * 31 % classes) as u32 };
    let labels = device.upload_u32("labels", &(0..rows).map(label).collect::<Vec<_>>()).unwrap();
    let scale = scale.map(|scale| upload(device, &[scale]));
    let run = |make: &dyn Fn(Option<&Buffer>) -> Loss| {
        let gradient = upload(device, &vec![f64::NAN; rows * classes]);
        let (with, without) = (make(Some(&gradient)), make(None));
        device.run(|recorder| [&with, &without].into_iter().try_for_each(|loss| loss.record(recorder))).unwrap();
        assert_eq!(without.read_value().unwrap(), with.read_value().unwrap());
        (with.read_value().unwrap(), device.read_f64(&gradient).unwrap())
    };
    let scale = scale.as_ref();
    [
        run(&|dy| Loss::scaled_mse(device, &y, &goal, dy, scale).unwrap()),
        run(&|dy| Loss::scaled_cross_entropy(device, rows, classes, &y, &labels, dy, scale).unwrap()),
    ]
}

#[test]
fn a_scale_multiplies_the_gradient_and_not_the_loss() {
    let oracle = Device::oracle().unwrap();
    for device in devices().into_iter().chain([small_bindings(1 << 16)]) {
        for (rows, classes) in [(1, 2), (7, 3), (33, 65), (300, 97)] {
            let plain = losses(&device, None, rows, classes);
            for scale in [1.0, 1024.0, 1.0 / 4096.0, 1000.0] {
                let scaled = losses(&device, Some(scale), rows, classes);
                let want = losses(&oracle, None, rows, classes);
                for ((got, plain), want) in scaled.iter().zip(&plain).zip(&want) {
                    assert_eq!(got.0.to_bits(), plain.0.to_bits(), "the loss on {}", device.name());
                    let times = |values: &[f64]| values.iter().map(|value| value * scale).collect::<Vec<_>>();
                    if scale != 1000.0 {
                        assert_eq!(bits(&got.1), bits(&times(&plain.1)), "{scale} on {}", device.name());
                    }
                    let error = relative_error(&got.1, &times(&want.1));
                    assert!(error < 2e-6, "{scale} on {}: off by {error:e}", device.name());
                }
            }
        }
    }
}

/// What a training comes to: parameters, moments, and losses, norms and learning rates of its steps; and the gradients
/// of its last, as the optimiser finds them.
fn train(device: &Device, config: OptimizerConfig, cross_entropy: bool) -> (Vec<f64>, Vec<f64>) {
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 3, 5).layers(2), 6, 4, 9);
    let running = layer.bind(device, Mode::Train).unwrap();
    let optimizer = Optimizer::new(&running.params, config).unwrap();
    let (y, dy, rows) = (running.buffer("y"), running.buffer("dy"), layer.shape.rows());
    // Only y has a loss: no gradient may come in unscaled.
    running.write("dhn", &vec![0.0; running.buffer("dhn").len()]).unwrap();
    let loss = if cross_entropy {
        let labels: Vec<u32> = (0..rows as u32).map(|row| row * 7 % 5).collect();
        let labels = device.upload_u32("labels", &labels).unwrap();
        Loss::scaled_cross_entropy(device, rows, 5, y, &labels, Some(dy), optimizer.scale())
    } else {
        let goal = upload(device, &Random::new(3).values(y.len(), 1.0));
        Loss::scaled_mse(device, y, &goal, Some(dy), optimizer.scale())
    };
    let loss = loss.unwrap();
    let mut all = Vec::new();
    for step in 0..6 {
        device
            .run(|recorder| {
                running.bound.forward.record(recorder)?;
                loss.record(recorder)?;
                running.bound.backward.record(recorder)?;
                optimizer.record(recorder)
            })
            .unwrap();
        let state = optimizer.read_state().unwrap();
        assert_eq!((state.step, state.skipped), (step + 1, 0), "{config:?} on {}", device.name());
        all.extend([loss.read_value().unwrap(), state.gradient_norm, state.learning_rate]);
    }
    all.extend(device.read_f64(running.params.values()).unwrap());
    optimizer.moments().iter().for_each(|(_, moment)| all.extend(device.read_f64(moment).unwrap()));
    (all, device.read_f64(running.params.gradients()).unwrap())
}

#[test]
fn a_power_of_two_changes_no_bit_of_a_training() {
    for device in devices() {
        for (kind, config) in KINDS {
            for (clip, cross_entropy) in [(None, false), (Some(0.05), true)] {
                let config = config.clip_norm(clip).schedule(Schedule::Exponential { factor: 0.9 });
                let (plain, gradients) = train(&device, config, cross_entropy);
                assert!(plain.iter().all(|value| value.is_finite()));
                let clips = clip.is_some_and(|clip| plain[1] > clip);
                assert_eq!(clips, clip.is_some(), "the norm is {}", plain[1]);
                for scale in [1024.0, 1.0 / 64.0] {
                    let fixed = config.loss_scale(LossScale::Fixed(scale));
                    let (scaled, scaled_gradients) = train(&device, fixed, cross_entropy);
                    assert_eq!(bits(&scaled), bits(&plain), "{kind}, {clip:?}, {scale} on {}", device.name());
                    let times: Vec<f64> = gradients.iter().map(|gradient| gradient * scale).collect();
                    assert_eq!(bits(&scaled_gradients), bits(&times), "{kind}, {scale} on {}", device.name());
                }
                let (scaled, _) = train(&device, config.loss_scale(LossScale::Fixed(1000.0)), cross_entropy);
                let error = relative_error(&scaled, &plain);
                let most = if device.float_bytes() == 8 { 1e-13 } else { 1e-5 };
                assert!(error < most, "{kind} on {}: off by {error:e}", device.name());
            }
        }
    }
}

/// Parameters that are themselves the outputs of a loss, so that the gradient goes from the loss to the optimiser.
struct Direct {
    device: Device,
    params: Parameters,
    optimizer: Optimizer,
    goal: Buffer,
    loss: Loss,
}

const SIZE: usize = 200;

impl Direct {
    fn new(device: &Device, config: OptimizerConfig) -> Self {
        let params = Parameters::new(device, [("p".to_string(), vec![SIZE])]).unwrap();
        params.set_f64("p", &[SIZE], &Random::new(1).values(SIZE, 1.0)).unwrap();
        let optimizer = Optimizer::new(&params, config).unwrap();
        let goal = upload(device, &[0.0; SIZE]);
        let (y, dy) = (params.value("p").unwrap(), params.gradient("p").unwrap());
        let loss = Loss::scaled_mse(device, &y, &goal, Some(&dy), optimizer.scale()).unwrap();
        Self { device: device.clone(), params, optimizer, goal, loss }
    }

    /// One step towards the goals of step `at`; one of them is infinite in a bad step.
    fn step(&self, at: usize, bad: bool) {
        let mut goal = Random::new(50 + at as u64).values(SIZE, 1.0);
        if bad {
            goal[at * 37 % SIZE] = f64::INFINITY;
        }
        self.device.write_f64(&self.goal, &goal).unwrap();
        let record = |recorder: &mut wgpu_rnn::Recorder<'_>| {
            self.loss.record(recorder)?;
            self.optimizer.record(recorder)
        };
        self.device.run(record).unwrap();
    }

    /// Parameters and moments.
    fn kept(&self) -> Vec<u64> {
        let moments = self.optimizer.moments();
        let buffers = [self.params.values()].into_iter().chain(moments.iter().map(|(_, moment)| *moment));
        buffers.flat_map(|buffer| bits(&self.device.read_f64(buffer).unwrap())).collect()
    }

    fn state(&self) -> OptimizerState {
        self.optimizer.read_state().unwrap()
    }

    /// Good steps in a row since the scale moved.
    fn good(&self) -> u32 {
        let counters = pollster::block_on(self.device.download_u32(self.optimizer.progress()[1])).unwrap();
        counters[slot::GOOD]
    }
}

/// `torch.amp.GradScaler.update`.
struct GradScaler {
    scale: f64,
    growth: f64,
    backoff: f64,
    interval: u32,
    tracker: u32,
}

impl GradScaler {
    fn update(&mut self, found_inf: bool) {
        if found_inf {
            self.scale *= self.backoff;
            self.tracker = 0;
        } else {
            self.tracker += 1;
            if self.tracker == self.interval {
                self.scale *= self.growth;
                self.tracker = 0;
            }
        }
    }
}

/// Bad steps among good ones: at first, in a row, just before the scale would grow and just after.
const BAD: [usize; 6] = [0, 1, 7, 12, 20, 21];
const STEPS: usize = 30;

#[test]
fn a_dynamic_scale_is_grad_scalers() {
    for device in devices() {
        let name = device.name();
        for (kind, config) in KINDS {
            for (initial, growth, backoff, interval) in [(1024.0, 2.0, 0.5, 4), (65536.0, 8.0, 0.25, 1)] {
                let scale = LossScale::Dynamic { initial, growth, backoff, interval };
                let config = config.clip_norm(Some(0.05));
                let scaled = Direct::new(&device, config.loss_scale(scale));
                let plain = Direct::new(&device, config);
                let mut host = GradScaler { scale: initial, growth, backoff, interval, tracker: 0 };
                let (mut made, mut skipped) = (0, 0);
                for at in 0..STEPS {
                    // The other's scale stops at 2²⁴: keep below it.
                    let bad = BAD.contains(&at) || host.scale * growth > 2f64.powi(24);
                    let before = scaled.kept();
                    scaled.step(at, bad);
                    host.update(bad);
                    let state = scaled.state();
                    let what = format!("{kind}, {scale:?}, step {at} on {name}");
                    if bad {
                        assert_eq!(scaled.kept(), before, "{what}");
                        assert!(!state.gradient_norm.is_finite(), "{what}");
                        state.check().unwrap();
                    } else {
                        // Skipped steps leave no trace, and the scale changes no bit whatever it is.
                        plain.step(at, false);
                        assert_eq!(scaled.kept(), plain.kept(), "{what}");
                        assert_ne!(scaled.kept(), before, "{what}");
                        assert_eq!(state.gradient_norm.to_bits(), plain.state().gradient_norm.to_bits(), "{what}");
                    }
                    (made, skipped) = (made + u64::from(!bad), skipped + u64::from(bad));
                    assert_eq!((state.step, state.skipped), (made, skipped), "{what}");
                    assert_eq!((state.loss_scale, scaled.good()), (host.scale, host.tracker), "{what}");
                }
                assert!(made > 10 && skipped >= BAD.len() as u64);
            }
        }
    }
}

#[test]
fn a_scale_stops_at_its_bounds() {
    let [least, most] = [-14, 24].map(|power| 2f64.powi(power));
    for device in devices() {
        let config = OptimizerConfig::sgd(0.1);
        let of = |initial| LossScale::Dynamic { initial, growth: 16.0, backoff: 0.125, interval: 1 };
        let falling = Direct::new(&device, config.loss_scale(of(least * 16.0)));
        for (at, want) in [least * 2.0, least, least].into_iter().enumerate() {
            falling.step(at, true);
            let state = falling.state();
            assert_eq!(state.loss_scale, want);
            // The scale can't be what is wrong any more.
            assert_eq!(state.check().is_ok(), want > least, "{state:?}");
        }
        falling.step(3, false);
        let state = falling.state();
        state.check().unwrap();
        assert_eq!((state.step, state.skipped, state.loss_scale), (1, 3, least * 16.0));

        let rising = Direct::new(&device, config.loss_scale(of(most / 32.0)));
        let plain = Direct::new(&device, config);
        for (at, want) in [most / 2.0, most, most, most].into_iter().enumerate() {
            [&rising, &plain].iter().for_each(|one| one.step(at, false));
            assert_eq!(rising.state().loss_scale, want);
            assert_eq!(rising.kept(), plain.kept());
        }

        // A scale that stays is no excuse.
        let fixed = Direct::new(&device, config.loss_scale(LossScale::Fixed(256.0)));
        fixed.step(0, true);
        let state = fixed.state();
        assert_eq!((state.loss_scale, state.skipped, state.dynamic_scale), (256.0, 1, false));
        state.check().unwrap_err();
    }
}

/// The sum of the squares of scaled gradients would be beyond f32, though none of them is and the norm is not.
#[test]
fn a_norm_is_not_lost_to_the_scale() {
    for device in devices() {
        let scale = 2f64.powi(24);
        let params = Parameters::new(&device, [("p".to_string(), vec![3])]).unwrap();
        let config = OptimizerConfig::sgd(1.0).clip_norm(Some(10.0)).loss_scale(LossScale::Fixed(scale));
        let optimizer = Optimizer::new(&params, config).unwrap();
        let gradient = params.gradient("p").unwrap();
        device.write_f64(&gradient, &[3e16 * scale, 0.0, -4e16 * scale]).unwrap();
        device.run(|recorder| optimizer.record(recorder)).unwrap();
        let state = optimizer.read_state().unwrap();
        state.check().unwrap();
        assert!((state.gradient_norm / 5e16 - 1.0).abs() < 1e-6, "{state:?}");
        let error = relative_error(&device.read_f64(&params.value("p").unwrap()).unwrap(), &[-6.0, 0.0, 8.0]);
        assert!(error < 1e-6, "{error:e} on {}", device.name());
    }
}

#[test]
fn a_checkpoint_holds_the_scale() {
    let scale = LossScale::Dynamic { initial: 512.0, growth: 2.0, backoff: 0.5, interval: 5 };
    for device in devices() {
        let config = OptimizerConfig::adam(0.1).loss_scale(scale);
        let (first, second) = (Direct::new(&device, config), Direct::new(&device, config));
        (0..8).for_each(|at| first.step(at, at == 0));
        assert_eq!((first.state().loss_scale, first.good()), (512.0, 2));
        let copy = |from: &Buffer, to: &Buffer| device.write_f64(to, &device.read_f64(from).unwrap()).unwrap();
        copy(first.params.values(), second.params.values());
        for (from, to) in first.optimizer.moments().iter().zip(second.optimizer.moments()) {
            copy(from.1, to.1);
        }
        let [from, to] = [&first, &second].map(|one| one.optimizer.progress());
        copy(from[0], to[0]);
        device.write_u32(to[1], &pollster::block_on(device.download_u32(from[1])).unwrap()).unwrap();
        for at in 8..14 {
            [&first, &second].iter().for_each(|one| one.step(at, false));
            assert_eq!((first.state(), first.kept()), (second.state(), second.kept()));
        }
        assert_eq!((first.state().loss_scale, first.good()), (1024.0, 3));
    }
}

/// Skipping, falling and growing happen on the device: nothing is read back or compiled in the loop.
#[test]
fn a_loop_reads_nothing_back() {
    let device = gpu();
    let of_device = device.gpu().unwrap();
    let scale = LossScale::Dynamic { initial: 1024.0, growth: 2.0, backoff: 0.5, interval: 4 };
    let direct = Direct::new(&device, OptimizerConfig::adamw(0.01).loss_scale(scale));
    let counts = || (of_device.counters().downloads, of_device.counters().pipelines);
    let before = counts();
    (0..STEPS).for_each(|at| direct.step(at, BAD.contains(&at)));
    assert_eq!(counts(), before, "downloads and compiled pipelines");
    let mut host = GradScaler { scale: 1024.0, growth: 2.0, backoff: 0.5, interval: 4, tracker: 0 };
    (0..STEPS).for_each(|at| host.update(BAD.contains(&at)));
    let state = direct.state();
    assert_eq!((state.loss_scale, direct.good()), (host.scale, host.tracker));
    assert_eq!((state.step, state.skipped), ((STEPS - BAD.len()) as u64, BAD.len() as u64));
    // What was launched is among what is validated.
    let known: Vec<Spec> = variants::all().collect();
    let sorted = |spec: &Spec| spec.consts.iter().copied().collect::<BTreeSet<_>>();
    for op in [direct.loss.program(), direct.optimizer.program()].into_iter().flat_map(Program::ops) {
        let spec = op.spec().unwrap();
        let same = |known: &Spec| known.kernel == spec.kernel && sorted(known) == sorted(spec);
        assert!(known.iter().any(same), "{}: {}", op.name(), op.variant());
    }
}

#[test]
fn a_scale_is_asked_for_and_checked() {
    let device = Device::cpu().unwrap();
    let params = Parameters::new(&device, [("p".to_string(), vec![2])]).unwrap();
    let sgd = OptimizerConfig::sgd(0.1);
    let plain = Optimizer::new(&params, sgd).unwrap();
    assert!(plain.scale().is_none() && plain.read_state().unwrap().loss_scale == 1.0);
    let scaled = Optimizer::new(&params, sgd.loss_scale(LossScale::dynamic())).unwrap();
    assert_eq!(device.read(scaled.scale().unwrap()).unwrap(), [65536.0]);
    assert_eq!(
        LossScale::dynamic(),
        LossScale::Dynamic { initial: 65536.0, growth: 2.0, backoff: 0.5, interval: 2000 }
    );
    let of = |initial, growth, backoff, interval| LossScale::Dynamic { initial, growth, backoff, interval };
    for (scale, message) in [
        (LossScale::Fixed(0.0), "the loss scale must be between 2⁻¹⁴ and 2²⁴, got 0"),
        (LossScale::Fixed(f64::NAN), "the loss scale must be between 2⁻¹⁴ and 2²⁴, got NaN"),
        (of(f64::INFINITY, 2.0, 0.5, 1), "the loss scale must be between 2⁻¹⁴ and 2²⁴, got inf"),
        (of(1.0, 1.0, 0.5, 1), "the growth of a loss scale must be above 1 and at most 2²⁴, got 1"),
        (of(1.0, f64::NAN, 0.5, 1), "the growth of a loss scale must be above 1 and at most 2²⁴, got NaN"),
        (of(1.0, 2.0, 1.0, 1), "the backoff of a loss scale must be above 0 and below 1, got 1"),
        (of(1.0, 2.0, 0.5, 0), "the steps before a loss scale grows must be at least 1, got 0"),
    ] {
        let got = Optimizer::new(&params, sgd.loss_scale(scale)).map(drop).unwrap_err().to_string();
        assert_eq!(got, message);
    }
    let [y, goal, dy] = [(); 3].map(|()| device.alloc("values", 2).unwrap());
    let with = |scale: &Buffer| Loss::scaled_mse(&device, &y, &goal, Some(&dy), Some(scale)).map(drop);
    with(scaled.scale().unwrap()).unwrap();
    with(&y).unwrap_err();
    with(&Device::oracle().unwrap().alloc("theirs", 1).unwrap()).unwrap_err();
    let why = with(&dy.slice(0..1).unwrap()).unwrap_err().to_string();
    assert!(why.starts_with("what `mse` writes must be an allocation of its own"), "{why}");
}
