//! The next character of a text.

use std::path::Path;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::BatchShape;

use super::{Known, Lengths, Score, Shown, Sizes, Stored, Task, Usual, Validated};
use crate::base::numbers::plural;
use crate::base::stop;
use crate::data::text::{self, Corpus, Reading, Stretches};
use crate::net::{Answers, Batch, Fed, Form, LossAt, Model, Reads};
use crate::results::DataUsed;

/// Characters of a sequence, sequences of a batch, most symbols, most validation batches.
const SHAPE: text::Shape = text::Shape { steps: 64, batch: 32, symbols: 256, validation: 24 };
/// Width of a character's embedding.
const EMBEDDING: usize = 32;

/// Said of a text that is read in order.
const CARRIES: &str =
    "Each batch goes on where the one before it ended, with the states that it left, in training and in validation.";

/// A text, and whether training reads it in order.
pub struct Text {
    corpus: Corpus,
    carries: bool,
}

impl Text {
    pub fn load(path: &Path, sizes: Sizes, reading: Reading<'_>) -> Result<Self> {
        let (steps, batch) = (sizes.steps.unwrap_or(SHAPE.steps), sizes.batch.unwrap_or(SHAPE.batch));
        let corpus = text::load_text(path, text::Shape { steps, batch, ..SHAPE }, reading)?;
        let mut task = Self { corpus, carries: sizes.carries };
        if task.carries {
            task.corpus.notes.push(CARRIES.to_string());
        }
        Ok(task)
    }

    /// What a network of these symbols reads and answers.
    pub fn form(symbols: usize, shape: BatchShape, loss_at: LossAt) -> Form {
        let (reads, answers) = (Reads::Tokens { symbols, width: EMBEDDING }, Answers::Classes(symbols));
        Form::new(shape, reads, answers, loss_at)
    }
}

/// What a network is fed.
fn batch(Stretches { x, y, anew }: Stretches) -> Batch {
    Batch { resets: Some(anew), ..Batch::new(Fed::Tokens(x), Fed::Tokens(y)) }
}

/// How many batches were drawn in order: the generator moves on by a word each, so that a training that goes on knows.
fn count(rng: &mut ChaCha8Rng) -> usize {
    let drawn = rng.get_word_pos();
    rng.set_word_pos(drawn + 1);
    usize::try_from(drawn).unwrap_or(0)
}

impl Task for Text {
    fn form(&self) -> Form {
        let Corpus { symbols, .. } = &self.corpus;
        let shape = BatchShape::new(self.corpus.steps(), self.corpus.batch_size());
        Form { carries: self.carries, ..Self::form(symbols.len(), shape, LossAt::All) }
    }

    fn usual(&self) -> Usual {
        Usual { hidden: 64, trained_hidden: 128, updates: 600, point_every: 60, rate: 6e-3 }
    }

    fn used(&self) -> DataUsed {
        DataUsed {
            name: self.corpus.name.clone(),
            task: format!("the next of {} from those before it", plural(self.corpus.symbols.len(), "character")),
            notes: self.corpus.notes.clone(),
            train: self.corpus.train.len(),
            validation: self.corpus.judged().len(),
        }
    }

    fn score(&self) -> Score {
        Score {
            loss: "bits per character",
            name: "bits per character",
            unit: "bits".to_string(),
            naive_name: self.corpus.naive.name.to_string(),
            naive: self.corpus.naive.bits,
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng, at: LossAt) -> (Batch, Shown) {
        let mut drawn = match self.carries {
            true => self.corpus.batch_in_order(count(rng)),
            false => self.corpus.batch(rng),
        };
        if at == LossAt::Last {
            drawn.y.drain(..drawn.y.len() - self.corpus.batch_size());
        }
        let symbol = |id: &u32| self.corpus.symbols.get(*id as usize).copied().flatten();
        let shown = Shown::Characters(drawn.x.iter().step_by(self.corpus.batch_size()).map(symbol).collect());
        (batch(drawn), shown)
    }

    fn validate(&self, model: &mut Model) -> Result<Validated> {
        let batches = self.corpus.validation_batches();
        let mut nats = 0.0;
        for index in 0..batches {
            stop::check()?;
            model.feed(batch(match self.carries {
                true => self.corpus.validation_in_order(index),
                false => self.corpus.validation_batch(index),
            }))?;
            nats += model.validation_loss()?;
        }
        Ok(Validated::alike(self.in_units(nats / batches as f64)))
    }

    fn validation_batches(&self) -> usize {
        self.corpus.validation_batches()
    }

    /// In bits.
    fn in_units(&self, loss: f64) -> f64 {
        loss / std::f64::consts::LN_2
    }
}

impl Lengths for Text {
    fn with_steps(&self, steps: usize) -> Result<Box<dyn Lengths>> {
        Ok(Box::new(Self { corpus: self.corpus.with_steps(steps)?, carries: self.carries }))
    }
}

impl Stored for Text {
    fn opening(&self) -> Option<char> {
        self.corpus.opening
    }

    fn known(&self) -> Known {
        Known::Text(self.corpus.symbols.clone())
    }

    fn hash(&self, hasher: &mut crc32fast::Hasher) {
        let Corpus { symbols, train, valid, .. } = &self.corpus;
        symbols.iter().for_each(|symbol| hasher.update(&symbol.map_or(0, u32::from).to_le_bytes()));
        train.iter().chain(valid).for_each(|id| hasher.update(&id.to_le_bytes()));
    }
}
