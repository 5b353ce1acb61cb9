//! Nothing grows: after a plan is bound its steps make, compile and upload nothing, thousands of them take no more memory,
//! and planning anew uses what the last plan gave back.

mod common;

use std::sync::Mutex;

use common::{Model, tiled};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use wgpu_rnn::gpu::{AdapterKind, Counters, PoolUse};
use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};

/// One at a time: they look at the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn state(device: &Device) -> (Counters, PoolUse) {
    let gpu = device.gpu().expect("a GPU");
    (gpu.counters(), gpu.pool_use())
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let pid = Pid::from_u32(std::process::id());
    let mut system = System::new().expect("this system");
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        false,
        ProcessRefreshKind::nothing().with_memory(),
    );
    system.process(pid).expect("this process").memory()
}

#[test]
fn a_step_makes_compiles_and_uploads_nothing() {
    let _alone = ALONE.lock();
    for device in [AdapterKind::Software, AdapterKind::Gpu].map(tiled) {
        for &cell in Cell::ALL {
            let config = RnnConfig::new(cell, 3, 5).layers(3).bidirectional(true);
            let model = Model::new(&device, config, BatchShape::new(4, 2)).expect("a model");
            let bound = state(&device);
            let made = [bound.0.storage_buffers, bound.0.uniform_buffers, bound.0.bind_groups, bound.0.pipelines];
            assert!(made.iter().all(|&made| made > 0) && bound.0.uploads > 0 && bound.1.in_use > 0, "{bound:?}");
            for steps in [1, 1, 5] {
                model.steps(steps);
                assert_eq!(state(&device), bound, "{cell} on {device:?}");
            }
            // What the loop asks for is counted, and nothing else. A read-back needs a buffer once.
            let first = model.loss.read_value().expect("a loss");
            let read = state(&device);
            let staging = read.0.staging_buffers;
            model.feed(2).expect("tokens");
            model.steps(30);
            let last = model.loss.read_value().expect("a loss");
            let wanted = (read.0.uploads + 1, read.0.downloads + 1, staging);
            let (counters, pool) = state(&device);
            assert_eq!((counters.uploads, counters.downloads, counters.staging_buffers), wanted);
            assert_eq!((counters.storage_buffers, pool), (read.0.storage_buffers, read.1));
            assert!(last.is_finite() && last != first, "{first} {last}");
        }
    }
}

#[test]
fn ten_thousand_steps_take_no_more_memory() {
    let _alone = ALONE.lock();
    let device = tiled(AdapterKind::Software);
    let model =
        Model::new(&device, RnnConfig::new(Cell::Gru, 2, 3).bias(false), BatchShape::new(2, 1)).expect("a model");
    let bound = state(&device);
    let of = |steps: usize| {
        (0..steps / 250).for_each(|_| model.steps(250));
        resident()
    };
    let warm = of(2_000);
    let done = of(8_000);
    println!("resident: {warm} bytes after 2,000 steps, {done} after 10,000");
    assert!(done < warm + (8 << 20), "{warm} bytes after 2,000 steps, {done} after 10,000");
    assert_eq!(state(&device), bound);
    assert_eq!(model.optimizer.read_state().expect("the state").step, 10_000);
    assert!(model.loss.read_value().expect("a loss") < 0.1, "it has learned two tokens by heart");
}

#[test]
fn planning_anew_makes_no_buffers_and_takes_no_more_memory() {
    let _alone = ALONE.lock();
    let device = tiled(AdapterKind::Software);
    let losses = |times: usize| {
        let step = || {
            let config = RnnConfig::new(Cell::Lstm, 3, 5).layers(2).bidirectional(true);
            let model = Model::new(&device, config, BatchShape::new(3, 2)).expect("a model");
            model.steps(1);
            model.loss.read_value().expect("a loss")
        };
        (0..times).map(|_| step()).collect::<Vec<_>>()
    };
    let first = losses(1)[0];
    let once = state(&device);
    assert_eq!(once.1.in_use, 0);
    losses(49);
    let warm = resident();
    let last = losses(150);
    let done = resident();
    println!("resident: {warm} bytes after 50 plans, {done} after 200");
    assert!(done < warm + (8 << 20), "{warm} bytes after 50 plans, {done} after 200");
    // The same bits in used memory.
    assert_eq!(last, [first; 150]);
    let now = state(&device);
    assert_eq!(now.1, once.1);
    let buffers = |counters: Counters| (counters.storage_buffers, counters.staging_buffers, counters.pipelines);
    assert_eq!(buffers(now.0), buffers(once.0));
}
