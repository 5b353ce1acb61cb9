//! The learning rate of each step, in closed form.

/// How the learning rate falls, in steps counted from the end of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Not at all.
    Constant,
    /// By `factor` every `steps`.
    Step,
    /// By `factor` a step.
    Exponential,
    /// Along half a cosine to the share `factor` at `steps`.
    Cosine,
}

/// A learning-rate schedule, as plain numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleParams {
    /// Learning rate at the end of the warm-up.
    pub rate: f64,
    /// Steps of the warm-up: step s has the share `(s + 1) / warmup`.
    pub warmup: u32,
    /// How it falls.
    pub decay: Decay,
    /// Steps of the decay, at least 1.
    pub steps: u32,
    /// Factor or floor of the decay.
    pub factor: f64,
}

impl ScheduleParams {
    /// The learning rate of a step; 0 is the first. The same closed form as `shaders/optim/advance.wgsl`.
    pub fn learning_rate(&self, step: u32) -> f64 {
        if step < self.warmup {
            return self.rate * (f64::from(step) + 1.0) / f64::from(self.warmup);
        }
        let (after, steps) = (step - self.warmup, self.steps.max(1));
        self.rate
            * match self.decay {
                Decay::Constant => 1.0,
                Decay::Step => self.factor.powf(f64::from(after / steps)),
                Decay::Exponential => self.factor.powf(f64::from(after)),
                Decay::Cosine => {
                    let done = f64::from(after.min(steps)) / f64::from(steps);
                    self.factor + (1.0 - self.factor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
                }
            }
    }
}
