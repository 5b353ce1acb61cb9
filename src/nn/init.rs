//! [`Init`]: first values of parameters, from a seed. Drawn on the host with ChaCha8 and nothing but IEEE arithmetic, one
//! stream for each tensor's name: the same seed gives the same numbers on every platform and device, and a tensor's do
//! not change when others come or go.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Embedding, Linear, Parameters, rnn};
use crate::activation::Function;
use crate::cell::{Cell, ValueKind};
use crate::config::RnnConfig;
use crate::error::{Error, Result};
use crate::recipe::{Bias, Recipe, Tensor};

/// How recurrent weights start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recurrent {
    /// `U(−1/√H, 1/√H)`, as PyTorch does.
    #[default]
    PyTorch,
    /// Each gate's `[H, H]` block of `weight_hh`, with a projection `[H, P]`, a random orthogonal matrix (Saxe et al.,
    /// arXiv:1312.6120), which neither shrinks nor stretches what passes through it. Takes O(H³) on the host.
    Orthogonal,
}

/// How parameters start.
///
/// ```
/// use wgpu_rnn::nn::{Init, Layer, Parameters, Recurrent, rnn};
/// use wgpu_rnn::{Cell, Device, RnnConfig};
/// # fn main() -> wgpu_rnn::Result<()> {
/// let config = RnnConfig::new(Cell::Lstm, 3, 8);
/// let parameters = Parameters::new(&Device::cpu()?, rnn::tensors(&config, "rnn."))?;
/// let init = Init { recurrent: Recurrent::Orthogonal, forget_bias: Some(1.0), ..Init::new(7) };
/// init.apply(&parameters, "rnn.", Layer::Rnn(&config))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Init {
    /// Of everything random.
    pub seed: u64,
    /// Recurrent weights.
    pub recurrent: Recurrent,
    /// Bias of the forget gate of LSTM and SRU. With 1 the gate starts open, so that the cell keeps its state and gradients reach
    /// back from the first step on (Gers et al. 2000; Jozefowicz et al. 2015); PyTorch starts near 0, half open. The two biases
    /// add up, so `bias_ih` gets the value and `bias_hh` 0; where there is one, it gets the value. Other cells have no such gate
    /// and are left alone.
    pub forget_bias: Option<f32>,
    /// Chrono initialisation for memories of up to this many steps (Tallec and Ollivier, arXiv:1804.11188), instead of
    /// `forget_bias`: of each unit the bias of the gate that keeps, f of LSTM and SRU or GRU's z, is `ln u` with `u` uniform in
    /// `1..steps − 1`, so that it forgets in about `u` steps; that of LSTM's i is `−ln u`. At least 3; cells without such
    /// gates are left alone. An error for gates of another function than the sigmoid, whose arguments are limited to less than
    /// `ln(steps − 1)`, or without biases.
    pub chrono: Option<usize>,
}

