//! Lost devices: whatever is asked of one is an error that says so, never a hang and never numbers from before. With devices
//! that were opened here and an app's own, lost before, while and after work is recorded.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{Layer, Running, wgpu_device};
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Options, Rnn, tensors};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Buffer, Cell, DType, Device, Error, Recorder, Result, RnnConfig};

/// A device that was opened here, and one of an app's own.
fn both() -> [(&'static str, Device); 2] {
    let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
    [("opened", common::gpu()), ("the app's", Device::from_wgpu(device, queue))]
}

fn destroy(device: &Device) {
    device.gpu().expect("a GPU").device().destroy();
}

fn layer() -> Layer {
    Layer::random(RnnConfig::new(Cell::Gru, 3, 5), 4, 2, 1).lengths(&[4, 2])
}

/// Fails unless `result` is the error of a lost device, with `reason`.
#[track_caller]
fn assert_lost<T>(what: &str, result: Result<T>, reason: &str) {
    match result {
        Ok(_) => panic!("{what}: it went well"),
        Err(Error::Device { why, .. }) => {
            assert!(why.starts_with("the device was lost: ") && why.contains(reason), "{what}: {why}");
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

/// Runs a test that may hang, and fails when it does.
fn within_a_minute(test: impl FnOnce() + Send + 'static) {
    let (done, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match told.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)),
    }
}

/// Everything that can be asked of a device.
fn assert_all_lost(what: &str, running: &Running, reason: &str) {
    let (device, x) = (&running.device, running.buffer("x"));
    let values = vec![0.5; x.len()];
    let record = |recorder: &mut Recorder<'_>| running.bound.forward.record(recorder);
    assert!(device.lost().is_some_and(|why| why.contains(reason)), "{what}: {:?}", device.lost());
    assert_lost(&format!("{what}: run"), device.run(record), reason);
    assert_lost(&format!("{what}: an empty run"), device.run(|_| Ok(())), reason);
    assert_lost(&format!("{what}: time"), device.time(record), reason);
    if device.gpu().is_some_and(|gpu| gpu.capabilities().timestamps) {
        assert_lost(&format!("{what}: profile"), device.profile(record), reason);
    }
    assert_lost(&format!("{what}: wait"), device.wait(), reason);
    assert_lost(&format!("{what}: write"), device.write(x, &values), reason);
    assert_lost(&format!("{what}: read"), device.read(running.buffer("y")), reason);
    assert_lost(&format!("{what}: alloc"), device.alloc("more", 100), reason);
    assert_lost(&format!("{what}: alloc_u32"), device.alloc_u32("more", 100), reason);
    assert_lost(&format!("{what}: upload"), device.upload("more", &values), reason);
    let rnn = running.bound.rnn();
    assert_lost(&format!("{what}: reserve"), rnn.reserve(), reason);
    assert_lost(&format!("{what}: parameters"), Parameters::new(device, tensors(rnn.config(), "")), reason);
    assert_lost(&format!("{what}: lengths"), running.bound.set_lengths(&[1, 2]), reason);
    let plan = Rnn::new(device, *rnn.config(), rnn.shape(), Mode::Train, Options::default());
    assert_lost(&format!("{what}: plan"), plan, reason);
    assert_lost(&format!("{what}: everything"), layer().bind(device, Mode::Train), reason);
    device.trim();
}

#[test]
fn a_device_lost_between_recordings_says_so_ever_after() {
    within_a_minute(|| {
        for (what, device) in both() {
            let running = layer().bind(&device, Mode::Train).expect("a layer");
            running.run().expect("a first step");
            // wgpu says why once the device's work is done, which the library waits for only so long.
            device.wait().expect("an idle device");
            assert!(device.lost().is_none());
            destroy(&device);
            // Ours is told why by wgpu; the app's callback would be.
            let reason = if what == "opened" { "it was destroyed" } else { "wgpu gives no reason" };
            for _ in 0..2 {
                assert_all_lost(what, &running, reason);
            }
            // Clones are the same device.
            assert_lost(what, device.clone().wait(), reason);
        }
    });
}

#[test]
fn a_device_lost_before_anything_is_planned_says_so() {
    within_a_minute(|| {
        for (what, device) in both() {
            destroy(&device);
            assert_lost(what, layer().bind(&device, Mode::Infer), "");
            assert_lost(what, device.alloc("x", 4), "");
            assert_lost(what, device.run(|_| Ok(())), "");
        }
    });
}

#[test]
fn a_device_lost_while_work_is_recorded_says_so() {
    within_a_minute(|| {
        for (what, device) in both() {
            let running = layer().bind(&device, Mode::Train).expect("a layer");
            let lost = device.run(|recorder| {
                running.bound.forward.record(recorder)?;
                destroy(&device);
                // Whatever is known by now, the run must not end well.
                running.bound.backward.record(recorder)
            });
            assert_lost(what, lost, "");
            assert_all_lost(what, &running, "");
        }
        for (what, device) in both() {
            let running = layer().bind(&device, Mode::Train).expect("a layer");
            let lost = device.run(|recorder| {
                destroy(&device);
                running.bound.forward.record(recorder)
            });
            assert_lost(what, lost, "");
        }
    });
}

#[test]
fn a_read_back_of_a_lost_device_ends() {
    within_a_minute(|| {
        for (what, device) in both() {
            let running = layer().bind(&device, Mode::Train).expect("a layer");
            running.run().expect("a step");
            let y = running.buffer("y");
            let pending = device.download(y);
            destroy(&device);
            assert_lost(what, pollster::block_on(pending), "");
        }
        // While another thread reads again and again: it gets right numbers or the error.
        for (what, device) in both() {
            let running = layer().bind(&device, Mode::Train).expect("a layer");
            running.run().expect("a step");
            let y = running.buffer("y").clone();
            let want = device.read(&y).expect("y");
            let (reader, ready) = (device.clone(), mpsc::channel());
            let tell = ready.0;
            let thread = std::thread::spawn(move || {
                loop {
                    match reader.read(&y) {
                        Ok(got) => assert_eq!(got, want),
                        Err(error) => return error,
                    }
                    let _ = tell.send(());
                }
            });
            ready.1.recv().expect("a read-back");
            destroy(&device);
            assert_lost(what, Err::<(), _>(thread.join().expect("a reader")), "");
        }
    });
}

/// The app records into its own encoder, made before or after the loss, and has no handler for errors: wgpu's own panics.
#[test]
fn an_app_that_records_is_told() {
    within_a_minute(|| {
        let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
        let engine = Device::from_wgpu(device.clone(), queue.clone());
        let running = layer().bind(&engine, Mode::Infer).expect("a layer");
        let before = device.create_command_encoder(&Default::default());
        device.destroy();
        let after = device.create_command_encoder(&Default::default());
        for (what, mut encoder) in [("before", before), ("after", after)] {
            assert_lost(what, running.bound.forward.record(&mut Recorder::new(&mut encoder)), "");
        }
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 256,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        assert_lost("adopting", Buffer::from_wgpu(&engine, &buffer, 0, 64, DType::Float), "");
    });
}

/// Natively wgpu keeps one callback a device: the app's is still there, and its reason can be handed on.
#[test]
fn the_apps_own_callback_stays() {
    let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
    let (tell, told) = mpsc::channel();
    device.set_device_lost_callback(move |reason, _| {
        let _ = tell.send(reason);
    });
    let engine = Device::from_wgpu(device.clone(), queue);
    let running = layer().bind(&engine, Mode::Infer).expect("a layer");
    running.run().expect("a step");
    device.destroy();
    assert_lost("run", running.run(), "wgpu gives no reason");
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(wgpu::DeviceLostReason::Destroyed));

    let (device, queue) = wgpu_device(|_| wgpu::Limits::defaults());
    let engine = Device::from_wgpu(device, queue);
    assert!(engine.lost().is_none() && Device::cpu().expect("CPU").lost().is_none());
    engine.lose("the screen was unplugged");
    engine.lose("a second reason");
    assert_lost("run", engine.run(|_| Ok(())), "the screen was unplugged");
    assert_lost("alloc", engine.alloc("x", 4), "the screen was unplugged");
}
