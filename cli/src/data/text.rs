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
    let mut begins = [Vec::new(), Vec::new()];
    if let Some(end) = reset_after {
        let (all, documents) = document_begins(text, end);
        ensure!(documents > 1, "{name}: expected the text {end:?}, which ends its documents, got it nowhere within");
        notes.push(format!(
            "{} that end with {end:?}, at whose beginnings states begin anew.",
            plural(documents, "document")
        ));
        begins = [all[..boundary].to_vec(), all[boundary..].to_vec()];
    }
    let pairs = Pairs::count(&train, symbols.len());
    let naive = Naive { name: "", bits: 0.0 };
    let mut corpus = Corpus { name, symbols, train, valid, begins, naive, notes, shape };
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
        let starts: Vec<_> = (0..batch).map(|sequence| sequence * share + first).collect();
        let mut stretches = self.stretches(&self.train, &self.begins[0], &starts);
        if window == 0 {
            stretches.anew[..batch].fill(true);
        }
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
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    const SHAPE: Shape = Shape { steps: 3, batch: 2, symbols: 256, validation: 100 };

    fn corpus(text: &str, symbols: usize) -> Corpus {
        from_text("poem.txt".into(), text, Shape { symbols, ..SHAPE }, Reading::default()).unwrap()
    }

    /// 90 characters for training, 10 for validation.
    fn abba() -> String {
        "abba a ".repeat(15)[..90].to_owned() + "baab a baa"
    }

    #[test]
    fn symbols_go_by_frequency_then_code_point() {
        let corpus = corpus(&abba(), 256);
        assert_eq!(corpus.symbols, [Some('a'), Some('b'), Some(' ')]);
        assert_eq!((corpus.train.len(), corpus.valid.len()), (90, 10));
        assert_eq!(corpus.train[..7], [0, 1, 1, 0, 2, 0, 2]);
        assert_eq!(corpus.valid, [1, 0, 0, 1, 2, 0, 2, 1, 0, 0]);
        let tie: Vec<_> = "zyxzyx".chars().collect();
        assert_eq!(symbols(&tie, &tie, 256), [Some('x'), Some('y'), Some('z')]);
    }

    #[test]
    fn rare_and_unseen_characters_share_a_symbol() {
        let capped = corpus(&abba(), 2);
        assert_eq!(capped.symbols, [Some('a'), None]);
        assert_eq!(capped.train[..7], [0, 1, 1, 0, 1, 0, 1]);
        assert_eq!(capped.notes[0], "100 characters read, 2 different symbols.");
        assert!(capped.notes[1].starts_with("Rare characters that share one symbol: "));

        let unseen = corpus(&abba().replace("baab", "baéb"), 256);
        assert_eq!(unseen.symbols, [Some('a'), Some('b'), Some(' '), None]);
        assert_eq!(unseen.valid[2], 3);
        assert_eq!(unseen.notes[1], "Rare characters that share one symbol: 1.");
    }

    #[test]
    fn targets_are_the_next_characters() {
        let corpus = corpus(&abba(), 256);
        assert_eq!(corpus.validation_batches(), 1);
        let Stretches { x, y, .. } = corpus.validation_batch(0);
        // Sequences 1 0 0 and 1 2 0, side by side; their targets are 0 0 1 and 2 0 2.
        assert_eq!(x, [1, 1, 0, 2, 0, 0]);
        assert_eq!(y, [0, 2, 0, 0, 1, 2]);
    }

    #[test]
    fn random_batches_repeat_with_the_seed_and_lie_in_the_training_part() {
        // Every character of the training part is unlike its neighbours, so a stretch tells its place.
        let text: String = (0..1000).map(|i| char::from_u32(0x4e00 + i).unwrap()).collect();
        let corpus = from_text("han".into(), &text, Shape { symbols: 2000, ..SHAPE }, Reading::default()).unwrap();
        let (mut rng, mut drawn) = (ChaCha8Rng::seed_from_u64(5), Vec::new());
        for _ in 0..500 {
            let Stretches { x, y, .. } = corpus.batch(&mut rng);
            assert_eq!((x.len(), y.len()), (6, 6));
            assert_eq!(x[2..], y[..4], "a target is the input of the next step");
            assert!(y.iter().all(|&id| id < 900));
            drawn.push(x);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        assert!(drawn.iter().all(|x| *x == corpus.batch(&mut rng).x));
    }

    /// Every character is unlike its neighbours, so a stretch tells its place.
    #[test]
    fn batches_in_order_go_on_and_read_everything() {
        let text: String = (0..1000).map(|i| char::from_u32(0x4e00 + i).unwrap()).collect();
        let corpus = from_text("han".into(), &text, Shape { symbols: 2000, ..SHAPE }, Reading::default()).unwrap();
        // Shares of 449 characters: 149 stretches of 3, and 2 characters over.
        let (mut read, mut ends) = (vec![0; 900], [0, 0]);
        for index in 0..3 * 149 {
            let Stretches { x, y, anew } = corpus.batch_in_order(index);
            let first = index % 149 == 0;
            assert_eq!(anew, [[first; 2], [false; 2], [false; 2]].concat());
            let place = |id: u32| corpus.symbols[id as usize].unwrap() as usize - 0x4e00;
            for sequence in 0..2 {
                let places: Vec<usize> = x.iter().skip(sequence).step_by(2).map(|id| place(*id)).collect();
                assert!(first || places[0] == ends[sequence] + 1, "batch {index}");
                assert_eq!(place(y[4 + sequence]), places[2] + 1);
                ends[sequence] = places[2];
                places.iter().for_each(|place| read[*place] += 1);
            }
        }
        assert!(read[..898].iter().all(|count| (1..=3).contains(count)) && read[898..] == [0, 0], "{read:?}");
    }

    #[test]
    fn documents_begin_after_what_ends_them() {
        let reading = Reading { reset_after: Some(". "), ..Reading::default() };
        let text = "ab. é. ".repeat(15)[..112].to_owned();
        let corpus = from_text("t.txt".into(), &text, SHAPE, reading).unwrap();
        // Seven characters of which the first and the fifth begin a document.
        let begins = |place: usize| [0, 4].contains(&(place % 7));
        assert_eq!(
            corpus.begins.concat(),
            (0..corpus.train.len() + corpus.valid.len()).map(begins).collect::<Vec<_>>()
        );
        assert!(corpus.notes[1].starts_with("28 documents that end with \". \""), "{:?}", corpus.notes);
        let Stretches { anew, .. } = corpus.validation_batch(0);
        let first = corpus.train.len();
        let wanted = [first, first + 3, first + 1, first + 4, first + 2, first + 5].map(begins);
        assert_eq!(anew, wanted);
        let reading = Reading { reset_after: Some("nowhere"), ..Reading::default() };
        let error = from_text("t.txt".into(), &text, SHAPE, reading).unwrap_err().to_string();
        assert_eq!(error, "t.txt: expected the text \"nowhere\", which ends its documents, got it nowhere within");
    }

    #[test]
    fn naive_bits_are_the_cross_entropy() {
        // 90 letters a, then 5 a and 5 b: b is unseen and shares the symbol "other", seen 0 times. One batch of 6
        // characters fits after the first: 4 a and 2 b.
        let certain = corpus(&("a".repeat(95) + "bbbbb"), 256);
        assert_eq!(certain.judged(), [0, 0, 0, 0, 1, 1]);
        let want = -(2.0 / 3.0) * (91.0f64 / 92.0).log2() - (1.0 / 3.0) * (1.0f64 / 92.0).log2();
        let single = "characters by their frequency";
        assert!(certain.naive.name == single && (certain.naive.bits - want).abs() < 1e-12, "{:?}", certain.naive);
        // Alternating letters: one bit each by frequency, almost none when the letter before is known.
        let even = corpus(&"ab".repeat(500), 256);
        let pair = "characters by their frequency after the one before";
        assert!(even.naive.name == pair && (0.0..0.01).contains(&even.naive.bits), "{:?}", even.naive);
        assert_eq!(
            even.notes[1],
            "Symbol frequencies alone need 1.000 bits a character; with the character before, 0.003."
        );
    }

    #[test]
    fn too_short_a_text_is_refused() {
        let error = format!("{:#}", from_text("t.txt".into(), "short", SHAPE, Reading::default()).unwrap_err());
        let want = "t.txt: expected at least 61 characters for a batch of 2 sequences of 3 characters, got 5";
        assert_eq!(error, want);
        let enough = |length: usize| from_text("t.txt".into(), &"ab".repeat(length / 2), SHAPE, Reading::default());
        assert!(enough(62).is_ok());
        assert!(enough(60).is_err());
    }

    #[test]
    fn a_file_that_is_not_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.bin");
        std::fs::write(&path, b"ab\xfe").unwrap();
        let error = format!("{:#}", load_text(&path, SHAPE, Reading::default()).unwrap_err());
        assert!(error.ends_with("t.bin, line 1: expected UTF-8 text, got the byte 0xFE"), "{error}");
    }
}
