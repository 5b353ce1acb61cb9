//! Optimisers whose whole state is on the device: nothing is uploaded and nothing is read back from step to step.
//!
//! With g the gradient, or the mean of several batches', times the clip scale `min(1, max_norm / (norm + 1e-6))` (`torch.nn.utils.clip_grad_norm_`) and
//! divided by the loss scale, λ the weight decay, η the learning rate of the step, and θ the parameters, as in
//! `torch.optim`:
//!
//! | rule | step |
//! |---|---|
//! | `SGD` | `g ← g + λθ`; `b ← μb + g`; `g ← b`, with Nesterov `g + μb`; `θ ← θ − ηg` |
//! | `Adam` | `g ← g + λθ`; `m ← β₁m + (1−β₁)g`; `v ← β₂v + (1−β₂)g²`; `θ ← θ − η/c₁ · m / (√v/√c₂ + ε)` |
//! | `AdamW` | `θ ← θ − ηλθ`; then as Adam without λ |
//!
//! (Kingma and Ba, arXiv:1412.6980; Loshchilov and Hutter, arXiv:1711.05101.) `c = 1 − βᵗ` is kept by `c ← βc + (1−β)`.
//! When the norm of the gradients is not finite, parameters, moments and step stay as they are, and it is counted.
//! Only the loss scale moves then, as [`Scaling::next`] says.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `state` | `[SLOTS]`, see [`slot`] | the norm is read and the rest written by `advance`, read by `update` |
//! | `counters` | `[COUNTERS]`, u32: steps made, steps skipped, good steps in a row | counted up by `advance` |
//! | `gradients` | `[n]` | read |
//! | `values` | `[n]`: the parameters | in place |
//! | `first`, `second` | `[n]`: b or m, and v | in place; zeros before the first step |

mod schedule;

use super::cuts::{element_lanes, index, linear_groups, runs};
use super::op::{Launch, Op, Target, cpu_op, distinct};
use super::program::Program;
use super::scale::Scaling;
use crate::cpu::scalar::Scalar;
use crate::cpu::threads::{Pool, for_each};
use crate::device::{Buffer, DType, Device, Element, Nothing};
use crate::error::Result;
use crate::gpu::Work;
use crate::shader::{Binding, Kernel, Uniform as _, fragments, uniform};
pub use schedule::{Decay, ScheduleParams};

/// Learning rate, clip scale, loss scale, bias corrections and step count.
pub static ADVANCE: Kernel = Kernel {
    name: "optimizer_advance",
    fragments: fragments!["lib/float.wgsl", "lib/scale.wgsl", "optim/advance.wgsl"],
    bindings: &[Binding::uniform("u"), Binding::read_write("state"), Binding::read_write("counters")],
    uniform: AdvanceUniform::MEMBERS,
};

/// Parameters and moments.
pub static UPDATE: Kernel = Kernel {
    name: "optimizer_update",
    fragments: fragments!["optim/update.wgsl"],
    bindings: &[
        Binding::uniform("u"),
        Binding::read("state"),
        Binding::read("gradients"),
        Binding::read_write("values"),
        Binding::read_write("first"),
        Binding::read_write("second"),
    ],
    uniform: UpdateUniform::MEMBERS,
};

/// Places in the state buffer.
pub mod slot {
    /// Loss scale. The first, so that it can be bound by itself.
    pub const SCALE: usize = 0;
    /// Learning rate of the last step.
    pub const RATE: usize = 1;
    /// What gradients are multiplied by.
    pub const CLIP: usize = 2;
    /// Norm of the gradients, before clipping and without the loss scale.
    pub const NORM: usize = 3;
    /// `1 − β₁ᵗ`.
    pub const CORRECTION_1: usize = 4;
    /// `1 − β₂ᵗ`.
    pub const CORRECTION_2: usize = 5;
    /// 1 when the norm is finite, else 0.
    pub const APPLY: usize = 6;
    /// How many there are.
    pub const SLOTS: usize = 7;
    /// Among the counters: steps made.
    pub const STEP: usize = 0;
    /// Among the counters: steps not made, for a norm that was not finite.
    pub const SKIPPED: usize = 1;
    /// Among the counters: steps made in a row since the loss scale moved.
    pub const GOOD: usize = 2;
    /// How many counters there are.
    pub const COUNTERS: usize = 3;
}

