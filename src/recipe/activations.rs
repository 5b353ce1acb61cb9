//! The functions of a step.

use crate::activation::Activation;

/// What the values of a step are put through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Activations {
    /// The gates.
    pub gate: Activation,
    /// What is added to the state.
    pub candidate: Activation,
    /// The cell state on its way to h.
    pub output: Activation,
}

impl Activations {
    /// Each, and what it is of.
    pub const fn by_role(self) -> [(&'static str, Activation); 3] {
        [("gate", self.gate), ("candidate", self.candidate), ("output", self.output)]
    }
}
