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
    /// The best that counting finds without a network.
    pub naive: Naive,
    /// What was read and what is known about it, one sentence each.
    pub notes: Vec<String>,
    shape: Shape,
}

/// An answer that only counts the training part, and how good it is.
#[derive(Clone, Copy, Debug)]
pub struct Naive {
    /// What it counts, in words.
    pub name: &'static str,
    /// Bits a character that it needs for what is [`judged`](Corpus::judged).
    pub bits: f64,
}

/// Reads a text in UTF-8; as symbols of its own, or of these.
pub fn load_text(path: &Path, shape: Shape, symbols: Option<&[Option<char>]>) -> Result<Corpus> {
    from_text(super::short_name(path), &super::read_utf8(path)?, shape, symbols)
}

fn from_text(name: String, text: &str, shape: Shape, known: Option<&[Option<char>]>) -> Result<Corpus> {
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
    let pairs = Pairs::count(&train, symbols.len());
    let mut corpus = Corpus { name, symbols, train, valid, naive: Naive { name: "", bits: 0.0 }, notes, shape };
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

    /// Random stretches of the training part: inputs and, one character later, targets, both `[T, B]`.
    pub fn batch(&self, rng: &mut ChaCha8Rng) -> (Vec<u32>, Vec<u32>) {
        let last = self.train.len() - self.shape.steps - 1;
        let starts: Vec<_> = (0..self.shape.batch).map(|_| rng.random_range(0..=last)).collect();
        self.stretches(&self.train, &starts)
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
    pub fn validation_batch(&self, index: usize) -> (Vec<u32>, Vec<u32>) {
        let first = index * self.shape.batch;
        let starts: Vec<_> = (first..first + self.shape.batch).map(|sequence| sequence * self.shape.steps).collect();
        self.stretches(&self.valid, &starts)
    }

    fn stretches(&self, part: &[u32], starts: &[usize]) -> (Vec<u32>, Vec<u32>) {
        let each = (0..self.shape.steps).flat_map(|step| starts.iter().map(move |start| start + step));
        each.map(|place| (part[place], part[place + 1])).unzip()
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
        from_text("poem.txt".into(), text, Shape { symbols, ..SHAPE }, None).unwrap()
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
        let (x, y) = corpus.validation_batch(0);
        // Sequences 1 0 0 and 1 2 0, side by side; their targets are 0 0 1 and 2 0 2.
        assert_eq!(x, [1, 1, 0, 2, 0, 0]);
        assert_eq!(y, [0, 2, 0, 0, 1, 2]);
    }

    #[test]
    fn random_batches_repeat_with_the_seed_and_lie_in_the_training_part() {
        // Every character of the training part is unlike its neighbours, so a stretch tells its place.
        let text: String = (0..1000).map(|i| char::from_u32(0x4e00 + i).unwrap()).collect();
        let corpus = from_text("han".into(), &text, Shape { symbols: 2000, ..SHAPE }, None).unwrap();
        let (mut rng, mut drawn) = (ChaCha8Rng::seed_from_u64(5), Vec::new());
        for _ in 0..500 {
            let (x, y) = corpus.batch(&mut rng);
            assert_eq!((x.len(), y.len()), (6, 6));
            assert_eq!(x[2..], y[..4], "a target is the input of the next step");
            assert!(y.iter().all(|&id| id < 900));
            drawn.push(x);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        assert!(drawn.iter().all(|x| *x == corpus.batch(&mut rng).0));
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
        let error = format!("{:#}", from_text("t.txt".into(), "short", SHAPE, None).unwrap_err());
        let want = "t.txt: expected at least 61 characters for a batch of 2 sequences of 3 characters, got 5";
        assert_eq!(error, want);
        let enough = |length: usize| from_text("t.txt".into(), &"ab".repeat(length / 2), SHAPE, None);
        assert!(enough(62).is_ok());
        assert!(enough(60).is_err());
    }

    #[test]
    fn a_file_that_is_not_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.bin");
        std::fs::write(&path, b"ab\xfe").unwrap();
        let error = format!("{:#}", load_text(&path, SHAPE, None).unwrap_err());
        assert!(error.ends_with("t.bin, line 1: expected UTF-8 text, got the byte 0xFE"), "{error}");
    }
}
