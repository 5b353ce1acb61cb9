//! Who speaks: the class of an utterance of any length.

use std::f64::consts::LN_2;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::BatchShape;
use wgpu_rnn::kernel::cross_entropy::IGNORE;

use super::{Detail, Known, KnownSpeech, Lengths, Score, Shown, Sizes, Stored, Task, Usual, Validated};
use crate::base::numbers::plural;
use crate::base::stop;
use crate::data::moments::moments;
use crate::data::utterances::{self, Utterance, Utterances};

use crate::net::{Answers, Batch, Fed, Form, LossAt, Model, Reads};
use crate::results::DataUsed;

/// Utterances of a batch.
const BATCH: usize = 27;
/// Of so many utterances of a class one is for validation.
const HELD_OUT: usize = 5;
/// Accuracy, in percent, that the authors of the bundled recordings published for theirs to test on (370 utterances):
/// M. Kudo, J. Toyama, M. Shimbo, "Multidimensional curve classification using passing-through regions", Pattern
/// Recognition Letters 20 (1999), 1103–1111.
pub const PUBLISHED: f64 = 94.1;

pub struct Speech {
    /// Without its utterances.
    about: Utterances,
    train: Vec<Utterance>,
    valid: Vec<Utterance>,
    mean: Vec<f64>,
    std: Vec<f64>,
    shape: BatchShape,
}

/// What a model says of an utterance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// If it is known.
    pub truth: Option<u32>,
    /// The likeliest class, and how likely the model takes it to be.
    pub class: u32,
    pub probability: f32,
    /// What the model would need to learn the truth, in bits; not a number where there is none.
    pub surprise: f64,
}

/// How many answers are right, of those whose truth is known.
pub fn right(verdicts: &[Verdict]) -> (usize, usize) {
    let known = verdicts.iter().filter(|one| one.truth.is_some());
    (known.clone().filter(|one| one.truth == Some(one.class)).count(), known.count())
}

/// What a network that tells so many classes apart reads and answers.
fn form(width: usize, classes: usize, shape: BatchShape) -> Form {
    let (reads, answers) = (Reads::Values(width), Answers::Classes(classes));
    Form { lengths: true, ..Form::new(shape, reads, answers, LossAt::Last) }
}

impl Speech {
    /// The bundled recordings, or a file of one's own; every fifth utterance of a class is for validation.
    pub fn load(path: Option<&Path>, sizes: Sizes) -> Result<Self> {
        let mut about = path.map_or_else(utterances::bundled, utterances::load)?;
        let (mut train, mut valid) = (Vec::new(), Vec::new());
        let mut seen = vec![0; about.classes.len()];
        for one in std::mem::take(&mut about.all) {
            let Some(class) = one.class else {
                bail!("{}: expected utterances whose classes are known, to train on", about.name)
            };
            let seen = &mut seen[class as usize];
            *seen += 1;
            if *seen % HELD_OUT == 0 { valid.push(one) } else { train.push(one) }
        }
        ensure!(
            !valid.is_empty() && !train.is_empty(),
            "{}: expected at least {HELD_OUT} utterances of a class, one of them for validation, got fewer of each",
            about.name
        );
        let all: Vec<f64> = train.iter().flat_map(|one| &one.values).copied().collect();
        let (mean, std) = moments(&all, about.width);
        Ok(Self { about, train, valid, mean, std, shape: BatchShape::new(1, 1) }.sized(sizes))
    }

    /// All utterances of a file, as a model hears them that knows others.
    pub fn load_known(path: &Path, batch: Option<usize>, known: &KnownSpeech) -> Result<Self> {
        let KnownSpeech { classes, mean, std } = known.clone();
        let mut about = utterances::load(path)?;
        if about.width != mean.len() || !(about.classes == classes || about.classes.is_empty()) {
            let list = |classes: &[String], width: usize| format!("{} of {width} numbers a step", classes.join(", "));
            bail!(
                "{}: expected the classes {}, got {}",
                about.name,
                list(&classes, mean.len()),
                list(&about.classes, about.width)
            );
        }
        let valid = std::mem::take(&mut about.all);
        about.classes = classes;
        let train = Vec::new();
        let sizes = Sizes { batch, ..Sizes::default() };
        Ok(Self { about, train, valid, mean, std, shape: BatchShape::new(1, 1) }.sized(sizes))
    }

    /// The bundled recordings to test on, as a model hears them.
    pub fn test(known: &KnownSpeech) -> Result<Self> {
        let mut about = utterances::bundled_test()?;
        let KnownSpeech { mean, std, .. } = known.clone();
        let valid = std::mem::take(&mut about.all);
        let train = Vec::new();
        Ok(Self { about, train, valid, mean, std, shape: BatchShape::new(1, 1) }.sized(Sizes::default()))
    }

