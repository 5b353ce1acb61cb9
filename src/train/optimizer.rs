//! [`Optimizer`]: SGD, Adam and AdamW over all parameters at once, with gradient clipping and a schedule.
//!
//! Its whole state is on the device, so a training step is recorded once and for all: gradients → norm → state of the
//! step → parameters. A norm that is not finite leaves parameters, moments and step as they are; a dynamic loss scale
//! falls.

use super::loss_scale::LossScale;
use super::schedule::Schedule;
use crate::device::{Buffer, Device, Recorder};
use crate::error::{Error, Result, at_least_one};
use crate::kernel::optimizer::{Rule, Rules, slot};
use crate::kernel::scale::LEAST;
use crate::kernel::{Program, norm};
use crate::nn::Parameters;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sgd,
    Adam,
    AdamW,
}

/// What an [`Optimizer`] does; defaults are those of `torch.optim`.
///
/// ```
/// use wgpu_rnn::train::{OptimizerConfig, Schedule};
/// let config = OptimizerConfig::adamw(1e-3)
///     .weight_decay(0.1)
///     .clip_norm(Some(1.0))
///     .schedule(Schedule::Cosine { steps: 1000, floor: 0.1 })
///     .warmup(10);
/// assert_eq!(config.learning_rate(0), 1e-4);
/// assert_eq!(config.learning_rate(10), 1e-3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    kind: Kind,
    rate: f64,
    momentum: f64,
    nesterov: bool,
    betas: Option<[f64; 2]>,
    eps: Option<f64>,
    weight_decay: f64,
    clip_norm: Option<f64>,
    schedule: Schedule,
    warmup: u32,
    loss_scale: LossScale,
    batches: u32,
}

impl OptimizerConfig {
    const fn new(kind: Kind, rate: f64, weight_decay: f64) -> Self {
        Self {
            kind,
            rate,
            momentum: 0.0,
            nesterov: false,
            betas: None,
            eps: None,
            weight_decay,
            clip_norm: None,
            schedule: Schedule::Constant,
            warmup: 0,
            loss_scale: LossScale::None,
            batches: 1,
        }
    }

    /// `torch.optim.SGD` with learning rate `lr`.
    pub const fn sgd(lr: f64) -> Self {
        Self::new(Kind::Sgd, lr, 0.0)
    }

    /// `torch.optim.Adam` with learning rate `lr`.
    pub const fn adam(lr: f64) -> Self {
        Self::new(Kind::Adam, lr, 0.0)
    }

    /// `torch.optim.AdamW` with learning rate `lr`.
    pub const fn adamw(lr: f64) -> Self {
        Self::new(Kind::AdamW, lr, 0.01)
    }

    /// Momentum of SGD. Default 0.
    pub const fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether SGD's momentum is Nesterov's. Default `false`.
    pub const fn nesterov(mut self, yes: bool) -> Self {
        self.nesterov = yes;
        self
    }

