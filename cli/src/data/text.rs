//! The next-character task: a text, the symbols it is made of, and batches of stretches of it.
//!
//! The first nine tenths are for training, the rest for validation. Symbols are the characters of the
//! training part, the most frequent first; the characters beyond the cap, or only seen in validation,
//! share one symbol. The naive forecast knows how frequent each symbol is, or also how often it follows the one before:
//! whichever needs fewer bits.

use crate::base::numbers::plural;
use anyhow::{Result, bail, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::path::Path;

/// How many of ten characters, from the beginning, are for training.
pub const TRAIN_TENTHS: usize = 9;

/// The shape of the task.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Characters in a sequence, at least 1.
    pub steps: usize,
    /// Sequences in a batch, at least 1.
    pub batch: usize,
    /// The most symbols, with the one for all other characters.
    pub symbols: usize,
    /// The most validation batches that are looked at.
    pub validation: usize,
}

/// A text as symbols, split into training and validation.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// Short name, for the report.
    pub name: String,
    /// The character of each symbol, most frequent first; `None` stands for all other characters.
    pub symbols: Vec<Option<char>>,
    /// The training part.
    pub train: Vec<u32>,
    /// The validation part.
    pub valid: Vec<u32>,
    /// Where documents begin in the two parts; nothing where the text is one document.
    begins: [Vec<bool>; 2],
    /// The character that documents begin with most often.
    pub opening: Option<char>,
    /// The best that counting finds without a network.
    pub naive: Naive,
    /// What was read and what is known about it, one sentence each.
    pub notes: Vec<String>,
    shape: Shape,
}

/// Stretches side by side, `[T, B]`.
#[derive(Debug, PartialEq)]
pub struct Stretches {
    /// Symbols.
    pub x: Vec<u32>,
    /// Each one's next.
    pub y: Vec<u32>,
    /// Whether a state begins anew before it.
    pub anew: Vec<bool>,
}

/// An answer that only counts the training part, and how good it is.
#[derive(Clone, Copy, Debug)]
pub struct Naive {
    /// What it counts, in words.
    pub name: &'static str,
    /// Bits a character that it needs for what is [`judged`](Corpus::judged).
    pub bits: f64,
}

/// How a text is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// The symbols that it is read in, rather than its own.
    pub symbols: Option<&'a [Option<char>]>,
    /// What ends each of its documents.
    pub reset_after: Option<&'a str>,
}

/// Reads a text in UTF-8.
pub fn load_text(path: &Path, shape: Shape, reading: Reading<'_>) -> Result<Corpus> {
    from_text(super::short_name(path), &super::read_utf8(path)?, shape, reading)
}

