//! One layer with random data: run it on a device, get every tensor back by name.

use wgpu_rnn::nn::Parameters;
use wgpu_rnn::nn::rnn::{Bound, Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::plan::{Mode, Reserve, Workspace};
use wgpu_rnn::probe::{Activity, Gates};
use wgpu_rnn::{BatchShape, Bias, Buffer, Device, Precision, Recorder, Result, RnnConfig, StepOptions, Zoneout};

use super::{Random, Tensors, planned};

/// Of what is dropped.
pub const SEED: u64 = 0x0123_4567_89ab_cdef;

/// A layer, a batch and everything that goes in, under PyTorch's names: `x`, `h0`, `c0`, `dy`, `dhn`, `dcn` and the
/// weights. Those of the former but `x` may be absent.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The layer.
    pub config: RnnConfig,
    /// The batch.
    pub shape: BatchShape,
    /// Lengths, if it is padded.
    pub lengths: Option<Vec<usize>>,
    /// Where sequences begin anew, `[T, B]`, in a layer with resets.
    pub resets: Vec<bool>,
    /// Whether its initial states were carried over from a run before.
    pub carried: bool,
    /// Whether each sequence's last output is wanted alone.
    pub last: bool,
    /// Steps between kept states, if the others are recomputed.
    pub recompute: Option<usize>,
    /// Whether weights are packed as they are needed, where it is not trained.
    pub repack: Option<bool>,
    /// Whether backward leaves norms of gradients.
    pub flow: bool,
    /// Whether its sequences have the batch first inside; as they are given and read time is first.
    pub batch_first: bool,
    /// How it stores what is its own.
    pub precision: Precision,
    /// Whether x, y and their gradients are stored as f16.
    pub half_sequences: bool,
    /// What goes in.
    pub given: Tensors,
}

/// A layer that is bound to buffers on a device.
pub struct Running {
    /// The layer.
    pub layer: Layer,
    /// The device.
    pub device: Device,
    /// Its programs.
    pub bound: Bound,
    /// What forward keeps for backward.
    pub reserve: Reserve,
    /// Its weights.
    pub params: Parameters,
    /// Its buffers.
    pub io: Io,
    /// Its gradients.
    pub gradients: Gradients,
    /// What goes in, by name.
    pub inputs: Vec<(String, Buffer)>,
    /// What comes out, by name.
    pub outputs: Vec<(String, Buffer)>,
}

/// The layer without what none can have whose steps have no product, or whose h is a projection: there zoneout is of c.
pub fn possible(config: RnnConfig) -> RnnConfig {
    if config.recipe().projection().is_some() {
        let Zoneout { h, c } = config.options.zoneout;
        return config.options(StepOptions { zoneout: Zoneout { h: None, c: c.or(h) }, ..config.options });
    }
    if config.recipe().has_product() {
        return config;
    }
    let bias = if config.bias == Bias::Recurrent { Bias::Both } else { config.bias };
    let options = StepOptions { recurrent_dropout: None, ..config.options };
    config.bias(bias).weight_dropout(0.0).options(options)
}

impl Layer {
    /// Seeded random weights as PyTorch initialises them, ±1/√H, and everything else in ±1. The layer is the [`possible`] one.
    pub fn random(config: RnnConfig, steps: usize, batch: usize, seed: u64) -> Self {
        let config = possible(config);
        let shape = BatchShape::new(steps, batch);
        let mut random = Random::new(seed);
        let mut given = Tensors::new();
        for (name, shape) in tensors(&config, "") {
            given.insert(name, random.values(shape.iter().product(), 1.0 / (config.hidden as f64).sqrt()));
        }
        for (name, len) in Self::sizes(&config, shape) {
            given.insert(name.to_string(), random.values(len, 1.0));
        }
        Self {
            config,
            shape,
            lengths: None,
            resets: match config.options.resets {
                true => (0..shape.rows()).map(|_| random.next() > 0.4).collect(),
                false => Vec::new(),
            },
            carried: false,
            last: false,
            recompute: None,
            repack: None,
            flow: false,
            batch_first: false,
            precision: Precision::Full,
            half_sequences: false,
            given,
        }
    }

    /// Names and elements of what goes in besides the weights.
    fn sizes(config: &RnnConfig, shape: BatchShape) -> Vec<(&'static str, usize)> {
        let [x, y] = [config.input, config.outputs()].map(|width| shape.rows() * width);
        let [h, c] = [0, 1].map(|state| config.layers * config.directions() * shape.batch * config.width(state));
        let mut sizes = vec![("x", x), ("dy", y), ("h0", h), ("dhn", h)];
        if config.cell.has_c() {
            sizes.extend([("c0", c), ("dcn", c)]);
        }
        sizes.retain(|(name, _)| !config.learns_state || !["h0", "c0"].contains(name));
        sizes
    }

    /// With initial states that were carried over, of a layer that learns its own too.
    pub fn carried(mut self, seed: u64) -> Self {
        self.carried = true;
        let (mut random, rows) = (Random::new(seed), self.config.layers * self.config.directions() * self.shape.batch);
        for (state, name) in ["h0", "c0"].into_iter().enumerate().take(self.config.recipe().states()) {
            self.given.insert(name.to_string(), random.values(rows * self.config.width(state), 1.0));
        }
        self
    }

