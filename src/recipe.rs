//! [`Recipe`]: what a step of a recurrent layer is, its cell and options resolved once.
//!
//! Plans, kernels, the CPU executor, initialisers and probes ask the recipe: how many gates there are, what is saved, which
//! tensors a layer has. An option of a layer is told here and in the place that carries it out, and nowhere else.

mod activations;
mod looks;
mod name;
mod options;
mod phase;
mod sizes;
mod tensor;
mod varied;

pub(crate) use crate::cell::Operand;
pub use activations::Activations;
pub use options::{Bias, Clip, StepOptions, Zoneout};
use phase::runs;
pub use phase::{GateRun, Phase};
pub use tensor::Tensor;

use crate::activation::{Activation, Function, Number};
use crate::cell::{Cell, CellRow, ValueKind};
use crate::error::{Error, Result};

/// A cell and the options of its step. Small, so that whoever needs a part of it may have it all.
///
/// ```
/// use wgpu_rnn::{Bias, Cell, RnnConfig, Tensor};
/// let recipe = RnnConfig::new(Cell::Gru, 8, 16).bias(Bias::Input).recipe();
/// assert_eq!((recipe.gates(), recipe.saved(), recipe.states()), (3, 4, 1));
/// assert!(recipe.has(Tensor::BiasIh) && !recipe.has(Tensor::BiasHh));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    cell: Cell,
    bias: Bias,
    options: StepOptions,
    learns_state: bool,
    /// Whether they are [`StepOptions::NONE`]: asked for each row of a step.
    plain: bool,
}

impl From<Cell> for Recipe {
    /// The cell as PyTorch has it.
    fn from(cell: Cell) -> Self {
        Self::of(cell)
    }
}

impl Recipe {
    pub(crate) const fn new(cell: Cell, bias: Bias, options: StepOptions, learns_state: bool) -> Self {
        Self { cell, bias, options, learns_state, plain: options.is_none() }
    }

    /// The cell as PyTorch has it.
    pub(crate) const fn of(cell: Cell) -> Self {
        Self::new(cell, Bias::Both, StepOptions::NONE, false)
    }

    /// An error for what no step can be: an option that the cell has no use for, a limit that is none.
    pub fn check(self) -> Result<()> {
        let StepOptions {
            peephole,
            coupled,
            reset_before,
            projection,
            gate,
            output,
            candidate,
            clip,
            resets: _,
            zoneout,
            recurrent_dropout,
        } = self.options;
        let unless = |has: bool, asked: bool, option: &str, why: &str| match asked && !has {
            true => {
                Err(Error::Unsupported { option: option.to_string(), place: format!("{}, {why}", self.cell.title()) })
            }
            false => Ok(()),
        };
        let (has_c, lstm) = (self.cell.has_c(), self.cell == Cell::Lstm);
        let no_peephole = if has_c { "which has what it has of them" } else { "which has no cell state to look at" };
        unless(lstm, peephole, "a peephole", no_peephole)?;
        unless(lstm, coupled, "a coupled input gate", "which has no input gate beside a forget gate")?;
        unless(self.cell == Cell::Gru, reset_before, "`reset_before`", "which has no reset gate")?;
        let no_projection = if has_c { "whose products read the input alone" } else { "whose h is its own state" };
        unless(lstm, projection.is_some(), "a projection", no_projection)?;
        let whole = projection.is_none();
        unless(!whole, clip.projection.is_some(), "`clip_projection`", "whose h no projection makes")?;
        unless(whole, zoneout.h.is_some(), "`zoneout` with a projection", "whose h is then made of all units")?;
        if projection == Some(0) {
            return Err(Error::invalid("the size of the projection", "at least 1", 0));
        }
        unless(has_c, output.is_some(), "another output function", "whose h no function is applied to")?;
        unless(has_c, clip.cell.is_some(), "`clip_cell`", "which has no cell state")?;
        unless(has_c, clip.cell_as_read.is_some(), "`clip_cell_as_read`", "which has no cell state")?;
        unless(has_c, zoneout.c.is_some(), "`zoneout_cell`", "which has no cell state")?;
        unless(self.gates() > 1, gate.is_some(), "another gate function", "which has no gates")?;
        let divides = self.cell == Cell::MinLstm;
        unless(!divides, gate.is_some(), "another gate function", "whose gates are divided by their sum")?;
        let relu = self.cell == Cell::RnnRelu;
        unless(!relu, candidate.is_some(), "another function", "whose name says which it has: take the RNN")?;
        let product = self.has_product();
        unless(
            product,
            self.bias == Bias::Recurrent,
            "`bias_hh` alone",
            "whose steps have no product that it is added to",
        )?;
        unless(
            product,
            recurrent_dropout.is_some(),
            "`recurrent_dropout`",
            "whose steps have no product that reads h",
        )?;
        for (name, limit) in clip.all() {
            if let Some(limit) = limit.map(Number::get).filter(|limit| !(limit.is_finite() && *limit > 0.0)) {
                return Err(Error::invalid(name, "above 0 and finite", limit));
            }
        }
        let drops = [("recurrent_dropout", recurrent_dropout)];
        for (name, share) in zoneout.all().into_iter().chain(drops) {
            if let Some(share) = share.map(Number::get).filter(|share| !(*share > 0.0 && *share <= 1.0)) {
                return Err(Error::invalid(name, "above 0 and at most 1", share));
            }
        }
        Ok(())
    }

