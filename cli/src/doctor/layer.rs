//! One layer with given values: planned, bound and run on a device, everything that comes out read back.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_rnn::kernel::Program;
use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{DeviceStream, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::plan::{Memory, Mode};
use wgpu_rnn::probe::Flow;
use wgpu_rnn::{BatchShape, Buffer, Device, Precision, Result, RnnConfig};

/// A layer, a batch, and what it is planned with.
#[derive(Clone, Debug)]
pub struct Layer {
    pub config: RnnConfig,
    pub shape: BatchShape,
    pub mode: Mode,
    pub options: Options<'static>,
    /// Lengths of the sequences, if they have some.
    pub lengths: Option<Vec<usize>>,
    /// Whether x, y and their gradients are stored as f16.
    pub half_sequences: bool,
    /// Whether there are initial states, and gradients of the final ones.
    pub states: bool,
    /// Whether the gradients of weights are added up over two runs.
    pub accumulates: bool,
    /// Whether it takes a step a call.
    pub streams: bool,
}

/// A result by name.
pub struct Tensor {
    pub name: String,
    pub values: Vec<f64>,
    /// Whether it came backward.
    pub gradient: bool,
}

/// What two runs of a layer left.
pub struct Ran {
    pub first: Vec<Tensor>,
    pub second: Vec<Tensor>,
    /// Bytes that were predicted, and that were allocated.
    pub predicted: Memory,
    pub allocated: Memory,
}

impl Layer {
    pub fn new(config: RnnConfig, steps: usize, batch: usize) -> Self {
        Self {
            config,
            shape: BatchShape::new(steps, batch),
            mode: Mode::Train,
            options: Options::default(),
            lengths: None,
            half_sequences: false,
            states: true,
            accumulates: false,
            streams: false,
        }
    }

    /// The same layer as the reference plans it: no choice but what the numbers depend on.
    pub fn reference(&self) -> Self {
        let Options { lengths, flow, .. } = self.options;
        let options = Options { lengths, flow, ..Options::default() };
        Self { options, half_sequences: false, streams: false, ..self.clone() }
    }

    fn room(&self, device: &Device, name: &str, len: usize) -> Result<Buffer> {
        let precision = if self.half_sequences { Precision::Half } else { Precision::Full };
        device.alloc_as(precision, name, len)
    }

    /// Its weights on a device.
    fn parameters(&self, device: &Device) -> Result<Parameters> {
        let table = tensors(&self.config, "");
        let params = match self.mode {
            Mode::Infer => Parameters::frozen(device, table.clone())?,
            Mode::Train => Parameters::new(device, table.clone())?,
        };
        let bound = 1.0 / (self.config.hidden as f64).sqrt();
        for (seed, (name, shape)) in table.iter().enumerate() {
            params.set_f64(name, shape, &values(seed as u64 + 100, shape.iter().product(), bound))?;
        }
        Ok(if self.accumulates { params.accumulating() } else { params })
    }

    /// Runs it twice on the same buffers.
    pub fn run(&self, device: &Device) -> Result<Ran> {
        if self.streams {
            return self.run_stream(device);
        }
        let (config, shape) = (self.config, self.shape);
        let (table, params) = (tensors(&config, ""), self.parameters(device)?);
        let [x, y] = [config.input, config.outputs()].map(|width| shape.rows() * width);
        let rows = config.layers * config.directions() * shape.batch;
        let state = |name: &str| rows * config.width(usize::from(name.contains('c')));
        let given = |seed: u64, name: &str, len: usize, is: bool| -> Result<Option<Buffer>> {
            if !is {
                return Ok(None);
            }
            let sequence = ["x", "dy"].contains(&name);
            let buffer = if sequence { self.room(device, name, len)? } else { device.alloc(name, len)? };
            device.write_f64(&buffer, &values(seed, len, 1.0))?;
            Ok(Some(buffer))
        };
        let empty = |name: &str, is: bool| if is { device.alloc(name, state(name)).map(Some) } else { Ok(None) };
        let (has_c, trains) = (config.cell.has_c(), self.mode == Mode::Train);
        let input = self.room(device, "x", x)?;
        device.write_f64(&input, &values(1, x, 1.0))?;
        let io = Io {
            h0: given(2, "h0", state("h0"), self.states)?,
            c0: given(3, "c0", state("c0"), self.states && has_c)?,
            hn: empty("hn", true)?,
            cn: empty("cn", has_c)?,
            ..Io::new(&input, &self.room(device, "y", y)?)
        };
        let gradients = Gradients {
            dy: given(4, "dy", y, trains)?,
            dlast: None,
            dhn: given(5, "dhn", state("dhn"), trains && self.states)?,
            dcn: given(6, "dcn", state("dcn"), trains && self.states && has_c)?,
            dx: if trains { Some(self.room(device, "dx", x)?) } else { None },
            dh0: empty("dh0", trains && self.states)?,
            dc0: empty("dc0", trains && self.states && has_c)?,
        };
        let rnn = Rnn::new(device, config, shape, self.mode, self.options)?;
        let predicted = rnn.memory();
        let bound = rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
        if let Some(lengths) = &self.lengths {
            bound.set_lengths(lengths)?;
        }
        if config.options.resets {
            // Some steps of each sequence, others in each.
            let anew = |at: usize| (at / shape.batch + at % shape.batch) % 3 == 1;
            bound.set_resets(&(0..shape.rows()).map(anew).collect::<Vec<_>>())?;
        }
        let zero = if self.accumulates { params.zero_gradients()? } else { Program::default() };
        let read = || -> Result<Vec<Tensor>> {
            device.run(|recorder| zero.record(recorder))?;
            for _ in 0..if self.accumulates { 2 } else { 1 } {
                // The same draw.
                bound.set_seed(0)?;
                device.run(|recorder| {
                    bound.forward.record(recorder)?;
                    bound.backward.record(recorder)
                })?;
            }
            let outputs = [("y", io.y.as_ref()), ("hn", io.hn.as_ref()), ("cn", io.cn.as_ref())];
            let Gradients { dx, dh0, dc0, .. } = &gradients;
            let inputs = [("dx", dx.as_ref()), ("dh0", dh0.as_ref()), ("dc0", dc0.as_ref())];
            let all = outputs.into_iter().map(|out| (out, false)).chain(inputs.into_iter().map(|input| (input, true)));
            let mut results = Vec::new();
            for ((name, buffer), gradient) in all {
                if let Some(buffer) = buffer {
                    results.push(Tensor { name: name.to_string(), values: device.read_f64(buffer)?, gradient });
                }
            }
            for (name, _) in table.iter().filter(|_| trains) {
                let values = device.read_f64(&params.gradient(name)?)?;
                results.push(Tensor { name: format!("grad.{name}"), values, gradient: true });
            }
            if self.options.flow {
                let norms = self.norms(&Flow::read(&bound)?);
                results.push(Tensor { name: "norms".to_string(), values: norms, gradient: true });
            }
            Ok(results)
        };
        Ok(Ran { first: read()?, second: read()?, predicted, allocated: bound.memory() })
    }

    /// A step a call, from the whole's initial states.
    fn run_stream(&self, device: &Device) -> Result<Ran> {
        let (config, BatchShape { steps, batch, .. }) = (self.config, self.shape);
        let [x, y] = [config.input, config.outputs()].map(|width| batch * width);
        let all_x = values(1, steps * x, 1.0);
        let (from, to) = (device.alloc("x", x)?, device.alloc("y", y)?);
        let (params, shape) = (self.parameters(device)?, BatchShape::new(1, batch));
        let stream = DeviceStream::new(&params, "", config, shape, &from, &to, self.options)?;
        let initial = |seed, state| {
            let all = values(seed, config.layers * batch * config.width(state), 1.0);
            all.into_iter().map(|value| value as f32).collect::<Vec<_>>()
        };
        let (h, c) = (initial(2, 0), config.cell.has_c().then(|| initial(3, 1)));
        let read = || -> Result<Vec<Tensor>> {
            stream.set_state(Some(&h), c.as_deref())?;
            let mut y = Vec::new();
            for x in all_x.chunks_exact(x) {
                device.write_f64(&from, x)?;
                device.run(|recorder| stream.record(recorder))?;
                y.extend(device.read_f64(&to)?);
            }
            let mut results = vec![("y", y), ("hn", device.read_f64(stream.h())?)];
            results.extend(stream.c().map(|c| device.read_f64(c)).transpose()?.map(|c| ("cn", c)));
            let tensor = |(name, values): (&str, _)| Tensor { name: name.to_string(), values, gradient: false };
            Ok(results.into_iter().map(tensor).collect())
        };
        let bound = stream.bound();
        Ok(Ran { first: read()?, second: read()?, predicted: bound.rnn().memory(), allocated: bound.memory() })
    }

    /// Norms of the gradients of every state of every sequence.
    fn norms(&self, flow: &Flow) -> Vec<f64> {
        let mut all = Vec::new();
        for (layer, direction) in (0..flow.layers()).flat_map(|layer| (0..flow.directions()).map(move |d| (layer, d))) {
            for (step, sequence) in (0..self.shape.steps).flat_map(|s| (0..self.shape.batch).map(move |b| (s, b))) {
                if let Some(norms) = flow.norms(layer, direction, step, sequence) {
                    all.extend([norms.h, norms.direct].into_iter().chain(norms.c));
                }
            }
        }
        all
    }
}

/// `count` numbers in ±`bound`, each an f32, from a seed.
pub fn values(seed: u64, count: usize, bound: f64) -> Vec<f64> {
    let mut source = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| f64::from((source.random_range(-1.0..1.0) * bound) as f32)).collect()
}
