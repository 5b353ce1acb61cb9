//! What `flow` and `gates` share: fresh nets of one hidden size on the same data, before training and after.

pub mod flow;
pub mod gates;

use std::path::PathBuf;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::{Cell, Device, RnnConfig};

use crate::device::{Choice, Opened};
use crate::learn::Saved;
use crate::net::{LossAt, Model, Setup};
use crate::task::{Goals, Kind, More, Sizes, Source, Stored};
use crate::{say, stop};

/// Arguments of both.
#[derive(clap::Args)]
pub struct Nets {
    #[command(flatten)]
    device: Choice,
    /// Look at this model, which `train` wrote, instead of three fresh nets, on the data that it was trained on or on
    /// --data.
    #[arg(long, conflicts_with_all = ["task", "column", "train", "hidden"])]
    model: Option<PathBuf>,
    /// Look at nets on this file instead of the bundled weather: a CSV file with --column, a .ts file of utterances, else a
    /// text.
    #[arg(long)]
    data: Option<PathBuf>,
    /// What the data are, where their name does not say; without --data, which bundled data to take: series or speech.
    #[arg(long, value_enum)]
    task: Option<Kind>,
    /// The column of the series that is forecast.
    #[arg(long)]
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

impl Nets {
    fn saved(&self) -> anyhow::Result<Option<Saved>> {
        self.model.as_deref().map(Saved::open).transpose()
    }

    fn task(&self, saved: Option<&Saved>) -> anyhow::Result<Box<dyn Stored>> {
        match saved {
            Some(saved) => saved.task(self.data.as_deref()),
            None => {
                let columns = self.column.iter().cloned().collect();
                let source = Source { kind: self.task, path: self.data.clone(), columns };
                source.load(Sizes::default(), &Goals::default())
            }
        }
    }

    /// A model on such data whose gradients can be looked at, judged at these steps.
    fn watched(&self, device: &Device, task: &dyn Stored, net: &Weights, loss_at: LossAt) -> anyhow::Result<Model> {
        let setup = Setup { flow: true, ..Setup::new(self.seed, task.usual().rate) };
        let mut form = task.form();
        form.loss_at = loss_at;
        let model = Model::new(device, net.config, form, setup)?;
        model.restore(&net.values)?;
        Ok(model)
    }

    /// Opens the device, and says on what and with what.
    fn open(&self, task: &dyn Stored) -> anyhow::Result<Opened> {
        let device = self.device.begin()?;
        stop::listen()?;
        say(format_args!("data: {}", task.describe()))?;
        Ok(device)
    }

    /// Weights of the model that is looked at, or of each net, untrained and, if it is to be trained, after that: the same
    /// batches for each.
    fn weights(&self, device: &Device, task: &dyn Stored, saved: Option<&Saved>) -> anyhow::Result<Vec<Weights>> {
        if let Some(saved) = saved {
            let config = saved.about.config()?;
            let model = Model::new(device, config, task.form(), Setup::new(self.seed, task.usual().rate))?;
            model.load(&saved.checkpoint)?;
            return Ok(vec![Weights { config, trained: saved.about.state.step, values: model.snapshot()? }]);
        }
        let mut all = Vec::new();
        for cell in CELLS {
            let config = RnnConfig::new(cell, task.width(), self.hidden);
            let setup = Setup { updates: self.train.max(1), ..Setup::new(self.seed, task.usual().rate) };
            let mut model = Model::new(device, config, task.form(), setup)?;
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
            let loss = task.in_units(loss);
            say(format_args!("{}: training loss {loss:.4} after {} steps", cell.title(), self.train))?;
            all.push(Weights { config, trained: self.train, values: model.snapshot()? });
        }
        Ok(all)
    }

    fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }
}
