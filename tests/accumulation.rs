//! Gradients that are added to over several backwards: the sums of what each gives, and after zero the bits of one.

mod common;

use common::{
    Layer, Random, Running, SEED, Tensors, assert_same_bits, devices, half_devices, relative_error, small_bindings,
};
use wgpu_rnn::nn::{Embedding, Linear, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Bias, Cell, Device, RnnConfig};

/// The layer on a device, adding to its gradients.
fn accumulating(layer: &Layer, device: &Device) -> Running {
    let mut running = layer.bind(device, Mode::Train).expect("a plan");
    running.params = running.params.accumulating();
    let workspace = running.bound.rnn().workspace().expect("a workspace");
    running.rebind(&workspace).expect("a binding");
    if let Some(lengths) = &layer.lengths {
        running.bound.set_lengths(lengths).expect("lengths");
    }
    running
}

/// Backward of one batch with weights, then of another: what comes out at last.
fn after(device: &Device, batches: &[Layer]) -> Tensors {
    let running = accumulating(&batches[0], device);
    // What was there before does not count.
    running.run().expect("a run");
    let zero = running.params.zero_gradients().expect("a program");
    device.run(|recorder| zero.record(recorder)).expect("a run");
    for batch in batches {
        for (name, values) in batch.given.iter().filter(|(name, _)| !name.contains("_l")) {
            running.write(name, values).expect("an upload");
        }
        running.bound.set_seed(SEED).expect("a seed");
        running.run().expect("a run");
    }
    running.read().expect("a read")
}

#[test]
fn gradients_are_sums_over_batches() {
    let mut all = devices();
    all.push(small_bindings(8 << 10));
    for &cell in Cell::ALL {
        for (layers, two, bias, padded, recompute) in [
            (1, false, Bias::Both, false, None),
            (2, true, Bias::Input, true, None),
            (2, false, Bias::Recurrent, true, Some(4)),
            (1, true, Bias::None, false, Some(3)),
        ] {
            let config = RnnConfig::new(cell, 4, 6).layers(layers).bidirectional(two).bias(bias);
            let config = if layers == 2 { config.weight_dropout(0.3).input_dropout(0.2) } else { config };
            let batch = |seed: u64| {
                let mut layer = Layer::random(config, 9, 5, seed);
                layer.recompute = recompute;
                if padded { layer.lengths(&[9, 2, 5, 1, 8]) } else { layer }
            };
            let first = batch(1);
            let weights = |layer: Layer| {
                let own = first.given.iter().filter(|(name, _)| name.contains("_l"));
                let given =
                    layer.given.clone().into_iter().chain(own.map(|(name, values)| (name.clone(), values.clone())));
                Layer { given: given.collect(), ..layer }
            };
            let batches = [first.clone(), weights(batch(2)), weights(batch(3))];
            let each = batches.clone().map(|batch| batch.run(&Device::oracle().expect("oracle")));
            for device in &all {
                let what = format!("{} on {device:?}", first.describe());
                let bound = if device.float_bytes() == 8 { 1e-13 } else { 1e-5 };
                let got = after(device, &batches);
                for (name, got) in &got {
                    // What is not of the parameters is of the last batch.
                    let want = match name.starts_with("grad.") {
                        true => (0..got.len()).map(|at| each.iter().map(|one| one[name][at]).sum()).collect(),
                        false => each[2][name].clone(),
                    };
                    let error = relative_error(got, &want);
                    assert!(error <= bound, "{what}: `{name}` is off by {error:.3e}");
                }
                assert_same_bits(&what, &after(device, &batches[..1]), &first.run(device));
            }
        }
    }
}

#[test]
fn half_precision_adds_in_full() {
    for device in half_devices() {
        for &cell in Cell::ALL {
            let first = Layer::random(RnnConfig::new(cell, 4, 6).layers(2), 9, 5, 1).half(false);
            let mut second = first.clone();
            let x = second.given.get_mut("x").expect("x");
            x.iter_mut().for_each(|value| *value = -*value);
            let each = [first.run(&device), second.run(&device)];
            let got = after(&device, &[first, second]);
            for (name, got) in got.iter().filter(|(name, _)| name.starts_with("grad.")) {
                let want: Vec<f64> = each[0][name].iter().zip(&each[1][name]).map(|(one, other)| one + other).collect();
                let error = relative_error(got, &want);
                assert!(error <= 1e-5, "{cell} on {device:?}: `{name}` is off by {error:.3e}");
            }
        }
    }
}

#[test]
fn linear_layers_and_embeddings_add_too() {
    for device in devices() {
        let (linear, embedding, rows) = (Linear::new(7, 5), Embedding::new(6, 4), 300);
        let table = linear.parameters("head.").into_iter().chain(embedding.parameters("embedding."));
        let params = Parameters::new(&device, table).expect("parameters");
        let adding = params.accumulating();
        let mut random = Random::new(4);
        let mut upload = |len: usize| {
            let buffer = device.alloc("values", len).expect("a buffer");
            device.write_f64(&buffer, &random.values(len, 1.0)).expect("an upload");
            buffer
        };
        let batches: Vec<_> = (0..2)
            .map(|_| {
                let tokens: Vec<u32> = (0..rows).map(|row| (row * row) as u32 % 5).collect();
                let tokens = device.upload_u32("tokens", &tokens).expect("tokens");
                (upload(rows * 7), upload(rows * 5), tokens, upload(rows * 4))
            })
            .collect();
        let backward = |params: &Parameters, (x, dy, tokens, dembedded): &(_, _, _, _)| {
            let linear = linear.backward(params, "head.", rows, x, dy, None).expect("a program");
            let embedding = embedding.backward(params, "embedding.", tokens, dembedded).expect("a program");
            device.run(|recorder| linear.record(recorder).and_then(|()| embedding.record(recorder))).expect("a run");
            device.read_f64(params.gradients()).expect("a read")
        };
        let each: Vec<Vec<f64>> = batches.iter().map(|batch| backward(&params, batch)).collect();
        let zero = params.zero_gradients().expect("a program");
        device.run(|recorder| zero.record(recorder)).expect("a run");
        assert!(device.read_f64(params.gradients()).expect("a read").iter().all(|&value| value == 0.0));
        assert_eq!(backward(&adding, &batches[0]), each[0], "{device:?}");
        let got = backward(&adding, &batches[1]);
        let want: Vec<f64> = each[0].iter().zip(&each[1]).map(|(one, other)| one + other).collect();
        let (error, bound) = (relative_error(&got, &want), if device.float_bytes() == 8 { 1e-14 } else { 1e-6 });
        assert!(error <= bound, "off by {error:.3e} on {device:?}");
    }
}

#[test]
fn what_is_frozen_has_no_gradients_to_clear() {
    let device = Device::cpu().expect("the CPU");
    let params = Parameters::frozen(&device, Linear::new(2, 2).parameters("")).expect("parameters");
    let error = params.zero_gradients().err().expect("an error").to_string();
    assert_eq!(error, "the parameters to train must be those with gradients, got frozen ones");
}
