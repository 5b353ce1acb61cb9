//! How gradients flow back through the steps: what a layer with [`Options::flow`](crate::nn::rnn::Options::flow) left.
//!
//! For a loss L the norm `‖∂L/∂h_t‖` over units says how much the state after step t still matters to it; in a cell with a
//! cell state `‖∂L/∂c_t‖` does too. Some of it comes *directly*: through f in an LSTM (`c' = f⊙c + i⊙g`), so that after k
//! steps it is the product of k forget gates, and through z in a GRU (`h' = (1-z)⊙n + z⊙h`), the product of k update
//! gates. The rest passes through the product with `weight_hh`. A plain RNN has no direct path; in a cell whose steps have no product
//! all of it comes directly.
//!
//! Options change what comes directly: through peepholes more does, what stays of a state with zoneout comes past the gates
//! (of h in a plain RNN too), and nothing passes where a cell state is clipped. Before a step that begins anew within its batch
//! ([resets](crate::StepOptions::resets)) there is no gradient of what comes after it.

use crate::cpu::recurrent::Resets;
use crate::error::{Error, Result};
use crate::nn::rnn::Bound;

/// A gradient that has fallen to this share of its norm at the last step when it reaches the first has vanished.
pub const GONE: f64 = 1e-3;
/// One that has grown to so many times its norm at the last step, or is not finite, has exploded.
pub const WILD: f64 = 1e2;
/// The share that [`Reach::one_percent`] counts to.
pub const ONE_PERCENT: f64 = 1e-2;

/// Norms of the gradients of the states after one step of one sequence, over units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// `‖∂L/∂h‖`.
    pub h: f64,
    /// `‖∂L/∂c‖`, of a cell with a cell state.
    pub c: Option<f64>,
    /// Norm of what came directly, of c where there is one, else of h.
    pub direct: f64,
}

/// Norms of every layer, direction, step and sequence.
#[derive(Clone, Debug)]
pub struct Flow {
    layers: usize,
    directions: usize,
    steps: usize,
    lengths: Vec<usize>,
    /// `[D, B]`: steps of each sequence since it last began anew, counted from its last one.
    stretches: Vec<usize>,
    /// Norms of a row.
    width: usize,
    /// `[L, T, B, D, width]`.
    norms: Vec<f64>,
}

/// Norms over units, the root of their mean square over sequences, by steps back from each sequence's last one: element 0
/// is the state after the last step, element k that k steps before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// `‖∂L/∂h‖`.
    pub h: Vec<f64>,
    /// `‖∂L/∂c‖`; empty for a cell without a cell state.
    pub c: Vec<f64>,
    /// Norm of what came directly, of c where there is one, else of h.
    pub direct: Vec<f64>,
}

/// Whether gradients reach the first step. Meant for a loss at the last step: where every step has one, what is new at a step
/// adds to what comes back through it, and the norms say where the loss is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Less than [`GONE`] of it does.
    Vanishing,
    /// It does, within bounds.
    Steady,
    /// It has grown by more than [`WILD`], or is not finite.
    Exploding,
    /// There is none at any step.
    Nothing,
}

/// How long gradients last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// The factor of one step back: that of the straight line through the logarithms of the norms, by least squares. None
    /// with fewer than two norms that are finite and normal in `f32`: smaller ones have lost their digits.
    pub decay: Option<f64>,
    /// Steps back until the norm is below 1/e of what it was; none where it stays above.
    pub one_e: Option<usize>,
    /// Steps back until it is below one percent of it; none where it stays above.
    pub one_percent: Option<usize>,
    /// The verdict.
    pub verdict: Verdict,
}

impl Flow {
    /// What the last backward of a binding left. [`Error::Invalid`] where its plan did not ask for it.
    pub async fn download(bound: &Bound) -> Result<Self> {
        let Some(norms) = bound.norms() else {
            return Err(Error::invalid("norms of gradients", "asked for when the layer is planned", "not asked for"));
        };
        let (config, shape, device) = (*bound.rnn().config(), bound.rnn().shape(), bound.device());
        let lengths = device.download_u32(bound.lengths()).await?;
        let bits = match bound.resets() {
            Some(resets) => device.download_u32(resets).await?,
            None => Vec::new(),
        };
        let resets = Resets { bits: &bits, batch: shape.batch };
        let stretch = |direction: usize, sequence: usize| {
            let length = lengths.get(sequence).map_or(0, |length| *length as usize);
            let reversed = direction >= config.first_reversed();
            let anew = (0..length).rev().find(|&step| resets.begin(sequence, step, length, reversed));
            length - anew.unwrap_or(0)
        };
        let all = (0..config.directions()).flat_map(|direction| (0..shape.batch).map(move |b| (direction, b)));
        Ok(Self {
            stretches: all.map(|(direction, sequence)| stretch(direction, sequence)).collect(),
            layers: config.layers,
            directions: config.directions(),
            steps: shape.steps,
            lengths: lengths.into_iter().map(|length| length as usize).collect(),
            width: config.recipe().states() + 1,
            norms: device.download_f64(norms).await?,
        })
    }

