//! `wgpu-rnn train`: trains a model on one's own data, keeps what is needed to go on, and the best so far.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::HumanDuration;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::Error;
use wgpu_rnn::probe::{Activity, Flow, Remark, Trouble, Watch, troubles};

use crate::base::device::Choice;
use crate::base::files::Claim;
use crate::base::numbers::{count, significant};
use crate::base::progress::Progress;
use crate::base::say;
use crate::base::stop::{self, Interrupted};
use crate::learn::{About, BEST, KEY, New, Pulse, Saved, choose, kept_path, tell};
use crate::net::{Inside, Model};
use crate::report::Origin;
use crate::report::training;
use crate::results::Point;
use crate::task::{More, Source, Stored, Validated};

/// What is written in the folder.
const LAST: &str = "last.safetensors";

/// Arguments of `train`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: Choice,
    /// Train on this file instead of the bundled weather: a CSV file with --column, a .ts file of utterances, else a text,
    /// character by character.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder of the model: `last.safetensors`, to go on from, `best.safetensors`, and the page of its training.
    #[arg(long, default_value = "model")]
    out: PathBuf,
    /// Go on from `last.safetensors` in the folder, on the same data, as if training had never stopped.
    #[arg(long)]
    resume: bool,
    /// Do not look inside the model for gradients that vanish, gates that are saturated and the like.
    #[arg(long)]
    no_warnings: bool,
    #[command(flatten)]
    new: New,
}

pub fn run(args: &Args) -> Result<()> {
    // Before anything in it is looked at, which another run may be writing.
    let _claim = Claim::new(&args.out)?;
    remove_parts(&args.out);
    let last = args.out.join(LAST);
    let there = [LAST, BEST].map(|name| args.out.join(name)).into_iter().find(|file| file.exists());
    let saved = match (args.resume, &there) {
        (true, _) => Some(Saved::open(&last)?),
        (false, None) => None,
        (false, Some(file)) => {
            bail!(
                "{}: there is a model already; go on with --resume, or name another folder with --out",
                file.display()
            )
        }
    };
    let (task, begun) = match &saved {
        Some(saved) => {
            let mut about = saved.about.clone();
            args.new.go_on(&mut about)?;
            if let Some(path) = &args.data {
                about.data.source.path = Some(kept_path(path)?);
            }
            (saved.same_task(args.data.as_deref())?, Begun::Before(Box::new(about)))
        }
        None => {
            let (task, source) = args.new.load(args.data.as_deref())?;
            (task, Begun::Now(source))
        }
    };
    let device = args.device.begin()?;
    stop::listen()?;
    tell(&*task)?;
    let (task, about) = match begun {
        Begun::Before(about) => (task, *about),
        Begun::Now(source) => {
            let (new, config) = (&args.new, args.new.config(&*task));
            let task = choose(&device, task, new.windowing.view, config, new.seed(), new.updates())?;
            let about = args.new.about(&*task, source);
            (task, about)
        }
    };
    let config = about.config()?;
    let model = Model::new(&device, config, task.form(), about.setup())?;
    let rng = match &saved {
        Some(saved) => {
            model.resume(&saved.checkpoint, about.state.step)?;
            about.rng()?
        }
        None => ChaCha8Rng::seed_from_u64(about.rule.seed),
    };
    let count = count(model.parameters().count() as u64);
    say(format_args!("validation: {}", task.score().meaning()))?;
    say(format_args!("model: {}, {count} parameters", about.net.words()))?;
    let inside = if args.no_warnings { None } else { Some(model.inside()?) };
    let unfollowed = match (config.options.clip.gradient, config.options.projection) {
        (Some(_), _) => Some("with clip_gradient what comes back from step to step is not the gradient itself"),
        (None, Some(_)) => Some("with a projection there are no norms of them"),
        (None, None) => None,
    };
    if let Some(why) = unfollowed.filter(|_| inside.is_some()) {
        say(format_args!("gradients are not followed: {why}"))?;
    }
    let (bar, watch) = (Progress::new(String::new()), Watch::resume(about.state.said.clone()));
    bar.begin(about.state.step, about.rule.updates);
    let (origin, began) = (Origin::new(&device, task.describe())?, Instant::now());
    let (out, since) = (&args.out, (about.state.step, began));
    let speeds = training::speeds(out, about.state.step);
    Training { task, model, about, rng, out, bar, began, origin, since, speeds, first: None, inside, watch }.whole()
}

