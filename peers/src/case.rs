//! One layer with its weights and input, and the comparison of what two libraries made of it.

use anyhow::{Result, ensure};
use wgpu_rnn::nn::relative_error;
use wgpu_rnn::nn::rnn::tensors;
use wgpu_rnn::nn::{Init, Layer};
use wgpu_rnn::{Cell, RnnConfig};

use crate::shapes::{Mode, Shape};

/// A layer, its parameters in PyTorch's layout, and its input. The gradient of y is 1 everywhere: what is trained on is
/// the sum of the outputs.
pub struct Case {
    pub shape: Shape,
    pub cell: Cell,
    pub mode: Mode,
    /// `[T, B, I]`.
    pub x: Vec<f32>,
    /// `[G·H, I]`, gates i, f, g, o or r, z, n.
    pub weight_ih: Vec<f32>,
    /// `[G·H, H]`.
    pub weight_hh: Vec<f32>,
    /// `[G·H]`.
    pub bias_ih: Vec<f32>,
    /// `[G·H]`.
    pub bias_hh: Vec<f32>,
}

/// What a layer gave, in PyTorch's layout.
#[derive(Default)]
pub struct Results {
    /// `[T, B, H]`.
    pub y: Vec<f32>,
    /// Names and values of the gradients; none after a forward alone.
    pub gradients: Vec<(&'static str, Vec<f32>)>,
}

/// The gradients of training, in the order of [`Results::gradients`].
pub const GRADIENTS: [&str; 5] = ["x", "weight_ih", "weight_hh", "bias_ih", "bias_hh"];

/// Largest relative errors that count as the same numbers: of y, and of a gradient.
#[derive(Clone, Copy)]
pub struct Tolerance {
    pub output: f64,
    pub gradient: f64,
}

impl Case {
    /// Seeded weights as PyTorch draws them, and a bounded input.
    pub fn new(shape: &Shape, cell: Cell, mode: Mode) -> Result<Self> {
        let config = RnnConfig::new(cell, shape.input, shape.hidden);
        let mut values = Vec::new();
        for (name, sizes) in tensors(&config, "") {
            values.push(Init::new(0).tensor(Layer::Rnn(&config), "", &name, &sizes)?);
        }
        let Ok([weight_ih, weight_hh, bias_ih, bias_hh]) = <[Vec<f32>; 4]>::try_from(values) else {
            anyhow::bail!("a layer has four tensors")
        };
        let x = (0..shape.rows() * shape.input).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
        Ok(Self { shape: shape.clone(), cell, mode, x, weight_ih, weight_hh, bias_ih, bias_hh })
    }

    /// The layer's description.
    pub fn config(&self) -> RnnConfig {
        RnnConfig::new(self.cell, self.shape.input, self.shape.hidden)
    }

    /// The parameters by PyTorch's names.
    pub fn parameters(&self) -> [(&'static str, &[f32]); 4] {
        [
            ("weight_ih", &self.weight_ih),
            ("weight_hh", &self.weight_hh),
            ("bias_ih", &self.bias_ih),
            ("bias_hh", &self.bias_hh),
        ]
    }
}

impl Results {
    /// An error that names the first tensor that differs from `ours` by more than `tolerance`; else the largest error.
    pub fn check(&self, ours: &Self, tolerance: Tolerance) -> Result<f64> {
        let names = |results: &Self| results.gradients.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        ensure!(names(self) == names(ours), "gradients of {:?}, ours of {:?}", names(self), names(ours));
        let mut largest = check("y", &self.y, &ours.y, tolerance.output)?;
        for ((name, theirs), (_, ours)) in self.gradients.iter().zip(&ours.gradients) {
            largest = largest.max(check(&format!("the gradient of {name}"), theirs, ours, tolerance.gradient)?);
        }
        Ok(largest)
    }
}

fn check(what: &str, theirs: &[f32], ours: &[f32], bound: f64) -> Result<f64> {
    ensure!(theirs.len() == ours.len(), "{what} has {} values, ours {}", theirs.len(), ours.len());
    let [theirs, ours] = [theirs, ours].map(|values| values.iter().copied().map(f64::from).collect::<Vec<_>>());
    let error = relative_error(&theirs, &ours);
    ensure!(error <= bound, "{what} differs from ours by {error:.1e}, more than {bound:.0e}");
    Ok(error)
}

/// Swaps the first two axes of `[outer, inner, width]`.
pub fn swap(values: &[f32], outer: usize, inner: usize, width: usize) -> Vec<f32> {
    let mut swapped = Vec::with_capacity(values.len());
    for second in 0..inner {
        for first in 0..outer {
            let start = (first * inner + second) * width;
            swapped.extend_from_slice(&values[start..start + width]);
        }
    }
    swapped
}

/// Transposes `[rows, columns]`.
pub fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    swap(values, rows, columns, 1)
}
