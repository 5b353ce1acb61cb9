//! The tensors of a layer.

/// The tensors of one layer and direction, in PyTorch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// `weight_ih [G·H, I]`.
    WeightIh,
    /// `weight_hh [G·H, H]`.
    WeightHh,
    /// `bias_ih [G·H]`.
    BiasIh,
    /// `bias_hh [G·H]`.
    BiasHh,
    /// `weight_ch [P·H]`: peepholes of the gates i, f and o, or of f and o where i and f are coupled.
    WeightCh,
    /// `h0 [H]`: a learnt initial h, of every sequence.
    H0,
    /// `c0 [H]`: a learnt initial c.
    C0,
}

impl Tensor {
    pub(super) const ALL: [Self; 7] =
        [Self::WeightIh, Self::WeightHh, Self::BiasIh, Self::BiasHh, Self::WeightCh, Self::H0, Self::C0];
    /// Learnt initial states, in the order of states.
    pub(crate) const INITIAL: [Self; 2] = [Self::H0, Self::C0];

    /// How its name begins.
    pub const fn stem(self) -> &'static str {
        match self {
            Self::WeightIh => "weight_ih",
            Self::WeightHh => "weight_hh",
            Self::BiasIh => "bias_ih",
            Self::BiasHh => "bias_hh",
            Self::WeightCh => "weight_ch",
            Self::H0 => "h0",
            Self::C0 => "c0",
        }
    }
}
