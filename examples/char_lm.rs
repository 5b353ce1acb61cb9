//! A model of a text, character by character: an LSTM learns to guess the next character of any text file, then goes on
//! writing by itself, one character at a time. Give it a long text, such as a novel; a short one it learns by heart, which
//! the unseen end of the text shows.
//!
//! `cargo run --release --example char_lm [FILE]`

use std::collections::BTreeSet;
use std::f64::consts::LN_2;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::kernel::Program;
use wgpu_rnn::nn::rnn::{DeviceStream, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Embedding, Init, Layer, Linear, Loss, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::train::{Optimizer, OptimizerConfig, Schedule};
use wgpu_rnn::{BatchShape, Buffer, Cell, Device, RnnConfig};

/// Characters of a training sequence, and sequences of a batch.
const LENGTH: usize = 64;
const BATCH: usize = 16;
const STEPS: u32 = 600;

/// Width of the vector that stands for a character, and units of the LSTM.
const WIDTH: usize = 32;
const HIDDEN: usize = 192;

/// Characters to write. Below a temperature of 1 the model prefers what it is sure of.
const WRITTEN: usize = 300;
const TEMPERATURE: f32 = 0.7;

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).map_or_else(default_text, PathBuf::from);
    let text = Text::load(&path)?;
    let device = Device::auto()?;
    println!("Device: {} ({})", device.name(), device.backend());

    let model = Model::new(&device, text.symbols.len())?;
    println!("Model: LSTM of {HIDDEN} units, {} parameters", model.parameters.count());
    let trainer = Trainer::new(&model)?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let start = Instant::now();
    println!("\n step  bits per character");
    println!("    -  {:.2} if all characters were equally likely", (text.symbols.len() as f64).log2());
    for step in 1..=STEPS {
        trainer.feed(&text.training, &mut rng)?;
        trainer.step()?;
        // Reading back waits for the device, so do it now and then, not at every step.
        if step % 60 == 0 {
            println!("{step:>5}  {:.2}", trainer.bits()?);
        }
    }
    println!("{STEPS} steps took {:.1} s.", start.elapsed().as_secs_f32());
    println!("{:.2} on the end of the text, which it has never seen.", trainer.test(&text.held_out, &mut rng)?);

    // The model reads the beginning of the unseen text, then writes on.
    let writer = Writer::new(&model)?;
    let prompt = &text.held_out[..LENGTH];
    print!("\nGiven the words before the bar it writes, at temperature {TEMPERATURE}:\n\n…{}|", text.string(prompt));
    let mut logits = Vec::new();
    for &token in prompt {
        logits = writer.read(token)?;
    }
    for _ in 0..WRITTEN {
        let token = draw(&logits, &mut rng)?;
        print!("{}", text.symbols[token as usize]);
        std::io::stdout().flush()?;
        logits = writer.read(token)?;
    }
    println!();
    Ok(())
}

/// The bundled novel where it has been fetched (`cargo xtask data`), else this project's own description.
fn default_text() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let novel = root.join("data/moby-dick.txt");
    if novel.exists() { novel } else { root.join("README.md") }
}

/// A text as numbers: each character's place among all that occur.
struct Text {
    symbols: Vec<char>,
    training: Vec<u32>,
    /// The last twentieth.
    held_out: Vec<u32>,
}

impl Text {
    fn load(path: &PathBuf) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
        let symbols: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        let token = |c| symbols.binary_search(&c).map_or(0, |token| token as u32);
        let mut training: Vec<u32> = text.chars().map(token).collect();
        let held_out = training.split_off(training.len() - training.len() / 20);
        ensure!(
            held_out.len() > LENGTH,
            "{} has {} characters; {} are needed",
            path.display(),
            training.len() + held_out.len(),
            20 * (LENGTH + 1)
        );
        println!(
            "Text: {}, {} characters, {} different ones",
            path.display(),
            training.len() + held_out.len(),
            symbols.len()
        );
        Ok(Self { symbols, training, held_out })
    }

    fn string(&self, tokens: &[u32]) -> String {
        tokens.iter().map(|&token| self.symbols[token as usize]).collect()
    }
}

/// Embedding → LSTM → linear head, and the parameters of all three: what every plan shares.
struct Model {
    parameters: Parameters,
    embedding: Embedding,
    layer: RnnConfig,
    head: Linear,
}

impl Model {
    fn new(device: &Device, symbols: usize) -> Result<Self> {
        let embedding = Embedding::new(symbols, WIDTH);
        let layer = RnnConfig::new(Cell::Lstm, WIDTH, HIDDEN);
        let head = Linear::new(HIDDEN, symbols);
        let mut table = embedding.parameters("embedding.");
        table.extend(tensors(&layer, "rnn."));
        table.extend(head.parameters("head."));
        let parameters = Parameters::new(device, table)?;
        let init = Init { forget_bias: Some(1.0), ..Init::new(1) };
        init.apply(&parameters, "embedding.", Layer::Embedding(&embedding))?;
        init.apply(&parameters, "rnn.", Layer::Rnn(&layer))?;
        init.apply(&parameters, "head.", Layer::Linear(&head))?;
        Ok(Self { parameters, embedding, layer, head })
    }
}

/// The model bound for training. A row is one character of one sequence: row `t · B + b` of everything.
struct Trainer {
    device: Device,
    tokens: Buffer,
    targets: Buffer,
    /// Tokens to logits.
    forward: Program,
    /// Logits to loss, and the gradient of the logits.
    loss: Loss,
    /// From there to the gradients of all parameters.
    backward: Program,
    optimizer: Optimizer,
}