/// The rule by which parameters move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Stochastic gradient descent; the momentum is `betas[0]`.
    Sgd {
        /// Whether the momentum looks ahead.
        nesterov: bool,
    },
    /// Adam, weight decay in the gradient.
    Adam,
    /// Adam, weight decay apart from the gradient.
    AdamW,
}

/// What an optimiser is called with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The rule.
    pub rule: Rule,
    /// β₁ and β₂; μ and nothing for SGD.
    pub betas: [f64; 2],
    /// ε.
    pub epsilon: f64,
    /// λ.
    pub weight_decay: f64,
    /// Largest norm that the gradients keep.
    pub max_norm: Option<f64>,
    /// How the loss scale moves, if gradients are multiplied by one.
    pub scaling: Option<Scaling>,
    /// What gradients are multiplied by to be a mean: one over the batches that they are sums of.
    pub share: f64,
    /// The learning rate.
    pub schedule: ScheduleParams,
}

uniform! {
    struct AdvanceUniform {
        rate: f32,
        max_norm: f32,
        warmup: u32,
        steps: u32,
        beta1: f32,
        rest1: f32,
        beta2: f32,
        rest2: f32,
        factor: f32,
        growth: f32,
        backoff: f32,
        interval: u32,
        share: f32,
    }
}

uniform! {
    struct UpdateUniform {
        count: u32,
        beta1: f32,
        rest1: f32,
        beta2: f32,
        rest2: f32,
        epsilon: f32,
        decay: f32,
    }
}

impl Rules {
    /// Whether there is a first and a second moment.
    pub fn moments(&self) -> [bool; 2] {
        let sgd = matches!(self.rule, Rule::Sgd { .. });
        [!sgd || self.betas[0] != 0.0, !sgd]
    }

    /// β₁, 1 − β₁, β₂, 1 − β₂, each rounded by itself: 1 − β of a rounded β would be off by more.
    fn betas(&self) -> [f64; 4] {
        let [beta1, beta2] = self.betas;
        [beta1, 1.0 - beta1, beta2, 1.0 - beta2]
    }

    /// Counts the step and sets the state for it, from the norm in the state.
    pub fn advance(&self, device: &Device, state: &Buffer, counters: &Buffer) -> Result<Op> {
        state.check("the optimiser's state", device, &[slot::SLOTS], DType::Float)?;
        counters.check("the optimiser's counters", device, &[slot::COUNTERS], DType::U32)?;
        let gpu = match device.target() {
            Target::Gpu(gpu) => gpu,
            Target::Cpu(_, precision) => {
                let (rules, state, counters) = (*self, state.clone(), counters.clone());
                return Ok(cpu_op!(precision, "optimizer_advance", advance_on_cpu(rules, state, counters)));
            }
        };
        let schedule = &self.schedule;
        let (decay, factor) = match schedule.decay {
            Decay::Constant => (0, 0.0),
            Decay::Step => (1, schedule.factor.log2()),
            Decay::Exponential => (2, schedule.factor.log2()),
            Decay::Cosine => (3, schedule.factor),
        };
        let scaling = self.scaling.unwrap_or(Scaling::FIXED);
        let [beta1, rest1, beta2, rest2] = self.betas().map(|beta| beta as f32);
        let uniform = AdvanceUniform {
            rate: schedule.rate as f32,
            max_norm: self.max_norm.unwrap_or(0.0) as f32,
            warmup: schedule.warmup,
            steps: schedule.steps.max(1),
            beta1,
            rest1,
            beta2,
            rest2,
            factor: factor as f32,
            growth: scaling.growth as f32,
            backoff: scaling.backoff as f32,
            interval: scaling.interval,
            share: self.share as f32,
        };
        let mut consts = all_slots();
        let switches = [("CLIPS", self.max_norm.is_some()), ("SCALED", self.scaling.is_some())];
        consts.extend(switches.map(|(name, on)| (name, u32::from(on))));
        consts.push(("DECAY", decay));
        Op::gpu(
            gpu,
            &Launch {
                kernel: &ADVANCE,
                recipe: None,
                consts,
                uniform: &uniform.bytes(),
                buffers: &[state, counters],
                groups: [1, 1, 1],
                steps: None,
                work: Work::small(),
            },
        )
    }

