//! The pipeline cache: what the driver made of kernels, as bytes that an app keeps from one run to the next.

use std::hash::{DefaultHasher, Hasher};

use super::border::Call;
use super::border::caught;
use super::context::Gpu;
use crate::error::{Error, Result};

/// Bytes of the checksum behind the driver's data.
const CHECKSUM: usize = 8;

impl Gpu {
    /// Compiles into `cache`, the app's own. An error once anything has been compiled.
    pub(crate) fn use_pipeline_cache(&self, cache: wgpu::PipelineCache) -> Result<()> {
        let mut pipelines = self.pipelines();
        if pipelines.cache.is_some() {
            let expected = "given once, before the first kernel is compiled";
            return Err(Error::invalid("the pipeline cache", expected, "one that came later"));
        }
        pipelines.cache = Some(Some(cache));
        Ok(())
    }

    /// Compiles into a cache that begins with `data`, or empty where that is damaged or of another adapter or driver;
    /// does nothing on an adapter without pipeline caches.
    ///
    /// # Safety
    ///
    /// As of [`Device::with_pipeline_cache_data`](crate::Device::with_pipeline_cache_data).
    pub(crate) unsafe fn load_pipeline_cache(&self, data: &[u8]) -> Result<()> {
        if !self.capabilities().pipeline_cache {
            return Ok(());
        }
        let known = checked(data);
        if known.is_none() {
            log::debug!("the pipeline cache of {} bytes is damaged; starting with an empty one", data.len());
        }
        // SAFETY: the caller's promise, and the checksum, which accidental damage does not keep.
        let loaded = known.and_then(|known| unsafe { self.create_pipeline_cache(Some(known)) });
        match loaded.or_else(|| self.empty_pipeline_cache()) {
            Some(cache) => self.use_pipeline_cache(cache),
            None => Ok(()),
        }
    }

    /// What has been compiled, for [`load_pipeline_cache`](Self::load_pipeline_cache); none without a cache.
    pub(crate) fn pipeline_cache_data(&self) -> Option<Vec<u8>> {
        let cache = self.pipelines().cache.clone().flatten()?;
        let mut data = caught(|| cache.get_data()).ok().flatten()?;
        data.extend(checksum(&data));
        Some(data)
    }

    /// The cache to compile with: the one given, else one of this device's own where the adapter has them.
    pub(super) fn pipeline_cache(&self) -> Option<wgpu::PipelineCache> {
        if let Some(cache) = &self.pipelines().cache {
            return cache.clone();
        }
        let own = self.capabilities().pipeline_cache.then(|| self.empty_pipeline_cache()).flatten();
        self.pipelines().cache.get_or_insert(own).clone()
    }

    fn empty_pipeline_cache(&self) -> Option<wgpu::PipelineCache> {
        // SAFETY: there is no data.
        unsafe { self.create_pipeline_cache(None) }
    }

    /// None, with the reason logged, where wgpu refuses.
    ///
    /// # Safety
    ///
    /// `data` is what wgpu gave of such a cache.
    unsafe fn create_pipeline_cache(&self, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("wgpu-rnn"), data, fallback: true };
        // SAFETY: the caller's.
        match self.call(Call::Make, || unsafe { self.device().create_pipeline_cache(&descriptor) }) {
            Ok(cache) => Some(cache),
            Err(why) => {
                log::debug!("no pipeline cache: {why}");
                None
            }
        }
    }
}

/// The data before its checksum, if that is right.
fn checked(data: &[u8]) -> Option<&[u8]> {
    let (data, sum) = data.split_at(data.len().checked_sub(CHECKSUM)?);
    (sum == checksum(data)).then_some(data)
}

/// The standard library's hash. It may change with a release of Rust, and a cache of before is then no longer read.
fn checksum(data: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    hasher.finish().to_le_bytes()
}
