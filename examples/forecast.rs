//! Trains a recurrent network on a year of New York's hourly weather to say how warm it will be 24 hours from now, and
//! compares it with the forecast “as warm as now” on weeks that it has never seen.
//!
//! `cargo run --release --example forecast [gru|lstm|rnn]`

use std::f32::consts::TAU;
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use wgpu_rnn::kernel::Program;
use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Linear, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::{Optimizer, OptimizerConfig, Schedule};
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, RnnConfig};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/weather-nyc-2013.csv");

/// Hours that the network sees, and hours from the last of them to the one it forecasts.
const SEEN: usize = 72;
const AHEAD: usize = 24;
/// Hours at the end of the year that are kept from training: six weeks.
const HELD_OUT: usize = 6 * 7 * 24;

const HIDDEN: usize = 32;
const BATCH: usize = 128;
const STEPS: u32 = 200;

fn main() -> Result<()> {
    let cell: Cell = std::env::args().nth(1).as_deref().unwrap_or("gru").parse()?;
    let weather = Weather::load()?;
    let rows = weather.training_rows();
    let (training, held_out) = (weather.windows(0..rows), weather.windows(rows..weather.hour.len()));
    println!(
        "Windows of {SEEN} + {AHEAD} hours without a missing one: {} for training, {} held out",
        training.len(),
        held_out.len()
    );

    let device = Device::auto()?;
    println!("Device: {} ({})", device.name(), device.backend());

    // One table of parameters for the whole model; each layer finds its own by the prefix of their names.
    let layer = RnnConfig::new(cell, FEATURES, HIDDEN);
    let head = Linear::new(HIDDEN, 1);
    let mut table = tensors(&layer, "rnn.");
    table.extend(head.parameters("head."));
    let parameters = Parameters::new(&device, table)?;
    let init = Init { forget_bias: Some(1.0), ..Init::new(1) };
    init.apply(&parameters, "rnn.", Layer::Rnn(&layer))?;
    init.apply(&parameters, "head.", Layer::Linear(&head))?;
    println!("Model: {} of {HIDDEN} units and a linear head, {} parameters", cell.title(), parameters.count());

    // A plan is made for one batch size, so there are three; all of them use the same parameters.
    let trainer = Trainer::new(&parameters, layer, head)?;
    let sample: Vec<usize> = training.iter().copied().step_by(8).collect();
    let seen = Judge::new(&parameters, layer, head, &weather, sample)?;
    let unseen = Judge::new(&parameters, layer, head, &weather, held_out)?;

    println!("\nMean absolute error, °F\n          step  training  held out");
    let (naive_seen, naive) = (weather.error(&seen.windows, None), weather.error(&unseen.windows, None));
    println!("as warm as now  {naive_seen:>8.2}  {naive:>8.2}");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let start = Instant::now();
    for step in 1..=STEPS {
        let batch: Vec<usize> = (0..BATCH).map(|_| training[rng.random_range(0..training.len())]).collect();
        trainer.step(&weather.inputs(&batch), &weather.changes(&batch))?;
        // Reading back waits for the device, so do it now and then, not at every step.
        if step % 20 == 0 {
            println!("{step:>14}  {:>8.2}  {:>8.2}", seen.error(&weather)?, unseen.error(&weather)?);
        }
    }
    let (took, error) = (start.elapsed().as_secs_f32(), unseen.error(&weather)?);
    println!(
        "\n{STEPS} steps took {took:.1} s. On the last six weeks of the year, which it has never seen, the {}'s mean",
        cell.title()
    );
    println!(
        "absolute error is {error:.2} °F, that of “as warm as now” {naive:.2} °F: {:.0}% less.",
        100.0 * (1.0 - error / naive)
    );
    Ok(())
}

/// Sequences in, one number a sequence out: a recurrent layer whose last state goes through a linear head.
struct Network {
    /// `[T, B, I]`: all sequences' first step, then all their second, …
    x: Buffer,
    /// `[B, 1]`.
    y: Buffer,
    /// The state after the last step, `[1, B, H]`, and where its gradient goes.
    state: Buffer,
    d_state: Buffer,
    /// x to y.
    forward: Program,
    /// The layer's part of the way back; empty unless it is for training.
    backward: Program,
}

