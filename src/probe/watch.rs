//! Warnings while training: what goes wrong inside, once each, and what one would try.

use std::collections::BTreeMap;
use std::fmt;

use super::flow::{Flow, Reach, Verdict};
use super::gates::Activity;
use crate::cell::ValueKind;

/// A gate that is near an end of its range for this share of all units, steps and sequences is saturated.
pub const SATURATED: f64 = 0.9;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// Gradients of the state vanish on their way to the first step.
    Vanishing {
        /// What is left of them, as a share of those at the last.
        left: f64,
        /// Steps that they pass.
        steps: usize,
        /// Whether the cell has gates.
        gated: bool,
    },
    /// Gradients of the state grow beyond bounds on their way to the first step, or are not finite.
    Exploding {
        /// How many times they grow.
        grown: f64,
        /// Steps that they pass.
        steps: usize,
    },
    /// A gate or candidate is nearly always at an end of its range, where its gradient is zero.
    Saturated {
        /// Which.
        value: &'static str,
        /// The share of units, steps and sequences.
        share: f64,
    },
    /// Units without bounds whose state is near zero at every step of every sequence: rectifiers that are shut.
    Dead {
        /// How many.
        units: usize,
        /// Of so many.
        of: usize,
    },
    /// Units within −1..1 whose state is near zero at every step of every sequence.
    Idle {
        /// How many.
        units: usize,
        /// Of so many.
        of: usize,
    },
    /// A value that is not finite.
    NonFinite {
        /// Which.
        value: &'static str,
    },
}

/// Something that is wrong in one layer and direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warning {
    /// The training step.
    pub step: u64,
    /// The layer.
    pub layer: usize,
    /// The direction.
    pub direction: usize,
    /// What it is.
    pub trouble: Trouble,
}

/// Looks in a row that must find a trouble before it is said.
pub const LOOKS: u32 = 3;

/// What a look has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Remark {
    /// Something has been wrong for several looks.
    Warning(Warning),
    /// What was warned of is over.
    Over {
        /// The training step.
        step: u64,
        /// Of which layer and direction, and of what: a key as [`Watch::said`] has it.
        key: String,
    },
}

/// Looks at a training now and then. A trouble is said once, when [`LOOKS`] looks in a row have found it and learning suffers;
/// values that are not finite are said at once. What was said is withdrawn when a look no longer finds it.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    seen: BTreeMap<String, Looks>,
}

/// A trouble that the last look has found.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    looks: u32,
    said: bool,
}

/// What is wrong at this training step, by layer and direction; without a flow, of which a layer with
/// [`clip_gradient`](crate::Clip::gradient) or with a [projection](crate::StepOptions::projection) has none, of the values alone.
pub fn troubles(step: u64, flow: Option<&Flow>, activity: &Activity) -> Vec<Warning> {
    let mut found = Vec::new();
    for layer in 0..activity.layers() {
        for direction in 0..activity.directions() {
            let gated = activity.recipe().gates() > 1;
            let of_flow = flow.and_then(|flow| flow_trouble(flow.trace(layer, direction).state(), gated));
            let all = of_flow.into_iter().chain(gate_troubles(activity, layer, direction));
            found.extend(all.map(|trouble| Warning { step, layer, direction, trouble }));
        }
    }
    found
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// That this was seen before, as [`said`](Self::said) had it.
    pub fn resume(said: impl IntoIterator<Item = String>) -> Self {
        let seen = |text: String| match text.split_once('=') {
            Some((key, looks)) => (key.to_string(), Looks { looks: looks.parse().unwrap_or(0), said: false }),
            None => (text, Looks { looks: LOOKS, said: true }),
        };
        Self { seen: said.into_iter().map(seen).collect() }
    }

    /// What was said, and how many looks in a row have found what was not, for a checkpoint.
    pub fn said(&self) -> impl Iterator<Item = String> + '_ {
        self.seen.iter().map(|(key, seen)| if seen.said { key.clone() } else { format!("{key}={}", seen.looks) })
    }

    /// What is to be said at this training step, of what [`troubles`] finds. Learning `suffers` where errors no longer fall, or
    /// are no better than those of a simple answer.
    pub fn look(&mut self, step: u64, flow: Option<&Flow>, activity: &Activity, suffers: bool) -> Vec<Remark> {
        let found = troubles(step, flow, activity);
        let mut remarks = Vec::new();
        let keys: Vec<String> = found.iter().map(Warning::key).collect();
        self.seen.retain(|key, seen| {
            let still = keys.contains(key);
            if seen.said && !still {
                remarks.push(Remark::Over { step, key: key.clone() });
            }
            still
        });
        for (warning, key) in found.into_iter().zip(keys) {
            let seen = self.seen.entry(key).or_default();
            seen.looks = seen.looks.saturating_add(1);
            if !seen.said && (warning.trouble.is_urgent() || (seen.looks >= LOOKS && suffers)) {
                seen.said = true;
                remarks.push(Remark::Warning(warning));
            }
        }
        remarks
    }
}