    /// [`download`](Self::download), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(bound: &Bound) -> Result<Self> {
        pollster::block_on(Self::download(bound))
    }

    /// Whether every norm is a finite number.
    pub fn is_finite(&self) -> bool {
        self.norms.iter().all(|norm| norm.is_finite())
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Directions of each.
    pub fn directions(&self) -> usize {
        self.directions
    }

    /// Norms after step `step` of a sequence; none past its last step, and where there is no such layer, direction or
    /// sequence. Steps are those of the direction: step s of a reversed one is at time `length − 1 − s`.
    pub fn norms(&self, layer: usize, direction: usize, step: usize, sequence: usize) -> Option<Norms> {
        let length = *self.lengths.get(sequence)?;
        if layer >= self.layers || direction >= self.directions || step >= length {
            return None;
        }
        let row = (layer * self.steps + step) * self.lengths.len() + sequence;
        match self.norms.get((row * self.directions + direction) * self.width..)? {
            [h, c, direct, ..] if self.width == 3 => Some(Norms { h: *h, c: Some(*c), direct: *direct }),
            [h, direct, ..] => Some(Norms { h: *h, c: None, direct: *direct }),
            _ => None,
        }
    }

    /// Norms of one direction of a layer over all sequences, by steps back from their last; empty where there is no such.
    /// Where a sequence has ended, those that go on are taken times what all were at the step before over what these were
    /// there, so that what is compared from step to step is always the same sequences. A sequence that began anew within the
    /// batch ends where it last did.
    pub fn trace(&self, layer: usize, direction: usize) -> Trace {
        let count = self.lengths.len();
        let Some(stretches) = self.stretches.get(direction * count..(direction + 1) * count) else {
            return Trace::default();
        };
        // Roots of mean squares over the sequences of more than `longer` steps: of the state that remembers, h, c, direct.
        let over = |back: usize, longer: usize| {
            let long = (0..self.lengths.len()).filter(|&sequence| stretches[sequence] > longer);
            let of =
                |sequence: usize| self.norms(layer, direction, self.lengths[sequence].checked_sub(back + 1)?, sequence);
            let all: Vec<Norms> = long.filter_map(of).collect();
            let count = (all.len() as f64).sqrt();
            let mean = |of: fn(&Norms) -> f64| all.iter().map(of).fold(0.0, f64::hypot) / count;
            let (h, c) = (mean(|norms| norms.h), mean(|norms| norms.c.unwrap_or(0.0)));
            let state = if self.width == 3 { c } else { h };
            (!all.is_empty()).then(|| [state, h, c, mean(|norms| norms.direct)])
        };
        let longest = stretches.iter().copied().max().unwrap_or(0);
        let (mut trace, mut link) = (Trace::default(), 1.0);
        for back in 0..longest {
            let Some([_, h, c, direct]) = over(back, back) else { break };
            if back > 0 && stretches.contains(&back) {
                let before = [back - 1, back].map(|longer| over(back - 1, longer).map_or(0.0, |[state, ..]| state));
                let ratio = before[0] / before[1];
                link *= if ratio.is_finite() && ratio > 0.0 { ratio } else { 1.0 };
            }
            trace.h.push(h * link);
            if self.width == 3 {
                trace.c.push(c * link);
            }
            trace.direct.push(direct * link);
        }
        trace
    }
}

impl Trace {
    /// The norms of the state that carries what the cell remembers: c where there is one, else h.
    pub fn state(&self) -> &[f64] {
        if self.c.is_empty() { &self.h } else { &self.c }
    }

    /// How long the gradient of that state lasts.
    pub fn reach(&self) -> Reach {
        Reach::of(self.state())
    }

    /// What comes directly as a share of the gradient of the state; none where one of them is too small for `f32` to hold its
    /// digits, and where there is no gradient. Above 1 where the rest takes some of it away.
    pub fn direct_share(&self) -> Vec<Option<f64>> {
        let normal = |norm: f64| norm >= f64::from(f32::MIN_POSITIVE);
        let share =
            |(direct, all): (&f64, &f64)| (normal(*all) && (normal(*direct) || *direct == 0.0)).then(|| direct / all);
        self.direct.iter().zip(self.state()).map(share).collect()
    }
}

impl Reach {
    /// Of norms by steps back from the last step, or from the first at which there is a gradient.
    pub fn of(norms: &[f64]) -> Self {
        let Some(begin) = norms.iter().position(|norm| *norm != 0.0) else {
            return Self { decay: None, one_e: None, one_percent: None, verdict: Verdict::Nothing };
        };
        let norms = &norms[begin..];
        let (first, last) = (norms.first().copied().unwrap_or(0.0), norms.last().copied().unwrap_or(0.0));
        let below = |share: f64| norms.iter().position(|norm| *norm < share * first);
        let verdict = match norms.iter().all(|norm| norm.is_finite()) {
            true if last < GONE * first || last == 0.0 => Verdict::Vanishing,
            true if last <= WILD * first => Verdict::Steady,
            _ => Verdict::Exploding,
        };
        Self { decay: decay(norms), one_e: below((-1.0f64).exp()), one_percent: below(ONE_PERCENT), verdict }
    }
}