fn from_text(name: String, text: &str, shape: Shape, reading: Reading<'_>) -> Result<Corpus> {
    let Reading { symbols: known, reset_after } = reading;
    let characters: Vec<char> = text.chars().collect();
    // Each part must hold one batch of sequences and the character after the last of them.
    let batch = shape.steps.saturating_mul(shape.batch).saturating_add(1);
    let needed = (batch - 1).saturating_mul(10) / (10 - TRAIN_TENTHS) + 1;
    let boundary = characters.len() * TRAIN_TENTHS / 10;
    ensure!(
        boundary >= batch && characters.len() - boundary >= batch,
        "{name}: expected at least {needed} characters for a batch of {} sequences of {} characters, got {}",
        shape.batch,
        shape.steps,
        characters.len()
    );

    let symbols = match known {
        Some(known) => known.to_vec(),
        None => symbols(&characters[..boundary], &characters[boundary..], shape.symbols),
    };
    let other = symbols.len() as u32 - 1;
    let unknown = |character: &char| !symbols.contains(&Some(*character));
    if let (false, Some(at)) = (symbols.contains(&None), characters.iter().position(unknown)) {
        let (line, known) = (1 + characters[..at].iter().filter(|&&one| one == '\n').count(), symbols.len());
        bail!("{name}, line {line}: expected the {known} characters that the model knows, got {:?}", characters[at]);
    }
    let numbers: HashMap<_, _> = symbols.iter().zip(0..).filter_map(|(symbol, id)| Some(((*symbol)?, id))).collect();
    let ids = |part: &[char]| part.iter().map(|symbol| *numbers.get(symbol).unwrap_or(&other)).collect::<Vec<u32>>();
    let (train, valid) = (ids(&characters[..boundary]), ids(&characters[boundary..]));

    let mut notes =
        vec![format!("{} read, {}.", plural(characters.len(), "character"), plural(symbols.len(), "different symbol"))];
    if symbols.contains(&None) {
        let share = |part: &[u32]| part.iter().filter(|&&id| id == other).count();
        let count = share(&train) + share(&valid);
        notes.push(format!("Rare characters that share one symbol: {count}."));
    }
    let (mut begins, mut opening) = ([Vec::new(), Vec::new()], None);
    if let Some(end) = reset_after {
        let (all, documents) = document_begins(text, end);
        let other = if text.contains("\r\n") && !end.contains('\r') { " (its lines end with \"\\r\\n\")" } else { "" };
        ensure!(
            text.contains(end) || known.is_some(),
            "{name}: expected the text {end:?}, which ends its documents, got it nowhere within{other}"
        );
        notes.push(format!(
            "{} that end with {end:?}, at whose beginnings states begin anew.",
            plural(documents, "document")
        ));
        begins = [all[..boundary].to_vec(), all[boundary..].to_vec()];
        let firsts = train.iter().zip(&begins[0]).filter(|(_, begins)| **begins).map(|(id, _)| *id as usize);
        let mut counts = vec![0; symbols.len()];
        firsts.for_each(|id| counts[id] += 1);
        // Of equally frequent ones the most frequent in the text.
        let most = counts.iter().max();
        opening = counts.iter().position(|count| Some(count) == most);
    }
    let pairs = Pairs::count(&train, symbols.len());
    let naive = Naive { name: "", bits: 0.0 };
    let opening = opening.and_then(|id: usize| symbols[id]);
    let mut corpus = Corpus { name, symbols, train, valid, begins, opening, naive, notes, shape };
    let judged = corpus.judged();
    // Of one symbol alone the sum is −0.
    let (single, pair) = (pairs.unigram_bits(judged) + 0.0, pairs.bigram_bits(&corpus.valid[..=judged.len()]) + 0.0);
    corpus.naive = match pair < single {
        true => Naive { name: "characters by their frequency after the one before", bits: pair },
        false => Naive { name: "characters by their frequency", bits: single },
    };
    corpus.notes.push(format!(
        "Symbol frequencies alone need {single:.3} bits a character; with the character before, {pair:.3}."
    ));
    Ok(corpus)
}

/// Which characters are the first of a document, of which each but the last ends with `end`, and how many documents there are.
fn document_begins(text: &str, end: &str) -> (Vec<bool>, usize) {
    let mut begins = Vec::with_capacity(text.len());
    let mut documents = 0;
    for document in text.split_inclusive(end) {
        begins.extend((0..document.chars().count()).map(|place| place == 0));
        documents += 1;
    }
    (begins, documents)
}

/// The characters of the training part by frequency, then by code point, and `None` if some are left over.
fn symbols(train: &[char], valid: &[char], cap: usize) -> Vec<Option<char>> {
    let mut counts: HashMap<char, usize> = HashMap::new();
    for &character in train {
        *counts.entry(character).or_default() += 1;
    }
    let mut ranked: Vec<char> = counts.keys().copied().collect();
    ranked.sort_unstable_by_key(|character| (std::cmp::Reverse(counts[character]), *character));
    let left_over = ranked.len() > cap || valid.iter().any(|character| !counts.contains_key(character));
    if left_over {
        ranked.truncate(cap.saturating_sub(1));
    }
    let other = left_over.then_some(None);
    ranked.into_iter().map(Some).chain(other).collect()
}

impl Corpus {
    /// The same text in sequences of `steps` characters.
    pub fn with_steps(&self, steps: usize) -> Result<Self> {
        let least = steps.saturating_mul(self.shape.batch).saturating_add(1);
        let shape = Shape { steps, ..self.shape };
        ensure!(
            self.train.len() >= least && self.valid.len() >= least,
            "{}: expected at least {least} characters for a batch of {} sequences of {steps} characters to train on and \
             as many to validate on, got {} and {}",
            self.name,
            shape.batch,
            self.train.len(),
            self.valid.len()
        );
        Ok(Self { shape, ..self.clone() })
    }

    /// Sequences of a batch.
    pub fn batch_size(&self) -> usize {
        self.shape.batch
    }

    /// Characters of a sequence.
    pub fn steps(&self) -> usize {
        self.shape.steps
    }

    /// Random stretches of the training part.
    pub fn batch(&self, rng: &mut ChaCha8Rng) -> Stretches {
        let last = self.train.len() - self.shape.steps - 1;
        let starts: Vec<_> = (0..self.shape.batch).map(|_| rng.random_range(0..=last)).collect();
        self.stretches(&self.train, &self.begins[0], &starts)
    }

