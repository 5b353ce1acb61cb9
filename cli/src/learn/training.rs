//! Training a model, with progress, and timing trained models side by side.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::RnnConfig;

use crate::base::numbers::significant;
use crate::base::progress::Progress;
use crate::base::stop;
use crate::net::{Model, title};
use crate::results::{Point, Spread};
use crate::task::{More, Task, Validated};

/// What training gave.
#[derive(Clone)]
pub struct Learned {
    pub steps: usize,
    pub curve: Vec<Point>,
    pub best_error: f64,
    /// The parameters at the best validation error.
    pub best: Vec<f32>,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
}

/// What is said of the training of one of several nets.
pub fn progress(index: usize, of: usize, config: RnnConfig, group: &str) -> Progress {
    Progress::new(format!("[{}/{of}] {} H={} ({group})", index + 1, title(&config), config.hidden))
}

/// How long a training is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Training steps. The learning rate falls over these.
    pub steps: usize,
    /// Steps between points of the curve.
    point_every: usize,
    /// The validation error at which the task is learnt and training ends.
    goal: Option<f64>,
}

/// Most points of a curve by the clock, besides its first.
const MOST_POINTS: f64 = 16.0;
/// Share of the time that validation may take, by the clock.
const VALIDATION_SHARE: f64 = 0.25;

impl Plan {
    /// A few steps, with a look at each half.
    pub fn short(steps: usize) -> Self {
        Self { steps, point_every: steps.div_ceil(2), goal: None }
    }

    /// The task's own number of steps.
    pub fn of_steps(task: &dyn Task) -> Self {
        Self { steps: task.usual().updates, point_every: task.usual().point_every, goal: None }
    }

    /// So many steps, unless the validation error is at most `goal` before.
    pub fn until(task: &dyn Task, steps: usize, goal: Option<f64>) -> Self {
        Self { steps, goal, ..Self::of_steps(task) }
    }

    /// As many steps for each net as they all together can make in about this time.
    pub fn of_time(task: &dyn Task, paces: &[Pace], limit: Duration) -> Self {
        let all = |of: fn(&Pace) -> f64| paces.iter().map(of).sum::<f64>();
        let look = all(|pace| pace.forward) * task.validation_batches() as f64;
        let left = limit.as_secs_f64();
        let points = (VALIDATION_SHARE * left / look).clamp(1.0, MOST_POINTS).floor();
        let steps = ((left - (points + 1.0) * look) / all(|pace| pace.step)).max(1.0) as usize;
        Self { steps, point_every: steps.div_ceil(points as usize), goal: None }
    }
}

/// How long a net takes, in seconds.
pub struct Pace {
    step: f64,
    forward: f64,
}

impl Pace {
    /// Measured by a few steps of a net, whose weights this spoils.
    pub fn new(task: &dyn Task, probe: &mut Model, seed: u64) -> anyhow::Result<Self> {
        task.feed(probe, &mut ChaCha8Rng::seed_from_u64(seed))?;
        let mut fastest = |work: fn(&Model) -> wgpu_rnn::Result<f64>| -> anyhow::Result<f64> {
            let mut least = f64::INFINITY;
            for _ in 0..3 {
                stop::check()?;
                let start = Instant::now();
                task.feed(probe, &mut ChaCha8Rng::seed_from_u64(seed))?;
                work(probe)?;
                least = least.min(start.elapsed().as_secs_f64());
            }
            Ok(least)
        };
        Ok(Self { step: fastest(Model::time_step)?, forward: fastest(Model::time_forward)? })
    }
}

/// Trains as `plan` says. Every model of a task sees the same batches. A loss or gradient that is not finite ends
/// training; the best weights until then are kept.
pub fn train(
    model: &mut Model,
    task: &dyn Task,
    seed: u64,
    plan: Plan,
    progress: &Progress,
) -> anyhow::Result<Learned> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    progress.begin(0, plan.steps);
    let mut learned =
        Learned { steps: 0, curve: Vec::new(), best_error: f64::INFINITY, best: model.snapshot()?, stopped: None };
    loop {
        stop::check()?;
        let last = learned.steps >= plan.steps;
        if last || learned.steps.is_multiple_of(plan.point_every) {
            learned.stopped = look(model, task, seed, &mut learned, progress)?;
        }
        let learnt = plan.goal.is_some_and(|goal| learned.best_error <= goal);
        if last || learnt || learned.stopped.is_some() {
            break;
        }
        task.feed(model, &mut rng)?;
        model.step()?;
        learned.steps += 1;
        progress.step();
    }
    progress.end();
    let best = learned.curve.iter().min_by(|a, b| a.validation_error.total_cmp(&b.validation_error));
    if best.is_some_and(|best| best.step == 0 && learned.steps > 0) {
        progress.last("has learnt nothing: it was best before it was trained")?;
    }
    if let Some(why) = &learned.stopped {
        progress.last(format_args!("stopped: {why}"))?;
    }
    Ok(learned)
}

