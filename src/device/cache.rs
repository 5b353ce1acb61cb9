//! Compiled kernels kept from one run of an app to the next. This crate touches no files: it takes and gives bytes.

use super::open::Device;
use crate::error::{Error, Result};

impl Device {
    /// Compiles kernels into `cache`, which belongs to this device and which the app keeps itself. An error on the CPU
    /// executor, and once a kernel has been compiled.
    pub fn with_pipeline_cache(self, cache: wgpu::PipelineCache) -> Result<Self> {
        let gpu = self.gpu().ok_or_else(|| Error::WrongDevice {
            what: "the pipeline cache".to_string(),
            expected: self.name(),
            got: "a wgpu device".to_string(),
        })?;
        gpu.use_pipeline_cache(cache)?;
        Ok(self)
    }

    /// Compiles kernels into a cache that begins with `data`. Starts with an empty one where `data` was damaged, or comes
    /// from another adapter, driver or version; does nothing on the CPU executor and where the device has no
    /// `PIPELINE_CACHE` (only Vulkan has). An error once a kernel has been compiled.
    ///
    /// # Safety
    ///
    /// `data` came from [`pipeline_cache_data`](Self::pipeline_cache_data), and nobody changed it with intent since: the
    /// driver runs what is in it. Accidental damage is noticed by a checksum.
    pub unsafe fn with_pipeline_cache_data(self, data: &[u8]) -> Result<Self> {
        if let Some(gpu) = self.gpu() {
            // SAFETY: the caller's promise is the same.
            unsafe { gpu.load_pipeline_cache(data)? };
        }
        Ok(self)
    }

    /// Everything compiled so far, the cache's first content included, for
    /// [`with_pipeline_cache_data`](Self::with_pipeline_cache_data) in a later run. None on the CPU executor, where the
    /// device has no `PIPELINE_CACHE`, and before the first kernel is compiled. `wgpu::util::pipeline_cache_key` names a
    /// file to keep it in.
    pub fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        self.gpu()?.pipeline_cache_data()
    }
}