    /// Adam's β₁ and β₂. Default 0.9 and 0.999.
    pub const fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        self.betas = Some([beta1, beta2]);
        self
    }

    /// Adam's ε, added to the root of the second moment. Default 1e-8.
    pub const fn eps(mut self, eps: f64) -> Self {
        self.eps = Some(eps);
        self
    }

    /// Weight decay: in the gradient for SGD and Adam, apart from it for AdamW. Default 0, for AdamW 0.01.
    pub const fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// The norm to which larger gradients are scaled, over all parameters (`torch.nn.utils.clip_grad_norm_`). Default
    /// none.
    pub const fn clip_norm(mut self, max_norm: Option<f64>) -> Self {
        self.clip_norm = max_norm;
        self
    }

    /// How the learning rate falls. Default constant.
    pub const fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Steps in which the learning rate rises in a line from `lr / steps` to `lr`, before the schedule. Default 0.
    pub const fn warmup(mut self, steps: u32) -> Self {
        self.warmup = steps;
        self
    }

    /// What gradients come multiplied by. Default none. With one the loss is to be made with [`Optimizer::scale`]; norm
    /// and clipping are those of the gradients without it.
    pub const fn loss_scale(mut self, scale: LossScale) -> Self {
        self.loss_scale = scale;
        self
    }

    /// Batches whose gradients are added up before each step, by parameters that
    /// [accumulate](Parameters::accumulating), which an optimiser of several is then to be made with. The step, the norm and
    /// clipping are those of their mean. Default 1.
    pub const fn batches(mut self, count: u32) -> Self {
        self.batches = count;
        self
    }

    /// The learning rate of a step; 0 is the first.
    pub fn learning_rate(&self, step: u32) -> f64 {
        self.schedule.params(self.rate, self.warmup).learning_rate(step)
    }

    /// An error when a number is out of its range or belongs to another optimiser.
    pub fn check(&self) -> Result<()> {
        let (sgd, place) = match self.kind {
            Kind::Sgd => (true, "SGD"),
            Kind::Adam => (false, "Adam"),
            Kind::AdamW => (false, "AdamW"),
        };
        let foreign = [
            ("a momentum", !sgd && self.momentum != 0.0),
            ("Nesterov's momentum", !sgd && self.nesterov),
            ("a pair of betas", sgd && self.betas.is_some()),
            ("an epsilon", sgd && self.eps.is_some()),
        ];
        if let Some((option, _)) = foreign.into_iter().find(|(_, given)| *given) {
            return Err(Error::Unsupported { option: option.to_string(), place: place.to_string() });
        }
        let [beta1, beta2] = self.betas.unwrap_or([0.0; 2]);
        let below_one = 0.0..1.0;
        let above_zero = |value: f64| value > 0.0 && value.is_finite();
        let f32_above_zero = |value: f64| above_zero(value) && value as f32 > 0.0;
        let rows = [
            ("the learning rate", self.rate, "a finite number above 0", above_zero(self.rate)),
            ("the momentum", self.momentum, "at least 0 and below 1", below_one.contains(&self.momentum)),
            ("beta 1", beta1, "at least 0 and below 1", below_one.contains(&beta1)),
            ("beta 2", beta2, "at least 0 and below 1", below_one.contains(&beta2)),
            ("epsilon", self.eps.unwrap_or(1.0), "an f32 above 0", f32_above_zero(self.eps.unwrap_or(1.0))),
            (
                "the weight decay",
                self.weight_decay,
                "a finite number of at least 0",
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            ),
            (
                "the norm to clip to",
                self.clip_norm.unwrap_or(1.0),
                "a finite number above 0",
                above_zero(self.clip_norm.unwrap_or(1.0)),
            ),
        ];
        if let Some((what, got, expected, _)) = rows.into_iter().find(|(.., good)| !good) {
            return Err(Error::invalid(what, expected, got));
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::invalid("the momentum of Nesterov's method", "above 0", self.momentum));
        }
        at_least_one("the batches of a step", self.batches as usize)?;
        self.schedule.check()?;
        self.loss_scale.check()
    }

    fn rules(&self) -> Rules {
        let (rule, betas) = match self.kind {
            Kind::Sgd => (Rule::Sgd { nesterov: self.nesterov }, [self.momentum, 0.0]),
            Kind::Adam => (Rule::Adam, self.betas.unwrap_or([0.9, 0.999])),
            Kind::AdamW => (Rule::AdamW, self.betas.unwrap_or([0.9, 0.999])),
        };
        Rules {
            rule,
            betas,
            epsilon: self.eps.unwrap_or(1e-8),
            weight_decay: self.weight_decay,
            max_norm: self.clip_norm,
            scaling: self.loss_scale.scaling(),
            share: 1.0 / f64::from(self.batches),
            schedule: self.schedule.params(self.rate, self.warmup),
        }
    }
}

/// What an optimiser has come to, as read back from the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerState {
    /// Steps made.
    pub step: u64,
    /// Steps not made, because the norm of the gradients was not finite.
    pub skipped: u64,
    /// Learning rate of the last step made; 0 before the first.
    pub learning_rate: f64,
    /// Norm of all gradients, or of the mean of [several batches'](OptimizerConfig::batches), before clipping and without the
    /// loss scale, when the optimiser last ran.
    pub gradient_norm: f64,
    /// The loss scale of the next step; 1 without one.
    pub loss_scale: f64,
    /// Whether that is dynamic, so that a step that is not made is how it finds its size.
    pub dynamic_scale: bool,
}

impl OptimizerState {
    /// [`Error::NonFinite`] when the last norm was not finite, so that the last step was not made. With a dynamic loss
    /// scale that is an error only where the scale can fall no further.
    pub fn check(&self) -> Result<()> {
        let falling = self.dynamic_scale && self.loss_scale > LEAST;
        if falling || self.gradient_norm.is_finite() {
            return Ok(());
        }
        Err(Error::NonFinite { what: "the gradient norm".to_string(), step: self.step + 1, got: self.gradient_norm })
    }
}

