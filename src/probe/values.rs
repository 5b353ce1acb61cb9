//! What a layer computes at every step: its saved values and its states, by name.

use crate::cell::ValueKind;
use crate::error::{Error, Result};
use crate::nn::rnn::Bound;
use crate::plan::Reserve;
use crate::recipe::Recipe;

/// Something that every unit has at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    /// `i`, `f`, `g`, `o`, `r`, `z`, `n`, `hn` (the recurrent part of GRU's n), `h` or `c`; with zoneout also `c_made`, the cell
    /// state that an LSTM's step makes, and `h_made`, the h that an RNN's step makes, whether or not they are left; with a
    /// projection `m`, what that makes h of.
    pub name: &'static str,
    /// What it can be.
    pub kind: ValueKind,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A slot of the saved values.
    Slot(usize),
    H,
    C,
}

/// The values of a recipe's step: those saved for backward in the order of their slots, then h, unless it is one of them, and
/// c. With other functions than PyTorch's a value is of another [kind](ValueKind): a gate whose function leaves 0..1 is no gate,
/// and keeps or writes nothing by itself.
pub fn values(recipe: impl Into<Recipe>) -> Vec<Value> {
    let recipe = recipe.into();
    let saved = recipe.values().into_iter().enumerate().filter(|(_, (_, kind))| *kind != ValueKind::Flags);
    let mut all: Vec<Value> =
        saved.map(|(slot, (name, kind))| Value { name, kind, place: Place::Slot(slot) }).collect();
    if all.iter().all(|value| value.name != "h") {
        all.push(Value { name: "h", kind: recipe.kind_of_h(), place: Place::H });
    }
    if recipe.has_c() {
        all.push(Value { name: "c", kind: ValueKind::Free, place: Place::C });
    }
    all
}

/// The values of one sequence in one direction of a layer, step by step.
#[derive(Clone, Debug)]
pub struct Values {
    hidden: usize,
    /// Elements of h, which are others with a projection.
    width: usize,
    /// Whether its steps go from the sequence's end.
    reversed: bool,
    /// Of each value that the cell has, `[steps, H]`, of a projected h `[steps, P]`.
    of: Vec<(Value, Vec<f64>)>,
}

impl Values {
    /// Those that the last forward left in `reserve`, in step order: read before backward, which overwrites some of them.
    /// An error where the plan does not keep them, and where there is no such layer, direction or sequence.
    pub async fn download(
        bound: &Bound,
        reserve: &Reserve,
        layer: usize,
        direction: usize,
        sequence: usize,
    ) -> Result<Self> {
        let (config, shape, device) = (*bound.rnn().config(), bound.rnn().shape(), bound.device());
        let (hidden, width, directions) = (config.hidden, config.width(0), config.directions());
        if direction >= directions {
            return Err(Error::invalid("the direction that is looked at", format!("below {directions}"), direction));
        }
        if sequence >= shape.batch {
            return Err(Error::invalid("the sequence that is looked at", format!("below {}", shape.batch), sequence));
        }
        let lengths = device.download_u32(bound.lengths()).await?;
        let length = lengths.get(sequence).map_or(0, |&length| length as usize);
        let saved_width = config.recipe().saved_width(hidden);
        let mut of: Vec<(Value, Vec<f64>)> = values(config.recipe()).into_iter().map(|v| (v, Vec::new())).collect();
        for kept in bound.rnn().kept(reserve, layer)? {
            let (saved, h) = (device.download_f64(&kept.saved).await?, device.download_f64(&kept.h).await?);
            let c = match &kept.c {
                Some(c) => device.download_f64(c).await?,
                None => Vec::new(),
            };
            for step in kept.steps.clone().filter(|&step| step < length) {
                let row = ((step - kept.steps.start) * shape.batch + sequence) * directions + direction;
                let after = row + shape.batch * directions;
                for (value, to) in &mut of {
                    let (from, first, len) = match value.place {
                        Place::Slot(slot) => (&saved, row * saved_width + slot * hidden, hidden),
                        Place::H => (&h, after * width, width),
                        Place::C => (&c, after * hidden, hidden),
                    };
                    to.extend_from_slice(from.get(first..first + len).unwrap_or_default());
                }
            }
        }
        Ok(Self { hidden, width, reversed: direction >= config.first_reversed(), of })
    }

    /// [`download`](Self::download), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(bound: &Bound, reserve: &Reserve, layer: usize, direction: usize, sequence: usize) -> Result<Self> {
        pollster::block_on(Self::download(bound, reserve, layer, direction, sequence))
    }

    /// The same with row t what was at time t: the rows of a direction that goes from the end turned round.
    #[must_use]
    pub fn in_time_order(self) -> Self {
        let Self { hidden, width, reversed, of } = self;
        if !reversed {
            return Self { hidden, width, reversed, of };
        }
        let turned = |(value, rows): (Value, Vec<f64>)| {
            let of_row = if value.place == Place::H { width } else { hidden };
            (value, rows.chunks_exact(of_row.max(1)).rev().flatten().copied().collect())
        };
        Self { hidden, width, reversed: false, of: of.into_iter().map(turned).collect() }
    }

    /// H.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Elements of a value at a step: H, of a projected h P.
    pub fn width(&self, value: Value) -> usize {
        if value.place == Place::H { self.width } else { self.hidden }
    }

    /// Every value and what it was, `[steps, H]`, of a projected h `[steps, P]`.
    pub fn all(&self) -> &[(Value, Vec<f64>)] {
        &self.of
    }
}