    fn sized(mut self, sizes: Sizes) -> Self {
        let steps = sizes.steps.unwrap_or(self.longest()).max(1);
        self.shape = BatchShape::new(steps, sizes.batch.unwrap_or(BATCH));
        self
    }

    /// Refuses utterances whose classes are not known, which nothing can be judged by.
    pub fn labelled(self) -> Result<Self> {
        let all = self.train.iter().chain(&self.valid).all(|one| one.class.is_some());
        ensure!(all, "{}: expected utterances whose classes are known, to judge by", self.about.name);
        Ok(self)
    }

    /// The cross-entropy of always answering how often classes are in the training part, each counted once more, in bits,
    /// and whether that is equally often.
    fn by_frequency(&self) -> (f64, bool) {
        let mut counts = vec![1.0; self.about.classes.len()];
        let known = |one: &Utterance| one.class.map(|class| class as usize);
        self.train.iter().filter_map(known).for_each(|class| counts[class] += 1.0);
        let all: f64 = counts.iter().sum();
        let bits: Vec<f64> = self.valid.iter().filter_map(known).map(|class| (all / counts[class]).log2()).collect();
        match counts.windows(2).all(|pair| pair[0] == pair[1]) || bits.is_empty() {
            true => ((counts.len() as f64).log2(), true),
            false => (bits.iter().sum::<f64>() / bits.len() as f64, false),
        }
    }

    fn longest(&self) -> usize {
        self.train.iter().chain(&self.valid).map(|one| one.steps(self.about.width)).max().unwrap_or(1)
    }

    /// These utterances as a batch; a longer one ends where the batch does.
    fn batch(&self, all: &[&Utterance], at: LossAt) -> Batch {
        let (width, steps) = (self.about.width, self.shape.steps);
        let lengths: Vec<usize> = all.iter().map(|one| one.steps(width).min(steps)).collect();
        let mut x = Vec::with_capacity(steps * all.len() * width);
        for step in 0..steps {
            for (one, &length) in all.iter().zip(&lengths) {
                let columns = self.mean.iter().zip(&self.std).enumerate();
                x.extend(columns.map(|(column, (mean, std))| match step < length {
                    true => ((one.values[step * width + column] - mean) / std) as f32,
                    false => 0.0,
                }));
            }
        }
        let y = match at {
            LossAt::Last => all.iter().map(|one| one.class.unwrap_or(IGNORE)).collect(),
            LossAt::All => {
                let each = (0..steps)
                    .flat_map(|step| all.iter().zip(&lengths).map(move |(one, &length)| (one, step < length)));
                each.map(|(one, heard)| one.class.filter(|_| heard).unwrap_or(IGNORE)).collect()
            }
        };
        Batch { x: Fed::Values(x), y: Fed::Tokens(y), lengths: Some(lengths), resets: None }
    }

    /// What the model says of every utterance that is judged.
    pub fn classify(&self, model: &mut Model) -> Result<Vec<Verdict>> {
        let classes = self.about.classes.len();
        let mut verdicts = Vec::with_capacity(self.valid.len());
        for part in self.valid.chunks(self.shape.batch) {
            stop::check()?;
            let mut batch: Vec<&Utterance> = part.iter().collect();
            batch.resize(self.shape.batch, &part[0]);
            model.feed(self.batch(&batch, LossAt::Last))?;
            let logits = model.predict()?;
            ensure!(logits.iter().all(|logit| logit.is_finite()), "the model's outputs are not finite");
            for (one, logits) in part.iter().zip(logits.chunks(classes)) {
                let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let class = logits.iter().position(|logit| *logit == most).unwrap_or(0);
                let sum = logits.iter().map(|logit| f64::from(logit - most).exp()).sum::<f64>();
                let logit = one.class.map_or(f32::NAN, |class| logits[class as usize]);
                let surprise = sum.log2() - f64::from(logit - most) / LN_2;
                let (class, probability) = (class as u32, (1.0 / sum) as f32);
                verdicts.push(Verdict { truth: one.class, class, probability, surprise });
            }
        }
        Ok(verdicts)
    }
}

impl Task for Speech {
    fn form(&self) -> Form {
        form(self.about.width, self.about.classes.len(), self.shape)
    }

    fn usual(&self) -> Usual {
        Usual { hidden: 32, trained_hidden: 64, updates: 300, point_every: 25, rate: 5e-3 }
    }