    /// Batch `index` of those that go on where the one before ended: each sequence reads a share of the training part of its own
    /// from end to end, again and again, and begins anew with it. Where a share is not a whole number of stretches, what is left
    /// over is at another end each time.
    pub fn batch_in_order(&self, index: usize) -> Stretches {
        let Shape { steps, batch, .. } = self.shape;
        let share = (self.train.len() - 1) / batch;
        let (windows, over) = (share / steps, share % steps);
        let (pass, window) = (index / windows, index % windows);
        let first = pass % (over + 1) + window * steps;
        self.side_by_side(&self.train, &self.begins[0], share, first, window == 0)
    }

    /// Stretches so far into a share of a part each; where they are its `first` ones all begin anew.
    fn side_by_side(&self, part: &[u32], begins: &[bool], share: usize, from: usize, first: bool) -> Stretches {
        let starts: Vec<_> = (0..self.shape.batch).map(|sequence| sequence * share + from).collect();
        let mut stretches = self.stretches(part, begins, &starts);
        stretches.anew.iter_mut().take(self.shape.batch).for_each(|anew| *anew |= first);
        stretches
    }

    /// How many whole batches of sequences, one after the other, are looked at in the validation part.
    pub fn validation_batches(&self) -> usize {
        ((self.valid.len() - 1) / (self.shape.steps * self.shape.batch)).min(self.shape.validation)
    }

    /// The characters that the validation batches ask for.
    pub fn judged(&self) -> &[u32] {
        &self.valid[1..=self.validation_batches() * self.shape.steps * self.shape.batch]
    }

    /// Validation batch `index`, less than [`Self::validation_batches`]: the next `B` stretches of `T` characters.
    pub fn validation_batch(&self, index: usize) -> Stretches {
        let first = index * self.shape.batch;
        let starts: Vec<_> = (first..first + self.shape.batch).map(|sequence| sequence * self.shape.steps).collect();
        self.stretches(&self.valid, &self.begins[1], &starts)
    }

    /// Validation batch `index` of those that go on where the one before ended: of the same characters.
    pub fn validation_in_order(&self, index: usize) -> Stretches {
        let steps = self.shape.steps;
        let share = self.validation_batches() * steps;
        self.side_by_side(&self.valid, &self.begins[1], share, index * steps, index == 0)
    }

    fn stretches(&self, part: &[u32], begins: &[bool], starts: &[usize]) -> Stretches {
        let places: Vec<usize> =
            (0..self.shape.steps).flat_map(|step| starts.iter().map(move |start| start + step)).collect();
        let symbols = |after: usize| places.iter().map(move |place| part[place + after]).collect();
        let anew = places.iter().map(|place| begins.get(*place).copied().unwrap_or(false)).collect();
        Stretches { x: symbols(0), y: symbols(1), anew }
    }
}

/// How often each symbol occurred, and after which.
struct Pairs {
    single: Vec<f64>,
    pair: HashMap<(u32, u32), f64>,
    total: f64,
}

impl Pairs {
    fn count(ids: &[u32], symbols: usize) -> Self {
        let mut counts = Self { single: vec![0.0; symbols], pair: HashMap::new(), total: ids.len() as f64 };
        for &id in ids {
            counts.single[id as usize] += 1.0;
        }
        for pair in ids.windows(2) {
            *counts.pair.entry((pair[0], pair[1])).or_default() += 1.0;
        }
        counts
    }

    /// Frequency of a symbol; each counts once more, so that an unseen one is not impossible.
    fn frequency(&self, id: u32) -> f64 {
        (self.single[id as usize] + 1.0) / (self.total + self.single.len() as f64)
    }

    fn unigram_bits(&self, ids: &[u32]) -> f64 {
        -ids.iter().map(|&id| self.frequency(id).log2()).sum::<f64>() / ids.len() as f64
    }

    /// Bits with the symbol before known; its followers count once more, shared out by frequency.
    fn bigram_bits(&self, ids: &[u32]) -> f64 {
        let bits = |pair: &[u32]| {
            let seen = self.pair.get(&(pair[0], pair[1])).copied().unwrap_or(0.0);
            -((seen + self.frequency(pair[1])) / (self.single[pair[0] as usize] + 1.0)).log2()
        };
        ids.windows(2).map(bits).sum::<f64>() / (ids.len() - 1) as f64
    }
}

#[cfg(test)]
mod tests;
