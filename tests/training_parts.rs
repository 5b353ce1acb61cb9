//! Losses, linear layers and embeddings: against PyTorch's numbers, finite differences, and every device against the
//! oracle at sizes around its workgroups.

mod common;

use common::{Random, devices, gpu, relative_error, small_bindings, tiled};
use wgpu_rnn::gpu::{AdapterKind, BindingKind, Bounds};
use wgpu_rnn::kernel::cross_entropy::{IGNORE, check_labels};
use wgpu_rnn::kernel::embedding::check_tokens;
use wgpu_rnn::kernel::{Program, variants};
use wgpu_rnn::nn::{Embedding, Linear, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Buffer, Device};

fn upload(device: &Device, values: &[f64]) -> Buffer {
    let buffer = device.alloc("test", values.len()).unwrap();
    device.write_f64(&buffer, values).unwrap();
    buffer
}

/// The loss, its gradient, and the loss alone.
fn run(device: &Device, values: usize, make: impl Fn(Option<&Buffer>) -> Loss) -> (f64, Vec<f64>, f64) {
    let gradient = upload(device, &vec![f64::NAN; values]);
    let (with, without) = (make(Some(&gradient)), make(None));
    device.run(|recorder| with.record(recorder)).unwrap();
    device.run(|recorder| without.record(recorder)).unwrap();
    (with.read_value().unwrap(), device.read_f64(&gradient).unwrap(), without.read_value().unwrap())
}

fn mse(device: &Device, y: &[f64], target: &[f64]) -> (f64, Vec<f64>, f64) {
    let (y, target) = (upload(device, y), upload(device, target));
    run(device, y.len(), |dy| Loss::mse(device, &y, &target, dy).unwrap())
}

fn cross_entropy(device: &Device, logits: &[f64], targets: &[u32]) -> (f64, Vec<f64>, f64) {
    let (rows, classes) = (targets.len(), logits.len() / targets.len());
    let (logits, targets) = (upload(device, logits), device.upload_u32("targets", targets).unwrap());
    run(device, rows * classes, |dlogits| {
        Loss::cross_entropy(device, rows, classes, &logits, &targets, dlogits).unwrap()
    })
}

#[track_caller]
fn close(device: &Device, got: &[f64], want: &[f64], f32_bound: f64) {
    let most = if device.float_bytes() == 8 { 1e-11 } else { f32_bound };
    let error = relative_error(got, want);
    assert!(error <= most, "off by {error:e} on {}: {got:?}, expected {want:?}", device.name());
}

/// PyTorch 2, float64:
///
/// ```python
/// y = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, -0.25]], dtype=torch.float64, requires_grad=True)
/// t = torch.tensor([[1.0, -1.0, 0.0], [2.5, 0.125, 1.0]], dtype=torch.float64)
/// l = torch.nn.MSELoss()(y, t); l.backward(); print(l.item(), y.grad)
/// x = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, -0.25], [1e4, -1e4, 0.0], [-2.0, 1.0, 1.0]],
///                  dtype=torch.float64, requires_grad=True)
/// l = torch.nn.CrossEntropyLoss(ignore_index=9)(x, torch.tensor([0, 2, 0, 9]))
/// l.backward(); print(l.item(), x.grad)
/// ```
#[test]
fn losses_are_pytorchs() {
    for device in &devices() {
        let (loss, gradient, alone) =
            mse(device, &[0.5, -1.0, 2.0, 3.0, 0.0, -0.25], &[1.0, -1.0, 0.0, 2.5, 0.125, 1.0]);
        close(device, &[loss, alone], &[1.0130208333333333; 2], 1e-6);
        let third = 1.0 / 3.0;
        close(device, &gradient, &[-third / 2.0, 0.0, 2.0 * third, third / 2.0, -0.125 * third, -1.25 * third], 1e-6);

        let logits = [0.5, -1.0, 2.0, 3.0, 0.0, -0.25, 1e4, -1e4, 0.0, -2.0, 1.0, 1.0];
        let (loss, gradient, alone) = cross_entropy(device, &logits, &[0, 2, 0, IGNORE]);
        close(device, &[loss, alone], &[1.6920560636436894; 2], 1e-6);
        let want = [-0.274903202620, 0.013037524424, 0.261865678196, 0.306214579392, 0.015245526199, -0.321460105591];
        close(device, &gradient[..6], &want, 1e-6);
        assert_eq!(gradient[6..], [0.0; 6]);
    }
}

