//! `wgpu-rnn sample`: a text model writes on, one character at a time.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::kernel::Program;
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{DeviceStream, Options};
use wgpu_rnn::{BatchShape, Buffer, Device};

use crate::base::device::Choice;
use crate::base::seed;
use crate::learn::Saved;
use crate::net::LossAt;
use crate::task::{Known, Text};

/// Arguments of `sample`.
#[derive(clap::Args)]
pub struct Args {
    /// A model of a text that `train` wrote.
    model: PathBuf,
    /// What the model reads before it writes [default: the character that documents begin with most often, after --reset-after;
    /// else a line's end, or its most frequent character]
    #[arg(long)]
    prompt: Option<String>,
    /// Characters to write.
    #[arg(long, default_value_t = 500)]
    length: usize,
    /// Below 1 the model prefers what it is sure of, above it dares more; 0 takes the likeliest character every time.
    #[arg(long, default_value_t = 0.8, value_parser = temperature)]
    temperature: f64,
    /// Seed of the draws.
    #[arg(long, default_value_t = 1, value_parser = seed)]
    seed: u64,
    #[command(flatten)]
    device: Choice<true>,
}

fn temperature(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| "expected a number of at least 0".to_string())
}

pub fn run(args: &Args) -> Result<()> {
    let saved = Saved::open(&args.model)?;
    let symbols = match &saved.about.net.known {
        Known::Text(symbols) => symbols,
        other => bail!("{}: expected a model of a text, got one of {}", args.model.display(), other.of_what()),
    };
    let id = |character: char| {
        let known = symbols.iter().position(|symbol| *symbol == Some(character));
        known.or_else(|| symbols.iter().position(Option::is_none)).map(|id| id as u32)
    };
    let opening = saved.about.data.opening;
    let line = || if id('\n').is_some() { '\n' } else { symbols.iter().flatten().next().copied().unwrap_or('\n') };
    let prompt = args.prompt.clone().unwrap_or_else(|| opening.unwrap_or_else(line).to_string());
    let prompt = prompt.chars().map(|character| {
        id(character).with_context(|| format!("--prompt: expected characters that the model knows, got {character:?}"))
    });
    let prompt = prompt.collect::<Result<Vec<u32>>>()?;
    if prompt.is_empty() {
        bail!("--prompt: expected at least one character, got none");
    }
    let device = args.device.open()?;
    let mut writer = Writer::new(&device, &saved, symbols.len())?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut out = std::io::stdout().lock();
    let mut logits = Vec::new();
    for &token in &prompt {
        logits = writer.read(token)?;
        writer.end(written(symbols, token))?;
    }
    for _ in 0..args.length {
        let token = draw(&logits, args.temperature, &mut rng)? as u32;
        let character = written(symbols, token);
        match write!(out, "{character}").and_then(|()| out.flush()) {
            // Whoever read has gone away.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        logits = writer.read(token)?;
        writer.end(character)?;
    }
    Ok(writeln!(out)?)
}

/// A symbol as it is written.
fn written(symbols: &[Option<char>], token: u32) -> char {
    symbols.get(token as usize).copied().flatten().unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// One symbol, by the exponentials of the logits over the temperature.
fn draw(logits: &[f32], temperature: f64, rng: &mut ChaCha8Rng) -> Result<usize> {
    let (likeliest, largest) = logits
        .iter()
        .copied()
        .enumerate()
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .filter(|(_, largest)| largest.is_finite())
        .context("the model's outputs are not finite")?;
    if temperature == 0.0 {
        return Ok(likeliest);
    }
    let weights = logits.iter().map(|logit| (f64::from(logit - largest) / temperature).exp());
    Ok(WeightedIndex::new(weights).context("the model's outputs are not finite")?.sample(rng))
}

/// The model bound to one sequence that goes on character by character.
struct Writer {
    device: Device,
    token: Buffer,
    logits: Buffer,
    embedding: Program,
    stream: DeviceStream,
    head: Program,
    /// What ends a document, and the one that is written.
    end: Option<String>,
    document: String,
}

impl Writer {
    fn new(device: &Device, saved: &Saved, symbols: usize) -> Result<Self> {
        let config = saved.about.config()?;
        let form = Text::form(symbols, BatchShape::new(1, 1), LossAt::All);
        let params = Parameters::frozen(device, form.table(&config))?;
        saved.checkpoint.restore(&params, [&[], &[]])?;
        let (head, embedding) = form.around(&config);
        let embedding = embedding.context("a model of a text has an embedding")?;
        let (token, x) = (device.alloc_u32("character", 1)?, device.alloc("x", config.input)?);
        let (y, logits) = (device.alloc("y", config.outputs())?, device.alloc("logits", head.outputs)?);
        let embedding = embedding.bind(&params, "embedding.", &token, &x)?;
        let head = head.bind(&params, "head.", 1, &y, &logits)?;
        let stream = DeviceStream::new(&params, "rnn.", config, BatchShape::new(1, 1), &x, &y, Options::default())?;
        let (end, document) = (saved.about.data.source.reset_after.clone(), String::new());
        Ok(Self { device: device.clone(), token, logits, embedding, stream, head, end, document })
    }

    /// What comes after one more character.
    fn read(&self, token: u32) -> Result<Vec<f32>> {
        self.device.write_u32(&self.token, &[token])?;
        self.device.run(|recorder| {
            self.embedding.record(recorder)?;
            self.stream.record(recorder)?;
            self.head.record(recorder)
        })?;
        Ok(self.device.read(&self.logits)?)
    }

    /// Begins anew after a document's last character, as the model has learnt.
    fn end(&mut self, character: char) -> Result<()> {
        let Some(end) = &self.end else { return Ok(()) };
        self.document.push(character);
        if self.document.ends_with(end) {
            self.document.clear();
            self.stream.reset(&[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_temperature() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // Shares 1/4 and 3/4.
        let logits = [0.0, 3.0f32.ln(), f32::NEG_INFINITY];
        let mut share = |temperature: f64| {
            let count = 4000;
            let drawn = (0..count).map(|_| draw(&logits, temperature, &mut rng).unwrap());
            drawn.filter(|&token| token == 1).count() as f64 / f64::from(count)
        };
        assert!((share(1.0) - 0.75).abs() < 0.03);
        assert!((share(0.5) - 0.9).abs() < 0.03);
        assert_eq!(share(0.0), 1.0);
    }

    #[test]
    fn outputs_that_are_no_numbers_are_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for logits in [&[f32::NAN, 1.0][..], &[f32::INFINITY], &[]] {
            assert!(draw(logits, 1.0, &mut rng).is_err());
        }
    }
}