impl Trainer {
    fn new(model: &Model) -> Result<Self> {
        let Model { parameters, embedding, layer, head } = model;
        let device = parameters.device();
        let shape = BatchShape::new(LENGTH, BATCH);
        let rows = shape.rows();
        let symbols = embedding.entries;

        // Forward: tokens → x → y → logits → loss.
        let tokens = device.alloc_u32("characters", rows)?;
        let targets = device.alloc_u32("next characters", rows)?;
        let x = device.alloc("x", rows * WIDTH)?;
        let y = device.alloc("y", rows * HIDDEN)?;
        let logits = device.alloc("logits", rows * symbols)?;
        // Backward: the gradient of each, in the other direction. The loss itself gives the first.
        let dx = device.alloc("gradient of x", x.len())?;
        let dy = device.alloc("gradient of y", y.len())?;
        let d_logits = device.alloc("gradient of the logits", logits.len())?;

        let plan = Rnn::new(device, *layer, shape, Mode::Train, Options::default())?;
        let gradients = Gradients { dy: Some(dy.clone()), dx: Some(dx.clone()), ..Gradients::default() };
        let bound =
            plan.bind(parameters, "rnn.", &Io::new(&x, &y), &gradients, &plan.reserve()?, &plan.workspace()?)?;
        let mut forward = embedding.bind(parameters, "embedding.", &tokens, &x)?;
        forward.append(bound.forward);
        forward.append(head.bind(parameters, "head.", rows, &y, &logits)?);
        let loss = Loss::cross_entropy(device, rows, symbols, &logits, &targets, Some(&d_logits))?;
        let mut backward = head.backward(parameters, "head.", rows, &y, &d_logits, Some(&dy))?;
        backward.append(bound.backward);
        backward.append(embedding.backward(parameters, "embedding.", &tokens, &dx)?);

        let schedule = Schedule::Cosine { steps: STEPS, floor: 0.05 };
        let rule = OptimizerConfig::adam(1e-2).clip_norm(Some(1.0)).schedule(schedule);
        let optimizer = Optimizer::new(parameters, rule)?;
        Ok(Self { device: device.clone(), tokens, targets, forward, loss, backward, optimizer })
    }

    /// Uploads sequences from random places of a text, and the same one character later: what is to be guessed.
    fn feed(&self, text: &[u32], rng: &mut ChaCha8Rng) -> Result<()> {
        let starts: Vec<usize> = (0..BATCH).map(|_| rng.random_range(0..text.len() - LENGTH)).collect();
        // Time comes first: the first character of every sequence, then the second of every sequence, …
        let rows = |late: usize| -> Vec<u32> {
            (late..LENGTH + late).flat_map(|t| starts.iter().map(move |start| text[start + t])).collect()
        };
        self.device.write_u32(&self.tokens, &rows(0))?;
        self.device.write_u32(&self.targets, &rows(1))?;
        Ok(())
    }

    /// One training step on what was fed, submitted as one piece of work.
    fn step(&self) -> Result<()> {
        self.device.run(|recorder| {
            self.forward.record(recorder)?;
            self.loss.record(recorder)?;
            self.backward.record(recorder)?;
            self.optimizer.record(recorder)
        })?;
        Ok(())
    }

    /// The loss of what was fed last, in bits rather than nats.
    fn bits(&self) -> Result<f64> {
        Ok(self.loss.read_value()? / LN_2)
    }

    /// The mean loss of some batches of a text, without training on them.
    fn test(&self, text: &[u32], rng: &mut ChaCha8Rng) -> Result<f64> {
        const BATCHES: usize = 8;
        let mut sum = 0.0;
        for _ in 0..BATCHES {
            self.feed(text, rng)?;
            self.device.run(|recorder| {
                self.forward.record(recorder)?;
                self.loss.record(recorder)
            })?;
            sum += self.bits()?;
        }
        Ok(sum / BATCHES as f64)
    }
}

/// The model bound for one character at a time: T = 1, B = 1.
struct Writer {
    device: Device,
    token: Buffer,
    logits: Buffer,
    embedding: Program,
    /// Keeps the states on the device, from one character to the next.
    stream: DeviceStream,
    head: Program,
}

impl Writer {
    fn new(model: &Model) -> Result<Self> {
        let Model { parameters, embedding, layer, head } = model;
        let device = parameters.device();
        let token = device.alloc_u32("character", 1)?;
        let x = device.alloc("x", WIDTH)?;
        let y = device.alloc("y", HIDDEN)?;
        let logits = device.alloc("logits", embedding.entries)?;
        let embedding = embedding.bind(parameters, "embedding.", &token, &x)?;
        let head = head.bind(parameters, "head.", 1, &y, &logits)?;
        let one = BatchShape::new(1, 1);
        let stream = DeviceStream::new(parameters, "rnn.", *layer, one, &x, &y, Options::default())?;
        Ok(Self { device: device.clone(), token, logits, embedding, stream, head })
    }

    /// Reads one character; the answer is a score for each character that may follow.
    fn read(&self, token: u32) -> Result<Vec<f32>> {
        self.device.write_u32(&self.token, &[token])?;
        self.device.run(|recorder| {
            self.embedding.record(recorder)?;
            self.stream.record(recorder)?;
            self.head.record(recorder)
        })?;
        Ok(self.device.read(&self.logits)?)
    }
}

/// A random character, as likely as its score says.
fn draw(logits: &[f32], rng: &mut ChaCha8Rng) -> Result<u32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let odds = logits.iter().map(|logit| ((logit - largest) / TEMPERATURE).exp());
    Ok(WeightedIndex::new(odds)?.sample(rng) as u32)
}
