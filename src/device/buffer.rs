//! [`Buffer`]: a range of device memory, and its way to and from the host.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{MappedRwLockReadGuard, MappedRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::open::{Device, Executor, NativeFloat};
use crate::config::Precision;
use crate::cpu::lines::Lines;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, Lease};

/// Element type of a [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// The device's float: f32, or f64 on the oracle.
    Float,
    /// f16, on GPUs that have it; the host sees f32.
    Half,
    /// u32: tokens, lengths, classes.
    U32,
}

impl DType {
    /// For messages.
    const fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Half => "f16",
            Self::U32 => "u32",
        }
    }
}

/// A range of memory on a device. Clones and slices share the memory.
#[derive(Clone)]
pub struct Buffer {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) dtype: DType,
}

#[derive(Clone)]
pub(crate) enum Storage {
    Gpu(Arc<Lease>),
    F32(Arc<Native<f32>>),
    F64(Arc<Native<f64>>),
    U32(Arc<Native<u32>>),
}

/// Memory of the CPU executor.
pub(crate) struct Native<E> {
    values: RwLock<Lines<E>>,
    /// How often it has been taken to be written.
    writes: AtomicU64,
}

/// An element type that CPU buffers hold.
pub(crate) trait Element: bytemuck::Pod {
    const NAME: &'static str;
    fn of(storage: &Storage) -> Option<&Native<Self>>;
}