fn flow_trouble(norms: &[f64], gated: bool) -> Option<Trouble> {
    let begin = norms.iter().position(|norm| *norm != 0.0)?;
    let steps = norms.len() - 1 - begin;
    let ratio = norms.last()? / norms[begin];
    match Reach::of(norms).verdict {
        Verdict::Steady | Verdict::Nothing => None,
        Verdict::Vanishing => Some(Trouble::Vanishing { left: ratio, steps, gated }),
        Verdict::Exploding => Some(Trouble::Exploding { grown: ratio, steps }),
    }
}

fn gate_troubles(activity: &Activity, layer: usize, direction: usize) -> Vec<Trouble> {
    let mut found = Vec::new();
    for value in activity.values() {
        let Some(all) = activity.summary(layer, direction, value) else { continue };
        if !(all.mean.is_finite() && all.spread.is_finite()) {
            found.push(Trouble::NonFinite { value: value.name });
            continue;
        }
        let ends = match value.kind {
            ValueKind::Gate | ValueKind::Keep | ValueKind::Write => all.near_zero + all.near_one,
            ValueKind::Squashed => all.near_minus_one + all.near_one,
            ValueKind::Free | ValueKind::Flags => 0.0,
        };
        if ends > SATURATED {
            found.push(Trouble::Saturated { value: value.name, share: ends });
        }
        let (units, of) = (all.always_zero, all.units);
        if value.name == "h" && units > 0 {
            // Only where a rectifier made it is there no gradient at zero.
            let dead = activity.recipe().rectifies();
            found.push(if dead { Trouble::Dead { units, of } } else { Trouble::Idle { units, of } });
        }
    }
    found
}

impl Trouble {
    /// What makes it the same as another.
    fn key(&self) -> &'static str {
        match self {
            Self::Vanishing { .. } => "vanishing",
            Self::Exploding { .. } => "exploding",
            Self::Saturated { value, .. } => value,
            Self::Dead { .. } => "dead",
            Self::Idle { .. } => "idle",
            Self::NonFinite { .. } => "not finite",
        }
    }

    /// Whether nothing can be learnt any more.
    fn is_urgent(&self) -> bool {
        match self {
            Self::NonFinite { .. } => true,
            Self::Exploding { grown, .. } => !grown.is_finite(),
            _ => false,
        }
    }

    /// What one would try.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Vanishing { gated: false, .. } => {
                "what is further back can't be learnt: try an LSTM or a GRU, shorter sequences, or a loss at every step"
            }
            Self::Vanishing { gated: true, .. } => {
                "what is further back can't be learnt: try a larger bias of the gate that keeps the state, shorter sequences, \
                 or a loss at every step"
            }
            Self::Exploding { .. } => {
                "try a smaller learning rate, a smaller clip norm, or orthogonal recurrent weights"
            }
            Self::Saturated { .. } => {
                "its gradient is nearly zero there: try a smaller learning rate, smaller initial weights, or inputs that are \
                 standardised"
            }
            Self::Dead { .. } => {
                "they learn nothing: try other initial weights, a smaller learning rate, or fewer units"
            }
            Self::Idle { .. } => "their output hardly matters: try fewer units",
            Self::NonFinite { .. } => {
                "try a smaller learning rate, a smaller clip norm, or look for such values in the data"
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanishing { left, steps, .. } => {
                write!(f, "gradients vanish: {left:.1e} of them is left {steps} steps back")
            }
            Self::Exploding { grown, steps } if grown.is_finite() => {
                write!(f, "gradients explode: they are {grown:.1e} times as large {steps} steps back")
            }
            Self::Exploding { steps, .. } => write!(f, "gradients explode: they are not finite {steps} steps back"),
            Self::Saturated { value, share } => {
                write!(f, "{value} is saturated: {:.0} % of its values are at an end of its range", share * 100.0)
            }
            Self::Dead { units, of } => write!(f, "{units} of {of} units are dead: near zero at every step"),
            Self::Idle { units, of } => write!(f, "{units} of {of} units are idle: near zero at every step"),
            Self::NonFinite { value } => write!(f, "{value} is not finite"),
        }
    }
}

impl Warning {
    /// What makes it the same as another.
    fn key(&self) -> String {
        format!("{}/{}/{}", self.layer, self.direction, self.trouble.key())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, layer, direction, trouble } = self;
        write!(f, "step {step}, layer {layer}")?;
        if *direction > 0 {
            write!(f, " backwards")?;
        }
        write!(f, ": {trouble}")
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Warning(warning) => write!(f, "{warning}"),
            Self::Over { step, key } => {
                let mut parts = key.splitn(3, '/');
                let (layer, direction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let backwards = if direction == "0" { "" } else { " backwards" };
                write!(f, "step {step}, layer {layer}{backwards}: ")?;
                match parts.next().unwrap_or_default() {
                    "vanishing" => write!(f, "gradients no longer vanish"),
                    "exploding" => write!(f, "gradients no longer explode"),
                    "dead" => write!(f, "no unit is dead any more"),
                    "idle" => write!(f, "no unit is idle any more"),
                    "not finite" => write!(f, "all values are finite again"),
                    value => write!(f, "{value} is no longer saturated"),
                }
            }
        }
    }
}
