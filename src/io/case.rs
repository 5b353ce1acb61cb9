//! Reference cases: a layer's weights, inputs and upstream gradients with the outputs and gradients that another engine
//! computed, or its outputs alone. Running one on a device says how far that device is off.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::tensors::TensorFile;
use crate::cell::Cell;
use crate::config::{BatchShape, Direction, RnnConfig};
use crate::device::{Buffer, Device};
use crate::error::{Error, Result, at_least_one};
use crate::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use crate::nn::{GRADIENT_BOUND, OUTPUT_BOUND, Parameters, relative_error};
use crate::plan::Mode;
use crate::recipe::{Bias, StepOptions};

/// The JSON under the metadata key `config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseConfig {
    cell: String,
    input_size: usize,
    hidden_size: usize,
    num_layers: usize,
    bidirectional: bool,
    /// `reverse` for one direction that goes from the end.
    direction: Option<String>,
    bias: Value,
    /// As [`StepOptions`](crate::StepOptions) reads them.
    #[serde(default)]
    options: String,
    /// Whether initial states are parameters, `h0_l0` and so on, in place of inputs.
    #[serde(default)]
    learn_state: bool,
    /// Probabilities of dropout between layers, of inputs and of weights, and the seed of what is drawn.
    #[serde(default)]
    dropout: f32,
    #[serde(default)]
    input_dropout: f32,
    #[serde(default)]
    weight_dropout: f32,
    #[serde(default)]
    seed: u64,
    /// Whether x, y and their gradients are `[B, T, ..]`.
    #[serde(default)]
    batch_first: bool,
    /// Whether the output is each sequence's last alone, `last` with its gradient `dlast`.
    #[serde(default)]
    last: bool,
    /// Whether the initial states were carried over from a run before.
    #[serde(default)]
    carried: bool,
    /// Backwards that the gradients of weights are the sum of.
    #[serde(default = "once")]
    accumulate: usize,
    #[serde(default)]
    proj_size: usize,
    steps: usize,
    batch: usize,
    lengths: Option<Vec<usize>>,
    /// Whether gradients are there, and what they come from.
    #[serde(default = "there")]
    gradients: bool,
    /// The release of what computed the case, for its readers.
    #[serde(rename = "torch", alias = "onnxruntime", alias = "keras")]
    _by: Option<Value>,
}

impl CaseConfig {
    /// An error where one key says what another denies, or what would have no effect.
    fn check(&self, direction: Direction) -> Result<()> {
        let both = direction == Direction::Both;
        if self.bidirectional && !both {
            return Err(Error::invalid("the direction of a bidirectional layer", "bidirectional", direction.name()));
        }
        if self.dropout != 0.0 && self.num_layers == 1 {
            return Err(Error::invalid("the dropout between layers, of one layer", 0, self.dropout));
        }
        if !self.gradients {
            if self.accumulate != 1 {
                return Err(Error::invalid("`accumulate` of a case without gradients", 1, self.accumulate));
            }
            let shares = [("dropout", self.dropout), ("input_dropout", self.input_dropout)];
            for (name, share) in shares.into_iter().chain([("weight_dropout", self.weight_dropout)]) {
                if share != 0.0 {
                    let what = format!("`{name}` of a case without gradients, in which nothing is dropped");
                    return Err(Error::invalid(what, 0, share));
                }
            }
        }
        Ok(())
    }
}

fn there() -> bool {
    true
}

fn once() -> usize {
    1
}

/// Which biases there are: PyTorch's word for it, or ours.
fn bias(said: &Value) -> Result<Bias> {
    match said {
        Value::Bool(yes) => Ok(Bias::from(*yes)),
        Value::String(name) => name.parse(),
        other => Err(Error::invalid("the biases", "true, false, none, input, recurrent or both", other)),
    }
}

