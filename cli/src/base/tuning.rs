//! What `tune` measured: which kernels are fastest on an adapter, kept in the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use wgpu_rnn::Device;
use wgpu_rnn::gpu::{Gpu, Tuning};

use super::device::{folder, keep};

/// Keeps what was measured, beside what was measured before for other sizes, in the file that is returned; nowhere where
/// there is no cache folder.
pub fn keep_tuning(gpu: &Gpu, measured: Tuning) -> anyhow::Result<Option<PathBuf>> {
    let Some(path) = path(gpu) else { return Ok(None) };
    let mut all = read(&path, gpu).unwrap_or_else(|_| Tuning::new(gpu));
    all.choices.extend(measured.choices);
    let text = serde_json::to_string_pretty(&all)?;
    keep(&path, text.as_bytes()).with_context(|| format!("{} can't be written", path.display()))?;
    Ok(Some(path))
}

/// Hands a device what was measured on it. Whatever is wrong with the file costs time and nothing else.
pub fn load(device: &Device) {
    let Some(gpu) = device.gpu() else { return };
    let Some(path) = path(gpu).filter(|path| path.exists()) else { return };
    let loaded = read(&path, gpu).and_then(|tuning| Ok(gpu.set_tuning(tuning)?));
    match loaded {
        Ok(()) => log::debug!("tuning {}: followed", path.display()),
        Err(why) => log::debug!("tuning {}: not followed, {why:#}", path.display()),
    }
}

/// The file of an adapter.
fn path(gpu: &Gpu) -> Option<PathBuf> {
    let info = gpu.info();
    let name = format!("tuning-{:?}-{:04x}-{:04x}.json", info.backend, info.vendor, info.device).to_lowercase();
    Some(folder()?.join(name))
}

/// The file's tuning, if it is of this adapter and driver.
fn read(path: &Path, gpu: &Gpu) -> anyhow::Result<Tuning> {
    let tuning: Tuning = serde_json::from_str(&fs::read_to_string(path)?)?;
    anyhow::ensure!(tuning.is_of(gpu), "it is of {} ({})", tuning.adapter, tuning.driver);
    Ok(tuning)
}
