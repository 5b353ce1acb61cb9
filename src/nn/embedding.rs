//! [`Embedding`]: a row of a table for each token.

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::embedding::{gather, scatter, scratch_len};
use crate::nn::linear::check_tensors;
use crate::nn::params::Parameters;
use crate::plan::Mode;

/// `torch.nn.Embedding`: `weight [entries, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Embedding {
    /// Tokens there are.
    pub entries: usize,
    /// Width of y.
    pub width: usize,
}

impl Embedding {
    /// `entries` rows of `width`.
    pub const fn new(entries: usize, width: usize) -> Self {
        Self { entries, width }
    }

    /// Name and shape of its tensor, after `prefix`.
    pub fn parameters(&self, prefix: &str) -> Vec<(String, Vec<usize>)> {
        vec![(format!("{prefix}weight"), vec![self.entries, self.width])]
    }

    /// Bytes that [`backward`](Self::backward) allocates for `rows` tokens.
    pub fn workspace(&self, device: &Device, rows: usize, mode: Mode) -> u64 {
        match mode {
            Mode::Train => scratch_len(device, self.entries, rows) as u64 * 4,
            Mode::Infer => 0,
        }
    }

    /// Forward: `y [rows, width]` from `tokens [rows]`. Tokens are to be checked with
    /// [`check_tokens`](crate::kernel::embedding::check_tokens) before they are uploaded.
    pub fn bind(&self, params: &Parameters, prefix: &str, tokens: &Buffer, y: &Buffer) -> Result<Program> {
        check_tensors(params, &self.parameters(prefix))?;
        let weight = params.value(&format!("{prefix}weight"))?;
        let mut program = Program::default();
        program.push(gather(params.device(), [self.entries, self.width], &weight, tokens, y)?);
        Ok(program)
    }

    /// Backward: the gradient of the weight from `dy [rows, width]`, overwritten, or added to where `params`
    /// [accumulate](Parameters::accumulating).
    pub fn backward(&self, params: &Parameters, prefix: &str, tokens: &Buffer, dy: &Buffer) -> Result<Program> {
        check_tensors(params, &self.parameters(prefix))?;
        let dweight = params.gradient(&format!("{prefix}weight"))?;
        let mut program = Program::default();
        scatter(params.device(), [self.entries, self.width], tokens, dy, &dweight, params.accumulates(), &mut program)?;
        Ok(program)
    }
}