    /// Every recipe that tests and self-tests know: each cell as PyTorch has it, and options in such company that each
    /// occurs with and without each other, and every function somewhere.
    pub fn texts() -> impl Iterator<Item = Self> {
        let plain = Cell::ALL.iter().copied().map(Self::from);
        plain.chain(varied::VARIED.iter().map(|&(cell, options)| Self::new(cell, Bias::Both, options, false)))
    }

    /// The recipe that stands for all those whose kernels have the same text: numbers are not in it.
    pub(crate) const fn text(self) -> Self {
        const fn some(number: Option<Number>, value: f32) -> Option<Number> {
            match number {
                Some(_) => Some(Number::new(value)),
                None => None,
            }
        }
        const fn one(limit: Option<Number>) -> Option<Number> {
            some(limit, 1.0)
        }
        const fn own(activation: Option<Activation>) -> Option<Activation> {
            match activation {
                Some(activation) => Some(Activation::of(activation.function())),
                None => None,
            }
        }
        let StepOptions {
            peephole,
            coupled,
            reset_before,
            projection,
            gate,
            candidate,
            output,
            clip,
            resets,
            zoneout,
            recurrent_dropout,
        } = self.options;
        let Clip { inputs, cell, cell_as_read, gradient, projection: of_h } = clip;
        let clip = Clip {
            inputs: one(inputs),
            cell: one(cell),
            cell_as_read: one(cell_as_read),
            gradient: one(gradient),
            projection: one(of_h),
        };
        let options = StepOptions {
            peephole,
            coupled,
            reset_before,
            projection: match projection {
                Some(_) => Some(1),
                None => None,
            },
            gate: own(gate),
            candidate: own(candidate),
            output: own(output),
            clip,
            resets,
            zoneout: Zoneout { h: some(zoneout.h, 0.5), c: some(zoneout.c, 0.5) },
            recurrent_dropout: some(recurrent_dropout, 0.5),
        };
        Self { bias: Bias::Both, options, learns_state: false, ..self }
    }

    /// What is changed about the cell's step.
    pub const fn options(self) -> StepOptions {
        self.options
    }

    /// Whether nothing is changed about the cell's step.
    pub const fn is_plain(self) -> bool {
        self.plain
    }

    /// Whether its functions are those of the cell as PyTorch has it.
    pub const fn has_usual_functions(self) -> bool {
        let StepOptions { gate, candidate, output, .. } = self.options;
        !(gate.is_some() || candidate.is_some() || output.is_some())
    }

    /// The functions of the gates, of what is added to the state, and of the cell state on its way to h.
    pub const fn activations(self) -> Activations {
        let gate = match self.options.gate {
            Some(gate) => gate,
            None => Activation::SIGMOID,
        };
        let candidate = match (self.options.candidate, self.cell) {
            (Some(candidate), _) => candidate,
            (None, Cell::RnnRelu | Cell::IndRnn) => Activation::RELU,
            // What the input gives, as it is.
            (None, Cell::MinGru | Cell::MinLstm | Cell::Sru) => Activation::of(Function::Affine),
            (None, _) => Activation::TANH,
        };
        let output = match (self.options.output, self.cell) {
            (Some(output), _) => output,
            (None, Cell::Sru) => Activation::of(Function::Affine),
            (None, _) => Activation::TANH,
        };
        Activations { gate, candidate, output }
    }

