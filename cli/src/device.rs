//! Opening a device, with what earlier runs measured on it.

use std::path::PathBuf;

use etcetera::BaseStrategy;
use wgpu_rnn::{Device, DeviceKind};

/// Names another folder for what is kept between runs; nothing is kept when it is empty.
const FOLDER: &str = "WGPU_RNN_CACHE_DIR";

/// Opens a device.
pub fn open(kind: DeviceKind) -> anyhow::Result<Device> {
    let device = pollster::block_on(Device::open(kind))?;
    crate::tune::load(&device);
    Ok(device)
}

/// One line about a device.
pub fn describe(device: &Device) -> String {
    format!("{} ({}, {}), because {}", device.name(), device.kind_name(), device.backend(), device.why())
}

/// Where things are kept between runs, if anywhere.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os(FOLDER) {
        Some(folder) => (!folder.is_empty()).then(|| folder.into()),
        None => Some(etcetera::base_strategy::choose_native_strategy().ok()?.cache_dir().join("wgpu-rnn")),
    }
}