macro_rules! element {
    ($type:ty, $variant:ident, $name:literal) => {
        impl Element for $type {
            const NAME: &'static str = $name;
            fn of(storage: &Storage) -> Option<&Native<Self>> {
                match storage {
                    Storage::$variant(native) => Some(native),
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

    /// Bytes on the device, a multiple of 4.
    pub fn bytes(&self) -> u64 {
        (self.len as u64 * self.element_bytes()).next_multiple_of(4)
    }

    /// Bytes of an element.
    pub fn element_bytes(&self) -> u64 {
        match (&self.storage, self.dtype) {
            (Storage::F64(_), _) => 8,
            (_, DType::Half) => 2,
            _ => 4,
        }
    }

    /// Bytes of the whole allocation behind this range, as the device made it; none for an empty one.
    pub fn allocated_bytes(&self) -> u64 {
        if self.is_empty() {
            return 0;
        }
        match &self.storage {
            Storage::Gpu(lease) => lease.end() - lease.begin(),
            Storage::F32(native) => native.values.read_recursive().bytes() as u64,
            Storage::F64(native) => native.values.read_recursive().bytes() as u64,
            Storage::U32(native) => native.values.read_recursive().bytes() as u64,
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
            Storage::Gpu(lease) => Some((lease, lease.begin() + self.offset as u64 * self.element_bytes())),
            _ => None,
        }
    }

    /// Elements `range` of this buffer, sharing its memory; an error when they reach beyond it. To be bound on a GPU a
    /// slice must start on the device's storage alignment, 256 bytes by default.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || range.end > self.len {
            return Err(Error::invalid("a slice", format!("within 0..{}", self.len), format!("{range:?}")));
        }
        Ok(Self { offset: self.offset + range.start, len: range.len(), ..self.clone() })
    }

    /// Adopts `elements` f32 (or f16, or u32) values of an app's own buffer, from `offset` bytes on. The buffer needs
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
        gpu.alive("was adopting a buffer")?;
        expect_usage(buffer, wgpu::BufferUsages::STORAGE, "the app's buffer")?;
        let alignment = u64::from(gpu.capabilities().offset_alignment);
        if !offset.is_multiple_of(alignment) {
            return Err(Error::invalid("the offset of the app's buffer", format!("a multiple of {alignment}"), offset));
        }
        let size = if dtype == DType::Half { 2 } else { 4 };
        let needed = ((elements as u64).saturating_mul(size).saturating_add(3) & !3).saturating_add(offset);
        if needed > buffer.size() {
            let expected = format!("at least {needed} bytes");
            return Err(Error::invalid("the app's buffer", expected, format!("{} bytes", buffer.size())));
        }
        Ok(Self {
            storage: Storage::Gpu(Lease::adopted(gpu, buffer)),
            offset: (offset / size) as usize,
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

    fn native<E: Element>(&self) -> Result<&Native<E>> {
        E::of(&self.storage).ok_or_else(|| Error::WrongDevice {
            what: "a buffer".to_string(),
            expected: E::NAME.to_string(),
            got: self.place().to_string(),
        })
    }

    /// The elements, for a CPU kernel. Reads may overlap; a write of the same storage may not.
    pub(crate) fn read<E: Element>(&self) -> Result<MappedRwLockReadGuard<'_, [E]>> {
        let range = self.offset..self.offset + self.len;
        Ok(RwLockReadGuard::map(self.native::<E>()?.values.read_recursive(), |all| &all[range]))
    }

    /// The elements, for a CPU kernel to write.
    pub(crate) fn write<E: Element>(&self) -> Result<MappedRwLockWriteGuard<'_, [E]>> {
        let range = self.offset..self.offset + self.len;
        let native = self.native::<E>()?;
        let all = native.values.write();
        native.writes.fetch_add(1, Ordering::Relaxed);
        Ok(RwLockWriteGuard::map(all, |all| &mut all[range]))
    }

    /// A number that is another one after every [`write`](Self::write) to the allocation, for who holds a lock of it.
    pub(crate) fn writes<E: Element>(&self) -> Result<u64> {
        Ok(self.native::<E>()?.writes.load(Ordering::Relaxed))
    }

    /// The least range of their allocation that holds all of `parts`, and where each begins in it; none where they are not
    /// of one allocation and type.
    pub(crate) fn covering(parts: &[&Self]) -> Option<(Self, Vec<usize>)> {
        let (one, others) = parts.split_first()?;
        if others.iter().any(|other| !one.shares(other) || one.dtype != other.dtype) {
            return None;
        }
        let offset = parts.iter().map(|part| part.offset).min()?;
        let end = parts.iter().map(|part| part.offset + part.len).max()?;
        let firsts = parts.iter().map(|part| part.offset - offset).collect();
        Some((Self { offset, len: end - offset, ..(*one).clone() }, firsts))
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

    /// Whether both are the same elements of the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.shares(other) && (self.offset, self.len) == (other.offset, other.len)
    }

    /// Whether this is memory of `device`, or of a clone of it.
    pub fn is_on(&self, device: &Device) -> bool {
        match (device.executor(), &self.storage) {
            (Executor::Gpu(gpu), Storage::Gpu(lease)) => gpu.same(lease.gpu()),
            (Executor::Cpu { .. }, Storage::U32(_)) => true,
            (Executor::Cpu { precision, .. }, Storage::F32(_)) => *precision == NativeFloat::F32,
            (Executor::Cpu { precision, .. }, Storage::F64(_)) => *precision == NativeFloat::F64,
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
            let (expected, got) = (dtype.name().to_string(), self.dtype.name().to_string());
            return Err(Error::DType { name: name.to_string(), expected, got });
        }
        if self.len != shape.iter().product::<usize>() {
            return Err(Error::shape(name, shape, &[self.len]));
        }
        Ok(())
    }

    /// [`check`](Self::check) of floats that may be stored as f16.
    pub(crate) fn check_floats(&self, name: &str, device: &Device, shape: &[usize]) -> Result<()> {
        let dtype = if self.dtype == DType::Half { DType::Half } else { DType::Float };
        self.check(name, device, shape, dtype)
    }
}

/// Small buffers that a GPU's kernels bind where they declare one that a cell or call does not have. WebGPU forbids one
/// range behind two writable bindings, so a kernel takes another one of `written` for each.
pub(crate) struct Nothing {
    pub(crate) read: Buffer,
    pub(crate) written: [Buffer; Gpu::NOTHINGS as usize],
}

impl Nothing {
    pub(crate) fn of(gpu: &Gpu) -> Result<Self> {
        let [read, written] = gpu.nothing()?.each_ref().map(|buffer| Storage::Gpu(Lease::adopted(gpu, buffer)));
        let at = |storage: &Storage, offset| Buffer { storage: storage.clone(), offset, len: 4, dtype: DType::Float };
        let stride = Gpu::NOTHING_STRIDE as usize / 4;
        Ok(Self { read: at(&read, 0), written: std::array::from_fn(|index| at(&written, index * stride)) })
    }
}

impl Device {
    /// Zeroed floats. An error when the device can't hold them.
    pub fn alloc(&self, label: &str, elements: usize) -> Result<Buffer> {
        let storage = match self.executor() {
            Executor::Gpu(gpu) => Storage::Gpu(self.alloc_gpu(gpu, label, elements, 4)?),
            Executor::Cpu { precision: NativeFloat::F32, .. } => Storage::F32(self.alloc_cpu(label, elements)?),
            Executor::Cpu { precision: NativeFloat::F64, .. } => Storage::F64(self.alloc_cpu(label, elements)?),
        };
        Ok(Buffer { storage, offset: 0, len: elements, dtype: DType::Float })
    }

    /// Zeroed u32 values.
    pub fn alloc_u32(&self, label: &str, elements: usize) -> Result<Buffer> {
        let storage = match self.executor() {
            Executor::Gpu(gpu) => Storage::Gpu(self.alloc_gpu(gpu, label, elements, 4)?),
            Executor::Cpu { .. } => Storage::U32(self.alloc_cpu(label, elements)?),
        };
        Ok(Buffer { storage, offset: 0, len: elements, dtype: DType::U32 })
    }

    /// Zeroed f16 values; the host writes and reads them as f32. [`Error::Unsupported`] on a device without f16 (the CPU
    /// executor, GPUs without `SHADER_F16`).
    pub fn alloc_half(&self, label: &str, elements: usize) -> Result<Buffer> {
        self.expect(Precision::Half)?;
        let Some(gpu) = self.gpu() else { return self.alloc(label, elements) };
        let storage = Storage::Gpu(self.alloc_gpu(gpu, label, elements, 2)?);
        Ok(Buffer { storage, offset: 0, len: elements, dtype: DType::Half })
    }

    /// Zeroed floats as `precision` stores them: [`alloc`](Self::alloc) or [`alloc_half`](Self::alloc_half).
    pub fn alloc_as(&self, precision: Precision, label: &str, elements: usize) -> Result<Buffer> {
        match precision {
            Precision::Full => self.alloc(label, elements),
            Precision::Half => self.alloc_half(label, elements),
        }
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

    fn alloc_gpu(&self, gpu: &Gpu, label: &str, elements: usize, size: u64) -> Result<Arc<Lease>> {
        let bytes = (elements as u64).saturating_mul(size).saturating_add(3) & !3;
        self.check_memory(label, bytes)?;
        gpu.lease(label, bytes)
    }

    fn alloc_cpu<E: Element>(&self, label: &str, elements: usize) -> Result<Arc<Native<E>>> {
        self.check_memory(label, (elements as u64).saturating_mul(size_of::<E>() as u64))?;
        let values = RwLock::new(Lines::zeroed(label, elements)?);
        Ok(Arc::new(Native { values, writes: AtomicU64::new(0) }))
    }
}

/// An error when an app's buffer was not created for a use. Those made here are.
pub(super) fn expect_usage(buffer: &wgpu::Buffer, needed: wgpu::BufferUsages, what: &str) -> Result<()> {
    if buffer.usage().contains(needed) {
        return Ok(());
    }
    Err(Error::invalid(what, format!("created with {needed:?} usage"), format!("{:?}", buffer.usage())))
}