/// A reference case.
#[derive(Clone, Debug)]
pub struct Case {
    file: TensorFile,
    /// The layer.
    pub config: RnnConfig,
    /// The batch.
    pub shape: BatchShape,
    /// Lengths, if the batch is padded.
    pub lengths: Option<Vec<usize>>,
    /// Whether it has gradients; without, outputs and final states are compared alone.
    pub gradients: bool,
    /// The seed of what is drawn, where something is dropped or stays.
    pub seed: u64,
    /// Whether x, y and their gradients are `[B, T, ..]`.
    pub batch_first: bool,
    /// Whether the output is each sequence's last alone.
    pub last: bool,
    /// Whether the initial states were carried over from a run before: see [`Io::carried`].
    pub carried: bool,
    /// How often it is run, weights' gradients added up ([`Parameters::accumulating`]).
    pub accumulate: usize,
}

/// How far one tensor is off.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The tensor.
    pub name: String,
    /// `‖got − expected‖ / ‖expected‖`, or `‖got‖` where nothing but zero is expected; infinite when something is not
    /// finite.
    pub error: f64,
    /// What it may be.
    pub bound: f64,
}

impl Check {
    /// Whether it is within its bound. NaN is not.
    pub fn passes(&self) -> bool {
        self.error <= self.bound
    }
}

