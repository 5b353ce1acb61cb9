//! Checkpoints: what was saved comes back to the bit on every device, training goes on as if nothing had been, and a file
//! that does not fit changes nothing.

mod common;

use std::path::Path;

use common::{Random, devices};
use wgpu_rnn::io::{Checkpoint, TensorFile};
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::{LossScale, Optimizer, OptimizerConfig, Schedule};
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, RnnConfig};

/// A layer that learns to give zeros, one step at a time.
struct Training {
    device: Device,
    params: Parameters,
    optimizer: Optimizer,
    bound: wgpu_rnn::nn::rnn::Bound,
    loss: Loss,
}

impl Training {
    fn new(device: &Device, hidden: usize, seed: u64, rule: OptimizerConfig) -> Self {
        let (config, shape) = (RnnConfig::new(Cell::Lstm, 3, hidden).layers(2), BatchShape::new(5, 4));
        let params = Parameters::new(device, tensors(&config, "rnn.")).expect("parameters");
        Init::new(seed).apply(&params, "rnn.", Layer::Rnn(&config)).expect("weights");
        let optimizer = Optimizer::new(&params, rule).expect("an optimiser");
        let room = |name: &str, len| device.alloc(name, len).expect("room");
        let (x, y) = (room("x", 5 * 4 * 3), room("y", 5 * 4 * hidden));
        let (target, dy) = (room("target", y.len()), room("dy", y.len()));
        let mut random = Random::new(1);
        let values: Vec<f64> = (0..x.len()).map(|_| random.next()).collect();
        device.write_f64(&x, &values).expect("a write");
        let rnn = Rnn::new(device, config, shape, Mode::Train, Options::default()).expect("a plan");
        let gradients = Gradients { dy: Some(dy.clone()), ..Gradients::default() };
        let memory = (rnn.reserve().expect("a reserve"), rnn.workspace().expect("a workspace"));
        let bound = rnn.bind(&params, "rnn.", &Io::new(&x, &y), &gradients, &memory.0, &memory.1).expect("a layer");
        let loss = Loss::scaled_mse(device, &y, &target, Some(&dy), optimizer.scale()).expect("a loss");
        Self { device: device.clone(), params, optimizer, bound, loss }
    }

    fn steps(&self, count: usize) {
        for _ in 0..count {
            self.device
                .run(|recorder| {
                    self.bound.forward.record(recorder)?;
                    self.loss.record(recorder)?;
                    self.bound.backward.record(recorder)?;
                    self.optimizer.record(recorder)
                })
                .expect("a step");
        }
    }

    fn progress(&self) -> [(&'static str, &Buffer); 2] {
        let [state, counters] = self.optimizer.progress();
        [("state", state), ("counters", counters)]
    }

    fn save(&self, path: &Path) {
        let (moments, note) = (self.optimizer.moments(), "with \"quotes\" and ü");
        Checkpoint::save(path, &self.params, [&moments, &self.progress()], [("note", note)]).expect("a file");
    }

    fn restore(&self, checkpoint: &Checkpoint) -> wgpu_rnn::Result<()> {
        checkpoint.restore(&self.params, [&self.optimizer.moments(), &self.progress()])
    }

    /// Parameters, moments and progress.
    fn all(&self) -> Vec<f64> {
        let mut all = self.device.read_f64(self.params.values()).expect("a read");
        for (_, buffer) in self.optimizer.moments().into_iter().chain(self.progress()) {
            match self.device.read_f64(buffer) {
                Ok(values) => all.extend(values),
                Err(_) => all.extend(self.device.read_u32(buffer).expect("a read").into_iter().map(f64::from)),
            }
        }
        all
    }
}

fn rules() -> [OptimizerConfig; 3] {
    let schedule = Schedule::Cosine { steps: 20, floor: 0.1 };
    [
        OptimizerConfig::adam(1e-2).clip_norm(Some(0.5)).schedule(schedule),
        OptimizerConfig::sgd(1e-1).momentum(0.9),
        OptimizerConfig::adam(1e-2).loss_scale(LossScale::dynamic()),
    ]
}

#[test]
fn training_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("last.safetensors");
    for device in devices() {
        for rule in rules() {
            let whole = Training::new(&device, 6, 1, rule);
            whole.steps(12);
            let first = Training::new(&device, 6, 1, rule);
            first.steps(7);
            first.save(&path);
            // Other weights, and other progress.
            let second = Training::new(&device, 6, 2, rule);
            second.steps(3);
            assert_ne!(second.all(), first.all());
            let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
            second.restore(&checkpoint).expect("a restored model");
            assert!(second.all() == first.all(), "not what was saved, on {device:?}");
            second.steps(5);
            assert!(second.all() == whole.all(), "other numbers after a restart, on {device:?}");
            assert_eq!(checkpoint.text("note").expect("a text"), "with \"quotes\" and ü");
        }
    }
}