/// Reads the loss, validates, and keeps the weights when they are the best so far. The answer is why training must end.
fn look(
    model: &mut Model,
    task: &dyn Task,
    seed: u64,
    learned: &mut Learned,
    progress: &Progress,
) -> anyhow::Result<Option<String>> {
    let loss = match learned.steps {
        // Nothing was trained yet: the loss of the batch that will come first.
        0 => {
            task.feed(model, &mut ChaCha8Rng::seed_from_u64(seed))?;
            finite("the loss", 0, model.validation_loss()?)
        }
        _ => model.checked_loss(),
    };
    let validated = match loss {
        Ok(loss) => {
            let Validated { error, loss: on_validation } = task.validate(model)?;
            finite("the validation error", learned.steps, error).map(|error| (loss, on_validation, error))
        }
        Err(error) => Err(error),
    };
    let (loss, validation_loss, validation_error) = match validated {
        Ok(all) => all,
        Err(error @ wgpu_rnn::Error::NonFinite { .. }) => return Ok(Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let point = Point { step: learned.steps, train_loss: task.in_units(loss), validation_loss, validation_error };
    let (loss, error, unit) = (significant(point.train_loss, 4), significant(validation_error, 4), task.score().unit);
    let line = format_args!("step {}: loss {loss}, validation {error} {unit}", learned.steps);
    progress.point(format_args!("loss {loss}, error {error} {unit}"), line)?;
    learned.curve.push(point);
    if validation_error < learned.best_error {
        learned.best_error = validation_error;
        learned.best = model.snapshot()?;
    }
    Ok(None)
}

fn finite(what: &str, step: usize, got: f64) -> wgpu_rnn::Result<f64> {
    if got.is_finite() {
        return Ok(got);
    }
    Err(wgpu_rnn::Error::NonFinite { what: what.to_string(), step: step as u64, got })
}

/// Rounds of timing, after one that warms up.
const ROUNDS: usize = 15;

/// Forward pass and training step of each model, measured in turn so that whatever else the machine does meets all
/// alike. Training goes on while it is timed, so the weights that matter must be elsewhere by then.
pub fn time_side_by_side(models: &[&Model]) -> anyhow::Result<Vec<(Spread, Spread)>> {
    let mut times = vec![(Vec::new(), Vec::new()); models.len()];
    for round in 0..=ROUNDS {
        for (model, (forward, step)) in models.iter().zip(&mut times) {
            stop::check()?;
            let (f, s) = (model.time_forward()?, model.time_step()?);
            if round > 0 {
                forward.push(f);
                step.push(s);
            }
        }
    }
    Ok(times.into_iter().map(|(forward, step)| (Spread::of(forward), Spread::of(step))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::series::Ask;
    use crate::net::Setup;
    use crate::task::{Goals, Series, Sizes};
    use wgpu_rnn::{Cell, Device, DeviceKind, Precision};

    /// A wave with a slower one on top, hour by hour.
    fn task() -> Series {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waves.csv");
        let value = |row: usize| (row as f64 * 0.26).sin() + (row as f64 * 0.05).cos();
        let rows: String = (0..600).map(|row| format!("{}\n", value(row))).collect();
        std::fs::write(&path, format!("t\n{rows}")).unwrap();
        Series::load(Some(&path), &["t".to_string()], &Ask::default(), Sizes::default(), &Goals::default()).unwrap()
    }

    fn model(task: &Series) -> (Model, RnnConfig) {
        let config = RnnConfig::new(Cell::Gru, task.width(), 8);
        let setup = Setup { updates: 50, ..Setup::new(1, task.usual().rate) };
        (Model::new(&Device::cpu().unwrap(), config, task.form(), setup).unwrap(), config)
    }

    fn plan(steps: usize) -> Plan {
        Plan { steps, point_every: 10, goal: None }
    }

    fn progress(config: RnnConfig) -> Progress {
        Progress::lines(format!("{} H={}", config.cell, config.hidden))
    }

    /// Sets one tensor to one value.
    fn poison(model: &Model, name: &str, value: f32) {
        let entry = model.parameters().entry(name).unwrap().clone();
        let mut all = model.snapshot().unwrap();
        all[entry.offset..][..entry.len()].fill(value);
        model.restore(&all).unwrap();
    }

    /// On the bundled weather, where there is a GPU with f16, be it in software.
    #[test]
    fn half_precision_learns_as_well_as_full() {
        let open = |kind| pollster::block_on(Device::open(kind));
        let device = open(DeviceKind::Gpu).or_else(|_| open(DeviceKind::Software)).expect("an adapter");
        if !device.gpu().is_some_and(|gpu| gpu.capabilities().f16) {
            return;
        }
        let task = Series::load(None, &[], &Ask::default(), Sizes::default(), &Goals::default()).unwrap();
        let error = |precision| {
            let config = RnnConfig::new(Cell::Gru, task.width(), 12);
            let setup = Setup { precision, updates: 40, ..Setup::new(1, task.usual().rate) };
            let mut model = Model::new(&device, config, task.form(), setup).unwrap();
            let learned = train(&mut model, &task, 1, Plan { point_every: 40, ..plan(40) }, &progress(config)).unwrap();
            assert_eq!((learned.steps, learned.stopped), (40, None));
            learned.best_error
        };
        let [full, half] = [Precision::Full, Precision::Half].map(error);
        assert!((half / full - 1.0).abs() < 0.02, "full {full}, half {half}");
    }

    #[test]
    fn weights_that_are_no_numbers_end_training_at_once() {
        let task = task();
        let (mut model, config) = model(&task);
        poison(&model, "rnn.weight_hh_l0", f32::NAN);
        let learned = train(&mut model, &task, 1, plan(50), &progress(config)).unwrap();
        assert_eq!((learned.steps, learned.curve.len()), (0, 0));
        let why = "the loss at training step 0 is NaN, expected a finite number";
        assert_eq!(learned.stopped.as_deref(), Some(why));
    }

    #[test]
    fn gradients_that_are_too_large_end_training() {
        let task = task();
        let (mut model, config) = model(&task);
        // The loss is finite, but not the gradients of the layer below.
        poison(&model, "head.weight", 1.8e19);
        let before = model.snapshot().unwrap();
        let learned = train(&mut model, &task, 1, plan(50), &progress(config)).unwrap();
        assert_eq!((learned.steps, learned.curve.len()), (10, 1));
        let why = learned.stopped.unwrap();
        assert!(why.starts_with("the norm of the gradients at training step 1 is "), "{why}");
        assert_eq!(learned.best, before);
        assert_eq!(model.snapshot().unwrap(), before, "no step was made");
    }

    #[test]
    fn what_was_best_outlives_what_is_not_finite() {
        let task = task();
        let (mut model, config) = model(&task);
        let mut learned = train(&mut model, &task, 1, plan(50), &progress(config)).unwrap();
        assert_eq!((learned.steps, learned.curve.len(), learned.stopped.clone()), (50, 6, None));
        let (best, error) = (learned.best.clone(), learned.best_error);
        assert!(error < learned.curve[0].validation_error);

        poison(&model, "rnn.bias_ih_l0", f32::NAN);
        model.step().unwrap();
        learned.steps += 1;
        let why = look(&mut model, &task, 1, &mut learned, &progress(config)).unwrap();
        assert_eq!(why.as_deref(), Some("the loss at training step 51 is NaN, expected a finite number"));
        assert_eq!((&learned.best, learned.best_error, learned.curve.len()), (&best, error, 6));

        model.restore(&best).unwrap();
        assert_eq!(task.validate(&mut model).unwrap().error, error);
    }

    #[test]
    fn a_step_that_was_refused_is_found_later() {
        let task = task();
        let (mut model, config) = model(&task);
        let good = model.snapshot().unwrap();
        train(&mut model, &task, 1, plan(10), &progress(config)).unwrap();
        poison(&model, "rnn.bias_ih_l0", f32::NAN);
        model.step().unwrap();
        model.restore(&good).unwrap();
        model.step().unwrap();
        let why = model.checked_loss().unwrap_err().to_string();
        assert!(why.starts_with("the norm of the gradients before"), "{why}");
    }

    #[test]
    fn time_is_planned_and_shared_out() {
        let task = task();
        let (mut probe, config) = model(&task);
        let pace = || Pace { step: 1.0, forward: 0.1 };
        // Of 100 s 16 points of 0.1 s a batch and net, and one at the end.
        let look = 0.2 * task.validation_batches() as f64;
        let plan = Plan::of_time(&task, &[pace(), pace()], Duration::from_secs(100));
        assert_eq!(plan.steps, ((100.0 - 17.0 * look) / 2.0) as usize);
        assert_eq!(plan.point_every, plan.steps.div_ceil(16));

        let start = Instant::now();
        let pace = Pace::new(&task, &mut probe, 1).unwrap();
        let plan = Plan::of_time(&task, &[pace], Duration::from_millis(400));
        let (mut model, _) = model(&task);
        let learned = train(&mut model, &task, 1, plan, &progress(config)).unwrap();
        let took = start.elapsed();
        assert!(took > Duration::from_millis(100) && took < Duration::from_secs(5), "{took:?}");
        assert!(learned.steps == plan.steps && learned.steps > 1 && learned.curve.len() > 1);

        let pace = Pace::new(&task, &mut model, 1).unwrap();
        let none = Plan::of_time(&task, &[pace], Duration::from_nanos(1));
        let learned = train(&mut model, &task, 1, none, &progress(config)).unwrap();
        assert_eq!((learned.steps, learned.curve.len()), (1, 2));
    }
}
