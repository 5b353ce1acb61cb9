//! Training steps on the CPU executor: what they allocate they free, they allocate no more as they go on, and nothing for
//! rows that they bring together.
//!
//! One test, alone in its process: it counts what the whole process allocates.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Layer, Model};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};

/// The system's allocator, counting.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; `realloc` is left to the default, which calls the others.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        FREED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as above, for memory that the system's allocator gave.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes allocated so far, and those of them that live.
fn bytes() -> [usize; 2] {
    let allocated = ALLOCATED.load(Ordering::Relaxed);
    [allocated, allocated.saturating_sub(FREED.load(Ordering::Relaxed))]
}

#[test]
fn a_step_leaves_nothing_behind() {
    let cpu = |threads| Device::cpu_with_threads(threads).expect("CPU");
    for device in [cpu(1), cpu(3), Device::oracle().expect("oracle")] {
        let config = RnnConfig::new(Cell::Lstm, 3, 5).layers(2).bidirectional(true);
        let model = Model::new(&device, config, BatchShape::new(6, 4)).expect("a model");
        model.steps(500);
        let mut rounds = (0..4).map(|_| {
            let before = bytes();
            model.steps(250);
            let after = bytes();
            [after[0] - before[0], after[1]]
        });
        let [allocated, live] = rounds.next().expect("a round");
        assert!(allocated > 0 && live > 0);
        for (round, [now, living]) in rounds.enumerate() {
            // The threads' queue of tasks comes in blocks of less than 2 KiB.
            assert!(now <= allocated + (16 << 10), "{now} bytes in round {round}, {allocated} at first, on {device:?}");
            assert!(
                living <= live + (4 << 10),
                "{living} bytes live after round {round}, {live} at first, on {device:?}"
            );
        }
        assert_eq!(model.optimizer.read_state().expect("the state").step, 1_500);
    }
    rows_are_brought_together_in_the_workspace();
    inference_allocates_nothing();
}

/// On one thread nothing at all.
fn inference_allocates_nothing() {
    let device = Device::cpu_with_threads(1).expect("CPU");
    for (cell, options) in common::forms() {
        for two in [false, true] {
            let config = RnnConfig::new(cell, 7, 33).options(options).layers(2).bidirectional(two);
            let layer = Layer::random(config, 30, 5, 2).lengths(&[30, 3, 17, 1, 29]);
            let running = layer.bind(&device, Mode::Infer).expect("a layer");
            let forward = |_| {
                let before = bytes()[0];
                device.run(|recorder| running.bound.forward.record(recorder)).expect("forward");
                bytes()[0] - before
            };
            // The least of some, as above.
            assert_eq!((0..8).map(forward).min(), Some(0), "{}", layer.describe());
        }
    }
}

/// The products of a layer are the same with and without lengths; with them the rows of x are copied first.
fn rows_are_brought_together_in_the_workspace() {
    let (steps, batch) = (64, 8);
    let layer = Layer::random(RnnConfig::new(Cell::Gru, 48, 16), steps, batch, 5);
    let allocated = |layer: &Layer| {
        let running = layer.bind(&Device::cpu_with_threads(1).expect("CPU"), Mode::Train).expect("a layer");
        running.run().expect("a step");
        // The least of some steps: threads of pools that are going away allocate too.
        let step = |_| {
            let before = bytes()[0];
            running.run().expect("a step");
            bytes()[0] - before
        };
        (0..8).map(step).min()
    };
    let plain = allocated(&layer);
    assert_eq!(allocated(&layer.clone().lengths(&[steps; 8])), plain);
}