/// Weights and moments are the same tensors on whatever device, however it lays them out.
#[test]
fn one_device_goes_on_where_another_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("last.safetensors");
    let (gpu, cpu) = (common::gpu(), Device::cpu().expect("CPU"));
    let there = Training::new(&gpu, 6, 1, rules()[0]);
    there.steps(3);
    there.save(&path);
    let here = Training::new(&cpu, 6, 2, rules()[0]);
    here.restore(&Checkpoint::open(&path).expect("a checkpoint")).expect("a restored model");
    for entry in there.params.entries() {
        let read = |training: &Training| {
            let value = training.params.value(&entry.name).expect("a tensor");
            training.device.read(&value).expect("a read")
        };
        assert_eq!(read(&there), read(&here), "{}", entry.name);
    }
    let [there, here] = [there, here].map(|training| {
        training.steps(3);
        training.device.read(&training.params.value("rnn.weight_hh_l0").expect("a tensor")).expect("a read")
    });
    let far = there.iter().zip(&here).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-4, "{far} apart after three steps");
}

#[test]
fn weights_have_the_names_that_pytorch_knows() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("last.safetensors");
    let device = Device::cpu().expect("CPU");
    Training::new(&device, 6, 1, rules()[0]).save(&path);
    let file = TensorFile::open(&path).expect("a file");
    assert!(file.tensor("rnn.weight_hh_l1", &[24, 6]).is_ok() && file.tensor("rnn.bias_ih_l0", &[24]).is_ok());
    assert!(file.tensor("optimizer.exp_avg.rnn.weight_hh_l1", &[24, 6]).is_ok());
    // Eight tensors with two moments each, and the rest of the optimiser.
    assert_eq!(file.names().count(), 8 * 3 + 2);
    let error = file.tensor("optimizer.counters", &[2]).expect_err("words are no floats").to_string();
    assert!(error.contains("U32") && error.contains("F32"), "{error}");
}

#[test]
fn a_file_that_does_not_fit_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("last.safetensors");
    let device = Device::cpu().expect("CPU");
    Training::new(&device, 6, 1, rules()[0]).save(&path);
    let restore = |training: &Training| {
        let before = training.all();
        let checkpoint = Checkpoint::open(&path)?;
        let done = training.restore(&checkpoint);
        assert!(training.all() == before, "something was written");
        done
    };
    let error = restore(&Training::new(&device, 7, 1, rules()[0])).expect_err("another size").to_string();
    assert!(error.contains("weight_ih_l0") && error.contains("24") && error.contains("28"), "{error}");
    let error = restore(&Training::new(&device, 6, 1, rules()[1])).expect_err("another optimiser").to_string();
    assert!(error.contains("momentum_buffer"), "{error}");
    let oracle = Training::new(&Device::oracle().expect("oracle"), 6, 1, rules()[0]);
    let error = restore(&oracle).expect_err("another precision").to_string();
    assert!(error.contains("F32") && error.contains("F64"), "{error}");
    let error = Checkpoint::open(&path).expect("a file").text("nothing").expect_err("no such text").to_string();
    assert!(error.contains("nothing") && error.contains("note"), "{error}");
    let half = std::fs::read(&path).expect("a file");
    std::fs::write(&path, &half[..half.len() / 2]).expect("a write");
    let error = Checkpoint::open(&path).expect_err("half a file").to_string();
    assert!(error.contains("last.safetensors") && error.contains("not a whole"), "{error}");
}

/// The old file stays where the new one can't be written, and nothing else is left.
#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let device = Device::cpu().expect("CPU");
    let training = Training::new(&device, 6, 1, rules()[0]);
    let missing = folder.path().join("missing/last.safetensors");
    let error = Checkpoint::save(&missing, &training.params, [&[], &[]], []).expect_err("no such folder").to_string();
    assert!(error.contains("missing") && error.contains("can't be written"), "{error}");
    // A folder can't be replaced by a file.
    let path = folder.path().join("last.safetensors");
    std::fs::create_dir_all(path.join("inside")).expect("a folder");
    assert!(Checkpoint::save(&path, &training.params, [&[], &[]], []).is_err());
    assert!(path.join("inside").is_dir());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
