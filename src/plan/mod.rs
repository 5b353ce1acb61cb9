//! How a recurrent layer is run: which strategy, in which chunks of steps, with how much memory.

mod memory;
mod sequence;
mod split;
mod strategy;

pub use memory::{ChunkBuffers, Layout, Memory, Mode, Purpose, Reserve, Workspace};
pub use split::{Cuts, Part, bindable, granule, overlap, reversed, windows};
pub(crate) use strategy::repacks;
pub use strategy::{Choice, STRATEGIES, Strategy, Wanted, Why, choose};
