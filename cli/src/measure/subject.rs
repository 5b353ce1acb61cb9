//! A layer to be timed.

use serde::Serialize;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Buffer, Device, RnnConfig, Timing};

use crate::base::size;

/// A layer with seeded weights and bounded inputs, bound and ready to be timed.
pub struct Subject {
    pub bound: Bound,
    /// Parameters it has.
    pub parameters: usize,
}

/// What is not usual about the sequences that a layer is timed on, and about what it makes of them.
#[derive(Clone, Debug, Default, clap::Args, Serialize)]
pub struct Extras {
    /// x, y and their gradients have the batch as their first axis.
    #[arg(long)]
    pub batch_first: bool,
    /// The output is each sequence's last alone.
    #[arg(long)]
    pub last: bool,
    /// Lengths of the sequences, separated by commas; where there are fewer of them, they come again from the first [default: T]
    #[arg(long, value_delimiter = ',', value_parser = size)]
    pub lengths: Vec<usize>,
    /// Each sequence begins anew every so many steps; `resets` is then among the options.
    #[arg(long, value_name = "STEPS", value_parser = size)]
    pub reset_every: Option<usize>,
    /// Each run begins with the states that the one before it left.
    #[arg(long)]
    pub carry: bool,
    /// The gradients of weights are added to what is there, as for batches before one training step.
    #[arg(long)]
    pub accumulate: bool,
}

impl Extras {
    /// Each flag, and whether it was given.
    pub fn given(&self) -> [(bool, &'static str); 6] {
        [
            (self.batch_first, "--batch-first"),
            (self.last, "--last"),
            (!self.lengths.is_empty(), "--lengths"),
            (self.reset_every.is_some(), "--reset-every"),
            (self.carry, "--carry"),
            (self.accumulate, "--accumulate"),
        ]
    }

    /// In words, each with a space before it.
    pub fn words(&self) -> String {
        let mut words = String::new();
        if !self.lengths.is_empty() {
            let lengths: Vec<String> = self.lengths.iter().map(usize::to_string).collect();
            words += &format!(" lengths={}", lengths.join(","));
        }
        if let Some(steps) = self.reset_every {
            words += &format!(" reset every {steps}");
        }
        let rest = [
            (self.batch_first, " batch first"),
            (self.last, " last output"),
            (self.carry, " carried states"),
            (self.accumulate, " accumulate"),
        ];
        rest.into_iter().filter(|(given, _)| *given).for_each(|(_, word)| words += word);
        words
    }

    /// Sets lengths and resets.
    fn set(&self, bound: &Bound) -> wgpu_rnn::Result<()> {
        let BatchShape { steps, batch } = bound.rnn().shape();
        if !self.lengths.is_empty() {
            bound.set_lengths(&self.lengths.iter().copied().cycle().take(batch).collect::<Vec<_>>())?;
        }
        if let Some(every) = self.reset_every {
            // A first step has its initial state anyhow, or the one that was carried.
            let begins = |step: usize| std::iter::repeat_n(step > 0 && step.is_multiple_of(every), batch);
            bound.set_resets(&(0..steps).flat_map(begins).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

impl Subject {
    pub fn new(
        device: &Device,
        config: RnnConfig,
        shape: BatchShape,
        mode: Mode,
        options: Options<'_>,
        extras: &Extras,
    ) -> anyhow::Result<Self> {
        let rnn = Rnn::new(device, config, shape, mode, options)?;
        // Each buffer alone might still be granted where all together end the process.
        device.check_memory("the layer with its inputs, outputs and gradients", bytes(&rnn))?;
        let params = match mode {
            Mode::Infer => Parameters::frozen(device, tensors(&config, ""))?,
            Mode::Train if extras.accumulate => Parameters::new(device, tensors(&config, ""))?.accumulating(),
            Mode::Train => Parameters::new(device, tensors(&config, ""))?,
        };
        Init::new(0).apply(&params, "", Layer::Rnn(&config))?;
        let room = |name: &str, len: usize| device.alloc_as(options.precision, name, len);
        let values = |name: &str, len: usize| waves(device, room(name, len)?);
        let last = extras.last;
        let outputs = if last { shape.batch } else { shape.rows() } * config.outputs();
        let x = values("x", shape.rows() * config.input)?;
        let mut io =
            if last { Io::of_last(&x, &device.alloc("last", outputs)?) } else { Io::new(&x, &room("y", outputs)?) };
        if extras.carry {
            io = io.carrying(&rnn.states()?);
        }
        let gradients = match mode {
            Mode::Infer => Gradients::default(),
            Mode::Train => {
                let dx = Some(room("dx", x.len())?);
                match last {
                    true => {
                        let dlast = Some(waves(device, device.alloc("dlast", outputs)?)?);
                        Gradients { dlast, dx, ..Gradients::default() }
                    }
                    false => Gradients { dy: Some(values("dy", outputs)?), dx, ..Gradients::default() },
                }
            }
        };
        let bound = rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
        extras.set(&bound)?;
        Ok(Self { bound, parameters: params.count() })
    }

    /// Forward, and backward if it is planned for it.
    pub fn time(&self, device: &Device) -> wgpu_rnn::Result<Timing> {
        device.time(|recorder| {
            self.bound.forward.record(recorder)?;
            self.bound.backward.record(recorder)
        })
    }
}

/// Bytes that timing `rnn` takes, what fills its parameters included.
fn bytes(rnn: &Rnn) -> u64 {
    let (config, rows, memory) = (rnn.config(), rnn.shape().rows(), rnn.memory());
    let sequences = rows.saturating_mul(2 * (config.input + config.outputs()));
    let floats = sequences.saturating_add(config.parameters().saturating_mul(4));
    (floats as u64).saturating_mul(4).saturating_add(memory.reserve).saturating_add(memory.workspace)
}

/// Fills a buffer with bounded values, which repeat after a prime number of them. Written in pieces, so that the host never
/// holds all of it twice.
fn waves(device: &Device, buffer: Buffer) -> wgpu_rnn::Result<Buffer> {
    let len = buffer.len();
    let wave: Vec<f32> = (0..len.min(251 << 12)).map(|i| ((i % 251) as f32 / 125.0) - 1.0).collect();
    for first in (0..len).step_by(wave.len().max(1)) {
        let piece = wave.len().min(len - first);
        device.write(&buffer.slice(first..first + piece)?, &wave[..piece])?;
        device.run(|_| Ok(()))?;
        device.wait()?;
    }
    Ok(buffer)
}
