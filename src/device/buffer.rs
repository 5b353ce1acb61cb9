//! [`Buffer`]: a range of device memory, and its way to and from the host.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::{MappedRwLockReadGuard, MappedRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::open::{Device, Executor, Precision};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Lease};

/// Element type of a [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// The device's float: f32, or f64 on the oracle.
    Float,
    /// u32: tokens, lengths, classes.
    U32,
}

/// A range of memory on a device. Clones and slices share the memory.
#[derive(Clone)]
pub struct Buffer {
    storage: Storage,
    offset: usize,
    len: usize,
    dtype: DType,
}

#[derive(Clone)]
pub(crate) enum Storage {
    Gpu(Arc<Lease>),
    F32(Arc<RwLock<Vec<f32>>>),
    F64(Arc<RwLock<Vec<f64>>>),
    U32(Arc<RwLock<Vec<u32>>>),
}

/// An element type that CPU buffers hold.
pub(crate) trait Element: bytemuck::Pod {
    const NAME: &'static str;
    fn of(storage: &Storage) -> Option<&RwLock<Vec<Self>>>;
}

macro_rules! element {
    ($type:ty, $variant:ident, $name:literal) => {
        impl Element for $type {
            const NAME: &'static str = $name;
            fn of(storage: &Storage) -> Option<&RwLock<Vec<Self>>> {
                match storage {
                    Storage::$variant(lock) => Some(lock),
                    _ => None,
                }
            }
        }
    };
}
element!(f32, F32, "f32 on the CPU");
element!(f64, F64, "f64 on the CPU");
element!(u32, U32, "u32 on the CPU");

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({:?}, {}..{} on {})", self.dtype, self.offset, self.offset + self.len, self.place())
    }
}