/// Removes what killed runs left of files that they were writing.
fn remove_parts(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".part")
            && [LAST, BEST, training::PAGE, training::TABLE].iter().any(|file| name.starts_with(file))
        {
            // What can't be removed is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// What there is when the data were read.
enum Begun {
    /// A training that goes on.
    Before(Box<About>),
    /// One that begins, on data from here.
    Now(Source),
}

/// A training on its way.
struct Training<'a> {
    task: Box<dyn Stored>,
    model: Model,
    about: About,
    rng: ChaCha8Rng,
    out: &'a Path,
    bar: Progress,
    began: Instant,
    /// Where the page says that it was made.
    origin: Origin,
    /// The update after which was last validated, or begun, and when that was.
    since: (usize, Instant),
    /// Sequences trained on in a second, validation not counted, up to these updates.
    speeds: Vec<(usize, f64)>,
    /// The update that it began at, this time.
    first: Option<usize>,
    /// What looks inside.
    inside: Option<Inside>,
    watch: Watch,
}

impl Training<'_> {
    /// Trains; where something goes wrong the page says so.
    fn whole(&mut self) -> Result<()> {
        let ran = self.run();
        if let Err(error) = &ran
            && !error.is::<Interrupted>()
        {
            let step = self.about.state.step;
            self.about.state.remarks.push(format!("step {step}: training ended: {error}"));
            self.report()?;
        }
        ran
    }

    fn run(&mut self) -> Result<()> {
        self.first = Some(self.about.state.step);
        loop {
            let (step, rule, asked) = (self.about.state.step, &self.about.rule, stop::asked());
            let (last, save) = (step >= rule.updates, step.is_multiple_of(rule.save_every));
            if (last || step.is_multiple_of(rule.look_every)) && self.about.state.looked != Some(step) {
                match self.look() {
                    Err(error) if error.is::<Interrupted>() => return self.interrupted(),
                    looked => looked?,
                }
                self.save(LAST)?;
            } else if (save || asked) && self.first != Some(step) {
                self.save(LAST)?;
            }
            let over = self.about.state.since_best >= self.about.rule.patience;
            if last || over {
                break self.end(over && !last);
            }
            if asked {
                return self.interrupted();
            }
            for _ in 0..self.about.rule.accumulate {
                self.task.feed(&mut self.model, &mut self.rng)?;
                self.model.step()?;
            }
            self.about.state.step += 1;
            self.bar.step();
        }
    }

    /// Saves what there is, and says so.
    fn interrupted(&mut self) -> Result<()> {
        let step = self.about.state.step;
        if self.first != Some(step) {
            self.save(LAST)?;
        }
        self.bar.end();
        let last = self.out.join(LAST);
        let written = match last.exists() {
            true => Some(format!("{} is after step {step}, --resume goes on", last.display())),
            false => None,
        };
        Err(Interrupted { written }.into())
    }

    /// Validates, and keeps what is best.
    fn look(&mut self) -> Result<()> {
        let step = self.about.state.step;
        let loss = match step {
            // Nothing was trained yet: the loss of the batch that will come first.
            0 => {
                self.task.feed(&mut self.model, &mut self.rng.clone())?;
                self.model.validation_loss()?
            }
            // A training that ended right here kept it.
            _ if self.first == Some(step) => self.about.state.loss.unwrap_or(f64::NAN),
            _ => self.checked_loss()?,
        };
        let pulse = self.pulse()?;
        // Of the batch that was trained on last, which validation replaces.
        let inside = self.look_inside()?;
        let Validated { error: validation_error, loss: validation_loss } = self.task.validate(&mut self.model)?;
        // With what it found out about quantiles.
        self.about.net.known = self.task.known();
        if !(loss.is_finite() && validation_error.is_finite()) {
            let what = "the loss or the validation error".to_string();
            return Err(Error::NonFinite { what, step: step as u64, got: loss + validation_error }.into());
        }
        // Whenever this is killed, where there is a best one there is one to go on from, which has not been validated yet.
        if !self.out.join(LAST).exists() {
            self.save(LAST)?;
        }
        let point = Point { step, train_loss: self.task.in_units(loss), validation_loss, validation_error };
        let pace = Pace {
            made: step - self.first.unwrap_or(0),
            left: self.about.rule.updates - step,
            batch: self.sequences(),
            took: self.began.elapsed(),
        };
        let (unit, speed) = (self.task.score().unit, pace.speed());
        let of = |digits: usize| [point.train_loss, validation_error].map(|one| significant(one, digits));
        let ([loss, error], [brief_loss, brief]) = (of(4), of(3));
        let speed = speed.map_or_else(String::new, |speed| format!(", {speed:.0} seq/s"));
        // The bar has the time left.
        self.bar.point(
            format_args!("loss {brief_loss}, {}{speed}", format!("{brief} {unit}").trim_end()),
            format_args!("step {step}: loss {loss}, validation {}{pace}", format!("{error} {unit}").trim_end()),
        )?;
        let state = &mut self.about.state;
        state.curve.push(point);
        state.pulses.extend(pulse);
        state.looked = Some(step);
        if state.best.is_none_or(|(best, _)| validation_error < best) {
            (state.best, state.since_best) = (Some((validation_error, step)), 0);
            self.save(BEST)?;
        } else {
            state.since_best += 1;
        }
        inside.iter().try_for_each(|inside| self.warn(inside))?;
        self.report()?;
        self.since = (step, Instant::now());
        Ok(())
    }

    /// Sequences that a training step is made by.
    fn sequences(&self) -> usize {
        self.task.shape().batch * self.about.rule.accumulate
    }

    /// How training went since the point before; none before the first step.
    fn pulse(&mut self) -> Result<Option<Pulse>> {
        let ((since, at), step) = (self.since, self.about.state.step);
        if step > since {
            let sequences = ((step - since) * self.sequences()) as f64;
            self.speeds.push((step, sequences / at.elapsed().as_secs_f64()));
        }
        let made = self.model.progress_made()?;
        Ok((step > 0).then_some(Pulse { step, rate: made.learning_rate, gradient_norm: made.gradient_norm }))
    }

    /// Writes the page of what there is by now.
    fn report(&self) -> Result<()> {
        let (score, parameters) = (self.task.score(), self.model.parameters().count());
        let (origin, about, speeds) = (&self.origin, &self.about, &self.speeds);
        let notes = &self.task.used().notes;
        let lengths = self.task.form().lengths;
        let page = training::Page { lengths, origin, about, score: &score, parameters, speeds, notes };
        stop::hold(|| page.write(self.out))
    }

    /// Looks inside, on the batch that was trained on last.
    fn look_inside(&self) -> Result<Option<(Option<Flow>, Activity)>> {
        let Some(inside) = &self.inside else { return Ok(None) };
        let found = inside.look(&self.model)?;
        // A dynamic loss scale finds its size by gradients that overflow: they explode by it, not by the model.
        let finite = |flow: &Option<Flow>| flow.as_ref().is_none_or(Flow::is_finite);
        Ok(found.filter(|(flow, _)| !self.about.rule.half || finite(flow)))
    }

    /// Says what has been wrong inside for a while, where learning suffers, and what no longer is.
    fn warn(&mut self, (flow, activity): &(Option<Flow>, Activity)) -> Result<()> {
        let state = &mut self.about.state;
        let suffers = state.suffers(self.task.score().naive);
        for remark in self.watch.look(state.step as u64, flow.as_ref(), activity, suffers) {
            let said = match &remark {
                Remark::Warning(warning) => format!("warning: {warning}; {}", advice(&warning.trouble)),
                over => format!("well again: {over}"),
            };
            self.bar.note(&said)?;
            state.remarks.push(said);
        }
        state.said = self.watch.said().collect();
        Ok(())
    }

    /// The loss of the last step. Where that, or its gradient, is not finite, what is wrong inside is said first.
    fn checked_loss(&mut self) -> Result<f64> {
        match self.model.checked_loss() {
            Err(error @ Error::NonFinite { .. }) => {
                // Whatever is wrong may be why.
                if let Some((flow, activity)) = self.look_inside()? {
                    for warning in troubles(self.about.state.step as u64, flow.as_ref(), &activity) {
                        self.bar.note(format!("warning: {warning}; {}", advice(&warning.trouble)))?;
                    }
                }
                self.bar.end();
                bail!("{error}; try a smaller --learning-rate, or look for such values in the data")
            }
            other => Ok(other?),
        }
    }

    /// Saves everything in one file, unless training has gone wrong: then what was there is better.
    fn save(&mut self, name: &str) -> Result<()> {
        if self.about.state.step > 0 && self.first != Some(self.about.state.step) {
            self.about.state.loss = Some(self.checked_loss()?);
        }
        let text = self.about.to_text(&self.rng)?;
        Ok(stop::hold(|| self.model.save(&self.out.join(name), (KEY, &text)))?)
    }

    fn end(&self, early: bool) -> Result<()> {
        self.bar.end();
        let (best, step) = (self.about.state.best, self.about.state.step);
        if self.first == Some(step) {
            let longer = if early { "--patience" } else { "--updates" };
            say(format_args!("it was finished after step {step}: with more {longer} it would go on"))?;
        } else if early {
            say(format_args!(
                "stopped after step {step}: no better validation in {} of them",
                self.about.rule.patience
            ))?;
        }
        if let Some((error, at)) = best {
            let score = self.task.score();
            let (best, naive) = (score.as_text(error), score.as_text(score.naive));
            say(format_args!("best {}: {best} after step {at} (naive: {naive})", score.name))?;
            if at == 0 && step > 0 {
                say("nothing was learnt: the net was best before it was trained")?;
            }
            score.unbeaten(error).iter().try_for_each(say)?;
        }
        say(format_args!("model: {}", self.out.join(BEST).display()))?;
        Ok(say(format_args!("report: {}", self.out.join("index.html").display()))?)
    }
}

