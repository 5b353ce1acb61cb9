//! How a recurrent layer is run: which strategy, in which chunks of steps, with how much memory.

mod buffers;
mod memory;
mod purpose;
mod scan;
mod sequence;
mod split;
mod strategy;

pub use buffers::{ChunkBuffers, Reserve, Workspace};
pub use memory::{ChunkLens, Layout, Memory};
pub use purpose::{Mode, Purpose};
pub use split::{Cuts, PlannedChunk, bindable, granule, overlap, reversed, windows};
pub(crate) use strategy::repacks;
pub use strategy::{Choice, STRATEGIES, Strategy, Wanted, Why, choose};