/// The layer whose tensors are filled.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    /// Recurrent: every tensor `U(−1/√H, 1/√H)`, but for the choices of [`Init`]; learnt initial states zero, the IndRNN's
    /// `weight_hh` `U(0, 1)`.
    Rnn(&'a RnnConfig),
    /// Linear: weight and bias `U(−1/√inputs, 1/√inputs)`.
    Linear(&'a Linear),
    /// Embedding: `N(0, 1)`.
    Embedding(&'a Embedding),
}

impl Layer<'_> {
    /// Names and shapes of its tensors, after `prefix`.
    pub fn tensors(&self, prefix: &str) -> Vec<(String, Vec<usize>)> {
        match self {
            Self::Rnn(config) => rnn::tensors(config, prefix),
            Self::Linear(linear) => linear.parameters(prefix),
            Self::Embedding(embedding) => embedding.parameters(prefix),
        }
    }
}

impl Init {
    /// PyTorch's defaults from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, recurrent: Recurrent::PyTorch, forget_bias: None, chrono: None }
    }

    /// Fills every tensor of `layer`, whose names begin with `prefix`.
    pub fn apply(&self, params: &Parameters, prefix: &str, layer: Layer<'_>) -> Result<()> {
        for (stem, shape) in layer.tensors("") {
            let values = self.tensor(layer, prefix, &stem, &shape)?;
            params.set(&format!("{prefix}{stem}"), &shape, &values)?;
        }
        Ok(())
    }

    /// The first values of the tensor `{prefix}{stem}` of `layer`.
    pub fn tensor(&self, layer: Layer<'_>, prefix: &str, stem: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensors = layer.tensors("");
        let Some((_, expected)) = tensors.iter().find(|(name, _)| name == stem) else {
            let names: Vec<_> = tensors.into_iter().map(|(name, _)| name).collect();
            let (name, place) = (stem.to_string(), "the initialiser".to_string());
            return Err(Error::Unexpected { name, place, expected: names.join(", ") });
        };
        if expected != shape {
            return Err(Error::shape(stem, expected, shape));
        }
        let len = shape.iter().product();
        if let (Some(steps), Layer::Rnn(config)) = (self.chrono, layer) {
            check_chrono(config, steps)?;
        }
        let mut source = Source::new(self.seed, &format!("{prefix}{stem}"));
        Ok(match layer {
            Layer::Rnn(config) => self.recurrent_layer(config, stem, len, &mut source),
            Layer::Linear(linear) => source.uniform_pytorch(len, linear.inputs),
            Layer::Embedding(_) => (0..len).map(|_| source.normal() as f32).collect(),
        })
    }

    fn recurrent_layer(&self, config: &RnnConfig, stem: &str, len: usize, source: &mut Source) -> Vec<f32> {
        let (recipe, hidden) = (config.recipe(), config.hidden);
        // Biases add up: the first that there is has the value.
        let first = stem.starts_with("bias_ih") || !recipe.has(Tensor::BiasIh);
        if self.recurrent == Recurrent::Orthogonal && recipe.has_product() && stem.starts_with("weight_hh") {
            let width = recipe.width(0, hidden);
            return (0..recipe.gates()).flat_map(|_| source.orthogonal(hidden, width)).collect();
        }
        let mut values = source.uniform_pytorch(len, hidden);
        if recipe.cell() == Cell::IndRnn && stem.starts_with("weight_hh") {
            // A unit's own h stays or fades, and none grows.
            values.iter_mut().for_each(|u| *u = ((source.signed() + 1.0) / 2.0) as f32);
            return values;
        }
        if Tensor::INITIAL.iter().any(|initial| stem.starts_with(initial.stem())) {
            // As where none is learnt.
            values.fill(0.0);
            return values;
        }
        if let Some(steps) = self.chrono {
            if stem.starts_with("bias") {
                chrono(recipe, steps, &mut values, first, source);
            }
            return values;
        }
        if let Some(bias) = self.forget_bias
            && recipe.has_c()
            && stem.starts_with("bias")
        {
            // Coupled, f is the first gate; else i comes before it.
            let f = usize::from(!recipe.options().coupled);
            values[f * hidden..(f + 1) * hidden].fill(if first { bias } else { 0.0 });
        }
        values
    }
}

/// An error where biases of `ln u` do not make gates keep for `u` steps.
fn check_chrono(config: &RnnConfig, steps: usize) -> Result<()> {
    let recipe = config.recipe();
    let unsupported =
        |place: &str| Err(Error::Unsupported { option: "chrono initialisation".to_string(), place: place.to_string() });
    if steps < 3 {
        return Err(Error::invalid("the steps of chrono initialisation", "at least 3", steps));
    }
    if !Recipe::of(recipe.cell()).values().iter().any(|(_, kind)| *kind == ValueKind::Keep) {
        return Ok(());
    }
    if recipe.activations().gate.function() != Function::Sigmoid {
        return unsupported("gates of another function than the sigmoid, by which a bias of ln u keeps for u steps");
    }
    if config.bias == Bias::None {
        return unsupported("a layer without biases");
    }
    let needed = ln(steps as f64 - 1.0) as f32;
    match recipe.options().clip.inputs {
        Some(limit) if limit.get() < needed => Err(Error::invalid(
            format!("the limit of a gate's argument that is to keep for {} steps", steps - 1),
            format!("at least {needed}"),
            limit.get(),
        )),
        _ => Ok(()),
    }
}