#[test]
fn cross_entropy_holds_for_extreme_logits_and_labels() {
    for device in &devices() {
        let (loss, gradient, _) = cross_entropy(device, &[1e4, -1e4, -1e4, 1e4], &[1, 1]);
        close(device, &[loss], &[1e4], 1e-6);
        close(device, &gradient, &[0.5, -0.5, 0.0, 0.0], 1e-6);
        // Ten thousand and a little: the difference must not be lost beside the maximum.
        let (loss, gradient, _) = cross_entropy(device, &[9999.0, 10000.0], &[0]);
        close(device, &[loss], &[1.0f64.exp().ln_1p()], 1e-6);
        close(device, &gradient, &[-0.7310585786300049, 0.7310585786300049], 1e-6);
        // Nothing counts.
        assert_eq!(cross_entropy(device, &[1.0, 2.0], &[IGNORE]), (0.0, vec![0.0; 2], 0.0));
        // A label beyond the classes, which the host should have found.
        let (loss, gradient, _) = cross_entropy(device, &[0.0, 0.0, 1.0, 2.0], &[0, 2]);
        close(device, &[loss], &[2f64.ln()], 1e-6);
        close(device, &gradient, &[-0.5, 0.5, 0.0, 0.0], 1e-6);
        assert!(cross_entropy(device, &[f64::NAN, 0.0], &[0]).0.is_nan());
    }
    assert!(check_labels(3, &[0, 2, IGNORE]).is_ok());
    assert_eq!(
        check_labels(3, &[0, 3]).unwrap_err().to_string(),
        "label 1 must be below 3, the number of classes, or IGNORE, got 3"
    );
}

#[test]
fn losses_agree_with_the_oracle_at_every_size() {
    let oracle = Device::oracle().unwrap();
    let all = [
        Device::cpu().unwrap(),
        Device::cpu_with_threads(1).unwrap(),
        gpu(),
        tiled(AdapterKind::Gpu),
        small_bindings(1 << 16),
    ];
    let mut random = Random::new(1);
    for size in [1, 2, 31, 32, 33, 255, 257, 1023, 100_001] {
        let (y, target) = (random.values(size, 2.0), random.values(size, 2.0));
        let (want, want_gradient, _) = mse(&oracle, &y, &target);
        for device in &all {
            let (loss, gradient, alone) = mse(device, &y, &target);
            close(device, &[loss, alone], &[want; 2], 1e-6);
            close(device, &gradient, &want_gradient, 1e-6);
            assert_eq!(mse(device, &y, &target), (loss, gradient, alone), "the same bits");
        }
    }
    for (rows, classes) in [(1, 1), (1, 2), (3, 65), (64, 9), (65, 3), (1025, 2), (300, 97), (129, 256), (2, 5000)] {
        let logits = random.values(rows * classes, 8.0);
        let label = |row: usize| if row % 7 == 3 { IGNORE } else { (row * 31 % classes) as u32 };
        let labels: Vec<u32> = (0..rows).map(label).collect();
        let (want, want_gradient, _) = cross_entropy(&oracle, &logits, &labels);
        for device in &all {
            let (loss, gradient, alone) = cross_entropy(device, &logits, &labels);
            close(device, &[loss, alone], &[want; 2], 2e-6);
            close(device, &gradient, &want_gradient, 2e-6);
            assert_eq!(cross_entropy(device, &logits, &labels), (loss, gradient, alone), "the same bits");
        }
    }
}

/// tokens → embedding → linear → cross-entropy, with all gradients.
struct Model {
    device: Device,
    params: Parameters,
    linear: Linear,
    embedding: Embedding,
    forward: Program,
    backward: Program,
    loss: Loss,
    logits: Buffer,
    dx: Buffer,
}

impl Model {
    fn new(device: &Device, [rows, entries, width, classes]: [usize; 4], bias: bool) -> Self {
        let (linear, embedding) = (Linear { bias, ..Linear::new(width, classes) }, Embedding::new(entries, width));
        let tensors = [embedding.parameters("embed."), linear.parameters("head.")].concat();
        let params = Parameters::new(device, tensors).unwrap();
        let mut random = Random::new(rows as u64);
        for entry in params.entries() {
            params.set_f64(&entry.name, &entry.shape, &random.values(entry.len(), 1.0)).unwrap();
        }
        // What was there before must not matter.
        device.write(params.gradients(), &vec![f32::NAN; params.gradients().len()]).unwrap();
        let mut token = |below: usize| ((random.next() + 1.0) / 2.0 * below as f64) as u32;
        let tokens: Vec<u32> = (0..rows).map(|_| token(entries)).collect();
        let labels: Vec<u32> = (0..rows).map(|_| token(classes)).collect();
        let tokens = device.upload_u32("tokens", &tokens).unwrap();
        let labels = device.upload_u32("labels", &labels).unwrap();
        let floats = |count: usize| upload(device, &vec![f64::NAN; count]);
        let (x, dx) = (floats(rows * width), floats(rows * width));
        let (logits, dlogits) = (floats(rows * classes), floats(rows * classes));
        let loss = Loss::cross_entropy(device, rows, classes, &logits, &labels, Some(&dlogits)).unwrap();
        let mut forward = embedding.bind(&params, "embed.", &tokens, &x).unwrap();
        forward.append(linear.bind(&params, "head.", rows, &x, &logits).unwrap());
        let mut backward = linear.backward(&params, "head.", rows, &x, &dlogits, Some(&dx)).unwrap();
        backward.append(embedding.backward(&params, "embed.", &tokens, &dx).unwrap());
        Self { device: device.clone(), params, linear, embedding, forward, backward, loss, logits, dx }
    }

