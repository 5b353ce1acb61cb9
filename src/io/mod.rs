//! Files: safetensors with PyTorch's names, checkpoints, and the reference cases that check an installation.

mod case;
#[cfg(not(target_arch = "wasm32"))]
mod checkpoint;
mod tensors;

pub use crate::nn::{GRADIENT_BOUND, OUTPUT_BOUND};
pub use case::{Case, Check};
#[cfg(not(target_arch = "wasm32"))]
pub use checkpoint::Checkpoint;
pub use tensors::{Tensor, TensorFile};
