//! Floats and u32 values between the host and [`Buffer`]s.

use half::f16;

use super::buffer::{Buffer, DType, Storage, expect_usage};
use super::open::Device;
use crate::error::{Error, Result};

impl Device {
    /// Writes all of `buffer`; an error when it is of another length, type or device. On a GPU the write lands before the next submit: never call it between recording and
    /// submitting.
    pub fn write(&self, buffer: &Buffer, values: &[f32]) -> Result<()> {
        buffer.check_floats("the written buffer", self, &[values.len()])?;
        if buffer.dtype == DType::Half {
            return self.write_half(buffer, values);
        }
        match &buffer.storage {
            Storage::F64(_) => buffer.write::<f64>()?.iter_mut().zip(values).for_each(|(to, &v)| *to = f64::from(v)),
            Storage::F32(_) => buffer.write::<f32>()?.copy_from_slice(values),
            _ => self.write_gpu(buffer, bytemuck::cast_slice(values))?,
        }
        Ok(())
    }

    /// [`write`](Self::write) from f64; rounds except on the oracle.
    pub fn write_f64(&self, buffer: &Buffer, values: &[f64]) -> Result<()> {
        if let Storage::F64(_) = &buffer.storage {
            buffer.check("the written buffer", self, &[values.len()], DType::Float)?;
            buffer.write::<f64>()?.copy_from_slice(values);
            return Ok(());
        }
        let rounded: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        self.write(buffer, &rounded)
    }

    /// Writes all of a u32 `buffer`; like [`write`](Self::write), never between recording and submitting.
    pub fn write_u32(&self, buffer: &Buffer, values: &[u32]) -> Result<()> {
        buffer.check("the written buffer", self, &[values.len()], DType::U32)?;
        match &buffer.storage {
            Storage::U32(_) => buffer.write::<u32>()?.copy_from_slice(values),
            _ => self.write_gpu(buffer, bytemuck::cast_slice(values))?,
        }
        Ok(())
    }

    /// Rounds to f16, to nearest. Copies come in whole words: a part of odd length can only be a buffer's last.
    fn write_half(&self, buffer: &Buffer, values: &[f32]) -> Result<()> {
        let mut rounded: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
        if rounded.len() % 2 == 1 {
            let end = buffer.lease().map_or(0, |(target, offset)| target.end() - offset);
            if buffer.offset % 2 == 1 || end > buffer.bytes() {
                let expected = "an even number of f16 values from an even one on, or all to the end";
                return Err(Error::invalid("the written buffer", expected, format!("{} of them", values.len())));
            }
            rounded.push(f16::ZERO);
        }
        self.write_gpu(buffer, bytemuck::cast_slice(&rounded))
    }

    fn write_gpu(&self, buffer: &Buffer, bytes: &[u8]) -> Result<()> {
        if let (Some(gpu), Some((target, offset))) = (self.gpu(), buffer.lease()) {
            expect_usage(target.buffer(), wgpu::BufferUsages::COPY_DST, "a written buffer")?;
            gpu.upload(target.buffer(), offset, bytes)?;
        }
        Ok(())
    }

    /// Reads a float buffer to the host, after everything submitted so far; an error when it is of another type or device.
    pub async fn download(&self, buffer: &Buffer) -> Result<Vec<f32>> {
        buffer.check_floats("the read buffer", self, &[buffer.len])?;
        match &buffer.storage {
            _ if buffer.dtype == DType::Half => {
                Ok(self.download_gpu::<f16>(buffer).await?.into_iter().map(f32::from).collect())
            }
            Storage::F64(_) => Ok(buffer.read::<f64>()?.iter().map(|&v| v as f32).collect()),
            Storage::F32(_) => Ok(buffer.read::<f32>()?.to_vec()),
            _ => self.download_gpu(buffer).await,
        }
    }

    /// [`download`](Self::download) without rounding on the oracle.
    pub async fn download_f64(&self, buffer: &Buffer) -> Result<Vec<f64>> {
        match &buffer.storage {
            Storage::F64(_) => Ok(buffer.read::<f64>()?.to_vec()),
            _ => Ok(self.download(buffer).await?.into_iter().map(f64::from).collect()),
        }
    }

    /// Reads a u32 buffer to the host.
    pub async fn download_u32(&self, buffer: &Buffer) -> Result<Vec<u32>> {
        buffer.check("the read buffer", self, &[buffer.len], DType::U32)?;
        match &buffer.storage {
            Storage::U32(_) => Ok(buffer.read::<u32>()?.to_vec()),
            _ => self.download_gpu(buffer).await,
        }
    }

    async fn download_gpu<E: bytemuck::Pod>(&self, buffer: &Buffer) -> Result<Vec<E>> {
        match (self.gpu(), buffer.lease()) {
            (Some(gpu), Some((source, offset))) if buffer.len > 0 => {
                expect_usage(source.buffer(), wgpu::BufferUsages::COPY_SRC, "a read buffer")?;
                if !offset.is_multiple_of(4) {
                    return Err(Error::invalid("the read buffer", "f16 values from an even one on", buffer.offset));
                }
                let bytes = gpu.download(source.buffer(), offset, buffer.bytes()).await?;
                let elements = bytes.chunks_exact(size_of::<E>()).map(bytemuck::pod_read_unaligned);
                Ok(elements.take(buffer.len).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// [`download`](Self::download), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, buffer: &Buffer) -> Result<Vec<f32>> {
        pollster::block_on(self.download(buffer))
    }

    /// [`download_u32`](Self::download_u32), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_u32(&self, buffer: &Buffer) -> Result<Vec<u32>> {
        pollster::block_on(self.download_u32(buffer))
    }

    /// [`download_f64`](Self::download_f64), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_f64(&self, buffer: &Buffer) -> Result<Vec<f64>> {
        pollster::block_on(self.download_f64(buffer))
    }
}
