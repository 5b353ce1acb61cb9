//! The next character of a text.

use std::path::Path;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::BatchShape;

use super::{Known, Lengths, Score, Shown, Sizes, Stored, Task, Usual, Validated};
use crate::base::numbers::plural;
use crate::base::stop;
use crate::data::text::{self, Corpus};
use crate::net::{Answers, Batch, Fed, Form, LossAt, Model, Reads};
use crate::results::DataUsed;

/// Characters of a sequence, sequences of a batch, most symbols, most validation batches.
const SHAPE: text::Shape = text::Shape { steps: 64, batch: 32, symbols: 256, validation: 24 };
/// Width of a character's embedding.
const EMBEDDING: usize = 32;

pub struct Text(Corpus);

impl Text {
    /// A text; in symbols of its own, or in those that a model knows.
    pub fn load(path: &Path, sizes: Sizes, symbols: Option<&[Option<char>]>) -> Result<Self> {
        let (steps, batch) = (sizes.steps.unwrap_or(SHAPE.steps), sizes.batch.unwrap_or(SHAPE.batch));
        Ok(Self(text::load_text(path, text::Shape { steps, batch, ..SHAPE }, symbols)?))
    }

    /// What a network of these symbols reads and answers.
    pub fn form(symbols: usize, shape: BatchShape, loss_at: LossAt) -> Form {
        let (reads, answers) = (Reads::Tokens { symbols, width: EMBEDDING }, Answers::Classes(symbols));
        Form { shape, reads, answers, loss_at, lengths: false }
    }
}

impl Task for Text {
    fn form(&self) -> Form {
        Self::form(self.0.symbols.len(), BatchShape::new(self.0.steps(), self.0.batch_size()), LossAt::All)
    }

    fn usual(&self) -> Usual {
        Usual { hidden: 64, trained_hidden: 128, updates: 600, point_every: 60, rate: 6e-3 }
    }

    fn used(&self) -> DataUsed {
        DataUsed {
            name: self.0.name.clone(),
            task: format!("the next of {} from those before it", plural(self.0.symbols.len(), "character")),
            notes: self.0.notes.clone(),
            train: self.0.train.len(),
            validation: self.0.judged().len(),
        }
    }

    fn score(&self) -> Score {
        Score {
            loss: "bits per character",
            name: "bits per character",
            unit: "bits".to_string(),
            naive_name: self.0.naive.name.to_string(),
            naive: self.0.naive.bits,
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng, at: LossAt) -> (Batch, Shown) {
        let (x, mut y) = self.0.batch(rng);
        if at == LossAt::Last {
            y.drain(..y.len() - self.0.batch_size());
        }
        let symbol = |id: &u32| self.0.symbols.get(*id as usize).copied().flatten();
        let shown = Shown::Characters(x.iter().step_by(self.0.batch_size()).map(symbol).collect());
        (Batch { x: Fed::Tokens(x), y: Fed::Tokens(y), lengths: None }, shown)
    }

    fn validate(&self, model: &mut Model) -> Result<Validated> {
        let batches = self.0.validation_batches();
        let mut nats = 0.0;
        for index in 0..batches {
            stop::check()?;
            let (x, y) = self.0.validation_batch(index);
            model.feed(Batch { x: Fed::Tokens(x), y: Fed::Tokens(y), lengths: None })?;
            nats += model.validation_loss()?;
        }
        Ok(Validated::alike(self.in_units(nats / batches as f64)))
    }

    fn validation_batches(&self) -> usize {
        self.0.validation_batches()
    }

    /// In bits.
    fn in_units(&self, loss: f64) -> f64 {
        loss / std::f64::consts::LN_2
    }
}

impl Lengths for Text {
    fn with_steps(&self, steps: usize) -> Result<Box<dyn Lengths>> {
        Ok(Box::new(Self(self.0.with_steps(steps)?)))
    }
}

impl Stored for Text {
    fn known(&self) -> Known {
        Known::Text(self.0.symbols.clone())
    }

    fn hash(&self, hasher: &mut crc32fast::Hasher) {
        let Corpus { symbols, train, valid, .. } = &self.0;
        symbols.iter().for_each(|symbol| hasher.update(&symbol.map_or(0, u32::from).to_le_bytes()));
        train.iter().chain(valid).for_each(|id| hasher.update(&id.to_le_bytes()));
    }
}