impl Network {
    fn new(parameters: &Parameters, config: RnnConfig, head: Linear, batch: usize, mode: Mode) -> Result<Self> {
        let device = parameters.device();
        let shape = BatchShape::new(SEEN, batch);
        let plan = Rnn::new(device, config, shape, mode, Options::default())?;

        let x = device.alloc("x", shape.rows() * config.input)?;
        let y = device.alloc("y", batch)?;
        let state = device.alloc("last state", batch * config.hidden)?;
        let d_state = device.alloc("gradient of the last state", batch * config.hidden)?;

        // Only the last output is used.
        let io = Io::of_last(&x, &state);
        let gradients = Gradients { dlast: Some(d_state.clone()), ..Gradients::default() };
        let bound = plan.bind(parameters, "rnn.", &io, &gradients, &plan.reserve()?, &plan.workspace()?)?;
        let mut forward = bound.forward;
        forward.append(head.bind(parameters, "head.", batch, &state, &y)?);
        Ok(Self { x, y, state, d_state, forward, backward: bound.backward })
    }
}

/// A network with everything that training adds.
struct Trainer {
    device: Device,
    network: Network,
    target: Buffer,
    loss: Loss,
    head_backward: Program,
    optimizer: Optimizer,
}

impl Trainer {
    fn new(parameters: &Parameters, layer: RnnConfig, head: Linear) -> Result<Self> {
        let device = parameters.device().clone();
        let network = Network::new(parameters, layer, head, BATCH, Mode::Train)?;
        let target = device.alloc("target", BATCH)?;
        let dy = device.alloc("gradient of y", BATCH)?;
        let loss = Loss::mse(&device, &network.y, &target, Some(&dy))?;
        let head_backward = head.backward(parameters, "head.", BATCH, &network.state, &dy, Some(&network.d_state))?;
        let schedule = Schedule::Cosine { steps: STEPS, floor: 0.0 };
        let rule = OptimizerConfig::adamw(1e-3).clip_norm(Some(1.0)).schedule(schedule);
        let optimizer = Optimizer::new(parameters, rule)?;
        Ok(Self { device, network, target, loss, head_backward, optimizer })
    }

    /// One training step, submitted as one piece of work. Gradients are overwritten, so there is nothing to zero.
    fn step(&self, x: &[f32], target: &[f32]) -> Result<()> {
        self.device.write(&self.network.x, x)?;
        self.device.write(&self.target, target)?;
        self.device.run(|recorder| {
            self.network.forward.record(recorder)?;
            self.loss.record(recorder)?;
            self.head_backward.record(recorder)?;
            self.network.backward.record(recorder)?;
            self.optimizer.record(recorder)
        })?;
        Ok(())
    }
}

/// A network that forecasts the same windows again and again.
struct Judge {
    device: Device,
    network: Network,
    windows: Vec<usize>,
}

impl Judge {
    fn new(
        parameters: &Parameters,
        layer: RnnConfig,
        head: Linear,
        weather: &Weather,
        windows: Vec<usize>,
    ) -> Result<Self> {
        let device = parameters.device().clone();
        let network = Network::new(parameters, layer, head, windows.len(), Mode::Infer)?;
        device.write(&network.x, &weather.inputs(&windows))?;
        Ok(Self { device, network, windows })
    }

    /// Mean absolute error, °F.
    fn error(&self, weather: &Weather) -> Result<f32> {
        self.device.run(|recorder| self.network.forward.record(recorder))?;
        Ok(weather.error(&self.windows, Some(&self.device.read(&self.network.y)?)))
    }
}

/// A row of the file. An empty field is `None`.
#[derive(Deserialize)]
struct Row {
    time: String,
    temp: Option<f32>,
    dewp: Option<f32>,
    humid: Option<f32>,
    wind_dir: Option<f32>,
    wind_speed: Option<f32>,
    precip: Option<f32>,
    pressure: Option<f32>,
}

/// Temperature, dew point, humidity, wind towards north and east, rain, pressure, and the time of day on a circle.
const FEATURES: usize = 9;

/// The rows of the file in order.
struct Weather {
    /// Hours since the year began. A row that is missing leaves a hole in them.
    hour: Vec<usize>,
    /// °F.
    temperature: Vec<f32>,
    /// Standardised: mean 0 and deviation 1 over the rows for training.
    features: Vec<[f32; FEATURES]>,
    /// Root mean square change of the temperature from now to the hour ahead, °F.
    scale: f32,
}