/// `e` to the slope of the logarithms, by least squares.
fn decay(norms: &[f64]) -> Option<f64> {
    let usable =
        norms.iter().enumerate().filter(|(_, norm)| norm.is_finite() && **norm >= f64::from(f32::MIN_POSITIVE));
    let points: Vec<(f64, f64)> = usable.map(|(back, norm)| (back as f64, norm.ln())).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x) * (point.0 - x)).sum();
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0).then(|| (together / spread).exp())
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Vanishing => "vanishing",
            Self::Steady => "steady",
            Self::Exploding => "exploding",
            Self::Nothing => "no gradient",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that ends early, and has far larger gradients, is no decay of the other's.
    #[test]
    fn unequal_lengths_are_no_decay() {
        let (lengths, steps) = (vec![2, 4, 0], 4);
        let mut norms = vec![0.0; steps * 3 * 2];
        for (sequence, size) in [(0, 1000.0), (1, 1.0)] {
            for back in 0..lengths[sequence] {
                let row = (lengths[sequence] - 1 - back) * 3 + sequence;
                norms[row * 2] = size * 0.5f64.powi(back as i32);
                norms[row * 2 + 1] = 0.1 * norms[row * 2];
            }
        }
        let stretches = lengths.clone();
        let flow = Flow { layers: 1, directions: 1, steps, lengths, stretches, width: 2, norms };
        let trace = flow.trace(0, 0);
        let factors: Vec<f64> = trace.h.windows(2).map(|pair| pair[1] / pair[0]).collect();
        assert!(factors.len() == 3 && factors.iter().all(|factor| (factor - 0.5).abs() < 1e-12), "{factors:?}");
        assert!(trace.direct_share().iter().all(|share| (share.unwrap() - 0.1).abs() < 1e-12));
    }

    #[test]
    fn a_geometric_decay_is_found() {
        let norms: Vec<f64> = (0..100).map(|back| 3.0 * 0.9f64.powi(back)).collect();
        let reach = Reach::of(&norms);
        assert!((reach.decay.unwrap() - 0.9).abs() < 1e-12);
        // 0.9⁹ is above 1/e, 0.9¹⁰ below; 0.9⁴³ above 1 %, 0.9⁴⁴ below.
        assert_eq!((reach.one_e, reach.one_percent), (Some(10), Some(44)));
        assert_eq!(reach.verdict, Verdict::Vanishing);
        assert_eq!(Reach::of(&norms[..60]).verdict, Verdict::Steady);
        assert_eq!(Reach::of(&norms[..10]).one_e, None);
    }

    #[test]
    fn what_grows_explodes_and_what_is_zero_has_vanished() {
        let grown = [1.0, 20.0, 101.0];
        assert_eq!(Reach::of(&grown).verdict, Verdict::Exploding);
        assert_eq!(Reach::of(&grown[..2]).verdict, Verdict::Steady);
        assert_eq!(Reach::of(&[1.0, f64::NAN]).verdict, Verdict::Exploding);
        assert_eq!(Reach::of(&[1.0, 0.0]).verdict, Verdict::Vanishing);
        for nothing in [&[][..], &[0.0, 0.0]] {
            let nothing = Reach::of(nothing);
            assert_eq!((nothing.verdict, nothing.decay), (Verdict::Nothing, None));
        }
        // What begins before the last step is judged from there.
        let late = Reach::of(&[0.0, 0.0, 1.0, 0.3]);
        assert_eq!((late.verdict, late.one_e), (Verdict::Steady, Some(1)));
    }

    #[test]
    fn zeros_infinities_and_subnormals_are_no_part_of_the_decay() {
        let norms = [f64::INFINITY, 1.0, 0.5, 0.25, 1e-44, 1e-44, 0.0];
        assert!((Reach::of(&norms).decay.unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(Reach::of(&[1.0]).decay, None);
    }

    #[test]
    fn shares_are_of_the_state_that_remembers() {
        let trace = Trace { h: vec![4.0, 2.0], c: vec![2.0, 0.0], direct: vec![1.0, 0.0] };
        assert_eq!(trace.direct_share(), [Some(0.5), None]);
        let small = Trace { h: vec![1e-40, 1e-3, 1e-3], c: Vec::new(), direct: vec![1e-40, 1e-40, 0.0] };
        assert_eq!(small.direct_share(), [None, None, Some(0.0)]);
        let trace = Trace { c: Vec::new(), ..trace };
        assert_eq!(trace.direct_share(), [Some(0.25), Some(0.0)]);
    }
}
