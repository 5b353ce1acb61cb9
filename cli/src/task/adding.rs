//! The adding problem of Hochreiter and Schmidhuber (1997): of a sequence of numbers two are marked, one in each half,
//! and their sum is wanted after the last.

use anyhow::{Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::BatchShape;

use super::{Lengths, Score, Shown, Task, Usual, Validated, mean_loss};
use crate::net::{Answers, Batch, Fed, Form, LossAt, Model, Reads};
use crate::results::DataUsed;

/// Batches that a validation takes, always the same.
const VALIDATION: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct Adding {
    shape: BatchShape,
}

impl Adding {
    /// Below this mean squared error it counts as learnt: 6 % of always answering 1.
    pub const LEARNT: f64 = 0.01;

    /// Sequences of `steps` numbers, at least two; what is wanted was shown 1 to `steps` − 1 steps before the last.
    pub fn new(steps: usize, batch: usize) -> Result<Self> {
        ensure!(steps >= 2, "the adding problem: expected at least 2 steps, got {steps}");
        Ok(Self { shape: BatchShape::new(steps, batch) })
    }

    fn batch(&self, rng: &mut ChaCha8Rng) -> Batch {
        let BatchShape { steps, batch } = self.shape;
        let mut x = vec![0.0; steps * batch * 2];
        let mut y = Vec::with_capacity(batch);
        for sequence in 0..batch {
            let at = |step: usize| (step * batch + sequence) * 2;
            (0..steps).for_each(|step| x[at(step)] = rng.random::<f32>());
            let marked = [rng.random_range(0..steps / 2), rng.random_range(steps / 2..steps)];
            y.push(marked.iter().map(|&step| x[at(step)]).sum());
            marked.iter().for_each(|&step| x[at(step) + 1] = 1.0);
        }
        Batch::new(Fed::Values(x), Fed::Values(y))
    }
}

impl Task for Adding {
    fn form(&self) -> Form {
        let (reads, answers) = (Reads::Values(2), Answers::Values(1));
        Form::new(self.shape, reads, answers, LossAt::Last)
    }

    fn usual(&self) -> Usual {
        Usual { hidden: 32, trained_hidden: 32, updates: 2000, point_every: 50, rate: 5e-3 }
    }

    fn used(&self) -> DataUsed {
        DataUsed {
            name: "adding problem".to_string(),
            task: format!("the sum of two marked numbers of {}", self.shape.steps),
            notes: vec!["Drawn anew for every batch.".to_string()],
            train: 0,
            validation: VALIDATION * self.shape.batch,
        }
    }

    /// Each of the two numbers has a variance of 1/12 around 1/2.
    fn score(&self) -> Score {
        Score {
            name: "mean squared error",
            unit: String::new(),
            loss: "mean squared error",
            naive_name: "always 1".to_string(),
            naive: 1.0 / 6.0,
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng, _at: LossAt) -> (Batch, Shown) {
        let batch = self.batch(rng);
        let Fed::Values(x) = &batch.x else { return (batch, Shown::Characters(Vec::new())) };
        let values = x.iter().step_by(2 * self.shape.batch).map(|&value| f64::from(value)).collect();
        (batch, Shown::Values("number".to_string(), values))
    }

    fn validate(&self, model: &mut Model) -> Result<Validated> {
        mean_loss(model, VALIDATION, |rng| self.batch(rng)).map(Validated::alike)
    }

    fn validation_batches(&self) -> usize {
        VALIDATION
    }
}

impl Lengths for Adding {
    fn with_steps(&self, steps: usize) -> Result<Box<dyn Lengths>> {
        Ok(Box::new(Self::new(steps, self.shape.batch)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_sum_is_of_one_marked_number_in_each_half() {
        let task = Adding::new(7, 5).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let Batch { x: Fed::Values(x), y: Fed::Values(y), .. } = task.batch(&mut rng) else { panic!("numbers") };
            for (sequence, sum) in y.iter().enumerate() {
                let marked: Vec<_> = (0..7).filter(|step| x[(step * 5 + sequence) * 2 + 1] == 1.0).collect();
                assert!(marked.len() == 2 && marked[0] < 3 && marked[1] >= 3, "{marked:?}");
                let found: f32 = marked.iter().map(|step| x[(step * 5 + sequence) * 2]).sum();
                assert_eq!(found, *sum);
            }
        }
        assert!(Adding::new(1, 5).is_err());
    }

    #[test]
    fn always_one_misses_by_what_is_said() {
        let task = Adding::new(10, 4000).unwrap();
        let Fed::Values(y) = task.batch(&mut ChaCha8Rng::seed_from_u64(1)).y else { panic!("numbers") };
        let missed = y.iter().map(|sum| f64::from(sum - 1.0).powi(2)).sum::<f64>() / 4000.0;
        assert!((missed - task.score().naive).abs() < 0.01, "{missed}");
    }
}
