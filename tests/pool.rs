//! Buffers come from a pool: what is given back is used again, zeroed, and never while somebody may still write it.

mod common;

use common::{Layer, assert_close, tiled};
use wgpu_rnn::gpu::{AdapterKind, Bounds, Gpu};
use wgpu_rnn::kernel::Op;
use wgpu_rnn::kernel::copy::copy;
use wgpu_rnn::kernel::gemm::Matrix;
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{Buffer, Cell, DType, Device, Error, Recorder, RnnConfig};

const KINDS: [AdapterKind; 2] = [AdapterKind::Software, AdapterKind::Gpu];
const LEN: usize = 100;
const BYTES: u64 = 4 * LEN as u64;

fn gpu(device: &Device) -> &Gpu {
    device.gpu().expect("a GPU")
}

fn made(device: &Device) -> usize {
    gpu(device).counters().storage_buffers
}

/// An op that copies a buffer of ones, which it alone holds, to `to`.
fn ones_to(device: &Device, to: &Buffer) -> Op {
    let ones = device.upload("ones", &vec![1.0; to.len()]).expect("memory");
    let [from, to] = [&ones, to].map(|buffer| Matrix::dense(buffer, buffer.len()));
    copy(device, 1, 1, ones.len(), Some(&from), &to).expect("a copy")
}

#[track_caller]
fn assert_all(device: &Device, buffer: &Buffer, value: f32) {
    assert_eq!(device.read(buffer).expect("values"), vec![value; buffer.len()]);
}

#[test]
fn what_is_given_back_is_used_again_and_zero() {
    for device in KINDS.map(tiled) {
        let first = device.upload("first", &[7.0; LEN]).expect("memory");
        let part = first.slice(64..LEN).expect("a slice");
        let held = made(&device);
        drop(first);
        // A slice keeps the memory.
        let other = device.alloc("other", LEN).expect("memory");
        assert_eq!(made(&device), held + 1);
        assert_all(&device, &part, 7.0);
        device.write(&other, &[8.0; LEN]).expect("values");
        drop(other);
        drop(part);
        // Element types don't matter, sizes do.
        let floats = device.alloc("floats", LEN).expect("memory");
        assert_all(&device, &floats, 0.0);
        let numbers = device.alloc_u32("numbers", LEN).expect("memory");
        assert_eq!(pollster::block_on(device.download_u32(&numbers)).expect("values"), [0; LEN]);
        assert_eq!(made(&device), held + 1);
        let smaller = device.alloc("smaller", LEN - 1).expect("memory");
        assert_eq!(made(&device), held + 2);
        assert_eq!([floats, numbers, smaller].map(|buffer| buffer.allocated_bytes()), [BYTES, BYTES, BYTES - 4]);
    }
}

/// A write that is not submitted yet when its buffer is given back comes before the next holder's zeros.
#[test]
fn a_late_write_does_not_reach_the_next_holder() {
    for device in KINDS.map(tiled) {
        for _ in 0..3 {
            drop(device.upload("ones", &[1.0; LEN]).expect("memory"));
            assert_all(&device, &device.alloc("zeros", LEN).expect("memory"), 0.0);
        }
        assert_eq!(made(&device), 1);
    }
}

#[test]
fn an_op_keeps_what_it_binds() {
    for device in KINDS.map(tiled) {
        let to = device.alloc("to", LEN).expect("memory");
        let op = ones_to(&device, &to);
        let before = made(&device);
        let other = device.alloc("other", LEN).expect("memory");
        assert_eq!(made(&device), before + 1, "the op's source was given to another");
        device.run(|recorder| op.record(recorder)).expect("a copy");
        assert_all(&device, &to, 1.0);
        assert_all(&device, &other, 0.0);
        drop(op);
        device.alloc("another", LEN).expect("memory");
        assert_eq!(made(&device), before + 1);
    }
}

/// What `run` recorded runs when its closure is done: until then nothing that it uses has a new holder.
#[test]
fn what_a_run_has_recorded_is_not_given_out_before_it_is_submitted() {
    for device in KINDS.map(tiled) {
        let to = device.alloc("to", LEN).expect("memory");
        let op = ones_to(&device, &to);
        let before = made(&device);
        let mut taken = Vec::new();
        let ran = device.run(|recorder| {
            op.record(recorder)?;
            drop((op, to));
            for _ in 0..2 {
                taken.push(device.alloc("taken", LEN)?);
            }
            Ok(())
        });
        ran.expect("a copy");
        assert_eq!(made(&device), before + 2);
        taken.iter().for_each(|buffer| assert_all(&device, buffer, 0.0));
        // Now they are free.
        for _ in 0..2 {
            taken.push(device.alloc("taken", LEN).expect("memory"));
        }
        assert_eq!(made(&device), before + 2);
        taken.iter().for_each(|buffer| assert_all(&device, buffer, 0.0));
    }
}