/// An optimiser of the parameters it was made for.
pub struct Optimizer {
    device: Device,
    config: OptimizerConfig,
    state: Buffer,
    scale: Option<Buffer>,
    counters: Buffer,
    moments: [Option<Buffer>; 2],
    program: Program,
}

impl Optimizer {
    /// Allocates the moments and binds everything. `parameters` keep their buffers.
    pub fn new(parameters: &Parameters, config: OptimizerConfig) -> Result<Self> {
        config.check()?;
        let rules = config.rules();
        let device = parameters.device().clone();
        parameters.expect_gradients()?;
        if config.batches > 1 && !parameters.accumulates() {
            let expected = "parameters that accumulate, so that gradients are sums";
            return Err(Error::invalid(format!("a step of {} batches", config.batches), expected, "ones that don't"));
        }
        let (values, gradients) = (parameters.values(), parameters.gradients());
        at_least_one("the number of parameters", values.len())?;
        let state = device.alloc("optimizer state", slot::SLOTS)?;
        let counters = device.alloc_u32("optimizer counters", slot::COUNTERS)?;
        let scale = state.slice(slot::SCALE..slot::SCALE + 1)?;
        device.write_f64(&scale, &[config.loss_scale.initial()])?;
        let scale = rules.scaling.map(|_| scale);
        let moment = |kept: bool| kept.then(|| device.alloc("optimizer moment", values.len())).transpose();
        let [first, second] = rules.moments().map(moment);
        let moments = [first?, second?];
        let mut program = Program::default();
        norm::norm(&device, gradients, scale.as_ref(), rules.share, &state, slot::NORM, &mut program)?;
        program.push(rules.advance(&device, &state, &counters)?);
        let of_moments = [moments[0].as_ref(), moments[1].as_ref()];
        rules.update(&device, &state, [gradients, values], of_moments, &mut program)?;
        Ok(Self { device, config, state, scale, counters, moments, program })
    }

    /// Its configuration.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// The loss scale that gradients are to be multiplied by, one float on the device, for the losses to be made with:
    /// [`Loss::scaled_mse`](crate::nn::Loss::scaled_mse). None unless the configuration asks for one.
    pub fn scale(&self) -> Option<&Buffer> {
        self.scale.as_ref()
    }

    /// One step, from the gradients to the parameters.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Records one step.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.program.record(recorder)
    }

    /// Reads the state, after everything submitted so far.
    pub async fn state(&self) -> Result<OptimizerState> {
        let state = self.device.download_f64(&self.state).await?;
        let counters = self.device.download_u32(&self.counters).await?;
        let [number, counter] = [slot::SLOTS, slot::COUNTERS];
        if state.len() != number || counters.len() != counter {
            return Err(Error::shape("the optimiser's state", &[number, counter], &[state.len(), counters.len()]));
        }
        Ok(OptimizerState {
            step: u64::from(counters[slot::STEP]),
            skipped: u64::from(counters[slot::SKIPPED]),
            learning_rate: state[slot::RATE],
            gradient_norm: state[slot::NORM],
            loss_scale: state[slot::SCALE],
            dynamic_scale: matches!(self.config.loss_scale, LossScale::Dynamic { .. }),
        })
    }

    /// [`state`](Self::state), blocking.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_state(&self) -> Result<OptimizerState> {
        pollster::block_on(self.state())
    }

    /// The moments it keeps, by PyTorch's names, each laid out as [`Parameters::values`]: `momentum_buffer`, or `exp_avg`
    /// and `exp_avg_sq`, or none. With [`progress`](Self::progress) they are all that a checkpoint needs.
    pub fn moments(&self) -> Vec<(&'static str, &Buffer)> {
        let names = match self.config.kind {
            Kind::Sgd => ["momentum_buffer", ""],
            Kind::Adam | Kind::AdamW => ["exp_avg", "exp_avg_sq"],
        };
        names.into_iter().zip(&self.moments).filter_map(|(name, moment)| Some((name, moment.as_ref()?))).collect()
    }

    /// The rest of its state: floats (the loss scale is the first) and u32 counters, to be saved and written back as they
    /// are.
    pub fn progress(&self) -> [&Buffer; 2] {
        [&self.state, &self.counters]
    }
}