impl Case {
    /// Reads a case file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(TensorFile::open(path)?)
    }

    /// Takes a case from a file that was read.
    pub fn new(file: TensorFile) -> Result<Self> {
        let failed = |why: String| Error::File { path: file.path.clone(), why };
        let json = file.metadata.get("config").ok_or_else(|| {
            failed("has no metadata key `config`, which a case file needs to say what layer it holds".to_string())
        })?;
        let config: CaseConfig = serde_json::from_str(json)
            .map_err(|error| failed(format!("its metadata `config` does not describe a layer: {error}")))?;
        let cell: Cell = config.cell.parse()?;
        let both = if config.bidirectional { Direction::Both } else { Direction::Forward };
        let direction = config.direction.as_deref().map_or(Ok(both), str::parse)?;
        config.check(direction)?;
        let mut options: StepOptions = config.options.parse()?;
        if config.proj_size != 0 {
            // PyTorch's name for it.
            let said = options.projection.replace(config.proj_size);
            if let Some(said) = said.filter(|said| *said != config.proj_size) {
                return Err(Error::invalid("`proj_size` beside the option `projection`", said, config.proj_size));
            }
        }
        let rnn = RnnConfig::new(cell, config.input_size, config.hidden_size)
            .layers(config.num_layers)
            .direction(direction)
            .bias(bias(&config.bias)?)
            .options(options)
            .learn_state(config.learn_state)
            .dropout(config.dropout)
            .input_dropout(config.input_dropout)
            .weight_dropout(config.weight_dropout);
        rnn.check()?;
        let shape = BatchShape::new(config.steps, config.batch);
        shape.check()?;
        if let Some(lengths) = &config.lengths {
            shape.check_lengths(lengths)?;
        }
        let case = Self {
            file,
            config: rnn,
            shape,
            lengths: config.lengths,
            gradients: config.gradients,
            seed: config.seed,
            batch_first: config.batch_first,
            last: config.last,
            carried: config.carried,
            accumulate: at_least_one("the backwards to add up", config.accumulate)?,
        };
        case.check_tensors()?;
        Ok(case)
    }

    /// Every tensor of the case, with its shape.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let [x, y] = self.shapes();
        let [of_y, of_dy] = self.output();
        let weights = tensors(&self.config, "");
        let with_c = |names: [&'static str; 2]| names.into_iter().take(if self.config.cell.has_c() { 2 } else { 1 });
        let of_given = |names| with_c(names).filter(|_| self.has_initial());
        let shapes = ["h", "c"].map(|name| self.state_shape(name));
        let state = |name: &'static str| (name, &shapes[usize::from(name.contains('c'))]);
        let states = of_given(["h0", "c0"]).chain(with_c(["hn", "cn"])).map(state);
        let mut all: Vec<(&str, &Vec<usize>)> = [("x", &x), (of_y, &y)].into_iter().chain(states).collect();
        let resets = vec![self.shape.steps, self.shape.batch];
        all.extend(self.config.options.resets.then_some(("resets", &resets)));
        if self.gradients {
            let states = with_c(["dhn", "dcn"]).chain(of_given(["dh0", "dc0"])).map(state);
            all.extend([("dx", &x), (of_dy, &y)].into_iter().chain(states));
        }
        let of_weights = weights.iter().filter(|_| self.gradients);
        let of_weights = of_weights.map(|(name, shape)| (format!("grad.{name}"), shape.clone()));
        let all = all.into_iter().map(|(name, shape)| (name.to_string(), shape.clone()));
        all.chain(weights.iter().cloned()).chain(of_weights).collect()
    }

    /// Tensors of the file that are no part of the case, and are not read.
    pub fn unread(&self) -> Vec<&str> {
        let read = self.tensors();
        let mut unread: Vec<&str> =
            self.file.names().filter(|name| !read.iter().any(|(read, _)| read == name)).collect();
        unread.sort_unstable();
        unread
    }

    /// An error unless the file holds every tensor in its shape: before anything is allocated for one.
    fn check_tensors(&self) -> Result<()> {
        for (name, shape) in self.tensors() {
            let tensor = self.file.tensor(&name, &shape)?;
            let odd = tensor.values.iter().find(|value| name == "resets" && ![0.0, 1.0].contains(*value));
            if let Some(odd) = odd {
                return Err(Error::invalid("the tensor `resets`", "0 or 1", odd));
            }
        }
        Ok(())
    }

    /// Whether it has initial states as inputs: learnt ones are among the weights.
    fn has_initial(&self) -> bool {
        !self.config.learns_state || self.carried
    }

    /// Names of its output and of that one's gradient.
    fn output(&self) -> [&'static str; 2] {
        if self.last { ["last", "dlast"] } else { ["y", "dy"] }
    }

    /// Shape of a state, or of its gradient, by its name.
    fn state_shape(&self, name: &str) -> Vec<usize> {
        let width = self.config.width(usize::from(name.contains('c')));
        vec![self.config.layers * self.config.directions(), self.shape.batch, width]
    }

    /// Shape of x and of the output.
    fn shapes(&self) -> [Vec<usize>; 2] {
        let (steps, batch, config) = (self.shape.steps, self.shape.batch, &self.config);
        let [first, second] = if self.batch_first { [batch, steps] } else { [steps, batch] };
        [
            vec![first, second, config.input],
            if self.last { vec![batch, config.outputs()] } else { vec![first, second, config.outputs()] },
        ]
    }

    /// Values of an input of the case.
    pub fn input(&self, name: &str) -> Result<&[f32]> {
        let [x, y] = self.shapes();
        let shape = match name {
            "x" => x,
            "dy" | "dlast" => y,
            _ => self.state_shape(name),
        };
        Ok(&self.file.tensor(name, &shape)?.values)
    }

    /// The case's weights on `device`, with PyTorch's names.
    pub fn parameters(&self, device: &Device) -> Result<Parameters> {
        let table = tensors(&self.config, "");
        let params = Parameters::new(device, table.clone())?;
        for (name, shape) in table {
            let values = &self.file.tensor(&name, &shape)?.values;
            if let Some(odd) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::invalid(format!("the tensor `{name}`"), "all finite numbers", odd));
            }
            params.set(&name, &shape, values)?;
        }
        Ok(params)
    }

    /// Runs the case forward and, where it has gradients, backward on `device`, with a strategy or the one that is chosen there,
    /// and compares every output, state and gradient.
    pub async fn run(&self, device: &Device, strategy: Option<&str>) -> Result<Vec<Check>> {
        let (lengths, batch_first) = (self.lengths.is_some(), self.batch_first);
        let options = Options { strategy, lengths, batch_first, ..Options::default() };
        let mode = if self.gradients { Mode::Train } else { Mode::Infer };
        let rnn = Rnn::new(device, self.config, self.shape, mode, options)?;
        let params = self.parameters(device)?;
        let params = if self.accumulate > 1 { params.accumulating() } else { params };
        let given = |name: &str| device.upload(name, self.input(name)?);
        let (has_c, begins) = (self.config.cell.has_c(), self.has_initial());
        let ([of_y, of_dy], last) = (self.output(), self.last);
        let cell_only = |name: &str| if has_c { given(name).map(Some) } else { Ok(None) };
        let [x, y] = self.shapes();
        let empty = |name: &str, shape: &[usize]| device.alloc(name, shape.iter().product());
        let state = |name: &str| empty(name, &self.state_shape(name));
        let cell_empty = |name: &str| if has_c { state(name).map(Some) } else { Ok(None) };
        let io = Io {
            x: given("x")?,
            y: if last { None } else { Some(empty(of_y, &y)?) },
            last: if last { Some(empty(of_y, &y)?) } else { None },
            h0: if begins { Some(given("h0")?) } else { None },
            c0: if begins { cell_only("c0")? } else { None },
            hn: Some(state("hn")?),
            cn: cell_empty("cn")?,
            carried: self.carried,
        };
        let gradients = match mode {
            Mode::Infer => Gradients::default(),
            Mode::Train => Gradients {
                dy: if last { None } else { Some(given(of_dy)?) },
                dlast: if last { Some(given(of_dy)?) } else { None },
                dhn: Some(given("dhn")?),
                dcn: cell_only("dcn")?,
                dx: Some(empty("dx", &x)?),
                dh0: if begins { Some(state("dh0")?) } else { None },
                dc0: if begins { cell_empty("dc0")? } else { None },
            },
        };
        let bound = rnn.bind(&params, "", &io, &gradients, &rnn.reserve()?, &rnn.workspace()?)?;
        if let Some(lengths) = &self.lengths {
            bound.set_lengths(lengths)?;
        }
        if self.config.options.resets {
            let resets = self.file.tensor("resets", &[self.shape.steps, self.shape.batch])?;
            bound.set_resets(&resets.values.iter().map(|value| *value != 0.0).collect::<Vec<_>>())?;
        }
        let zero = params.zero_gradients()?;
        device.run(|recorder| zero.record(recorder))?;
        for _ in 0..self.accumulate {
            bound.set_seed(self.seed)?;
            device.run(|recorder| {
                bound.forward.record(recorder)?;
                bound.backward.record(recorder)
            })?;
        }

        let mut checks = Vec::new();
        let states = [("hn", io.hn), ("cn", io.cn)];
        let state_gradients = [("dh0", gradients.dh0), ("dc0", gradients.dc0)];
        let mut all: Vec<(String, Vec<usize>, Buffer, f64)> = Vec::new();
        all.extend(io.y.or(io.last).map(|buffer| (of_y.to_string(), y, buffer, OUTPUT_BOUND)));
        all.extend(
            states
                .into_iter()
                .filter_map(|(name, buffer)| Some((name.to_string(), self.state_shape(name), buffer?, OUTPUT_BOUND))),
        );
        all.extend(gradients.dx.map(|dx| ("dx".to_string(), x, dx, GRADIENT_BOUND)));
        all.extend(
            state_gradients
                .into_iter()
                .filter_map(|(name, buffer)| Some((name.to_string(), self.state_shape(name), buffer?, GRADIENT_BOUND))),
        );
        for (name, shape) in tensors(&self.config, "").into_iter().filter(|_| self.gradients) {
            let gradient = params.gradient(&name)?;
            all.push((format!("grad.{name}"), shape, gradient, GRADIENT_BOUND));
        }
        for (name, shape, buffer, bound) in all {
            let expected = &self.file.tensor(&name, &shape)?.values;
            let want: Vec<f64> = expected.iter().copied().map(f64::from).collect();
            let got = device.download_f64(&buffer).await?;
            checks.push(Check { name, error: relative_error(&got, &want), bound });
        }
        Ok(checks)
    }
}
