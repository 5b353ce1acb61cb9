//! What gates and states do over a batch: where they are, how far they move, and whether they are stuck.

use super::values::{Place, Value, values};
use crate::cell::ValueKind;
use crate::device::{Buffer, Device, Recorder};
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::gemm::Matrix;
use crate::kernel::moments::{MOMENTS, Moments};
use crate::nn::rnn::Bound;
use crate::plan::Reserve;
use crate::recipe::Recipe;

/// Gathers what every unit of every layer does over all steps and sequences, padding left out, on the device. Its program
/// is recorded after forward and before backward, which overwrites what it reads.
pub struct Gates {
    device: Device,
    recipe: Recipe,
    hidden: usize,
    directions: usize,
    steps: usize,
    lengths: Buffer,
    /// Of each layer the moments of each block of columns, one after the other.
    layers: Vec<Buffer>,
    program: Program,
}

/// What one unit did. Shares are of all steps of all sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Mean.
    pub mean: f64,
    /// Standard deviation over steps and sequences.
    pub spread: f64,
    /// Mean of the natural logarithm, values below 1e-30 taken as that: of a gate that keeps a state, the logarithm of the
    /// share that it keeps of it a step, over many steps. Without a meaning for what may be negative.
    pub log_mean: f64,
    /// Share below −[`HIGH`](super::HIGH).
    pub near_minus_one: f64,
    /// Share within [`LOW`](super::LOW) of zero.
    pub near_zero: f64,
    /// Share above [`HIGH`](super::HIGH).
    pub near_one: f64,
}

/// What the units of one value did together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Mean over units.
    pub mean: f64,
    /// Standard deviation over units, steps and sequences.
    pub spread: f64,
    /// Share below −[`HIGH`](super::HIGH).
    pub near_minus_one: f64,
    /// Share within [`LOW`](super::LOW) of zero.
    pub near_zero: f64,
    /// Share above [`HIGH`](super::HIGH).
    pub near_one: f64,
    /// Units that are near zero at every step: gates that are never open, states that are dead.
    pub always_zero: usize,
    /// Units that are near one at every step: gates that are always open.
    pub always_one: usize,
    /// Units.
    pub units: usize,
}

/// What [`Gates`] found.
#[derive(Clone, Debug)]
pub struct Activity {
    recipe: Recipe,
    hidden: usize,
    directions: usize,
    /// Steps of all sequences together.
    rows: usize,
    layers: Vec<Vec<f64>>,
}

/// Blocks of columns, and how wide one is of a direction: all saved values, then h and c where they are not among them.
fn blocks(recipe: Recipe, hidden: usize) -> Vec<(Place, usize)> {
    let states = values(recipe).into_iter().map(|value| value.place).filter(|place| !matches!(place, Place::Slot(_)));
    let width = |place| match place {
        Place::Slot(_) => recipe.saved_width(hidden),
        Place::H => recipe.width(0, hidden),
        Place::C => recipe.width(1, hidden),
    };
    std::iter::once(Place::Slot(0)).chain(states).map(|place| (place, width(place))).collect()
}

impl Gates {
    /// For a binding whose plan keeps all values: for training, and without recomputation. Anything else is an error.
    pub fn new(bound: &Bound, reserve: &Reserve) -> Result<Self> {
        let (config, shape, device) = (*bound.rnn().config(), bound.rnn().shape(), bound.device());
        let (hidden, directions) = (config.hidden, config.directions());
        let blocks = blocks(config.recipe(), hidden);
        let columns: usize = blocks.iter().map(|(_, width)| directions * width).sum();
        let mut program = Program::default();
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let found = device.alloc("moments of gates and states", MOMENTS * columns)?;
            for kept in bound.rnn().kept(reserve, layer)? {
                let mut offset = 0;
                for &(place, width) in &blocks {
                    let columns = directions * width;
                    // The first slot of states holds those before the first step.
                    let (from, before) = match place {
                        Place::Slot(_) => (Some(&kept.saved), 0),
                        Place::H => (Some(&kept.h), shape.batch * columns),
                        Place::C => (kept.c.as_ref(), shape.batch * columns),
                    };
                    let Some(from) = from else { continue };
                    let moments = Moments {
                        steps: kept.steps.len(),
                        batch: shape.batch,
                        first_step: kept.steps.start,
                        columns,
                        lengths: bound.lengths().clone(),
                        values: Matrix { offset: before, ..Matrix::dense(from, columns) },
                        to: Matrix { offset, ..Matrix::dense(&found, columns) },
                        begins: kept.steps.start == 0,
                    };
                    program.push(moments.op(device)?);
                    offset += MOMENTS * columns;
                }
            }
            layers.push(found);
        }
        Ok(Self {
            device: device.clone(),
            recipe: config.recipe(),
            hidden,
            directions,
            steps: shape.steps,
            lengths: bound.lengths().clone(),
            layers,
            program,
        })
    }

    /// Records the gathering.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.program.record(recorder)
    }

    /// What the last gathering found.
    pub async fn download(&self) -> Result<Activity> {
        let lengths = self.device.download_u32(&self.lengths).await?;
        let rows = lengths.into_iter().map(|length| (length as usize).min(self.steps)).sum();
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            layers.push(self.device.download_f64(layer).await?);
        }
        Ok(Activity { recipe: self.recipe, hidden: self.hidden, directions: self.directions, rows, layers })
    }

    /// [`download`](Self::download), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self) -> Result<Activity> {
        pollster::block_on(self.download())
    }
}

