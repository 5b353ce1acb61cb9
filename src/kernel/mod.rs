//! Kernel families: each file holds a buffer table, the sizes it is called with, the GPU side and the CPU twin.

pub mod column_sum;
pub mod copy;
pub mod cross_entropy;
mod cuts;
pub mod embedding;
pub mod gemm;
pub mod moments;
pub mod norm;
mod op;
pub mod optimizer;
mod planned;
mod program;
pub mod recurrent;
pub mod regression;
pub mod rows;
pub mod scale;
pub mod total;
pub mod transpose;
pub mod variants;

pub use op::Op;
pub use planned::planned;
pub use program::{Part, Program};
