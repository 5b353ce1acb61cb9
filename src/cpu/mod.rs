//! The native executor: threads, products, vector activations and the recurrence of one layer, over `f32` and `f64`.
//!
//! `f32` is the product, built to be fast; `f64` runs the same generic code and is the reference that every other
//! path is measured against. Nothing here knows of a GPU. Bottom up:
//!
//! - [`scalar`] and [`activation`]: the two element types, their sigmoid and tanh;
//! - [`simd`]: running a loop with the widest vectors that this processor has;
//! - [`gemm`]: large products on strided matrices; `panel`: products with a matrix packed once;
//! - [`threads`]: the pool, and the division of a batch into parts that need no synchronisation;
//! - [`cell`]: one step of one sequence, forward and backward, one file per cell;
//! - [`recurrent`]: all steps of one layer.

pub mod activation;
pub mod cell;
pub mod gemm;
pub(crate) mod lines;
pub(crate) mod panel;
pub(crate) mod random;
pub mod recurrent;
pub mod scalar;
pub mod simd;
pub mod threads;