    /// Whether sequences may begin anew within a batch.
    pub const fn resets(self) -> bool {
        self.options.resets
    }

    /// Whether something of the states before a step may stay.
    pub const fn zones(self) -> bool {
        self.options.zoneout.h.is_some() || self.options.zoneout.c.is_some()
    }

    /// The probability with which the state stays that a gate keeps, c of an LSTM and h of a GRU, whatever that gate says.
    pub fn stays(self) -> f64 {
        let Zoneout { h, c } = self.options.zoneout;
        let share = if self.has_c() { c } else { h };
        share.map_or(0.0, |share| f64::from(share.get()))
    }

    /// The slot whose value says, as a sum of powers of two, which gates' inputs were clipped, by slot, and whether the
    /// cell state was, one power above those; none where nothing of the kind can be.
    pub const fn clipped_slot(self) -> Option<usize> {
        if self.notes_clips() { Some(self.cell_saved() - 1) } else { None }
    }

    const fn notes_clips(self) -> bool {
        let clip = self.options.clip;
        clip.inputs.is_some() || clip.cell.is_some()
    }

    /// With zoneout of c, the slot of the cell state that the cell has made, whether or not it is the one that is left: the
    /// slot behind the cell's.
    pub const fn made_slot(self) -> Option<usize> {
        if self.options.zoneout.c.is_some() { Some(self.cell_saved()) } else { None }
    }

    /// The cell.
    pub const fn cell(self) -> Cell {
        self.cell
    }

