//! Adapters are looked for, opened, used and dropped by several threads at once.

use wgpu_rnn::{Device, gpu};

/// OpenGL has one context for all of an instance's adapters: wgpu panics where two searches of its own meet in it.
#[test]
fn threads_look_for_adapters_and_use_them_at_once() {
    let rounds = || {
        let mut opened = 0;
        for _ in 0..4 {
            let adapters = pollster::block_on(gpu::adapters()).expect("adapters");
            for report in adapters.iter().filter(|report| report.unusable.is_none()) {
                let device = pollster::block_on(Device::open_adapter(report)).expect("a device");
                let values: Vec<f32> = (0..1000).map(|value| value as f32).collect();
                let buffer = device.upload("values", &values).expect("an upload");
                assert_eq!(device.read(&buffer).expect("values"), values, "{}", report.name);
                opened += 1;
            }
        }
        opened
    };
    let opened = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(rounds)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(
        opened.iter().all(|&count| count >= 4 && count == opened[0]),
        "without an adapter: run `cargo xtask driver`: {opened:?}"
    );
}
