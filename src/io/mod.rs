//! Files: safetensors with PyTorch's names, and the reference cases that check an installation.

mod case;
mod tensors;

pub use case::{Case, Check, GRADIENT_BOUND, OUTPUT_BOUND};
pub use tensors::{Tensor, TensorFile};