impl Buffer {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        let size = match self.storage {
            Storage::F64(_) => 8,
            _ => 4,
        };
        self.len as u64 * size
    }

    /// Bytes of the whole allocation behind this range, as the device made it; none for an empty one.
    pub fn allocated_bytes(&self) -> u64 {
        if self.is_empty() {
            return 0;
        }
        match &self.storage {
            Storage::Gpu(lease) => lease.buffer().size(),
            Storage::F32(values) => (values.read_recursive().capacity() * 4) as u64,
            Storage::F64(values) => (values.read_recursive().capacity() * 8) as u64,
            Storage::U32(values) => (values.read_recursive().capacity() * 4) as u64,
        }
    }

    /// The wgpu buffer and this range's offset in bytes, if it is on a GPU. From now on this crate takes the buffer for
    /// the app's as well: its memory is not used again when the last clone is dropped.
    pub fn wgpu(&self) -> Option<(&wgpu::Buffer, u64)> {
        let (lease, offset) = self.lease()?;
        lease.escape();
        Some((lease.buffer(), offset))
    }

    /// What holds the wgpu buffer, and this range's offset in bytes, if it is on a GPU.
    pub(crate) fn lease(&self) -> Option<(&Arc<Lease>, u64)> {
        match &self.storage {
            Storage::Gpu(lease) => Some((lease, self.offset as u64 * 4)),
            _ => None,
        }
    }

    /// Elements `range` of this buffer, sharing its memory; an error when they reach beyond it. To be bound on a GPU a
    /// slice must start on the device's storage alignment, 64 elements by default.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || range.end > self.len {
            return Err(Error::invalid("a slice", format!("within 0..{}", self.len), format!("{range:?}")));
        }
        Ok(Self { offset: self.offset + range.start, len: range.len(), ..self.clone() })
    }

    /// Adopts `elements` f32 (or u32) values of an app's own buffer, from `offset` bytes on. The buffer needs
    /// `STORAGE` usage (and `COPY_SRC`, `COPY_DST` where it is read or written through this crate); the offset must
    /// keep the device's storage alignment.
    pub fn from_wgpu(
        device: &Device,
        buffer: &wgpu::Buffer,
        offset: u64,
        elements: usize,
        dtype: DType,
    ) -> Result<Self> {
        let gpu = device.gpu().ok_or_else(|| Error::WrongDevice {
            what: "the app's buffer".to_string(),
            expected: device.name(),
            got: "a wgpu device".to_string(),
        })?;
        expect_usage(buffer, wgpu::BufferUsages::STORAGE, "the app's buffer")?;
        let alignment = u64::from(gpu.capabilities().offset_alignment);
        if !offset.is_multiple_of(alignment) {
            return Err(Error::invalid("the offset of the app's buffer", format!("a multiple of {alignment}"), offset));
        }
        let needed = (elements as u64).saturating_mul(4).saturating_add(offset);
        if needed > buffer.size() {
            let expected = format!("at least {needed} bytes");
            return Err(Error::invalid("the app's buffer", expected, format!("{} bytes", buffer.size())));
        }
        Ok(Self {
            storage: Storage::Gpu(Lease::adopted(gpu, buffer)),
            offset: (offset / 4) as usize,
            len: elements,
            dtype,
        })
    }

    fn place(&self) -> &'static str {
        match self.storage {
            Storage::Gpu(_) => "a GPU",
            Storage::F32(_) => f32::NAME,
            Storage::F64(_) => f64::NAME,
            Storage::U32(_) => u32::NAME,
        }
    }

    fn lock<E: Element>(&self) -> Result<&RwLock<Vec<E>>> {
        E::of(&self.storage).ok_or_else(|| Error::WrongDevice {
            what: "a buffer".to_string(),
            expected: E::NAME.to_string(),
            got: self.place().to_string(),
        })
    }

    /// The elements, for a CPU kernel. Reads may overlap; a write of the same storage may not.
    pub(crate) fn read<E: Element>(&self) -> Result<MappedRwLockReadGuard<'_, [E]>> {
        let range = self.offset..self.offset + self.len;
        Ok(RwLockReadGuard::map(self.lock::<E>()?.read_recursive(), |all| &all[range]))
    }

    /// The elements, for a CPU kernel to write.
    pub(crate) fn write<E: Element>(&self) -> Result<MappedRwLockWriteGuard<'_, [E]>> {
        let range = self.offset..self.offset + self.len;
        Ok(RwLockWriteGuard::map(self.lock::<E>()?.write(), |all| &mut all[range]))
    }

    /// Whether both lie in one allocation.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        match (&self.storage, &other.storage) {
            (Storage::Gpu(a), Storage::Gpu(b)) => a.gpu().same(b.gpu()) && a.buffer() == b.buffer(),
            (Storage::F32(a), Storage::F32(b)) => Arc::ptr_eq(a, b),
            (Storage::F64(a), Storage::F64(b)) => Arc::ptr_eq(a, b),
            (Storage::U32(a), Storage::U32(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Whether an element belongs to both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.shares(other) && self.offset < other.offset + other.len && other.offset < self.offset + self.len
    }

    /// Whether this is memory of `device`, or of a clone of it.
    pub fn is_on(&self, device: &Device) -> bool {
        match (device.executor(), &self.storage) {
            (Executor::Gpu(gpu), Storage::Gpu(lease)) => gpu.same(lease.gpu()),
            (Executor::Cpu { .. }, Storage::U32(_)) => true,
            (Executor::Cpu { precision, .. }, Storage::F32(_)) => *precision == Precision::F32,
            (Executor::Cpu { precision, .. }, Storage::F64(_)) => *precision == Precision::F64,
            _ => false,
        }
    }

    /// An error unless this buffer is on `device` and has `elements` elements of `dtype`.
    pub(crate) fn check(&self, name: &str, device: &Device, shape: &[usize], dtype: DType) -> Result<()> {
        if !self.is_on(device) {
            return Err(Error::WrongDevice {
                what: format!("`{name}`"),
                expected: device.name(),
                got: self.place().to_string(),
            });
        }
        if self.dtype != dtype {
            let name_of = |dtype| if dtype == DType::Float { "float" } else { "u32" };
            return Err(Error::DType {
                name: name.to_string(),
                expected: name_of(dtype).to_string(),
                got: name_of(self.dtype).to_string(),
            });
        }
        if self.len != shape.iter().product::<usize>() {
            return Err(Error::shape(name, shape, &[self.len]));
        }
        Ok(())
    }
}

impl Device {
    /// Zeroed floats. An error when the device can't hold them.
    pub fn alloc(&self, label: &str, elements: usize) -> Result<Buffer> {
        let storage = match self.executor() {
            Executor::Gpu(gpu) => Storage::Gpu(self.alloc_gpu(gpu, label, elements)?),
            Executor::Cpu { precision: Precision::F32, .. } => Storage::F32(self.alloc_cpu(label, elements)?),
            Executor::Cpu { precision: Precision::F64, .. } => Storage::F64(self.alloc_cpu(label, elements)?),
        };
        Ok(Buffer { storage, offset: 0, len: elements, dtype: DType::Float })
    }

