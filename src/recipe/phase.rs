//! The products of a step, and the forms of cells.

use std::ops::Range;

use super::StepOptions;
use crate::cell::{Cell, CellRow, Operand, ValueKind, for_each_cell};

/// A product of a step with rows of `weight_hh`: the recurrent parts of some gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The gates, whose blocks of H rows lie one after the other.
    pub gates: Range<usize>,
    /// What the rows are multiplied with.
    pub operand: Operand,
}

/// Neighbouring gates whose gradients lie in neighbouring slots, so that one product makes all their weight gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRun {
    /// The gates.
    pub gates: Range<usize>,
    /// The slot of the first one's gradient.
    pub slot: usize,
}

/// Runs of gates, each with its slot.
pub(super) fn runs(slots: impl Iterator<Item = (usize, usize)>) -> Vec<GateRun> {
    let mut runs: Vec<GateRun> = Vec::new();
    for (gate, slot) in slots {
        match runs.last_mut() {
            Some(run) if run.slot + run.gates.len() == slot => run.gates.end += 1,
            _ => runs.push(GateRun { gates: gate..gate + 1, slot }),
        }
    }
    runs
}

macro_rules! rows {
    ($($(#[$doc:meta])* $id:ident { $($rest:tt)* }
        forms [$($option:ident: $form:ident { hidden_slots: $slots:expr, phases: $phases:expr, values: $values:expr }),*])*) => {
        /// The row of a cell, or of its form that the options ask for.
        pub(super) const fn row(cell: Cell, options: &StepOptions) -> &'static CellRow {
            match cell {
                $($(Cell::$id if options.$option => {
                    use Operand::*;
                    use ValueKind::*;
                    const VALUES: &[(&str, ValueKind)] = &$values;
                    const ROW: CellRow = CellRow {
                        saved: VALUES.len(),
                        hidden_slots: &$slots,
                        phases: &$phases,
                        values: VALUES,
                        ..*Cell::$id.row()
                    };
                    &ROW
                })*)*
                cell => cell.row(),
            }
        }
    };
}
for_each_cell!(rows);
