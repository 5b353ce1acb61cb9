//! `wgpu-rnn sweep`: RNN, GRU and LSTM side by side over hidden size, length and batch, as a page of the documentation.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueHint;
use wgpu_rnn::nn::rnn::Options;
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Cell, Device, Precision, RnnConfig};

use crate::base::device::Choice;
use crate::base::files::Claim;
use crate::base::stats::{median, sorted};
use crate::base::{say, size, stop};
use crate::measure::{Extras, Subject};
use crate::report::Origin;
use crate::report::sweep::{self, Curve, Page, Point, Quantity};

/// Arguments of `sweep`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: Choice,
    /// full: f32. half: packed weights and activations stored as f16, on GPUs that have it.
    #[arg(long, default_value = "full")]
    precision: Precision,
    /// Strategy to run; default: the one that is chosen for each shape.
    #[arg(long)]
    strategy: Option<String>,
    /// Timed rounds at each point; in a round every cell runs once.
    #[arg(long, default_value = "15", value_parser = size)]
    rounds: usize,
    /// Folder for the report.
    #[arg(long, default_value = "report/sweep", value_hint = ValueHint::DirPath)]
    out: PathBuf,
}

/// The cells compared, in the order of charts and tables.
const CELLS: [Cell; 3] = [Cell::RnnTanh, Cell::Gru, Cell::Lstm];

/// What is varied, its symbol, and (T, B, I, H) of each point.
const SWEEPS: [(&str, &str, [[usize; 4]; 4]); 3] = [
    ("hidden size", "H", [[64, 16, 64, 32], [64, 16, 64, 64], [64, 16, 64, 128], [64, 16, 64, 256]]),
    ("steps", "T", [[32, 16, 64, 64], [64, 16, 64, 64], [128, 16, 64, 64], [256, 16, 64, 64]]),
    ("batch size", "B", [[64, 1, 64, 64], [64, 16, 64, 64], [64, 32, 64, 64], [64, 64, 64, 64]]),
];

/// A point takes no longer than this, but for its first three rounds.
const LONGEST: Duration = Duration::from_secs(6);

pub fn run(args: &Args) -> anyhow::Result<()> {
    let _claim = Claim::for_page(&args.out)?;
    let device = args.device.begin()?;
    stop::listen()?;
    let mut curves = Vec::new();
    for (name, symbol, points) in SWEEPS {
        let mut curve = Curve { name, symbol, points: Vec::new() };
        for shape in points {
            stop::check()?;
            let point = measure(&device, args, shape)?;
            let [steps, batch, input, hidden] = shape;
            let training: Vec<String> = point
                .iter()
                .map(|one: &Point| format!("{} {:.3} ms", one.cell.title(), one.of(Quantity::Training)))
                .collect();
            say(format_args!("T{steps} B{batch} I{input} H{hidden}: training {}", training.join(", ")))?;
            curve.points.extend(point);
        }
        curves.push(curve);
    }
    let origin = Origin::new(&device, "layers of random weights on random inputs".to_string())?;
    let page = Page { origin, kind: device.kind_name(), curves };
    stop::hold(|| sweep::write(&page, &args.out))?;
    Ok(say(format_args!("report: {}", args.out.join("index.html").display()))?)
}

/// Times every cell at one shape, one after another in each round, so that a disturbance falls on all.
fn measure(device: &Device, args: &Args, shape: [usize; 4]) -> anyhow::Result<Vec<Point>> {
    let [steps, batch, input, hidden] = shape;
    let options = Options { strategy: args.strategy.as_deref(), precision: args.precision, ..Options::default() };
    let of = |cell, mode| {
        let (config, shape) = (RnnConfig::new(cell, input, hidden), BatchShape::new(steps, batch));
        Subject::new(device, config, shape, mode, options, &Extras::default())
    };
    let pair = |&cell: &Cell| Ok([of(cell, Mode::Infer)?, of(cell, Mode::Train)?]);
    let subjects: Vec<[Subject; 2]> = CELLS.iter().map(pair).collect::<anyhow::Result<_>>()?;
    let mut times = vec![[Vec::new(), Vec::new()]; subjects.len()];
    let start = Instant::now();
    // The first round warms up.
    for round in 0..=args.rounds {
        if round > 3 && start.elapsed() > LONGEST {
            break;
        }
        for (subjects, times) in subjects.iter().zip(&mut times) {
            for (subject, times) in subjects.iter().zip(times) {
                let timing = subject.time(device)?;
                if round > 0 {
                    times.push(timing.gpu_ms.unwrap_or(timing.wall_ms));
                }
            }
        }
    }
    let point = |((cell, [_, train]), [forward, training]): ((&Cell, &[Subject; 2]), [Vec<f64>; 2])| {
        let memory = train.bound.memory();
        Point {
            cell: *cell,
            shape,
            strategy: train.bound.rnn().strategy(),
            parameters: train.parameters,
            forward_ms: median(&sorted(forward.into_iter())),
            training_ms: median(&sorted(training.into_iter())),
            weight_bytes: train.parameters as u64 * device.float_bytes(),
            reserve_bytes: memory.reserve,
            workspace_bytes: memory.workspace,
        }
    };
    Ok(CELLS.iter().zip(&subjects).zip(times).map(point).collect())
}