    /// With these lengths.
    pub fn lengths(mut self, lengths: &[usize]) -> Self {
        self.lengths = Some(lengths.to_vec());
        self
    }

    /// With states recomputed from those kept every `steps` steps.
    pub fn recompute(mut self, steps: usize) -> Self {
        self.recompute = Some(steps);
        self
    }

    /// Without these inputs.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.given.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// With every input whose name starts with `prefix` multiplied.
    pub fn scaled(mut self, prefix: &str, by: f64) -> Self {
        for (_, values) in self.given.iter_mut().filter(|(name, _)| name.starts_with(prefix)) {
            values.iter_mut().for_each(|value| *value = f64::from((*value * by) as f32));
        }
        self
    }

    /// Stored as f16 inside, and if `sequences` x, y and their gradients as well.
    pub fn half(mut self, sequences: bool) -> Self {
        (self.precision, self.half_sequences) = (Precision::Half, sequences);
        self
    }

    /// A sequence as the layer's buffers have it, or `back` from there.
    pub fn turned(&self, name: &str, values: &[f64], back: bool) -> Vec<f64> {
        if !(self.batch_first && ["x", "y", "dx", "dy"].contains(&name)) {
            return values.to_vec();
        }
        let [steps, batch] = [self.shape.steps, self.shape.batch];
        let width = values.len() / (steps * batch);
        let [outer, inner] = if back { [steps, batch] } else { [batch, steps] };
        let rows = (0..outer).flat_map(|one| (0..inner).map(move |other| other * outer + one));
        rows.flat_map(|row| values[row * width..][..width].iter().copied()).collect()
    }

    fn room(&self, device: &Device, name: &str, len: usize) -> Result<Buffer> {
        match self.half_sequences && ["x", "y", "dx", "dy"].contains(&name) {
            true => device.alloc_half(name, len),
            false => device.alloc(name, len),
        }
    }

