//! What the tests share: the devices they run on.

#![allow(dead_code, reason = "each test binary uses what it needs")]

use wgpu_rnn::{Device, DeviceKind};

/// A GPU: hardware if there is one, else a software adapter. Without either the test fails; it is never skipped.
pub fn gpu() -> Device {
    let open = |kind| pollster::block_on(Device::open(kind));
    open(DeviceKind::Gpu)
        .or_else(|_| open(DeviceKind::Software))
        .expect("the shader tests need a Vulkan adapter: run `cargo xtask driver`")
}

/// Every executor that has to agree: the oracle, the CPU in f32, and a GPU.
pub fn devices() -> Vec<Device> {
    vec![Device::oracle().expect("oracle"), Device::cpu().expect("CPU"), gpu()]
}