/// Fills the blocks of the gates that keep and write, if there are such: of the first bias with chrono values, of a second
/// with zeros.
fn chrono(recipe: Recipe, steps: usize, bias: &mut [f32], first: bool, source: &mut Source) {
    let (hidden, keepers) = (bias.len() / recipe.gates(), recipe.keepers());
    for unit in 0..if keepers.is_empty() { 0 } else { hidden } {
        let lasts = 1.0 + (source.signed() + 1.0) / 2.0 * (steps as f64 - 2.0);
        let value = if first { ln(lasts) as f32 } else { 0.0 };
        for &(gate, longer) in &keepers {
            bias[gate * hidden + unit] = if longer { value } else { -value };
        }
    }
}

/// Random numbers of one tensor.
struct Source(ChaCha8Rng);

impl Source {
    fn new(seed: u64, name: &str) -> Self {
        // FNV-1a of the name picks the stream.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(hash);
        Self(random)
    }

    /// In [−1, 1), each of 2⁵³ values as likely.
    fn signed(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// `U(−1/√fan, 1/√fan)`.
    fn uniform_pytorch(&mut self, len: usize, fan: usize) -> Vec<f32> {
        let bound = 1.0 / (fan as f64).sqrt();
        (0..len).map(|_| (self.signed() * bound) as f32).collect()
    }

    /// `N(0, 1)`, by the polar method (Marsaglia and Bray 1964).
    fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (self.signed(), self.signed());
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// A random orthogonal matrix `[height, width]`: Gram and Schmidt's method on normal rows, each made orthogonal twice, which
    /// suffices in f64. Its triangular factor has a positive diagonal, so that no orthogonal matrix is preferred. With more rows
    /// than columns it is the columns that are made so, as `torch.nn.init.orthogonal_` has it.
    fn orthogonal(&mut self, height: usize, width: usize) -> Vec<f32> {
        let (count, n) = (height.min(width), height.max(width));
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(count);
        while rows.len() < count {
            let mut row: Vec<f64> = (0..n).map(|_| self.normal()).collect();
            let drawn = dot(&row, &row);
            for other in rows.iter().chain(&rows) {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
            let left = dot(&row, &row);
            // A row that was almost in the span of the others has lost its digits; draw another.
            if left > 1e-12 * drawn {
                let scale = 1.0 / left.sqrt();
                row.iter_mut().for_each(|x| *x *= scale);
                rows.push(row);
            }
        }
        if height > width {
            return (0..n).flat_map(|at| rows.iter().map(move |column| column[at] as f32)).collect();
        }
        rows.into_iter().flatten().map(|x| x as f32).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f64>() + rest
}

/// Natural logarithm of a normal number, by `2 artanh((m − 1) / (m + 1)) + e ln 2`. The system's own differs between
/// platforms in the last bit.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let (mut exponent, mut mantissa) =
        ((bits >> 52) as i32 - 1023, f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000));
    if mantissa > std::f64::consts::SQRT_2 {
        (mantissa, exponent) = (mantissa / 2.0, exponent + 1);
    }
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    // |z| < 0.172, so the eleventh term is below 1e-17.
    let series = (0..11).rev().fold(0.0, |sum, k| sum * z * z + 1.0 / f64::from(2 * k + 1));
    2.0 * z * series + f64::from(exponent) * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests;