/// An app may submit at any time what was recorded into its encoder, long after it dropped the plan.
#[test]
fn what_an_app_has_recorded_is_never_given_out() {
    for device in KINDS.map(tiled) {
        let to = device.alloc("to", LEN).expect("memory");
        let op = ones_to(&device, &to);
        let before = made(&device);
        let mut encoder = gpu(&device).device().create_command_encoder(&Default::default());
        op.record(&mut Recorder::new(&mut encoder)).expect("a copy");
        drop((op, to));
        let taken = [(); 2].map(|()| device.alloc("taken", LEN).expect("memory"));
        gpu(&device).queue().submit([encoder.finish()]);
        taken.iter().for_each(|buffer| assert_all(&device, buffer, 0.0));
        assert_eq!(made(&device), before + 2);
    }
}

#[test]
fn a_buffer_that_an_app_took_hold_of_is_never_given_out() {
    let device = tiled(AdapterKind::Gpu);
    let buffer = device.alloc("shown", LEN).expect("memory");
    let shown = buffer.wgpu().expect("on a GPU").0.clone();
    drop(buffer);
    let other = device.alloc("other", LEN).expect("memory");
    assert!(*other.wgpu().expect("on a GPU").0 != shown);
    assert_eq!(made(&device), 2);
}

#[test]
fn an_apps_buffer_never_enters_the_pool() {
    let device = tiled(AdapterKind::Gpu);
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size: BYTES, usage, mapped_at_creation: false };
    let own = gpu(&device).device().create_buffer(&descriptor);
    let adopted = Buffer::from_wgpu(&device, &own, 0, LEN, DType::Float).expect("an app's buffer");
    device.write(&adopted, &[3.0; LEN]).expect("values");
    drop(adopted);
    let pool = gpu(&device).pool_use();
    assert_eq!([pool.in_use, pool.idle], [0, 0]);
    let other = device.alloc("other", LEN).expect("memory");
    assert_eq!(made(&device), 1);
    assert!(*other.wgpu().expect("on a GPU").0 != own);
    assert_all(&device, &Buffer::from_wgpu(&device, &own, 0, LEN, DType::Float).expect("an app's buffer"), 3.0);
}

#[test]
fn read_backs_share_what_they_go_through() {
    for device in KINDS.map(tiled) {
        let [one, two] = [LEN, 2 * LEN].map(|len| device.alloc("values", len).expect("memory"));
        device.write(&one, &[1.0; LEN]).expect("values");
        device.write(&two, &[2.0; 2 * LEN]).expect("values");
        for _ in 0..5 {
            assert_all(&device, &one, 1.0);
            assert_all(&device, &two, 2.0);
        }
        let counters = gpu(&device).counters();
        assert_eq!([counters.downloads, counters.staging_buffers], [10, 2]);
    }
}

/// All that the pool holds is at most twice what was in use at once; the oldest is freed first.
#[test]
fn the_pool_is_bounded_and_can_be_emptied() {
    const K: u64 = 1024;
    let device = tiled(AdapterKind::Gpu);
    let pool = || {
        let pool = gpu(&device).pool_use();
        [pool.in_use / K, pool.peak / K, pool.idle / K]
    };
    let alloc = |kilobytes: usize| device.alloc("kilobytes", 256 * kilobytes).expect("memory");
    drop((alloc(1), alloc(3)));
    assert_eq!(pool(), [0, 4, 4]);
    drop(alloc(2));
    assert_eq!(pool(), [0, 4, 6]);
    let five = alloc(5);
    assert_eq!(pool(), [5, 5, 5], "the first was freed");
    drop(five);
    assert_eq!(pool(), [0, 5, 10]);
    let four = alloc(4);
    assert_eq!(pool(), [4, 5, 5], "the second and third were freed");
    let before = made(&device);
    let five = alloc(5);
    assert_eq!([made(&device), before], [5, 5], "the youngest was kept");
    assert_eq!(pool(), [9, 9, 0]);
    drop(four);
    device.trim();
    assert_eq!(pool(), [5, 5, 0]);
    drop(five);
    assert_eq!(pool(), [0, 5, 5]);
    device.trim();
    assert_eq!(pool(), [0, 0, 0]);
    assert_all(&device, &alloc(4), 0.0);
    assert_eq!(made(&device), 6);
    Device::cpu().expect("CPU").trim();
}