    /// Two small buffers to bind where a kernel declares one that a cell or call does not have.
    pub(crate) fn nothing(&self) -> Result<[Buffer; 2]> {
        let Some(gpu) = self.gpu() else {
            return Ok([self.alloc("nothing", 4)?, self.alloc("nothing", 4)?]);
        };
        let adopt = |buffer: &wgpu::Buffer| Buffer {
            storage: Storage::Gpu(Lease::adopted(gpu, buffer)),
            offset: 0,
            len: 4,
            dtype: DType::Float,
        };
        Ok(gpu.nothing().each_ref().map(adopt))
    }

    /// Zeroed u32 values.
    pub fn alloc_u32(&self, label: &str, elements: usize) -> Result<Buffer> {
        let storage = match self.executor() {
            Executor::Gpu(gpu) => Storage::Gpu(self.alloc_gpu(gpu, label, elements)?),
            Executor::Cpu { .. } => Storage::U32(self.alloc_cpu(label, elements)?),
        };
        Ok(Buffer { storage, offset: 0, len: elements, dtype: DType::U32 })
    }

    /// `values` as a new float buffer.
    pub fn upload(&self, label: &str, values: &[f32]) -> Result<Buffer> {
        let buffer = self.alloc(label, values.len())?;
        self.write(&buffer, values)?;
        Ok(buffer)
    }

    /// `values` as a new u32 buffer.
    pub fn upload_u32(&self, label: &str, values: &[u32]) -> Result<Buffer> {
        let buffer = self.alloc_u32(label, values.len())?;
        self.write_u32(&buffer, values)?;
        Ok(buffer)
    }

    fn alloc_gpu(&self, gpu: &Gpu, label: &str, elements: usize) -> Result<Arc<Lease>> {
        let bytes = (elements as u64).saturating_mul(4);
        self.check_memory(label, bytes)?;
        gpu.lease(label, bytes)
    }

    fn alloc_cpu<E: Element>(&self, label: &str, elements: usize) -> Result<Arc<RwLock<Vec<E>>>> {
        self.check_memory(label, (elements as u64).saturating_mul(size_of::<E>() as u64))?;
        let mut values = Vec::new();
        values.try_reserve_exact(elements).map_err(|_| Error::Limit {
            what: label.to_string(),
            needed: format!("{} bytes", elements.saturating_mul(size_of::<E>())),
            limit: "no more memory".to_string(),
            device: self.name(),
        })?;
        values.resize(elements, E::zeroed());
        Ok(Arc::new(RwLock::new(values)))
    }

    /// Writes all of `buffer`; an error when it is of another length, type or device. On a GPU the write lands before the next submit: never call it between recording and
    /// submitting.
    pub fn write(&self, buffer: &Buffer, values: &[f32]) -> Result<()> {
        buffer.check("the written buffer", self, &[values.len()], DType::Float)?;
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

    fn write_gpu(&self, buffer: &Buffer, bytes: &[u8]) -> Result<()> {
        if let (Some(gpu), Some((target, offset))) = (self.gpu(), buffer.lease()) {
            expect_usage(target.buffer(), wgpu::BufferUsages::COPY_DST, "a written buffer")?;
            gpu.upload(target.buffer(), offset, bytes);
        }
        Ok(())
    }

    /// Reads a float buffer to the host, after everything submitted so far; an error when it is of another type or device.
    pub async fn download(&self, buffer: &Buffer) -> Result<Vec<f32>> {
        buffer.check("the read buffer", self, &[buffer.len], DType::Float)?;
        match &buffer.storage {
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
                let bytes = gpu.download(source.buffer(), offset, buffer.bytes()).await?;
                Ok(bytes.chunks_exact(size_of::<E>()).map(bytemuck::pod_read_unaligned).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// [`download`](Self::download), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, buffer: &Buffer) -> Result<Vec<f32>> {
        pollster::block_on(self.download(buffer))
    }

    /// [`download_f64`](Self::download_f64), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_f64(&self, buffer: &Buffer) -> Result<Vec<f64>> {
        pollster::block_on(self.download_f64(buffer))
    }
}

/// An error when an app's buffer was not created for a use. Those made here are.
fn expect_usage(buffer: &wgpu::Buffer, needed: wgpu::BufferUsages, what: &str) -> Result<()> {
    if buffer.usage().contains(needed) {
        return Ok(());
    }
    Err(Error::invalid(what, format!("created with {needed:?} usage"), format!("{:?}", buffer.usage())))
}