impl Weather {
    /// Reads the file. A value that is missing in a row keeps the last known one.
    fn load() -> Result<Self> {
        let mut weather = Self { hour: Vec::new(), temperature: Vec::new(), features: Vec::new(), scale: 1.0 };
        let mut known = [0.0; 7];
        let mut missing = 0;
        for row in csv::Reader::from_path(FILE).context(FILE)?.into_deserialize() {
            let row: Row = row.context(FILE)?;
            let given = [row.temp, row.dewp, row.humid, row.wind_dir, row.wind_speed, row.precip, row.pressure];
            for (known, given) in known.iter_mut().zip(given) {
                missing += usize::from(given.is_none());
                *known = given.unwrap_or(*known);
            }
            let [temp, dewp, humid, wind_dir, wind_speed, precip, pressure] = known;
            let hour = hour_of_year(&row.time).with_context(|| format!("{FILE}: `{}` is not a time", row.time))?;
            let (wind_y, wind_x) = wind_dir.to_radians().sin_cos();
            let (day_y, day_x) = ((hour % 24) as f32 / 24.0 * TAU).sin_cos();
            weather.hour.push(hour);
            weather.temperature.push(temp);
            let wind = [wind_speed * wind_x, wind_speed * wind_y];
            weather.features.push([temp, dewp, humid, wind[0], wind[1], precip, pressure, day_x, day_y]);
        }
        weather.standardise();
        println!("Data: {} hours; {missing} missing values keep the last known one", weather.hour.len());
        Ok(weather)
    }

    /// Rows for training; the others are held out.
    fn training_rows(&self) -> usize {
        self.hour.len().saturating_sub(HELD_OUT)
    }

    fn standardise(&mut self) {
        let rows = self.training_rows();
        for feature in 0..FEATURES {
            let mean = self.features[..rows].iter().map(|row| row[feature]).sum::<f32>() / rows as f32;
            let variance =
                self.features[..rows].iter().map(|row| (row[feature] - mean).powi(2)).sum::<f32>() / rows as f32;
            self.features.iter_mut().for_each(|row| row[feature] = (row[feature] - mean) / variance.sqrt());
        }
        let windows = self.windows(0..rows);
        self.scale =
            (self.changes(&windows).iter().map(|change| change.powi(2)).sum::<f32>() / windows.len() as f32).sqrt();
    }

    /// First rows of the windows in `rows`: the hours that the network sees and those up to the one it forecasts, without
    /// a hole.
    fn windows(&self, rows: Range<usize>) -> Vec<usize> {
        let last = SEEN + AHEAD - 1;
        let whole = |&first: &usize| self.hour[first + last] == self.hour[first] + last;
        (rows.start..rows.end.saturating_sub(last)).filter(whole).collect()
    }

    /// What the network sees of these windows, `[T, B, I]`.
    fn inputs(&self, windows: &[usize]) -> Vec<f32> {
        (0..SEEN).flat_map(|step| windows.iter().flat_map(move |first| self.features[first + step])).collect()
    }

    /// What it should answer, `[B]`: by how much the temperature will have changed. It is easier to learn than the
    /// temperature itself, since an untrained network that answers 0 is already as good as the naive forecast.
    fn changes(&self, windows: &[usize]) -> Vec<f32> {
        let now = |first: usize| first + SEEN - 1;
        let change = |&first: &usize| self.temperature[now(first) + AHEAD] - self.temperature[now(first)];
        windows.iter().map(|first| change(first) / self.scale).collect()
    }

    /// Mean absolute error of a network's answers, or of the forecast “as warm as now”, °F.
    fn error(&self, windows: &[usize], answers: Option<&[f32]>) -> f32 {
        let answer = |index: usize| answers.map_or(0.0, |answers| answers[index]);
        let miss = |(index, change): (usize, f32)| (change - answer(index)).abs() * self.scale;
        self.changes(windows).into_iter().enumerate().map(miss).sum::<f32>() / windows.len() as f32
    }
}

/// Hours from the beginning of 2013 to a time such as `2013-01-01T06:00`.
fn hour_of_year(time: &str) -> Option<usize> {
    const DAYS_BEFORE: [usize; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let number = |digits: Range<usize>| time.get(digits)?.parse::<usize>().ok();
    let days = DAYS_BEFORE.get(number(5..7)?.checked_sub(1)?)? + number(8..10)?.checked_sub(1)?;
    Some(days * 24 + number(11..13)?)
}
