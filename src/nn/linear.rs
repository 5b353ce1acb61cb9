//! [`Linear`]: `y = x·Wᵀ + b` on rows.

use crate::device::{Buffer, Device};
use crate::error::{Error, Result, at_least_one};
use crate::kernel::Program;
use crate::kernel::column_sum::{ColumnSum, PART, parts};
use crate::kernel::gemm::{self, Accumulate, Gemm, Matrix, Slices};
use crate::kernel::transpose::transpose;
use crate::nn::check;
use crate::nn::params::Parameters;
use crate::plan::Mode;

/// `torch.nn.Linear`: `weight [outputs, inputs]` and `bias [outputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Width of x.
    pub inputs: usize,
    /// Width of y.
    pub outputs: usize,
    /// Whether there is a bias.
    pub bias: bool,
}

impl Linear {
    /// With a bias.
    pub const fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, bias: true }
    }

    /// Names and shapes of its tensors, after `prefix`.
    pub fn parameters(&self, prefix: &str) -> Vec<(String, Vec<usize>)> {
        let mut all = vec![(format!("{prefix}weight"), vec![self.outputs, self.inputs])];
        if self.bias {
            all.push((format!("{prefix}bias"), vec![self.outputs]));
        }
        all
    }

    /// Bytes that [`bind`](Self::bind) and, to train, [`backward`](Self::backward) allocate for `rows` rows.
    pub fn workspace(&self, device: &Device, rows: usize, mode: Mode) -> u64 {
        let backward = if mode == Mode::Train { self.partial_sums(rows) + self.slices(device, rows) } else { 0 };
        (self.transposed(device) + backward) as u64 * device.float_bytes()
    }

    /// Elements of the weight's transposed copy, which a GPU needs for neighbouring loads.
    fn transposed(&self, device: &Device) -> usize {
        if device.gpu().is_some() { self.inputs * self.outputs } else { 0 }
    }

    /// Elements of the partial sums of the bias gradient.
    fn partial_sums(&self, rows: usize) -> usize {
        if self.bias { parts(rows, PART) * self.outputs } else { 0 }
    }

    /// Elements of the sums of slices of the weight gradient.
    fn slices(&self, device: &Device, rows: usize) -> usize {
        gemm::scratch_len(device, self.outputs, self.inputs, 1, rows, 1)
    }

    /// Forward: `y [rows, outputs]` from `x [rows, inputs]`.
    pub fn bind(&self, params: &Parameters, prefix: &str, rows: usize, x: &Buffer, y: &Buffer) -> Result<Program> {
        let device = params.device();
        check::products(device)?;
        let weight = self.weight(params, prefix, rows)?;
        x.check_floats("the linear layer's input", device, &[rows, self.inputs])?;
        y.check_floats("the linear layer's output", device, &[rows, self.outputs])?;
        let mut program = Program::default();
        let weight = Matrix::dense(&weight, self.inputs);
        let weight = match device.gpu() {
            None => weight.transposed(),
            Some(gpu) => {
                let copy = device.alloc("transposed weight", self.transposed(device))?;
                let copy = Matrix::dense(&copy, self.outputs);
                program.push(transpose(gpu, 1, self.outputs, self.inputs, &weight, &copy)?);
                copy
            }
        };
        let (x, y) = (Matrix::dense(x, self.inputs), Matrix::dense(y, self.outputs));
        let plain = Gemm::plain(rows, self.outputs, self.inputs, x, weight, y);
        let mut product = Gemm { granule: rows, ..plain };
        if self.bias {
            product.bias = Some(Matrix::dense(&params.value(&format!("{prefix}bias"))?, self.outputs));
        }
        product.add_to(device, &mut program)?;
        Ok(program)
    }

    /// Backward: `dW = dyᵀ·x`, `db = Σ dy` into the gradients of `params`, and `dx = dy·W` if it is asked for; all
    /// overwritten, but what `params` [accumulate](Parameters::accumulating).
    pub fn backward(
        &self,
        params: &Parameters,
        prefix: &str,
        rows: usize,
        x: &Buffer,
        dy: &Buffer,
        dx: Option<&Buffer>,
    ) -> Result<Program> {
        let device = params.device();
        let weight = self.weight(params, prefix, rows)?;
        x.check_floats("the linear layer's input", device, &[rows, self.inputs])?;
        dy.check_floats("the gradient of the linear layer's output", device, &[rows, self.outputs])?;
        let mut program = Program::default();
        let dy = Matrix::dense(dy, self.outputs);
        if let Some(dx) = dx {
            dx.check_floats("the gradient of the linear layer's input", device, &[rows, self.inputs])?;
            let (weight, dx) = (Matrix::dense(&weight, self.inputs), Matrix::dense(dx, self.inputs));
            let product = Gemm::plain(rows, self.inputs, self.outputs, dy.clone(), weight, dx);
            Gemm { granule: rows, ..product }.add_to(device, &mut program)?;
        }
        let dweight = Matrix::dense(&params.gradient(&format!("{prefix}weight"))?, self.inputs);
        let x = Matrix::dense(x, self.inputs);
        let product = Gemm::plain(self.outputs, self.inputs, rows, dy.clone().transposed(), x, dweight);
        let slices = match gemm::slice_rows(device, self.outputs, self.inputs, 1, 1) {
            None => None,
            Some(slice) => {
                let scratch = device.alloc("slices of the weight gradient", self.slices(device, rows))?;
                Some(Slices { rows: slice, scratch })
            }
        };
        let accumulate = if params.accumulates() { Accumulate::Before } else { Accumulate::No };
        Gemm { slices, accumulate, granule: rows, ..product }.add_to(device, &mut program)?;
        if self.bias {
            let dbias = Matrix::dense(&params.gradient(&format!("{prefix}bias"))?, self.outputs);
            let sums = Matrix::dense(&device.alloc("partial bias gradients", self.partial_sums(rows))?, self.outputs);
            program.push(ColumnSum::partial(rows, self.outputs, PART, dy, sums.clone()).op(device)?);
            program
                .push(ColumnSum::total(parts(rows, PART), self.outputs, sums, dbias, params.accumulates()).op(device)?);
        }
        Ok(program)
    }

    /// The weight, after a check of the sizes and of the table.
    fn weight(&self, params: &Parameters, prefix: &str, rows: usize) -> Result<Buffer> {
        at_least_one("the inputs of a linear layer", self.inputs)?;
        at_least_one("the outputs of a linear layer", self.outputs)?;
        at_least_one("the rows of a linear layer", rows)?;
        check_tensors(params, &self.parameters(prefix))?;
        params.value(&format!("{prefix}weight"))
    }
}

/// An error unless the table has these tensors, in these shapes.
pub(super) fn check_tensors(params: &Parameters, tensors: &[(String, Vec<usize>)]) -> Result<()> {
    tensors.iter().try_for_each(|(name, shape)| match params.entry(name)? {
        entry if entry.shape == *shape => Ok(()),
        entry => Err(Error::shape(name, shape, &entry.shape)),
    })
}
