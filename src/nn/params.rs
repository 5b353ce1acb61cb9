//! [`Parameters`]: the one table of a model's tensors. It names them, sizes them, holds their values and gradients, and
//! is what optimisers, files and initialisers walk.
//!
//! All values lie in one buffer and all gradients in another, each tensor on a boundary that every device can bind, so
//! that an optimiser's step is one dispatch over everything. What lies between tensors is zero and stays zero.

use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::kernel::Program;
use crate::kernel::copy::no_sums;
use crate::kernel::gemm::Matrix;
use crate::plan::windows;

/// Elements between boundaries: 256 bytes of f32, the largest offset alignment that WebGPU allows.
const ALIGNMENT: usize = 64;

/// One tensor of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// PyTorch's name, such as `weight_ih_l0`, with the layer's name before it in a model: `rnn.weight_ih_l0`.
    pub name: String,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// Its first element in the value and gradient buffers.
    pub offset: usize,
}

impl Entry {
    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Named tensors on a device, with their gradients.
#[derive(Clone, Debug)]
pub struct Parameters {
    device: Device,
    entries: Vec<Entry>,
    values: Buffer,
    gradients: Buffer,
    accumulates: bool,
}

impl Parameters {
    /// Allocates zeroed tensors of the named shapes, in this order, with their gradients.
    pub fn new(device: &Device, tensors: impl IntoIterator<Item = (String, Vec<usize>)>) -> Result<Self> {
        Self::with(device, tensors, true)
    }

    /// Without gradients, for inference: half the memory. A plan for training can't be bound to them, nor an optimiser.
    pub fn frozen(device: &Device, tensors: impl IntoIterator<Item = (String, Vec<usize>)>) -> Result<Self> {
        Self::with(device, tensors, false)
    }

    fn with(device: &Device, tensors: impl IntoIterator<Item = (String, Vec<usize>)>, trained: bool) -> Result<Self> {
        let mut offset = 0usize;
        let mut entries: Vec<Entry> = Vec::new();
        for (name, shape) in tensors {
            if entries.iter().any(|entry| entry.name == name) {
                return Err(Error::invalid("parameter names", "distinct", format!("`{name}` twice")));
            }
            let entry = Entry { name, shape, offset };
            let len = entry.shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
            let end = len.and_then(|len| len.checked_next_multiple_of(ALIGNMENT)?.checked_add(offset));
            offset = end.ok_or_else(|| Error::invalid(&entry.name, "addressable", format!("{:?}", entry.shape)))?;
            entries.push(entry);
        }
        let gradients = if trained { offset } else { 0 };
        let what = if trained { "the parameters and their gradients" } else { "the parameters" };
        device.check_memory(what, (offset as u64).saturating_add(gradients as u64).saturating_mul(4))?;
        let values = device.alloc("parameters", offset)?;
        let gradients = device.alloc("gradients", gradients)?;
        Ok(Self { device: device.clone(), entries, values, gradients, accumulates: false })
    }

    /// The same tensors for backward programs that add to their gradients, where others overwrite them: several batches, one
    /// after another, then make one step of an optimiser. [`zero_gradients`](Self::zero_gradients) comes before the first.
    ///
    /// ```
    /// use wgpu_rnn::nn::{Linear, Parameters};
    /// use wgpu_rnn::Device;
    /// # fn main() -> wgpu_rnn::Result<()> {
    /// # let (device, linear) = (Device::cpu()?, Linear::new(3, 2));
    /// let parameters = Parameters::new(&device, linear.parameters("head."))?.accumulating();
    /// # let (x, dy) = (device.alloc("x", 12)?, device.alloc("dy", 8)?);
    /// let (zero, backward) = (parameters.zero_gradients()?, linear.backward(&parameters, "head.", 4, &x, &dy, None)?);
    /// device.run(|recorder| zero.record(recorder))?;
    /// for _ in 0..8 {
    ///     // New x and dy.
    ///     device.run(|recorder| backward.record(recorder))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`OptimizerConfig::batches`](crate::train::OptimizerConfig::batches) makes a step of their mean.
    pub fn accumulating(&self) -> Self {
        Self { accumulates: true, ..self.clone() }
    }

    /// Whether backward programs that are made with these add to gradients.
    pub fn accumulates(&self) -> bool {
        self.accumulates
    }

    /// What makes all gradients zero. Errors: [frozen](Self::frozen) parameters.
    pub fn zero_gradients(&self) -> Result<Program> {
        self.expect_gradients()?;
        let mut program = Program::default();
        let rows = self.gradients.len() / ALIGNMENT;
        for rows in windows(&self.device, rows, ALIGNMENT, self.gradients.element_bytes() as usize)? {
            let part = self.gradients.slice(rows.start * ALIGNMENT..rows.end * ALIGNMENT)?;
            program.push(no_sums(&self.device, rows.len(), ALIGNMENT, &Matrix::dense(&part, ALIGNMENT))?);
        }
        Ok(program)
    }

    /// The device they are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The table.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many numbers the tensors hold.
    pub fn count(&self) -> usize {
        self.entries.iter().map(Entry::len).sum()
    }

    /// All values, the gaps between tensors included.
    pub fn values(&self) -> &Buffer {
        &self.values
    }

    /// An error when they are [frozen](Self::frozen).
    pub(crate) fn expect_gradients(&self) -> Result<()> {
        if self.gradients.len() == self.values.len() {
            return Ok(());
        }
        Err(Error::invalid("the parameters to train", "those with gradients", "frozen ones"))
    }

    /// All gradients, laid out as the values; empty where they are [frozen](Self::frozen).
    pub fn gradients(&self) -> &Buffer {
        &self.gradients
    }

    /// The row of a tensor, or an error that lists what there is.
    pub fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| Error::Missing {
            name: name.to_string(),
            place: "the parameters".to_string(),
            found: self.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// A tensor's values; an error that lists the names there are when there is none.
    pub fn value(&self, name: &str) -> Result<Buffer> {
        let entry = self.entry(name)?;
        self.values.slice(entry.offset..entry.offset + entry.len())
    }

    /// A tensor's gradient; an error when there is none of the name, or the parameters are [frozen](Self::frozen).
    pub fn gradient(&self, name: &str) -> Result<Buffer> {
        self.expect_gradients()?;
        let entry = self.entry(name)?;
        self.gradients.slice(entry.offset..entry.offset + entry.len())
    }

    /// Sets a tensor's values; the shape must be the table's.
    pub fn set(&self, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
        self.expect(name, shape, values.len())?;
        self.device.write(&self.value(name)?, values)
    }

    /// [`set`](Self::set) from f64; rounds except on the oracle.
    pub fn set_f64(&self, name: &str, shape: &[usize], values: &[f64]) -> Result<()> {
        self.expect(name, shape, values.len())?;
        self.device.write_f64(&self.value(name)?, values)
    }

    fn expect(&self, name: &str, shape: &[usize], len: usize) -> Result<()> {
        let entry = self.entry(name)?;
        if entry.shape != shape || entry.len() != len {
            return Err(Error::shape(name, &entry.shape, shape));
        }
        Ok(())
    }
}
