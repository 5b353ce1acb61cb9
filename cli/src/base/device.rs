//! The device that a command is told to run on; opening it, with what earlier runs measured on it, what their checks found,
//! and the kernels that they compiled for it. These are kept in files of the user's cache folder; whatever goes wrong with
//! them costs time and nothing else.

use std::fs;
use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde_json::{Map, Value};
use wgpu_rnn::gpu::{recall_trust, trust_data};
use wgpu_rnn::{Device, DeviceKind, Error, gpu, wgpu};

/// Names another folder for what is kept between runs; nothing is kept when it is empty.
const FOLDER: &str = "WGPU_RNN_CACHE_DIR";

/// The file of what checks have found, of every adapter and driver.
const TRUST: &str = "trust.json";

/// A larger file is not read but begun anew: caches only grow, also by kernels of versions long gone.
const LARGEST: u64 = 64 << 20;

/// A device whose compiled kernels are kept when it is dropped.
pub struct Opened {
    device: Device,
    cache: Option<PathBuf>,
    /// What was in the file.
    known: Vec<u8>,
    /// Where what checks find is kept, and what was known when the device was opened.
    trust: Option<(PathBuf, Vec<u8>)>,
}

impl Deref for Opened {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.device
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let (Some(path), Some(data)) = (&self.cache, self.device.pipeline_cache_data()) {
            write("pipeline cache", path, &data, &self.known);
        }
        if let Some((path, known)) = &self.trust {
            write("findings", path, &trust_data(), known);
        }
    }
}

/// Puts `data` at `path` unless that is what is known to be there.
fn write(what: &str, path: &Path, data: &[u8], known: &[u8]) {
    if data == known {
        return;
    }
    match keep(path, data) {
        Ok(()) => log::debug!("{what} {}: {} bytes written", path.display(), data.len()),
        Err(why) => log::debug!("{what} {}: not written, {why}", path.display()),
    }
}

/// Takes what earlier runs have found of adapters. Where that is kept, and what is known now.
fn recall() -> Option<(PathBuf, Vec<u8>)> {
    let path = folder()?.join(TRUST);
    if let Some(data) = read("findings", &path)
        && let Err(why) = recall_trust(&data)
    {
        log::debug!("findings {}: not taken, {why}", path.display());
        // It is written anew.
        return Some((path, Vec::new()));
    }
    Some((path, trust_data()))
}

/// Keeps what an examination has found of an adapter in place of what earlier runs have found of it: trouble that was there
/// once and is not there now is forgotten.
pub fn keep_findings() {
    let Some(path) = folder().map(|folder| folder.join(TRUST)) else { return };
    let known = read("findings", &path).unwrap_or_default();
    let adapters = |data: &[u8]| serde_json::from_slice::<Map<String, Value>>(data).unwrap_or_default();
    let mut all = adapters(&known);
    all.extend(adapters(&trust_data()));
    match serde_json::to_vec_pretty(&all) {
        Ok(data) => write("findings", &path, &data, &known),
        Err(why) => log::debug!("findings {}: not written, {why}", path.display()),
    }
}

/// Which device a command runs on: `--device` or `--adapter`. `CPU`: without either it is the CPU executor.
#[derive(clap::Args)]
pub struct Choice<const CPU: bool = false> {
    /// Device: auto (a hardware GPU, else the CPU), gpu, software or cpu.
    #[arg(long, default_value = if CPU { "cpu" } else { "auto" })]
    device: DeviceKind,
    /// Run on this adapter, instead of --device: its number in `wgpu-rnn adapters`, or words of its name or backend.
    #[arg(long, value_name = "N|NAME", conflicts_with = "device")]
    adapter: Option<String>,
}

impl<const CPU: bool> Choice<CPU> {
    /// Opens the device.
    pub fn open(&self) -> anyhow::Result<Opened> {
        // First: opening a GPU may have it checked.
        let trust = recall();
        Opened::new(self.bare()?, trust)
    }

    /// Opens the device alone, with nothing that earlier runs left.
    fn bare(&self) -> wgpu_rnn::Result<Device> {
        pollster::block_on(async {
            match &self.adapter {
                Some(wanted) => Device::open_adapter(&gpu::adapter(wanted).await?).await,
                None => Device::open(self.device).await,
            }
        })
    }

    /// Opens the device alone to examine it: where nothing was asked for a hardware GPU, whatever is known of it, if there
    /// is one.
    pub fn examined(&self) -> wgpu_rnn::Result<Device> {
        if self.adapter.is_none() && self.device == DeviceKind::Auto {
            match pollster::block_on(Device::open(DeviceKind::Gpu)) {
                Err(Error::NoDevice { .. }) => {}
                opened => return opened,
            }
        }
        self.bare()
    }

    /// Opens the device, and says which and why.
    pub fn begin(&self) -> anyhow::Result<Opened> {
        let device = self.open()?;
        super::say(format_args!("device: {}", describe(&device)))?;
        Ok(device)
    }

    /// Whether a GPU, or an adapter, was asked for by name.
    pub fn wants_gpu(&self) -> bool {
        self.adapter.is_some() || matches!(self.device, DeviceKind::Gpu | DeviceKind::Software)
    }
}

impl Opened {
    fn new(device: Device, trust: Option<(PathBuf, Vec<u8>)>) -> anyhow::Result<Self> {
        let key = device.gpu().and_then(|gpu| wgpu::util::pipeline_cache_key(gpu.info()));
        let cache = key.zip(folder()).map(|(key, folder)| folder.join(key));
        let known = cache.as_deref().and_then(|path| read("pipeline cache", path));
        let device = match &known {
            // SAFETY: only this command writes these files, into a folder that is the user's own.
            Some(known) => unsafe { device.with_pipeline_cache_data(known)? },
            None => device,
        };
        super::tuning::load(&device);
        Ok(Self { device, cache, known: known.unwrap_or_default(), trust })
    }
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

fn read(what: &str, path: &Path) -> Option<Vec<u8>> {
    let read = || match fs::metadata(path)?.len() {
        ..=LARGEST => fs::read(path),
        size => Err(std::io::Error::other(format!("{size} bytes are too many"))),
    };
    match read() {
        Ok(data) => Some(data),
        Err(why) => {
            log::debug!("{what} {}: not read, {why}", path.display());
            None
        }
    }
}

/// Puts `data` at `path` in one step. The file stays private to the user.
pub(super) fn keep(path: &Path, data: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(data)?;
    file.persist(path)?;
    Ok(())
}
