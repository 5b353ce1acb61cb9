//! The table of recurrent cells.
//!
//! A cell is one row here, its equations `docs/equations/<stem>.md`, one shader `shaders/cell/<file>.wgsl` and one CPU file
//! `src/cpu/cell/<file>.rs`, which cells that differ in a function share; no kernel, plan or strategy names one.
//! [`for_each_cell`] hands the rows to whoever needs one item a cell.
//!
//! An option that makes other equations of a cell is a *form* in the cell's row, named after its field of
//! [`StepOptions`](crate::StepOptions): with files of its own, and with what its row has in place of the cell's.

use std::str::FromStr;

use crate::error::{Error, Result};

/// Calls `$user!` with every row of the cell table.
macro_rules! for_each_cell {
    ($user:ident) => {
        $user! {
            /// Long short-term memory, gates i, f, g, o (PyTorch's `torch.nn.LSTM`).
            Lstm { stem: lstm, file: lstm, name: "lstm", title: "LSTM", gates: 4, saved: 4, hidden_slots: [0, 1, 2, 3], looks: [],
                states: ["h", "c"], values: [("i", Write), ("f", Keep), ("g", Squashed), ("o", Gate)] } forms []
            /// Gated recurrent unit, gates r, z, n, reset after the product (PyTorch's `torch.nn.GRU`). The fourth
            /// saved value is the recurrent part of n, which backward needs apart.
            Gru { stem: gru, file: gru, name: "gru", title: "GRU", gates: 3, saved: 4, hidden_slots: [0, 1, 3], looks: [],
                states: ["h"], values: [("r", Gate), ("z", Keep), ("n", Squashed), ("hn", Free)] }
                forms [reset_before: gru_reset_before { hidden_slots: [0, 1, 2], phases: [(2, H), (1, Saved(3))],
                    values: [("r", Gate), ("z", Keep), ("n", Squashed), ("rh", Free)] }]
            /// minGRU (Feng et al. 2024), gates z and n, which see the input alone: no product of a step reads h, there is no
            /// `weight_hh` and no `bias_hh`. Saved is f = 1 − z, what stays of h.
            MinGru { stem: min_gru, file: min_gru, name: "min_gru", title: "minGRU", gates: 2, saved: 2, hidden_slots: [], looks: [],
                states: ["h"], values: [("f", Keep), ("n", Squashed)] } forms []
            /// minLSTM (Feng et al. 2024), gates f, i and n, which see the input alone, as minGRU's. The fourth saved value is what
            /// stays of h, f / (f + i).
            MinLstm { stem: min_lstm, file: min_lstm, name: "min_lstm", title: "minLSTM", gates: 3, saved: 4, hidden_slots: [], looks: [],
                states: ["h"], values: [("f", Gate), ("i", Gate), ("n", Squashed), ("stays", Keep)] } forms []
            /// Simple recurrent unit (Lei et al. 2018), gates n, f, r and k, which see the input and, f and r, their own unit's
            /// cell state before the step: `weight_ch`. No product of a step reads a state. h is no state of its equations: it is
            /// what a step gives.
            Sru { stem: sru, file: sru, name: "sru", title: "SRU", gates: 4, saved: 4, hidden_slots: [], looks: [(1, 1), (2, 1)],
                states: ["h", "c"], values: [("n", Squashed), ("f", Keep), ("r", Gate), ("k", Free)] } forms []
            /// Independently recurrent network (Li et al. 2018): a unit sees its own h before the step alone, by `weight_hh [H]`,
            /// and the rectifier makes h. No product of a step reads h.
            IndRnn { stem: ind_rnn, file: ind_rnn, name: "ind_rnn", title: "IndRNN", gates: 1, saved: 1, hidden_slots: [], looks: [(0, 0)],
                states: ["h"], values: [("h", Free)] } forms []
            /// Elman network with tanh (PyTorch's `torch.nn.RNN`).
            RnnTanh { stem: rnn_tanh, file: rnn, name: "rnn_tanh", title: "RNN", gates: 1, saved: 1, hidden_slots: [0], looks: [],
                states: ["h"], values: [("h", Squashed)] } forms []
            /// Elman network with the rectifier (`torch.nn.RNN(nonlinearity="relu")`).
            RnnRelu { stem: rnn_relu, file: rnn, name: "rnn_relu", title: "RNN (relu)", gates: 1, saved: 1, hidden_slots: [0], looks: [],
                states: ["h"], values: [("h", Free)] } forms []
        }
    };
}
pub(crate) use for_each_cell;

/// A file of `docs/equations/`, for rustdoc.
macro_rules! equations {
    ($stem:ident) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/equations/", stringify!($stem), ".md"))
    };
}

pub(crate) use equations;

