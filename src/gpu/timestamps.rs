//! GPU time of compute passes, from timestamps at their ends: of one pass, or of many.

use super::border::Call;
use super::context::Gpu;
use crate::error::{Error, Result};

/// A pair of timestamps around a recorded pass; see [`Device::time`](crate::Device::time).
pub struct Timestamps {
    gpu: Gpu,
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
}

impl Timestamps {
    /// An error when the device was opened without `TIMESTAMP_QUERY`.
    pub fn new(gpu: &Gpu) -> Result<Self> {
        expect_timestamps(gpu)?;
        let resolved = gpu.allocate("timestamps", 16, wgpu::BufferUsages::QUERY_RESOLVE)?;
        Ok(Self { gpu: gpu.clone(), queries: queries(gpu, 2)?, resolved })
    }

    /// What a pass descriptor needs to write both ends.
    pub fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    /// Records the resolve, after the timed pass has ended.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
    }

    /// Milliseconds between both ends, once the encoder has been submitted.
    pub async fn milliseconds(&self) -> Result<f64> {
        let bytes = self.gpu.download(&self.resolved, 0, 16).await?;
        let ticks: Vec<u64> = bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        let elapsed = ticks[1].saturating_sub(ticks[0]) as f64;
        Ok(elapsed * f64::from(self.gpu.queue().get_timestamp_period()) * 1e-6)
    }
}

/// Timestamps at both ends of any number of passes, in as many query sets as they take.
pub(crate) struct PassTimes {
    gpu: Gpu,
    sets: Vec<wgpu::QuerySet>,
    passes: u32,
    resolved: Option<wgpu::Buffer>,
}

/// Passes of one query set.
const PASSES: u32 = wgpu::QUERY_SET_MAX_QUERIES / 2;

impl PassTimes {
    /// An error when the device was opened without `TIMESTAMP_QUERY`.
    pub(crate) fn new(gpu: &Gpu) -> Result<Self> {
        expect_timestamps(gpu)?;
        Ok(Self { gpu: gpu.clone(), sets: Vec::new(), passes: 0, resolved: None })
    }

    /// What the next pass's descriptor needs to write both ends.
    pub(crate) fn next(&mut self) -> Result<wgpu::ComputePassTimestampWrites<'_>> {
        let (set, first) = ((self.passes / PASSES) as usize, 2 * (self.passes % PASSES));
        if set == self.sets.len() {
            self.sets.push(queries(&self.gpu, 2 * PASSES)?);
        }
        self.passes += 1;
        Ok(wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[set],
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// Records the resolve of all passes, which this and earlier submits may have, into a new buffer.
    pub(crate) fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        let buffer = self.gpu.allocate("timestamps", u64::from(self.passes) * 16, wgpu::BufferUsages::QUERY_RESOLVE)?;
        for (index, set) in self.sets.iter().enumerate() {
            let first = index as u32 * PASSES;
            let passes = (self.passes - first).min(PASSES);
            encoder.resolve_query_set(set, 0..2 * passes, &buffer, u64::from(first) * 16);
        }
        self.resolved = Some(buffer);
        Ok(())
    }

    /// Start after the first pass's and duration of each pass, milliseconds, once the encoder has been submitted; of none
    /// where nothing was resolved.
    pub(crate) async fn read(&self) -> Result<Vec<[f64; 2]>> {
        let Some(resolved) = self.resolved.as_ref().filter(|_| self.passes > 0) else { return Ok(Vec::new()) };
        let bytes = self.gpu.download(resolved, 0, u64::from(self.passes) * 16).await?;
        let ticks: Vec<[u64; 2]> = bytes.chunks_exact(16).map(bytemuck::pod_read_unaligned).collect();
        let first = ticks.iter().map(|[start, _]| *start).min().unwrap_or(0);
        let tick_ms = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-6;
        let times = |&[start, end]: &[u64; 2]| [start - first, end.saturating_sub(start)].map(|n| n as f64 * tick_ms);
        Ok(ticks.iter().map(times).collect())
    }

    /// From the start of the first pass to the end of the last, milliseconds.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) async fn elapsed(&self) -> Result<f64> {
        Ok(self.read().await?.iter().map(|[start, duration]| start + duration).fold(0.0, f64::max))
    }
}

fn expect_timestamps(gpu: &Gpu) -> Result<()> {
    match gpu.capabilities().timestamps {
        true => Ok(()),
        false => {
            let option = "GPU timing (wgpu's feature TIMESTAMP_QUERY)".to_string();
            Err(Error::Unsupported { option, place: gpu.info().name.clone() })
        }
    }
}

fn queries(gpu: &Gpu, count: u32) -> Result<wgpu::QuerySet> {
    let descriptor =
        wgpu::QuerySetDescriptor { label: Some("wgpu-rnn timestamps"), ty: wgpu::QueryType::Timestamp, count };
    let made = gpu.call(Call::Make, || gpu.device().create_query_set(&descriptor));
    made.map_err(|trouble| gpu.failed("was making timestamps", trouble))
}