    /// The row of the table of cells, or of its form that the options ask for.
    const fn row(self) -> &'static CellRow {
        phase::row(self.cell, &self.options)
    }

    /// The products of a step, one after the other. Between two of them the cell makes of the gates that are done what the next one
    /// reads.
    pub fn phases(self) -> impl DoubleEndedIterator<Item = Phase> + ExactSizeIterator {
        let (all, fewer) = (self.row().phases, usize::from(self.options.coupled));
        all.iter().enumerate().map(move |(index, &(gates, operand))| {
            // A coupled gate is the first.
            let first: usize = all.iter().take(index).map(|(gates, _)| gates).sum();
            Phase { gates: first.saturating_sub(fewer)..first + gates - fewer, operand }
        })
    }

    /// Whether a step has a product with `weight_hh`. Without, gates see the input and states of their own unit alone.
    pub const fn has_product(self) -> bool {
        !self.row().phases.is_empty()
    }

    /// Gates G: blocks of H rows in `weight_ih` and `weight_hh`.
    pub const fn gates(self) -> usize {
        self.row().gates - self.options.coupled as usize
    }

    /// Values saved per unit and step besides the states.
    pub const fn saved(self) -> usize {
        self.cell_saved() + self.made_slot().is_some() as usize + self.projection().is_some() as usize
    }

    /// Those of them that the cell saves.
    pub(crate) const fn cell_saved(self) -> usize {
        self.row().saved - self.options.coupled as usize + self.notes_clips() as usize
    }

    /// Name and kind of the saved value in each slot. A value whose function leaves the range of its kind is
    /// [`Free`](ValueKind::Free).
    pub fn values(self) -> Vec<(&'static str, ValueKind)> {
        let Activations { gate, candidate, .. } = self.activations();
        let kind = |kind: ValueKind| match kind {
            ValueKind::Gate | ValueKind::Keep | ValueKind::Write if !gate.is_gate() => ValueKind::Free,
            ValueKind::Squashed if !candidate.is_squashing() => ValueKind::Free,
            other => other,
        };
        let own = self.row().values.iter().skip(usize::from(self.options.coupled));
        let clipped = self.clipped_slot().map(|_| ("clipped", ValueKind::Flags));
        let made = self.made_slot().map(|_| ("c_made", ValueKind::Free));
        // What a cell saves as h is not what is left where the state before may stay.
        let name = |name: &'static str| if name == "h" && self.options.zoneout.h.is_some() { "h_made" } else { name };
        let projected = self.projected_slot().map(|_| ("m", kind_of_made(self)));
        own.map(|&(of, value)| (name(of), kind(value))).chain(clipped).chain(made).chain(projected).collect()
    }

    /// What h can be. Where some of the state before may stay it may be an initial one for ever, whatever that is.
    pub const fn kind_of_h(self) -> ValueKind {
        let stays = self.options.zoneout.h.is_some();
        if stays || self.projection().is_some() { ValueKind::Free } else { kind_of_made(self) }
    }

    /// Whether h is what a rectifier gives, as it is: where that is zero, so is its slope.
    pub(crate) const fn rectifies(self) -> bool {
        let function = self.activations().candidate.function();
        let rectifier = matches!(function, Function::Relu | Function::ThresholdedRelu);
        self.gates() == 1 && rectifier && self.options.zoneout.h.is_none()
    }

    /// For each gate the slot that holds, after backward, the gradient of its pre-activation on the recurrent side.
    pub const fn hidden_slots(self) -> &'static [usize] {
        let all = self.row().hidden_slots;
        // The gates of a coupled cell are those that are left, in its first slots.
        if self.has_product() { all.split_at(self.gates()).0 } else { all }
    }

    /// The gates by whose biases a unit keeps its state, and whether it keeps it the longer the larger they are.
    pub(crate) fn keepers(self) -> Vec<(usize, bool)> {
        match self.cell {
            // What is saved is what stays, not the gate.
            Cell::MinGru => vec![(0, false)],
            Cell::MinLstm => vec![(0, true), (1, false)],
            _ => {
                let kinds = self.values().into_iter().take(self.gates()).map(|(_, kind)| kind).enumerate();
                let keeper = |(gate, kind)| match kind {
                    ValueKind::Keep => Some((gate, true)),
                    ValueKind::Write => Some((gate, false)),
                    _ => None,
                };
                kinds.filter_map(keeper).collect()
            }
        }
    }

    /// State vectors: 1 (h) or 2 (h and c), [`MOST_STATES`](crate::MOST_STATES) at most.
    pub const fn states(self) -> usize {
        self.cell.states()
    }

    /// Names of the states, in the order in which every list of states has them. First h, which is what a step gives and
    /// what the product with `weight_hh` reads; then c, where there is one.
    pub const fn state_names(self) -> &'static [&'static str] {
        self.cell.state_names()
    }

    /// Which of the states has this name.
    pub(crate) fn state(self, name: &str) -> Option<usize> {
        self.state_names().iter().position(|of| *of == name)
    }

    /// Whether there is a cell state c beside h.
    pub const fn has_c(self) -> bool {
        self.cell.has_c()
    }

    /// Whether its layers have this tensor.
    pub const fn has(self, tensor: Tensor) -> bool {
        match tensor {
            Tensor::WeightIh => true,
            Tensor::WeightHh => self.has_product() || matches!(self.cell, Cell::IndRnn),
            Tensor::BiasIh => matches!(self.bias, Bias::Input | Bias::Both),
            Tensor::BiasHh => self.has_product() && matches!(self.bias, Bias::Recurrent | Bias::Both),
            Tensor::WeightHr => self.options.projection.is_some(),
            Tensor::WeightCh => self.options.peephole || matches!(self.cell, Cell::Sru),
            Tensor::H0 => self.learns_state,
            Tensor::C0 => self.learns_state && self.has_c(),
        }
    }

    /// Whether its layers learn their initial states.
    pub const fn learns_state(self) -> bool {
        self.learns_state
    }

    /// Whether its layers have a bias at all.
    pub const fn has_bias(self) -> bool {
        !matches!(self.bias, Bias::None)
    }

    /// Runs of gates on the input side.
    pub fn input_runs(self) -> Vec<GateRun> {
        runs((0..self.gates()).map(|gate| (gate, gate)))
    }

    /// Runs of gates on the recurrent side, each of one phase.
    pub fn hidden_runs(self) -> Vec<GateRun> {
        self.phases().flat_map(|phase| self.runs_of(&phase)).collect()
    }

    /// Those of a phase.
    pub fn runs_of(self, phase: &Phase) -> Vec<GateRun> {
        runs(phase.gates.clone().zip(self.hidden_slots()[phase.gates.clone()].iter().copied()))
    }
}

/// What a cell's h can be as the cell makes it.
const fn kind_of_made(recipe: Recipe) -> ValueKind {
    // What the input gives is in it as it is.
    if matches!(recipe.cell, Cell::Sru) {
        return ValueKind::Free;
    }
    let Activations { gate, candidate, output } = recipe.activations();
    let added = if recipe.has_c() { output } else { candidate };
    if (gate.is_gate() || recipe.gates() == 1) && added.is_squashing() { ValueKind::Squashed } else { ValueKind::Free }
}

#[cfg(test)]
mod tests;
