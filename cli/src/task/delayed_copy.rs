//! Delayed copy, after Hochreiter and Schmidhuber (1997): a few letters, a delay, a cue, and then the letters are wanted
//! in their order.

use anyhow::Result;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::BatchShape;
use wgpu_rnn::kernel::cross_entropy::IGNORE;

use super::{Score, Shown, Task, Usual, Validated, mean_loss};
use crate::net::{Answers, Batch, Fed, Form, LossAt, Model, Reads};
use crate::results::DataUsed;

/// Letters there are, and letters of a sequence.
const ALPHABET: u32 = 8;
const LETTERS: usize = 2;
/// What is read where there is no letter, and what asks for the answer.
const BLANK: u32 = ALPHABET;
const CUE: u32 = ALPHABET + 1;
/// Width of a letter's embedding.
const EMBEDDING: usize = 8;
/// Batches that a validation takes.
const VALIDATION: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct DelayedCopy {
    lag: usize,
    batch: usize,
}

impl DelayedCopy {
    /// Below so many bits a letter it counts as learnt: about 99 of 100 letters are right.
    pub const LEARNT: f64 = 0.1;

    /// With `lag` steps between the last letter and the cue.
    pub fn new(lag: usize, batch: usize) -> Self {
        Self { lag, batch }
    }

    /// The answer begins in the step of the cue.
    fn cue(&self) -> usize {
        LETTERS + self.lag
    }

    fn steps(&self) -> usize {
        self.cue() + LETTERS
    }

    fn batch(&self, rng: &mut ChaCha8Rng) -> Batch {
        let (steps, batch) = (self.steps(), self.batch);
        let (mut x, mut y) = (vec![BLANK; steps * batch], vec![IGNORE; steps * batch]);
        for sequence in 0..batch {
            for place in 0..LETTERS {
                let letter = rng.random_range(0..ALPHABET);
                x[place * batch + sequence] = letter;
                y[(self.cue() + place) * batch + sequence] = letter;
            }
            x[self.cue() * batch + sequence] = CUE;
        }
        Batch::new(Fed::Tokens(x), Fed::Tokens(y))
    }
}

impl Task for DelayedCopy {
    fn form(&self) -> Form {
        let reads = Reads::Tokens { symbols: ALPHABET as usize + 2, width: EMBEDDING };
        let (shape, answers) = (BatchShape::new(self.steps(), self.batch), Answers::Classes(ALPHABET as usize));
        Form::new(shape, reads, answers, LossAt::All)
    }

    fn usual(&self) -> Usual {
        Usual { hidden: 64, trained_hidden: 64, updates: 2000, point_every: 50, rate: 5e-3 }
    }

    fn used(&self) -> DataUsed {
        DataUsed {
            name: "delayed copy".to_string(),
            task: format!("{LETTERS} of {ALPHABET} letters, {} steps after the last", self.lag + 1),
            notes: vec!["Drawn anew for every batch.".to_string()],
            train: 0,
            validation: VALIDATION * self.batch,
        }
    }

    fn score(&self) -> Score {
        let naive = f64::from(ALPHABET).log2();
        Score {
            name: "bits per letter",
            unit: "bits".to_string(),
            loss: "bits per letter",
            naive_name: "any letter".to_string(),
            naive,
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng, _at: LossAt) -> (Batch, Shown) {
        let batch = self.batch(rng);
        let Fed::Tokens(x) = &batch.x else { return (batch, Shown::Characters(Vec::new())) };
        let character = |&token: &u32| char::from_u32(token + u32::from('a')).filter(|_| token < BLANK);
        let shown = Shown::Characters(x.iter().step_by(self.batch).map(character).collect());
        (batch, shown)
    }

    fn validate(&self, model: &mut Model) -> Result<Validated> {
        Ok(Validated::alike(self.in_units(mean_loss(model, VALIDATION, |rng| self.batch(rng))?)))
    }

    fn validation_batches(&self) -> usize {
        VALIDATION
    }

    /// In bits.
    fn in_units(&self, loss: f64) -> f64 {
        loss / std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn letters_come_back_after_the_lag() {
        let task = DelayedCopy::new(6, 3);
        let Batch { x: Fed::Tokens(x), y: Fed::Tokens(y), .. } = task.batch(&mut ChaCha8Rng::seed_from_u64(1)) else {
            panic!("tokens")
        };
        assert_eq!(x.len(), (LETTERS + 6 + LETTERS) * 3);
        for sequence in 0..3 {
            let of = |all: &[u32]| -> Vec<u32> { all.iter().skip(sequence).step_by(3).copied().collect() };
            let (x, y) = (of(&x), of(&y));
            assert!(x[..LETTERS].iter().all(|&letter| letter < ALPHABET));
            assert_eq!(x[LETTERS..], [&[BLANK; 6][..], &[CUE], &[BLANK; LETTERS - 1]].concat());
            assert_eq!((&y[..LETTERS + 6], &y[LETTERS + 6..]), (&[IGNORE; LETTERS + 6][..], &x[..LETTERS]));
        }
    }
}
