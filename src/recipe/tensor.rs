//! The tensors of a layer.

/// The tensors of one layer and direction, in PyTorch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// `weight_ih [G·H, I]`.
    WeightIh,
    /// `weight_hh [G·H, H]`; with a projection `[G·H, P]`; of the IndRNN `[H]`.
    WeightHh,
    /// `bias_ih [G·H]`.
    BiasIh,
    /// `bias_hh [G·H]`.
    BiasHh,
    /// `weight_hr [P, H]`: what h is made by of what the cell makes, with a projection.
    WeightHr,
    /// `weight_ch [P·H]`: peepholes of the gates i, f and o, or of f and o where i and f are coupled; of the SRU's f and r.
    WeightCh,
    /// `h0 [H]`: a learnt initial h, of every sequence; with a projection `[P]`.
    H0,
    /// `c0 [H]`: a learnt initial c.
    C0,
}

impl Tensor {
    pub(super) const ALL: [Self; 8] = [
        Self::WeightIh,
        Self::WeightHh,
        Self::BiasIh,
        Self::BiasHh,
        Self::WeightHr,
        Self::WeightCh,
        Self::H0,
        Self::C0,
    ];
    /// Learnt initial states, in the order of states.
    pub(crate) const INITIAL: [Self; 2] = [Self::H0, Self::C0];

    /// How its name begins.
    pub const fn stem(self) -> &'static str {
        match self {
            Self::WeightIh => "weight_ih",
            Self::WeightHh => "weight_hh",
            Self::BiasIh => "bias_ih",
            Self::BiasHh => "bias_hh",
            Self::WeightHr => "weight_hr",
            Self::WeightCh => "weight_ch",
            Self::H0 => "h0",
            Self::C0 => "c0",
        }
    }
}