    /// What it is planned with.
    pub fn options(&self, device: &Device) -> Options<'static> {
        Options {
            lengths: self.lengths.is_some(),
            recompute: self.recompute,
            repack: self.repack,
            flow: self.flow,
            precision: self.precision,
            batch_first: self.batch_first,
            ..planned(device, &self.config)
        }
    }

    /// Plans it.
    pub fn plan(&self, device: &Device, mode: Mode) -> Result<Rnn> {
        Rnn::new(device, self.config, self.shape, mode, self.options(device))
    }

    /// Plans, allocates, uploads and binds it.
    pub fn bind(&self, device: &Device, mode: Mode) -> Result<Running> {
        let table = tensors(&self.config, "");
        let params = Parameters::new(device, table.clone())?;
        for (name, shape) in &table {
            params.set_f64(name, shape, &self.given[name])?;
        }
        let upload = |name: &str| {
            let Some(values) = self.given.get(name) else { return Ok(None) };
            let buffer = self.room(device, name, values.len())?;
            device.write_f64(&buffer, &self.turned(name, values, false))?;
            Result::Ok(Some(buffer))
        };
        let config = &self.config;
        let rows = config.layers * config.directions() * self.shape.batch;
        let state = rows * config.width(0);
        let room = |name: &str, len: usize| self.room(device, name, len).map(Some);
        let cell = |name: &str| if config.cell.has_c() { room(name, rows * config.width(1)) } else { Ok(None) };
        let x = upload("x")?.expect("x");
        let io = Io {
            h0: upload("h0")?,
            c0: upload("c0")?,
            hn: room("hn", state)?,
            cn: cell("cn")?,
            carried: self.carried,
            y: match self.last {
                true => None,
                false => Some(self.room(device, "y", self.shape.rows() * config.outputs())?),
            },
            ..Io::of_last(&x, &device.alloc("last", self.shape.batch * config.outputs())?)
        };
        let gradients = match mode {
            Mode::Infer => Gradients::default(),
            Mode::Train => Gradients {
                dy: if self.last { None } else { upload("dy")? },
                dlast: upload("dlast")?,
                dhn: upload("dhn")?,
                dcn: upload("dcn")?,
                dx: room("dx", x.len())?,
                dh0: if config.learns_state && !self.carried { None } else { room("dh0", state)? },
                dc0: if config.learns_state && !self.carried { None } else { cell("dc0")? },
            },
        };
        let rnn = self.plan(device, mode)?;
        let reserve = rnn.reserve()?;
        let bound = rnn.bind(&params, "", &io, &gradients, &reserve, &rnn.workspace()?)?;
        if let Some(lengths) = &self.lengths {
            bound.set_lengths(lengths)?;
        }
        if !self.resets.is_empty() {
            bound.set_resets(&self.resets)?;
        }
        bound.set_seed(SEED)?;
        let named = |name: &str, buffer: Option<Buffer>| buffer.map(|buffer| (name.to_string(), buffer));
        let (Io { x, y, last, h0, c0, hn, cn, carried: _ }, Gradients { dy, dlast, dhn, dcn, dx, dh0, dc0 }) =
            (io.clone(), gradients.clone());
        let inputs = [("x", Some(x)), ("h0", h0), ("c0", c0), ("dy", dy), ("dlast", dlast), ("dhn", dhn), ("dcn", dcn)];
        let mut inputs: Vec<_> = inputs.into_iter().filter_map(|(name, buffer)| named(name, buffer)).collect();
        let last = last.filter(|_| self.last);
        let outputs = [("y", y), ("last", last), ("hn", hn), ("cn", cn), ("dx", dx), ("dh0", dh0), ("dc0", dc0)];
        let mut outputs: Vec<_> = outputs.into_iter().filter_map(|(name, buffer)| named(name, buffer)).collect();
        for (name, _) in table {
            if mode == Mode::Train {
                outputs.push((format!("grad.{name}"), params.gradient(&name)?));
            }
            inputs.push((name.clone(), params.value(&name)?));
        }
        Ok(Running {
            layer: self.clone(),
            device: device.clone(),
            bound,
            reserve,
            params,
            io,
            gradients,
            inputs,
            outputs,
        })
    }

    /// Runs it forward and backward.
    pub fn try_run(&self, device: &Device) -> Result<Tensors> {
        let running = self.bind(device, Mode::Train)?;
        running.run()?;
        running.read()
    }

    /// The same with the final states in the buffers of the initial ones.
    #[track_caller]
    pub fn run_in_place(&self, device: &Device) -> Tensors {
        let running = self.bind(device, Mode::Train).expect("a layer");
        let (rnn, io) = (running.bound.rnn(), &running.io);
        let io = Io { hn: io.h0.clone(), cn: io.c0.clone(), ..io.clone() };
        let (reserve, workspace) = (rnn.reserve().expect("memory"), rnn.workspace().expect("memory"));
        let bound = rnn.bind(&running.params, "", &io, &running.gradients, &reserve, &workspace);
        let bound = bound.expect("one buffer for both");
        bound.set_resets(&self.resets).expect("resets");
        let record = |recorder: &mut Recorder<'_>| {
            bound.forward.record(recorder)?;
            bound.backward.record(recorder)
        };
        device.run(record).expect("a run");
        let mut got = running.read().expect("a read");
        for (last, first) in [("hn", "h0"), ("cn", "c0")] {
            if got.contains_key(last) {
                got.insert(last.to_string(), device.read_f64(running.buffer(first)).expect("a state"));
            }
        }
        got
    }

    /// Runs it forward and backward: outputs, final states and every gradient.
    #[track_caller]
    pub fn run(&self, device: &Device) -> Tensors {
        self.try_run(device).unwrap_or_else(|error| panic!("{} on {device:?}: {error}", self.describe()))
    }

    /// The layer in a line.
    pub fn describe(&self) -> String {
        let Self { config: c, shape: s, lengths, recompute, precision, .. } = self;
        let (d, l, bias) = (c.directions(), c.layers, c.bias.name());
        let size = format!("T{} B{} I{} H{} L{l} D{d} {}", s.steps, s.batch, c.input, c.hidden, c.direction.name());
        format!("{} {size}{bias}, lengths {lengths:?}, recompute {recompute:?}, {precision:?} precision", c.recipe())
    }
}

impl Running {
    /// Runs it forward, and gathers what its gates did.
    pub fn activity(&self) -> Activity {
        let gates = Gates::new(&self.bound, &self.reserve).expect("gates");
        let record = |recorder: &mut Recorder<'_>| {
            self.bound.forward.record(recorder)?;
            gates.record(recorder)
        };
        self.device.run(record).expect("a run");
        gates.read().expect("a read")
    }

    /// Records everything once, and submits it.
    pub fn run(&self) -> Result<()> {
        self.device.run(|recorder| {
            self.bound.forward.record(recorder)?;
            self.bound.backward.record(recorder)
        })
    }

    /// Binds it anew, with scratch of another's.
    pub fn rebind(&mut self, workspace: &Workspace) -> Result<()> {
        let rnn = self.bound.rnn().clone();
        self.reserve = rnn.reserve()?;
        self.bound = rnn.bind(&self.params, "", &self.io, &self.gradients, &self.reserve, workspace)?;
        Ok(())
    }

    /// Everything that comes out.
    pub fn read(&self) -> Result<Tensors> {
        let read =
            |name: &String, buffer| Ok((name.clone(), self.layer.turned(name, &self.device.read_f64(buffer)?, true)));
        self.outputs.iter().map(|(name, buffer)| read(name, buffer)).collect()
    }

    /// Buffer of an input or output.
    pub fn buffer(&self, name: &str) -> &Buffer {
        let mut all = self.inputs.iter().chain(&self.outputs);
        &all.find(|(found, _)| found == name).unwrap_or_else(|| panic!("no tensor `{name}`")).1
    }

    /// Sets an input.
    pub fn write(&self, name: &str, values: &[f64]) -> Result<()> {
        self.device.write_f64(self.buffer(name), &self.layer.turned(name, values, false))
    }
}
