//! How a recurrent layer is run: which strategy, in which chunks of steps, with how much memory.

mod memory;
mod purpose;
mod sequence;
mod split;
mod strategy;

pub use memory::{ChunkBuffers, Layout, Memory, Reserve, Workspace};
pub use purpose::{Mode, Purpose};
pub use split::{Cuts, Part, bindable, granule, overlap, reversed, windows};
pub(crate) use strategy::repacks;
pub use strategy::{Choice, STRATEGIES, Strategy, Wanted, Why, choose};
