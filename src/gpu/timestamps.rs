//! GPU time of one compute pass, from timestamps at its ends.

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
        if !gpu.capabilities().timestamps {
            return Err(Error::Unsupported { option: "GPU timing".to_string(), place: gpu.info().name.clone() });
        }
        let queries = gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("wgpu-rnn timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let resolved = gpu.allocate("timestamps", 16, wgpu::BufferUsages::QUERY_RESOLVE)?;
        Ok(Self { gpu: gpu.clone(), queries, resolved })
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