    fn loss(&self) -> f64 {
        let work = |recorder: &mut wgpu_rnn::Recorder<'_>| {
            self.forward.record(recorder)?;
            self.loss.record(recorder)
        };
        self.device.run(work).unwrap();
        self.loss.read_value().unwrap()
    }

    fn results(&self) -> Vec<Vec<f64>> {
        let loss = self.loss();
        self.device.run(|recorder| self.backward.record(recorder)).unwrap();
        let read = |buffer: &Buffer| self.device.read_f64(buffer).unwrap();
        let mut all = vec![vec![loss], read(&self.logits), read(&self.dx)];
        all.extend(self.params.entries().iter().map(|entry| read(&self.params.gradient(&entry.name).unwrap())));
        all
    }
}

#[test]
fn gradients_are_finite_differences() {
    let device = Device::oracle().unwrap();
    let model = Model::new(&device, [6, 5, 3, 4], true);
    model.results();
    for entry in model.params.entries() {
        let (value, gradient) = (model.params.value(&entry.name), model.params.gradient(&entry.name));
        let (value, gradient) = (value.unwrap(), device.read_f64(&gradient.unwrap()).unwrap());
        let start = device.read_f64(&value).unwrap();
        for i in 0..entry.len() {
            let at = |step: f64| {
                let mut moved = start.clone();
                moved[i] += step;
                device.write_f64(&value, &moved).unwrap();
                model.loss()
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            device.write_f64(&value, &start).unwrap();
            assert!((slope - gradient[i]).abs() < 1e-9, "{}[{i}]: {slope} against {}", entry.name, gradient[i]);
        }
    }
}

#[test]
fn layers_agree_with_the_oracle_at_every_size() {
    let oracle = Device::oracle().unwrap();
    let all = [Device::cpu().unwrap(), gpu(), tiled(AdapterKind::Gpu)];
    for (size, bias) in [
        ([1, 1, 1, 1], true),
        ([1, 3, 5, 2], false),
        ([5, 2, 7, 3], true),
        ([63, 10, 64, 65], true),
        ([65, 300, 33, 17], false),
        ([1000, 96, 65, 96], true),
    ] {
        let want = Model::new(&oracle, size, bias).results();
        for device in &all {
            let model = Model::new(device, size, bias);
            let got = model.results();
            assert_eq!(got.len(), want.len());
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                let error = relative_error(got, want);
                // A loss over one class, and its gradients, are zero.
                assert!(error < 5e-6, "{size:?}, result {i} on {}: off by {error:e}", device.name());
            }
            assert_eq!(model.results(), got, "the same bits");
        }
    }
}

#[test]
fn strange_calls_are_errors() {
    let device = Device::cpu().unwrap();
    let model = Model::new(&device, [2, 3, 4, 5], true);
    let message = |result: wgpu_rnn::Result<Program>| result.map(drop).unwrap_err().to_string();
    let (x, y) = (device.alloc("x", 8).unwrap(), device.alloc("y", 10).unwrap());
    assert_eq!(
        message(model.linear.bind(&model.params, "tail.", 2, &x, &y)),
        "`tail.weight` is missing from the parameters; it has embed.weight, head.weight, head.bias"
    );
    assert_eq!(
        message(Linear::new(5, 4).bind(&model.params, "head.", 2, &x, &y)),
        "`head.weight` must have shape [4, 5], got [5, 4]"
    );
    assert!(model.linear.bind(&model.params, "head.", 3, &x, &y).is_err());
    assert!(model.embedding.bind(&model.params, "embed.", &x, &y).is_err());
    assert!(Loss::mse(&device, &x, &y, None).is_err());
    assert!(Loss::mse(&Device::oracle().unwrap(), &x, &x, None).is_err());
    let targets = device.alloc_u32("targets", 2).unwrap();
    assert!(Loss::cross_entropy(&device, 2, 4, &y, &targets, None).is_err());
    assert!(check_tokens(3, &[0, 2]).is_ok());
    assert_eq!(
        check_tokens(3, &[3]).unwrap_err().to_string(),
        "token 0 must be below 3, the entries of the table, got 3"
    );
}