macro_rules! declare {
    ($($(#[$doc:meta])* $id:ident { stem: $stem:ident, file: $file:ident, name: $name:literal, title: $title:literal, gates: $gates:literal,
        saved: $saved:literal, hidden_slots: $slots:expr, looks: $looks:expr, states: $states:expr, values: $values:expr } forms $forms:tt)*) => {
        /// A recurrent cell. Each variant's documentation has its equations, forward and backward.
        ///
        #[doc = equations!(notation)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cell {
            $(
                $(#[$doc])*
                ///
                #[doc = equations!($stem)]
                $id,
            )*
        }

        impl Cell {
            /// Every cell, in table order.
            pub const ALL: &'static [Cell] = &[$(Cell::$id),*];

            /// This cell's row of the table.
            pub const fn row(self) -> &'static CellRow {
                match self {
                    $(Cell::$id => {
                        use ValueKind::*;
                        const VALUES: [(&str, ValueKind); $saved] = $values;
                        const STATES: &[&str] = &$states;
                        const SLOTS: &[usize] = &$slots;
                        const PHASES: &[(usize, Operand)] = &[($gates, Operand::H)];
                        const ROW: CellRow = CellRow { name: $name, title: $title, gates: $gates, saved: $saved,
                            hidden_slots: SLOTS, looks: &$looks,
                            phases: if SLOTS.is_empty() { &[] } else { PHASES }, states: STATES.len(), state_names: STATES,
                            values: &VALUES };
                        &ROW
                    })*
                }
            }
        }
    };
}
for_each_cell!(declare);

/// The most states that a cell has.
pub const MOST_STATES: usize = 2;

/// What the rest of the engine needs to know of a cell.
#[derive(Debug)]
pub struct CellRow {
    /// Name in files and on the command line.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Gates G: blocks of H rows in `weight_ih` and `weight_hh`.
    pub gates: usize,
    /// Values saved per unit and step for backward. Slots `0..gates` first hold the input projection, then the saved
    /// values, then (after backward) the gradients of the pre-activations on the input side.
    pub saved: usize,
    /// For each gate the slot that holds, after backward, the gradient of its pre-activation on the recurrent side; none where
    /// gates see no state.
    pub hidden_slots: &'static [usize],
    /// The products of a step with `weight_hh`, one after the other, if there are any: of how many gates each makes the recurrent
    /// parts, and what it reads.
    pub phases: &'static [(usize, Operand)],
    /// The gates that see a state of their own unit before the step, each by a weight of that unit: the gate's slot, and the
    /// state, 0 h and 1 c.
    pub looks: &'static [(usize, usize)],
    /// State vectors carried from step to step: 1 (h) or 2 (h and c).
    pub states: usize,
    /// Their names: first `h`, which is what a step gives and what the product with `weight_hh` reads.
    pub state_names: &'static [&'static str],
    /// Name and kind of the saved value in each slot, between forward and backward.
    pub values: &'static [(&'static str, ValueKind)],
}

/// What a product of a step multiplies rows of `weight_hh` with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// h before the step.
    H,
    /// The saved value in this slot, which an earlier phase has made. Backward leaves it as it is.
    Saved(usize),
}

/// What a saved value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// A sigmoid: 0 shut, 1 open.
    Gate,
    /// A sigmoid that the state before the step is multiplied by: 0 forgets it, 1 keeps it.
    Keep,
    /// A sigmoid that what is added to the state is multiplied by, where [`Keep`](Self::Keep) does not say that too.
    Write,
    /// A tanh, within −1..1.
    Squashed,
    /// Any number.
    Free,
    /// No value of the cell: a sum of powers of two, each of which says that something was clipped.
    Flags,
}

impl Cell {
    /// Gates G.
    pub const fn gates(self) -> usize {
        self.row().gates
    }

    /// Values saved per unit and step besides the states.
    pub const fn saved(self) -> usize {
        self.row().saved
    }

    /// Whether there is a cell state c beside h.
    pub const fn has_c(self) -> bool {
        match self.row().state_names {
            [_, second, ..] => matches!(second.as_bytes(), b"c"),
            _ => false,
        }
    }

    /// State vectors: 1 (h) or 2 (h and c).
    pub const fn states(self) -> usize {
        self.row().states
    }

    /// Names of the states, in the order in which every list of states has them: `h` first.
    pub const fn state_names(self) -> &'static [&'static str] {
        self.row().state_names
    }

    /// Floats kept per unit and step between forward and backward, saved values and states: LSTM 6, GRU 5, RNN 2.
    pub const fn reserve(self) -> usize {
        self.row().saved + self.row().states
    }

    /// Name and kind of the saved value in each slot.
    pub const fn values(self) -> &'static [(&'static str, ValueKind)] {
        self.row().values
    }

    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Name for people.
    pub const fn title(self) -> &'static str {
        self.row().title
    }
}

impl FromStr for Cell {
    type Err = Error;

    /// `lstm`, `gru`, `min_gru`, `min_lstm`, `sru`, `ind_rnn`, `rnn_tanh` (or `rnn`), `rnn_relu`; anything else is an
    /// [`Error::Invalid`] that lists them.
    fn from_str(text: &str) -> Result<Self> {
        let text = if text == "rnn" { "rnn_tanh" } else { text };
        let found = Self::ALL.iter().find(|cell| cell.name() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|cell| cell.name()).collect();
            Error::invalid("the cell", format!("one of rnn, {}", names.join(", ")), format!("`{text}`"))
        })
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_states_have_room_for_every_cell() {
        let most = Cell::ALL.iter().map(|cell| cell.state_names().len()).max();
        assert_eq!(most, Some(MOST_STATES));
        for cell in Cell::ALL {
            assert_eq!((cell.states(), cell.state_names().first()), (cell.state_names().len(), Some(&"h")), "{cell}");
            assert_eq!(cell.has_c(), cell.state_names().contains(&"c"), "{cell}");
        }
    }
}