    /// Appends the step of all `values` to `program`; `moments` are those that [`moments`](Self::moments) asks for.
    pub fn update(
        &self,
        device: &Device,
        state: &Buffer,
        [gradients, values]: [&Buffer; 2],
        moments: [Option<&Buffer>; 2],
        program: &mut Program,
    ) -> Result<()> {
        state.check("the optimiser's state", device, &[slot::SLOTS], DType::Float)?;
        let mut written = vec![values];
        written.extend(moments.iter().flatten());
        for buffer in &written {
            buffer.check("the parameters or moments", device, &[gradients.len()], DType::Float)?;
        }
        distinct("optimizer_update", &written, &[state, gradients])?;
        let gpu = match device.target() {
            Target::Gpu(gpu) => gpu,
            Target::Cpu(pool, precision) => {
                let buffers = [state, gradients, values].map(Buffer::clone);
                let (rules, moments) = (*self, moments.map(|moment| moment.cloned()));
                program.push(cpu_op!(precision, "optimizer_update", update_on_cpu(pool, rules, buffers, moments)));
                return Ok(());
            }
        };
        let Nothing { written: [no_first, no_second, _], .. } = Nothing::of(gpu)?;
        let lanes = element_lanes(gpu.capabilities());
        let (rule, nesterov) = match self.rule {
            Rule::Sgd { nesterov } => (0, nesterov),
            Rule::Adam => (1, false),
            Rule::AdamW => (2, false),
        };
        let mut consts = slots();
        consts.extend([("LANES", lanes), ("RULE", rule)]);
        consts.extend([("MOMENTUM", u32::from(self.moments()[0])), ("NESTEROV", u32::from(nesterov))]);
        let [beta1, rest1, beta2, rest2] = self.betas().map(|beta| beta as f32);
        let touched = 3 + 2 * moments.iter().flatten().count();
        let work = |elements: usize| Work {
            functions: 2.0 * elements as f64,
            ..Work::moved(elements, 4.0 * touched as f64, lanes)
        };
        // Each is bound from its first element on.
        let bound = usize::try_from(gpu.capabilities().binding_bytes() / 256 * 64).unwrap_or(usize::MAX);
        let all = runs(gpu, values.len(), 64, work);
        let all = all.into_iter().flat_map(|run| {
            let end = run.end;
            run.step_by(bound).map(move |first| first..end.min(first.saturating_add(bound)))
        });
        for piece in all {
            let uniform = UpdateUniform {
                count: index(piece.len())?,
                beta1,
                rest1,
                beta2,
                rest2,
                epsilon: self.epsilon as f32,
                decay: self.weight_decay as f32,
            };
            let [first, second] = moments.map(|moment| moment.map(|moment| moment.slice(piece.clone())));
            let (first, second) = (first.transpose()?, second.transpose()?);
            program.push(Op::gpu(
                gpu,
                &Launch {
                    kernel: &UPDATE,
                    recipe: None,
                    consts: consts.clone(),
                    uniform: &uniform.bytes(),
                    buffers: &[
                        state,
                        &gradients.slice(piece.clone())?,
                        &values.slice(piece.clone())?,
                        first.as_ref().unwrap_or(&no_first),
                        second.as_ref().unwrap_or(&no_second),
                    ],
                    groups: [linear_groups(gpu, piece.len(), lanes), 1, 1],
                    steps: None,
                    work: work(piece.len()),
                },
            )?);
        }
        Ok(())
    }
}

/// Places in the state that every kernel uses.
pub(super) fn slots() -> Vec<(&'static str, u32)> {
    let all = [
        ("RATE", slot::RATE),
        ("CLIP", slot::CLIP),
        ("NORM", slot::NORM),
        ("CORRECTION_1", slot::CORRECTION_1),
        ("CORRECTION_2", slot::CORRECTION_2),
        ("APPLY", slot::APPLY),
    ];
    all.map(|(name, at)| (name, at as u32)).to_vec()
}

/// Those that `advance` uses.
pub(super) fn all_slots() -> Vec<(&'static str, u32)> {
    let own = [("SCALE", slot::SCALE), ("STEP", slot::STEP), ("SKIPPED", slot::SKIPPED), ("GOOD", slot::GOOD)];
    slots().into_iter().chain(own.map(|(name, at)| (name, at as u32))).collect()
}