#[test]
fn tokens_beyond_the_table_read_as_zeros() {
    for device in &devices() {
        let embedding = Embedding::new(2, 3);
        let params = Parameters::new(device, embedding.parameters("")).unwrap();
        params.set("weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let tokens = device.upload_u32("tokens", &[1, 2, u32::MAX, 1]).unwrap();
        let (y, dy) = (device.alloc("y", 12).unwrap(), upload(device, &[1.0; 12]));
        let forward = embedding.bind(&params, "", &tokens, &y).unwrap();
        let backward = embedding.backward(&params, "", &tokens, &dy).unwrap();
        device.run(|recorder| forward.record(recorder)).unwrap();
        device.run(|recorder| backward.record(recorder)).unwrap();
        let want = [4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 5.0, 6.0];
        assert_eq!(device.read(&y).unwrap(), want);
        let gradient = device.read(&params.gradient("weight").unwrap()).unwrap();
        assert_eq!(gradient, [0.0, 0.0, 0.0, 2.0, 2.0, 2.0]);
    }
}

/// Entries without a row, with one, with most of them, and tokens beyond the table, in tables and batches around the
/// edges of the sort's digits and runs: the bits of sums in row order.
#[test]
fn gradients_of_embeddings_are_sums_in_row_order() {
    let mut random = Random::new(11);
    let cases = [(1, 1, 1), (2, 3, 65), (63, 5, 64), (64, 1, 200), (65, 33, 3000), (5000, 9, 700), (300_000, 2, 130)];
    for (entries, width, rows) in cases {
        for shape in 0..3 {
            let tokens: Vec<u32> = (0..rows)
                .map(|row| match shape {
                    0 => ((random.next() + 1.0) * 0.5 * entries as f64) as u32,
                    1 => entries as u32 - 1,
                    _ => [0, entries as u32, u32::MAX, entries as u32 / 2][row % 4],
                })
                .collect();
            assert_scattered([entries, width], &tokens, &mut random);
        }
    }
    // One token, thousands of times.
    assert_scattered([40, 64], &[17; 8192], &mut random);
}

fn assert_scattered([entries, width]: [usize; 2], tokens: &[u32], random: &mut Random) {
    let dy: Vec<f32> = random.values(tokens.len() * width, 1.0).into_iter().map(|value| value as f32).collect();
    let mut want = vec![0.0f32; entries * width];
    for (row, &token) in tokens.iter().enumerate().filter(|(_, token)| (**token as usize) < entries) {
        let sums = &mut want[token as usize * width..][..width];
        sums.iter_mut().zip(&dy[row * width..]).for_each(|(sum, dy)| *sum += dy);
    }
    let want: Vec<u32> = want.into_iter().map(f32::to_bits).collect();
    let kinds = [AdapterKind::Software, AdapterKind::Gpu].map(tiled);
    let cut = tiled(AdapterKind::Gpu);
    cut.gpu().unwrap().set_bounds(Bounds { dispatch_ms: 0.05, ..Bounds::default() });
    for device in kinds.into_iter().chain([cut, Device::cpu().unwrap()]) {
        let embedding = Embedding::new(entries, width);
        let params = Parameters::new(&device, embedding.parameters("")).unwrap();
        let (tokens, dy) = (device.upload_u32("tokens", tokens).unwrap(), device.upload("dy", &dy).unwrap());
        // What was there is of no concern.
        let gradient = params.gradient("weight").unwrap();
        device.write(&gradient, &vec![f32::NAN; entries * width]).unwrap();
        let held = device.gpu().map(|gpu| gpu.pool_use().in_use);
        let backward = embedding.backward(&params, "", &tokens, &dy).unwrap();
        if let (Some(gpu), Some(held)) = (device.gpu(), held) {
            let bytes = embedding.workspace(&device, tokens.len(), Mode::Train);
            assert_eq!(gpu.pool_use().in_use - held, bytes, "{entries} × {width}, {} tokens", tokens.len());
        }
        for _ in 0..2 {
            device.run(|recorder| backward.record(recorder)).unwrap();
            let got: Vec<u32> = device.read(&gradient).unwrap().into_iter().map(f32::to_bits).collect();
            assert_eq!(got, want, "{entries} × {width}, {} tokens on {device:?}", tokens.len());
        }
    }
}

#[test]
fn kernels_have_names_of_their_own_and_no_more_than_eight_buffers() {
    for (i, kernel) in variants::kernels().enumerate() {
        assert!(variants::kernels().take(i).all(|other| other.name != kernel.name), "{}", kernel.name);
        let storage = |kind| matches!(kind, BindingKind::Read | BindingKind::ReadWrite);
        let count = kernel.bindings.iter().filter(|binding| storage(binding.kind)).count();
        assert!(count <= 8, "{}", kernel.name);
    }
}