/// What one would try, with the options of the command.
fn advice(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Vanishing { gated: false, .. } => {
            "what is further back can't be learnt: try --cell lstm or gru, or fewer --steps"
        }
        Trouble::Vanishing { gated: true, .. } => "what is further back can't be learnt: try fewer --steps",
        Trouble::Exploding { .. } | Trouble::Saturated { .. } => "try a smaller --learning-rate",
        Trouble::Dead { .. } => {
            "they learn nothing: try a smaller --learning-rate, another --seed or a smaller --hidden"
        }
        Trouble::Idle { .. } => "their output hardly matters: try a smaller --hidden",
        Trouble::NonFinite { .. } => "try a smaller --learning-rate, or look for such values in the data",
    }
}

/// How fast training goes.
struct Pace {
    /// Updates made since it began, and still to make.
    made: usize,
    left: usize,
    batch: usize,
    took: Duration,
}

impl Pace {
    /// Sequences a second; none before the first update.
    fn speed(&self) -> Option<f64> {
        let speed = (self.made * self.batch) as f64 / self.took.as_secs_f64();
        (self.made > 0 && speed.is_finite()).then_some(speed)
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(speed) = self.speed() else { return Ok(()) };
        let left = self.took.mul_f64(self.left as f64 / self.made as f64);
        write!(f, ", {speed:.0} sequences/s, {} left", HumanDuration(left))
    }
}
