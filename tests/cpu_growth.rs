//! Training steps on the CPU executor: what they allocate they free, and they allocate no more as they go on.
//!
//! One test, alone in its process: it counts what the whole process allocates.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Model;
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
}
