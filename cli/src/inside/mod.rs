//! What `flow` and `gates` share: fresh nets of one hidden size on the same data, before training and after.

pub mod flow;
pub mod gates;

use std::path::PathBuf;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::{Cell, Device, DeviceKind, Precision, RnnConfig};

use crate::compare::{Model, Sizes, Task, today};
use crate::device::Opened;
use crate::learn::Saved;
use crate::report::inside::Origin;
use crate::{say, stop};

/// Arguments of both.
#[derive(clap::Args)]
pub struct Nets {
    /// Device: auto (a hardware GPU, else the CPU), gpu, software or cpu.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Look at this model, which `train` wrote, instead of three fresh nets, on the data that it was trained on or on
    /// --data.
    #[arg(long, conflicts_with_all = ["column", "train", "hidden"])]
    model: Option<PathBuf>,
    /// Look at nets on this file instead of the bundled weather: a CSV file with --column, else a text.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The column of the CSV file that is forecast.
    #[arg(long, requires = "data")]
    column: Option<String>,
    /// Training steps after which the nets are looked at again; none with 0.
    #[arg(long, default_value_t = 300)]
    train: usize,
    /// Hidden size of every net.
    #[arg(long, value_parser = crate::size, default_value_t = 32)]
    hidden: usize,
    /// Seed of weights and batches.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The cells that are looked at.
const CELLS: [Cell; 3] = [Cell::RnnTanh, Cell::Gru, Cell::Lstm];

/// The weights of a net after so many training steps.
struct Weights {
    config: RnnConfig,
    trained: usize,
    values: Vec<f32>,
}

/// Where the numbers of a page are from.
fn origin(device: &Device, data: String) -> anyhow::Result<Origin> {
    let (date, command, device) = (today()?, crate::command_line(), crate::describe(device));
    Ok(Origin { version: env!("CARGO_PKG_VERSION"), date, command, device, data })
}

impl Nets {
    fn saved(&self) -> anyhow::Result<Option<Saved>> {
        self.model.as_deref().map(Saved::open).transpose()
    }

    fn task(&self, saved: Option<&Saved>) -> anyhow::Result<Task> {
        match saved {
            Some(saved) => saved.task(self.data.as_deref()),
            None => crate::learn::load(self.data.as_deref(), self.column.as_deref(), Sizes::default()),
        }
    }

    /// Opens the device, and says on what and with what.
    fn open(&self, task: &Task) -> anyhow::Result<Opened> {
        let device = crate::open(self.device)?;
        stop::listen()?;
        say(format_args!("device: {}", crate::describe(&device)))?;
        say(format_args!("data: {}", task.describe()))?;
        Ok(device)
    }

    /// Weights of the model that is looked at, or of each net, untrained and, if it is to be trained, after that: the same
    /// batches for each.
    fn weights(&self, device: &Device, task: &Task, saved: Option<&Saved>) -> anyhow::Result<Vec<Weights>> {
        if let Some(saved) = saved {
            let config = saved.about.config()?;
            let model = Model::new(device, task, config, Precision::Full, self.seed, 1)?;
            model.load(&saved.checkpoint)?;
            return Ok(vec![Weights { config, trained: saved.about.state.step, values: model.snapshot()? }]);
        }
        let mut all = Vec::new();
        for cell in CELLS {
            let config = RnnConfig::new(cell, task.width(), self.hidden);
            let mut model = Model::new(device, task, config, Precision::Full, self.seed, self.train.max(1))?;
            all.push(Weights { config, trained: 0, values: model.snapshot()? });
            if self.train == 0 {
                continue;
            }
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            for _ in 0..self.train {
                stop::check()?;
                task.feed(&mut model, &mut rng)?;
                model.step()?;
            }
            let loss = model.checked_loss()?;
            say(format_args!("{}: loss {loss:.4} after {} steps", cell.title(), self.train))?;
            all.push(Weights { config, trained: self.train, values: model.snapshot()? });
        }
        Ok(all)
    }

    fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }
}