impl Activity {
    /// The layer's recipe.
    pub(super) const fn recipe(&self) -> Recipe {
        self.recipe
    }

    /// The cell's values.
    pub fn values(&self) -> Vec<Value> {
        values(self.recipe)
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Directions of each.
    pub fn directions(&self) -> usize {
        self.directions
    }

    /// What each unit of a value did; empty where there is no such layer or direction.
    pub fn units(&self, layer: usize, direction: usize, value: Value) -> Vec<Unit> {
        let Some(found) = self.layers.get(layer).filter(|_| direction < self.directions && self.rows > 0) else {
            return Vec::new();
        };
        let mut offset = 0;
        for (place, width) in blocks(self.recipe, self.hidden) {
            let columns = self.directions * width;
            let slot = match (place, value.place) {
                (Place::Slot(_), Place::Slot(slot)) => Some(slot),
                (block, wanted) if block == wanted => Some(0),
                _ => None,
            };
            if let Some(slot) = slot {
                let first = direction * width + slot * self.hidden;
                let of = |moment: usize, unit| {
                    found.get(offset + moment * columns + first + unit).copied().unwrap_or(f64::NAN)
                };
                let units = if matches!(place, Place::Slot(_)) { self.hidden } else { width };
                return (0..units).map(|unit| self.unit(std::array::from_fn(|moment| of(moment, unit)))).collect();
            }
            offset += MOMENTS * columns;
        }
        Vec::new()
    }

    fn unit(&self, [first, sum, squares, low, zero, high, logs]: [f64; MOMENTS]) -> Unit {
        let rows = self.rows as f64;
        let distance = sum / rows;
        // A NaN stays one.
        let variance = squares / rows - distance * distance;
        let spread = if variance < 0.0 { 0.0 } else { variance.sqrt() };
        Unit {
            mean: first + distance,
            spread,
            log_mean: logs / rows,
            near_minus_one: low / rows,
            near_zero: zero / rows,
            near_one: high / rows,
        }
    }

    /// What the units of a value did together; none where there is no such layer or direction.
    pub fn summary(&self, layer: usize, direction: usize, value: Value) -> Option<Summary> {
        let units = self.units(layer, direction, value);
        let over = |of: &dyn Fn(&Unit) -> f64| units.iter().map(of).sum::<f64>() / units.len() as f64;
        let mean = over(&|unit| unit.mean);
        let variance = over(&|unit| unit.spread * unit.spread + (unit.mean - mean) * (unit.mean - mean));
        let always = |of: &dyn Fn(&Unit) -> f64| units.iter().filter(|unit| of(unit) >= 1.0).count();
        (!units.is_empty()).then(|| Summary {
            mean,
            spread: variance.sqrt(),
            near_minus_one: over(&|unit| unit.near_minus_one),
            near_zero: over(&|unit| unit.near_zero),
            near_one: over(&|unit| unit.near_one),
            always_zero: always(&|unit| unit.near_zero),
            always_one: always(&|unit| unit.near_one),
            units: units.len(),
        })
    }

    /// Of each unit the steps in which what it remembers by its gate alone falls to 1/e: `−1 / mean(ln k)` over the values k of
    /// the gate that keeps the state, f of an LSTM and z of a GRU, since what is kept over steps is their product. With zoneout
    /// of that state the gate is asked less often, and the mean logarithm is so much less. Infinite where
    /// that is always open; empty for a cell without such a gate, and where there is no such layer or direction.
    pub fn time_constants(&self, layer: usize, direction: usize) -> Vec<f64> {
        let keeps = self.values().into_iter().find(|value| value.kind == ValueKind::Keep);
        let units = keeps.map_or_else(Vec::new, |keeps| self.units(layer, direction, keeps));
        // What is not a number in the gate is none here.
        let asked = 1.0 - self.recipe.stays();
        let constant = |unit: &Unit| if unit.mean.is_nan() { f64::NAN } else { (asked * unit.log_mean).recip().abs() };
        units.iter().map(constant).collect()
    }
}