fn advance_on_cpu<S: Scalar + Element>(rules: &Rules, state: &Buffer, counters: &Buffer) -> Result<()> {
    let (mut state, mut counters) = (state.write::<S>()?, counters.write::<u32>()?);
    let norm = state[slot::NORM].to_f64();
    let scale = rules.scaling.map_or(1.0, |_| state[slot::SCALE].to_f64());
    if let Some(scaling) = rules.scaling {
        let (next, good) = scaling.next(scale, counters[slot::GOOD], norm.is_finite());
        (state[slot::SCALE], counters[slot::GOOD]) = (S::from_f64(next), good);
    }
    state[slot::APPLY] = if norm.is_finite() { S::ONE } else { S::ZERO };
    if !norm.is_finite() {
        counters[slot::SKIPPED] = counters[slot::SKIPPED].wrapping_add(1);
        return Ok(());
    }
    state[slot::RATE] = S::from_f64(rules.schedule.learning_rate(counters[slot::STEP]));
    let clip = rules.max_norm.map_or(1.0, |max_norm| (max_norm / (norm + 1e-6)).min(1.0));
    state[slot::CLIP] = S::from_f64(clip * rules.share / scale);
    let [beta1, rest1, beta2, rest2] = rules.betas();
    for (at, beta, rest) in [(slot::CORRECTION_1, beta1, rest1), (slot::CORRECTION_2, beta2, rest2)] {
        state[at] = S::from_f64(beta * state[at].to_f64() + rest);
    }
    counters[slot::STEP] = counters[slot::STEP].wrapping_add(1);
    Ok(())
}

/// Elements that a thread takes at a time.
const BLOCK: usize = 1 << 14;

/// Values, gradients and moments of one block.
type Block<'a, S> = (&'a mut [S], &'a [S], Option<&'a mut [S]>, Option<&'a mut [S]>);

fn blocks<S>(all: Option<&mut [S]>) -> impl Iterator<Item = &mut [S]> {
    all.into_iter().flat_map(|all| all.chunks_mut(BLOCK))
}

fn update_on_cpu<S: Scalar + Element>(
    pool: &Pool,
    rules: &Rules,
    [state, gradients, values]: &[Buffer; 3],
    moments: &[Option<Buffer>; 2],
) -> Result<()> {
    let (state, gradients, mut values) = (state.read::<S>()?, gradients.read::<S>()?, values.write::<S>()?);
    if state[slot::APPLY] == S::ZERO {
        return Ok(());
    }
    let mut first = moments[0].as_ref().map(|first| first.write::<S>()).transpose()?;
    let mut second = moments[1].as_ref().map(|second| second.write::<S>()).transpose()?;
    let mut first = blocks(first.as_deref_mut());
    let mut second = blocks(second.as_deref_mut());
    let items = values
        .chunks_mut(BLOCK)
        .zip(gradients.chunks(BLOCK))
        .map(|(values, gradients)| (values, gradients, first.next(), second.next()))
        .collect();
    let [beta1, rest1, beta2, rest2] = rules.betas().map(S::from_f64);
    let (epsilon, decay) = (S::from_f64(rules.epsilon), S::from_f64(rules.weight_decay));
    let (rate, clip, correction_2) = (state[slot::RATE], state[slot::CLIP], state[slot::CORRECTION_2].sqrt());
    let adam_rate = rate / state[slot::CORRECTION_1];
    let work = |(values, gradients, first, second): Block<'_, S>| {
        let pairs = values.iter_mut().zip(gradients.iter().map(|&gradient| gradient * clip));
        match (rules.rule, first, second) {
            (Rule::Sgd { nesterov }, Some(velocity), _) => {
                for ((value, gradient), velocity) in pairs.zip(velocity) {
                    let gradient = gradient + decay * *value;
                    *velocity = beta1 * *velocity + gradient;
                    let along = if nesterov { gradient + beta1 * *velocity } else { *velocity };
                    *value -= rate * along;
                }
            }
            (Rule::Sgd { .. }, None, _) => {
                pairs.for_each(|(value, gradient)| *value -= rate * (gradient + decay * *value));
            }
            (Rule::Adam | Rule::AdamW, Some(first), Some(second)) => {
                let apart = rules.rule == Rule::AdamW;
                let (shrink, decay) = if apart { (S::ONE - rate * decay, S::ZERO) } else { (S::ONE, decay) };
                for ((value, gradient), (m, v)) in pairs.zip(first.iter_mut().zip(second)) {
                    let gradient = gradient + decay * *value;
                    *m = beta1 * *m + rest1 * gradient;
                    *v = beta2 * *v + rest2 * gradient * gradient;
                    *value = shrink * *value - adam_rate * *m / (v.sqrt() / correction_2 + epsilon);
                }
            }
            (Rule::Adam | Rule::AdamW, ..) => {}
        }
    };
    let threads = pool.threads_over(gradients.len());
    pool.run_on(threads, || for_each(threads, items, work));
    Ok(())
}
