//! What `flow` and `gates` share: fresh nets of one hidden size on the same data, before training and after.

use std::path::PathBuf;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::{Device, RnnConfig};

use crate::base::device::{Choice, Opened};
use crate::base::numbers::{plural, significant};
use crate::base::{say, seed, size, stop};
use crate::data::series::Ask;
use crate::learn::{Saved, tell};
use crate::net::{self, LossAt, Model, Setup, expect_apart, title};
use crate::task::{Adding, HORIZON, Kind, Lengths, More, Sizes, Source, Task, Windowing};

/// Arguments of both.
#[derive(clap::Args)]
pub struct Nets {
    #[command(flatten)]
    device: Choice,
    /// Look at this model, which `train` wrote, instead of fresh nets, on the data that it was trained on or on --data.
    #[arg(long, conflicts_with_all = ["task", "column", "train", "hidden", "memory", "view", "horizons", "batch", "inputs",
        "without", "missing", "time", "no_time", "cells"])]
    model: Option<PathBuf>,
    /// The cells of the nets, each with what is changed about its step, if anything is, behind a plus: gru+reset_before.
    #[arg(long, value_name = "CELL,..", value_delimiter = ',', default_value = "rnn_tanh,gru,lstm")]
    cells: Vec<net::Kind>,
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
    #[command(flatten)]
    ask: Ask,
    #[command(flatten)]
    windowing: Windowing,
    /// Look at nets on the adding problem instead of data: of so many numbers two are marked, and their sum is wanted.
    #[arg(long, value_name = "LAG", value_parser = size, conflicts_with_all = ["model", "data", "task", "column", "view", "horizons",
        "inputs", "without", "missing", "time", "no_time"])]
    adding: Option<usize>,
    /// Let the gates of GRU and LSTM begin with memories of 1 to STEPS − 1 steps (chrono initialisation), so that they can be
    /// compared; without it the LSTM's forget bias is 1, and the GRU's gates begin half open.
    #[arg(long, value_name = "STEPS", value_parser = size, conflicts_with = "model")]
    memory: Option<usize>,
    /// Training steps after which the nets are looked at again; none with 0.
    #[arg(long, default_value_t = 300)]
    train: usize,
    /// Hidden size of every net.
    #[arg(long, value_parser = size, default_value_t = 32)]
    hidden: usize,
    /// Seed of weights and batches.
    #[arg(long, default_value_t = 1, value_parser = seed)]
    seed: u64,
}

/// Sequences of a batch of made problems.
const MADE: usize = 64;

/// The weights of a net after so many training steps.
pub struct Weights {
    pub config: RnnConfig,
    pub trained: usize,
    values: Vec<f32>,
}

impl Nets {
    pub fn saved(&self) -> anyhow::Result<Option<Saved>> {
        self.model.as_deref().map(Saved::open).transpose()
    }

    /// The data, in sequences of the task's steps or of these.
    pub fn task(&self, saved: Option<&Saved>, steps: Option<usize>) -> anyhow::Result<Box<dyn Lengths>> {
        let task: Box<dyn Lengths> = match (saved, self.adding) {
            (Some(saved), _) => saved.task(self.data.as_deref())?,
            (None, Some(lag)) => Box::new(Adding::new(lag, self.windowing.batch.unwrap_or(MADE))?),
            (None, None) => {
                let columns = self.column.iter().cloned().collect();
                let (path, ask) = (self.data.clone(), self.ask.clone());
                let source = Source { kind: self.task, path, columns, ask, reset_after: None };
                source.only_of_series(&[&self.windowing.given(), &self.ask.given()])?;
                let speech = source.kind() == Kind::Speech;
                // Only as many rows as are needed; utterances are as long as they are.
                let sizes = Sizes { steps: steps.filter(|_| !speech), batch: self.windowing.batch, carries: false };
                source.load(sizes, &self.windowing.goals(&[HORIZON])?)?
            }
        };
        match steps {
            Some(steps) => task.with_steps(steps),
            None => Ok(task),
        }
    }

    /// A model on such data, judged at these steps if its gradients are to be looked at.
    pub fn watched(
        &self,
        device: &Device,
        task: &dyn Task,
        net: &Weights,
        gradients: Option<LossAt>,
    ) -> anyhow::Result<Model> {
        let setup = Setup { flow: gradients.is_some(), ..self.setup(task) };
        let mut form = task.form();
        form.loss_at = gradients.unwrap_or(form.loss_at);
        let model = Model::new(device, net.config, form, setup)?;
        model.restore(&net.values)?;
        Ok(model)
    }

    /// Opens the device, and says on what and with what.
    pub fn open(&self, task: &dyn Task) -> anyhow::Result<Opened> {
        let device = self.device.begin()?;
        stop::listen()?;
        tell(task)?;
        Ok(device)
    }

    /// Weights of the model that is looked at, or of each net, untrained and, if it is to be trained, after that: the same
    /// batches for each.
    pub fn weights(&self, device: &Device, task: &dyn Task, saved: Option<&Saved>) -> anyhow::Result<Vec<Weights>> {
        if let Some(saved) = saved {
            // As it is used: nothing is dropped.
            let config = saved.about.config()?.without_dropout();
            if config.draws() {
                say("what stays of states is drawn, as in training")?;
            }
            let model = Model::new(device, config, task.form(), self.setup(task))?;
            model.load(&saved.checkpoint)?;
            return Ok(vec![Weights { config, trained: saved.about.state.step, values: model.snapshot()? }]);
        }
        expect_apart(&self.cells)?;
        let mut all = Vec::new();
        for kind in &self.cells {
            let config = kind.config(task.width(), self.hidden);
            let setup = Setup { updates: self.train.max(1), ..self.setup(task) };
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
            let (loss, steps) = (significant(task.in_units(loss), 4), plural(self.train, "step"));
            say(format_args!("{}: training loss {loss} after {steps}", title(&config)))?;
            all.push(Weights { config, trained: self.train, values: model.snapshot()? });
        }
        Ok(all)
    }

    /// How nets begin.
    fn setup(&self, task: &dyn Task) -> Setup {
        Setup { memory: self.memory, ..Setup::new(self.seed, task.usual().rate) }
    }

    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }
}
