//! A layer to be timed.

use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::plan::Mode;
use wgpu_rnn::{BatchShape, Buffer, Device, RnnConfig, Timing};

/// A layer with seeded weights and bounded inputs, bound and ready to be timed.
pub struct Subject {
    pub bound: Bound,
    /// Parameters it has.
    pub parameters: usize,
}

/// What else of a layer is timed.
#[derive(Clone, Copy, Default)]
pub struct Extras {
    /// The output is each sequence's last alone.
    pub last: bool,
    /// The gradients of weights are added to what is there.
    pub accumulates: bool,
}

impl Subject {
    pub fn new(
        device: &Device,
        config: RnnConfig,
        shape: BatchShape,
        mode: Mode,
        options: Options<'_>,
        Extras { last, accumulates }: Extras,
    ) -> anyhow::Result<Self> {
        let rnn = Rnn::new(device, config, shape, mode, options)?;
        // Each buffer alone might still be granted where all together end the process.
        device.check_memory("the layer with its inputs, outputs and gradients", bytes(&rnn))?;
        let params = match mode {
            Mode::Infer => Parameters::frozen(device, tensors(&config, ""))?,
            Mode::Train if accumulates => Parameters::new(device, tensors(&config, ""))?.accumulating(),
            Mode::Train => Parameters::new(device, tensors(&config, ""))?,
        };
        Init::new(0).apply(&params, "", Layer::Rnn(&config))?;
        let room = |name: &str, len: usize| device.alloc_as(options.precision, name, len);
        let values = |name: &str, len: usize| waves(device, room(name, len)?);
        let outputs = if last { shape.batch } else { shape.rows() } * config.outputs();
        let x = values("x", shape.rows() * config.input)?;
        let io =
            if last { Io::of_last(&x, &device.alloc("last", outputs)?) } else { Io::new(&x, &room("y", outputs)?) };
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
