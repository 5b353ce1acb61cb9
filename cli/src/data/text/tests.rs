//! Texts as symbols and stretches.

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

/// Validated in order or not, it is by the same characters, which the naive answer is judged by too.
#[test]
fn validation_in_order_asks_for_the_same_characters() {
    let text: String = (0..1000).map(|i| char::from_u32(0x4e00 + i).unwrap()).collect();
    let corpus = from_text("han".into(), &text, Shape { symbols: 2000, ..SHAPE }, Reading::default()).unwrap();
    let batches = corpus.validation_batches();
    assert!(batches > 2);
    let (mut asked, mut before) = (Vec::new(), [0, 0]);
    for index in 0..batches {
        let Stretches { x, y, anew } = corpus.validation_in_order(index);
        assert_eq!(anew, [[index == 0; 2], [false; 2], [false; 2]].concat());
        assert!(index == 0 || x[..2] == before, "a stretch goes on where the one before it ended");
        before = [y[4], y[5]];
        asked.extend(y);
    }
    let mut judged = corpus.judged().to_vec();
    asked.sort_unstable();
    judged.sort_unstable();
    assert_eq!(asked, judged);
}

#[test]
fn documents_begin_after_what_ends_them() {
    let reading = Reading { reset_after: Some(". "), ..Reading::default() };
    let text = "ab. é. ".repeat(15)[..112].to_owned();
    let corpus = from_text("t.txt".into(), &text, SHAPE, reading).unwrap();
    // Seven characters of which the first and the fifth begin a document.
    let begins = |place: usize| [0, 4].contains(&(place % 7));
    assert_eq!(corpus.begins.concat(), (0..corpus.train.len() + corpus.valid.len()).map(begins).collect::<Vec<_>>());
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
