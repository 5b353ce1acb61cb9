//! What a plan is for.

use crate::config::Precision;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Forward only.
    Infer,
    /// Forward and backward.
    Train,
}

/// What a plan is for, beside its layers and shape.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// Forward alone, or backward too.
    pub mode: Mode,
    /// How floats are stored that are not said to be f32.
    pub precision: Precision,
    /// Whether sequences have lengths of their own.
    pub lengths: bool,
    /// Whether weights are packed as they are needed.
    pub repacks: bool,
    /// Whether a GPU's weights stay packed from one forward to the next.
    pub packs_once: bool,
    /// Whether backward leaves the norms of gradients.
    pub flow: bool,
    /// Whether the caller's sequences have the batch as their first axis.
    pub batch_first: bool,
}