    fn used(&self) -> DataUsed {
        let Utterances { name, classes, width, .. } = &self.about;
        let steps = |one: &Utterance| one.steps(*width);
        let all = || self.train.iter().chain(&self.valid).map(steps);
        let (shortest, longest) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        DataUsed {
            name: name.clone(),
            task: format!(
                "one of {} class{} from {shortest} to {longest} steps of {}",
                classes.len(),
                if classes.len() == 1 { "" } else { "es" },
                plural(*width, "number")
            ),
            notes: self.about.notes.clone(),
            train: self.train.len(),
            validation: self.valid.len(),
        }
    }

    fn score(&self) -> Score {
        let (naive, even) = self.by_frequency();
        Score {
            loss: "cross-entropy, bits",
            name: "cross-entropy",
            unit: "bits".to_string(),
            naive_name: if even { "any class" } else { "classes by their frequency" }.to_string(),
            naive,
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng, at: LossAt) -> (Batch, Shown) {
        let from = if self.train.is_empty() { &self.valid } else { &self.train };
        let all: Vec<&Utterance> = (0..self.shape.batch).map(|_| &from[rng.random_range(0..from.len())]).collect();
        let steps = all[0].steps(self.about.width).min(self.shape.steps);
        let values = all[0].values.iter().step_by(self.about.width).take(steps).copied();
        (self.batch(&all, at), Shown::Values("the first coefficient".to_string(), values.collect()))
    }

    fn validate(&self, model: &mut Model) -> Result<Validated> {
        let verdicts = self.classify(model)?;
        Ok(Validated::alike(verdicts.iter().map(|one| one.surprise).sum::<f64>() / verdicts.len() as f64))
    }

    fn validation_batches(&self) -> usize {
        self.valid.len().div_ceil(self.shape.batch)
    }

    /// In bits.
    fn in_units(&self, loss: f64) -> f64 {
        loss / LN_2
    }
}

impl Lengths for Speech {
    fn with_steps(&self, steps: usize) -> Result<Box<dyn Lengths>> {
        let longest = self.longest();
        ensure!(
            steps <= longest,
            "{}: expected at most the {longest} steps of the longest utterance, got {steps}",
            self.about.name
        );
        let (about, train, valid) = (self.about.clone(), self.train.clone(), self.valid.clone());
        let shape = BatchShape::new(steps, self.shape.batch);
        Ok(Box::new(Self { about, train, valid, mean: self.mean.clone(), std: self.std.clone(), shape }))
    }
}

impl Stored for Speech {
    fn details(&self, model: &mut Model) -> Result<Vec<Detail>> {
        let (right, of) = right(&self.classify(model)?);
        let said = format!("accuracy: {:.1} % ({right} of {of})", 100.0 * right as f64 / of as f64);
        Ok(vec![Detail { said, goal: None }])
    }

    fn known(&self) -> Known {
        let (classes, mean, std) = (self.about.classes.clone(), self.mean.clone(), self.std.clone());
        Known::Speech(KnownSpeech { classes, mean, std })
    }

    fn hash(&self, hasher: &mut crc32fast::Hasher) {
        self.about.classes.iter().for_each(|class| hasher.update(class.as_bytes()));
        for one in self.train.iter().chain(&self.valid) {
            hasher.update(&one.class.unwrap_or(IGNORE).to_le_bytes());
            one.values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_answer_knows_how_often_classes_are() {
        let naive = |counts: &[usize]| {
            let classes: Vec<String> = (0..counts.len()).map(|class| class.to_string()).collect();
            let one = |class: usize| Utterance { values: vec![0.0; 3], class: Some(class as u32) };
            let all: Vec<Utterance> =
                counts.iter().enumerate().flat_map(|(class, &count)| (0..count).map(move |_| one(class))).collect();
            let about = Utterances { name: "made".into(), classes, width: 1, all: Vec::new(), notes: Vec::new() };
            let (train, valid) = (all.clone(), all);
            let (mean, std) = (vec![0.0], vec![1.0]);
            Speech { about, train, valid, mean, std, shape: BatchShape::new(3, 2) }.score()
        };
        let even = naive(&[5, 5, 5, 5]);
        assert_eq!((even.naive, even.naive_name.as_str()), (2.0, "any class"));
        // Nine tenths and one: the entropy of that, but for the one that is counted more.
        let uneven = naive(&[900, 100]);
        assert!((uneven.naive - 0.469).abs() < 1e-3 && uneven.naive_name == "classes by their frequency", "{uneven:?}");
        assert_eq!(naive(&[7]).naive, 0.0);
    }
}
