//! Tests of what all tasks share.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::{Cell, Device, RnnConfig};

use super::*;
use crate::net::Setup;

/// What training minimises is the same over validation data, where the validation windows are one batch.
#[test]
fn validation_has_the_loss_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("waves.csv");
    let row = |row: i32| format!("{}\n", (f64::from(row) * 0.3).sin() + (f64::from(row) * 0.11).cos());
    std::fs::write(&csv, format!("level\n{}", (0..400).map(row).collect::<String>())).unwrap();
    for levels in [Vec::new(), vec![0.1, 0.5, 0.8]] {
        let goals = Goals { horizons: vec![1, 4], levels, ..Goals::default() };
        let load = |batch| {
            let sizes = Sizes { steps: Some(9), batch: Some(batch), ..Sizes::default() };
            Series::load(Some(&csv), &["level".to_string()], &Ask::default(), sizes, &goals).unwrap()
        };
        let task = load(load(8).used().validation);
        let config = RnnConfig::new(Cell::Gru, task.width(), 5);
        let mut model = Model::new(&Device::oracle().unwrap(), config, task.form(), Setup::new(1, 1e-3)).unwrap();
        // All windows are in the batch that is fed last.
        let validated = task.validate(&mut model).unwrap();
        let loss = task.in_units(model.validation_loss().unwrap());
        assert!((validated.loss - loss).abs() < 1e-5 * loss, "{} for {loss}", validated.loss);
    }
}

/// Of every task, of one layer and of several, judged by the last step and by all: gradients are slopes of the loss.
#[test]
fn gradients_are_slopes_of_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("waves.csv");
    let row = |row: i32| format!("{},{}\n", (f64::from(row) * 0.3).sin(), (f64::from(row) * 0.2).cos());
    std::fs::write(&csv, format!("level,flow\n{}", (0..900).map(row).collect::<String>())).unwrap();
    let text = folder.path().join("poem.txt");
    std::fs::write(&text, "the sea, the open sea! ".repeat(2000)).unwrap();
    let device = Device::oracle().unwrap();
    let load = |kind, path, columns: &[&str], goals: &Goals| -> Box<dyn Task> {
        let columns = columns.iter().map(|name| name.to_string()).collect();
        let sizes = Sizes { steps: Some(9), batch: Some(6), ..Sizes::default() };
        Source { kind: Some(kind), path, columns, ..Source::default() }.load(sizes, goals).unwrap()
    };
    let series = |columns: &[&str], goals: &Goals| load(Kind::Series, Some(csv.clone()), columns, goals);
    let quantiles = Goals { horizons: vec![1, 7], levels: vec![0.1, 0.5, 0.8], view: View::Window, ..Goals::default() };
    let text = || load(Kind::Text, Some(text.clone()), &[], &Goals::default());
    let speech = || load(Kind::Speech, None, &[], &Goals::default());
    let cases: [(Box<dyn Task>, usize, LossAt); 10] = [
        (series(&["level"], &Goals::default()), 1, LossAt::Last),
        (series(&["level"], &Goals::default()), 2, LossAt::Last),
        (series(&["flow", "level"], &quantiles), 1, LossAt::Last),
        (series(&["level", "flow"], &quantiles), 3, LossAt::All),
        (text(), 2, LossAt::Last),
        (text(), 1, LossAt::All),
        (speech(), 2, LossAt::Last),
        (speech(), 1, LossAt::All),
        (Box::new(Adding::new(7, 4).unwrap()), 1, LossAt::Last),
        (Box::new(DelayedCopy::new(4, 3)), 1, LossAt::All),
    ];
    for (task, layers, loss_at) in cases {
        let config = RnnConfig::new(Cell::Gru, task.width(), 3).layers(layers);
        let form = Form { loss_at, ..task.form() };
        let mut model = Model::new(&device, config, form, Setup { flow: true, ..Setup::new(1, 1e-3) }).unwrap();
        task.feed(&mut model, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        model.flow().unwrap();
        let gradients = device.read_f64(model.parameters().gradients()).unwrap();
        let values = device.read_f64(model.parameters().values()).unwrap();
        let loss = |at: usize, by: f64| {
            let mut moved = values.clone();
            moved[at] += by;
            device.write_f64(model.parameters().values(), &moved).unwrap();
            model.validation_loss().unwrap()
        };
        for entry in model.parameters().entries() {
            let at = entry.offset + entry.len() / 2;
            let slope = (loss(at, 1e-5) - loss(at, -1e-5)) / 2e-5;
            let (got, data) = (gradients[at], task.used().name);
            let what = format!("{data}: {} of {layers} layers, {loss_at:?}", entry.name);
            assert!((got - slope).abs() < 1e-8 + 1e-6 * slope.abs(), "{what}: {got} for {slope}");
        }
    }
}