/// Layers that are planned, run and dropped in turn, in each other's memory, compute what they compute alone. The same
/// layer again takes no new memory.
#[test]
fn plans_in_used_memory_are_right() {
    let oracle = Device::oracle().expect("oracle");
    for device in KINDS.map(tiled) {
        for seed in 0..2 {
            for &cell in Cell::ALL {
                let config = RnnConfig::new(cell, 3, 5).layers(2).bidirectional(true);
                let layer = Layer::random(config, 4, 3, seed).without(&["h0", "dhn", "c0", "dcn"]);
                let what = format!("{} from {seed} on {device:?}", layer.describe());
                let want = layer.run(&oracle);
                assert_close(&what, &layer.run(&device), &want, 1e-5, 1e-4);
                let before = made(&device);
                assert_close(&what, &layer.run(&device), &want, 1e-5, 1e-4);
                assert_eq!(made(&device), before, "{what}");
            }
        }
        let pool = gpu(&device).pool_use();
        assert!(pool.in_use == 0 && pool.idle > 0 && pool.idle <= 2 * pool.peak, "{pool:?}");
    }
}

/// The same plan in an app's encoder and in one made here.
#[test]
fn a_plan_that_an_app_recorded_still_runs() {
    let device = tiled(AdapterKind::Software);
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 3, 5), 4, 2, 1);
    let running = layer.bind(&device, Mode::Train).expect("a plan");
    let mut encoder = gpu(&device).device().create_command_encoder(&Default::default());
    let mut recorder = Recorder::new(&mut encoder);
    running.bound.forward.record(&mut recorder).expect("forward");
    running.bound.backward.record(&mut recorder).expect("backward");
    drop(recorder);
    gpu(&device).queue().submit([encoder.finish()]);
    let want = running.read().expect("results");
    running.run().expect("a run");
    common::assert_same_bits("the same work", &running.read().expect("results"), &want);
}

/// A software adapter takes so many dispatches a submit: an app's recorder takes no more, and what is run here is submitted
/// several times.
#[test]
fn a_recorder_takes_what_one_submit_takes() {
    let device = tiled(AdapterKind::Software);
    let most = gpu(&device).capabilities().max_dispatches();
    let to = device.alloc("to", 4).expect("memory");
    let op = ones_to(&device, &to);
    let mut encoder = gpu(&device).device().create_command_encoder(&Default::default());
    let mut recorder = Recorder::new(&mut encoder);
    for _ in 0..most {
        op.record(&mut recorder).expect("a dispatch");
    }
    assert_eq!(recorder.dispatches(), most);
    let error = op.record(&mut recorder).expect_err("one more than the device takes");
    assert_eq!(recorder.dispatches(), most);
    let text = error.to_string();
    assert!(matches!(error, Error::Limit { .. }), "{text}");
    assert!(text.starts_with("the recorded work needs 50001 dispatches"), "{text}");
    assert!(text.ends_with("50000 a submit: `Program::parts` cuts a program for several"), "{text}");
    drop(recorder);
    drop(encoder);
    assert_all(&device, &to, 0.0);
    // More than the mappings that a process may have.
    gpu(&device).set_bounds(Bounds { submit_ms: f64::INFINITY, ..Bounds::default() });
    let timing = device
        .time(|recorder| {
            (0..2 * most + 1).try_for_each(|_| op.record(recorder))?;
            assert_eq!(recorder.dispatches(), 2 * most + 1);
            Ok(())
        })
        .expect("three submits");
    assert_eq!(timing.submits, 3);
    assert_all(&device, &to, 1.0);
    // What fails is not submitted, not in part either.
    let other = device.alloc("other", 4).expect("memory");
    let op = ones_to(&device, &other);
    gpu(&device).set_bounds(Bounds { submit_ms: 0.1, ..Bounds::default() });
    let fails = device.run(|recorder| {
        (0..100).try_for_each(|_| op.record(recorder))?;
        Err(Error::invalid("this", "right", "wrong"))
    });
    fails.expect_err("the error");
    assert_all(&device, &other, 0.0);
}
