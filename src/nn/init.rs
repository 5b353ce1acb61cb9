//! [`Init`]: first values of parameters, from a seed. Drawn on the host with ChaCha8 and nothing but IEEE arithmetic, one
//! stream for each tensor's name: the same seed gives the same numbers on every platform and device, and a tensor's do
//! not change when others come or go.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Embedding, Linear, Parameters, rnn};
use crate::activation::Function;
use crate::cell::ValueKind;
use crate::config::RnnConfig;
use crate::error::{Error, Result};
use crate::recipe::{Bias, Recipe, Tensor};

/// How recurrent weights start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recurrent {
    /// `U(−1/√H, 1/√H)`, as PyTorch does.
    #[default]
    PyTorch,
    /// Each gate's `[H, H]` block a random orthogonal matrix (Saxe et al., arXiv:1312.6120), which neither shrinks nor
    /// stretches what passes through it. Takes O(H³) on the host.
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
    /// Bias of the LSTM's forget gate. With 1 the gate starts open, so that the cell keeps its state and gradients reach
    /// back from the first step on (Gers et al. 2000; Jozefowicz et al. 2015); PyTorch starts near 0, half open. The two
    /// biases add up, so `bias_ih` gets the value and `bias_hh` 0; where there is one, it gets the value. Other cells have no such gate and are left alone.
    pub forget_bias: Option<f32>,
    /// Chrono initialisation for memories of up to this many steps (Tallec and Ollivier, arXiv:1804.11188), instead of
    /// `forget_bias`: of each unit the bias of the gate that keeps, LSTM's f or GRU's z, is `ln u` with `u` uniform in
    /// `1..steps − 1`, so that it forgets in about `u` steps; that of LSTM's i is `−ln u`. At least 3; cells without such
    /// gates are left alone. An error for gates of another function than the sigmoid, whose arguments are limited to less than
    /// `ln(steps − 1)`, or without biases.
    pub chrono: Option<usize>,
}

/// The layer whose tensors are filled.
#[derive(Clone, Copy, Debug)]
pub enum Layer<'a> {
    /// Recurrent: every tensor `U(−1/√H, 1/√H)`, but for the choices of [`Init`]; learnt initial states zero.
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
        if self.recurrent == Recurrent::Orthogonal && stem.starts_with("weight_hh") {
            return (0..recipe.gates()).flat_map(|_| source.orthogonal(hidden)).collect();
        }
        let mut values = source.uniform_pytorch(len, hidden);
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

    /// A random orthogonal matrix `[n, n]`: Gram and Schmidt's method on normal rows, each made orthogonal twice, which
    /// suffices in f64. Its triangular factor has a positive diagonal, so that no orthogonal matrix is preferred.
    fn orthogonal(&mut self, n: usize) -> Vec<f32> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
        while rows.len() < n {
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
mod tests {
    use super::*;
    use crate::{Bias, Cell, Device};

    #[test]
    fn the_logarithm_is_right() {
        for i in 1..10_000 {
            let x = f64::from(i) * 1.7e-4;
            assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln().abs().max(1.0), "{x}");
        }
        assert!((ln(1e-300) - 1e-300f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_for_ever() {
        let linear = Linear::new(4, 1);
        let of = |seed, prefix| Init::new(seed).tensor(Layer::Linear(&linear), prefix, "weight", &[1, 4]).unwrap();
        assert_eq!(of(1, "a."), of(1, "a."));
        assert_ne!(of(1, "a."), of(2, "a."));
        assert_ne!(of(1, "a."), of(1, "b."));
        assert_eq!(of(1, "a."), [0.29094806, -0.39511287, -0.1660935, 0.1441574]);
        let embedding = Embedding::new(1, 3);
        let normal = Init::new(1).tensor(Layer::Embedding(&embedding), "a.", "weight", &[1, 3]).unwrap();
        assert_eq!(normal, [0.16268852, -1.3688457, 0.47814837]);
    }

    #[test]
    fn distributions_have_their_moments() {
        let embedding = Embedding::new(1000, 100);
        let values = Init::new(3).tensor(Layer::Embedding(&embedding), "", "weight", &[1000, 100]).unwrap();
        let moment = |n: i32| values.iter().map(|&x| f64::from(x).powi(n)).sum::<f64>() / values.len() as f64;
        for (n, want) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            assert!((moment(n) - want).abs() < 0.05, "moment {n} is {}", moment(n));
        }
        let linear = Linear::new(16, 1000);
        let values = Init::new(3).tensor(Layer::Linear(&linear), "", "weight", &[1000, 16]).unwrap();
        assert!(values.iter().all(|x| x.abs() <= 0.25));
        let square = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((square - 0.0625 / 3.0).abs() < 5e-4, "{square}");
    }

    #[test]
    fn orthogonal_blocks_are_orthogonal() {
        for hidden in [1, 2, 7, 64] {
            let config = RnnConfig::new(Cell::Gru, 2, hidden);
            let init = Init { recurrent: Recurrent::Orthogonal, ..Init::new(5) };
            let shape = [3 * hidden, hidden];
            let values = init.tensor(Layer::Rnn(&config), "", "weight_hh_l0", &shape).unwrap();
            for block in values.chunks_exact(hidden * hidden) {
                for (i, a) in block.chunks_exact(hidden).enumerate() {
                    for (j, b) in block.chunks_exact(hidden).enumerate() {
                        let dot: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                        assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-6, "{hidden}: {i}, {j}");
                    }
                }
            }
            let input = init.tensor(Layer::Rnn(&config), "", "weight_ih_l0", &[3 * hidden, 2]).unwrap();
            assert_eq!(input, Init::new(5).tensor(Layer::Rnn(&config), "", "weight_ih_l0", &[3 * hidden, 2]).unwrap());
        }
    }

    #[test]
    fn the_forget_gate_starts_open() {
        let config = RnnConfig::new(Cell::Lstm, 2, 3).layers(2).bidirectional(true);
        let params = Parameters::new(&Device::cpu().unwrap(), rnn::tensors(&config, "rnn.")).unwrap();
        let init = Init { forget_bias: Some(1.0), ..Init::new(9) };
        init.apply(&params, "rnn.", Layer::Rnn(&config)).unwrap();
        for entry in params.entries() {
            let values = params.device().read(&params.value(&entry.name).unwrap()).unwrap();
            assert!(values.iter().filter(|x| **x != 0.0).all(|x| x.abs() <= 1.0));
            if entry.name.contains("bias") {
                let want = if entry.name.contains("bias_ih") { [1.0; 3] } else { [0.0; 3] };
                assert_eq!(values[3..6], want, "{}", entry.name);
                assert!(values[..3].iter().chain(&values[6..]).all(|x| *x != 0.0 && x.abs() < 0.578));
            }
        }
        let gru = RnnConfig::new(Cell::Gru, 2, 3);
        let bias = |init: Init| init.tensor(Layer::Rnn(&gru), "", "bias_ih_l0", &[9]).unwrap();
        assert_eq!(bias(init), bias(Init::new(9)));
    }

    #[test]
    fn chrono_gates_keep_for_as_long_as_is_asked() {
        let (hidden, steps) = (2000, 50);
        let init = Init { chrono: Some(steps), forget_bias: Some(7.0), ..Init::new(3) };
        let bias = |cell: Cell, stem: &str, init: Init| {
            let config = RnnConfig::new(cell, 2, hidden);
            init.tensor(Layer::Rnn(&config), "", stem, &[cell.gates() * hidden]).unwrap()
        };
        let block = |all: &[f32], gate: usize| all[gate * hidden..][..hidden].to_vec();
        for (cell, keep) in [(Cell::Lstm, 1), (Cell::Gru, 1)] {
            let all = bias(cell, "bias_ih_l0", init);
            let lasts: Vec<f64> = block(&all, keep).iter().map(|&bias| f64::from(bias).exp()).collect();
            assert!(lasts.iter().all(|&lasts| lasts > 0.999 && lasts < 49.001));
            let mean = lasts.iter().sum::<f64>() / hidden as f64;
            assert!((mean - 25.0).abs() < 1.0, "{mean}");
            assert!(block(&bias(cell, "bias_hh_l0", init), keep).iter().all(|&bias| bias == 0.0));
            assert_eq!(block(&all, 2), block(&bias(cell, "bias_ih_l0", Init::new(3)), 2), "n or g");
        }
        // A bias alone has the value, whichever it is.
        let alone = RnnConfig::new(Cell::Lstm, 2, hidden).bias(Bias::Recurrent);
        for (init, least) in [(init, 0.0), (Init { forget_bias: Some(1.0), ..Init::new(3) }, 1.0)] {
            let values = init.tensor(Layer::Rnn(&alone), "", "bias_hh_l0", &[4 * hidden]).unwrap();
            assert!(block(&values, 1).iter().all(|&bias| bias >= least), "{values:?}");
        }
        let lstm = bias(Cell::Lstm, "bias_ih_l0", init);
        assert!(block(&lstm, 0).iter().zip(block(&lstm, 1)).all(|(i, f)| *i == -f));
        assert_eq!(bias(Cell::RnnTanh, "bias_ih_l0", init), bias(Cell::RnnTanh, "bias_ih_l0", Init::new(3)));
        let short = Init { chrono: Some(2), ..init };
        let config = RnnConfig::new(Cell::Gru, 2, 3);
        let error = short.tensor(Layer::Rnn(&config), "", "bias_ih_l0", &[9]).unwrap_err().to_string();
        assert_eq!(error, "the steps of chrono initialisation must be at least 3, got 2");
    }

    #[test]
    fn chrono_is_refused_where_gates_would_not_keep() {
        let init = Init { chrono: Some(21), ..Init::new(3) };
        let refused = |config: RnnConfig| match init.tensor(Layer::Rnn(&config), "", "weight_hh_l0", &[12, 3]) {
            Err(error) => error.to_string(),
            Ok(values) => format!("{} values", values.len()),
        };
        let lstm = RnnConfig::new(Cell::Lstm, 2, 3);
        let options = |text: &str| lstm.options(text.parse().unwrap());
        assert_eq!(refused(lstm), "36 values");
        assert_eq!(refused(options("clip_inputs=3,candidate=relu")), "36 values");
        assert_eq!(
            refused(options("clip_inputs=2.5")),
            "the limit of a gate's argument that is to keep for 20 steps must be at least 2.9957323, got 2.5"
        );
        let hard = "gates of another function than the sigmoid, by which a bias of ln u keeps for u steps";
        assert_eq!(refused(options("gate=hard_sigmoid")), format!("chrono initialisation is not available for {hard}"));
        assert_eq!(refused(lstm.bias(false)), "chrono initialisation is not available for a layer without biases");
        let rnn = RnnConfig::new(Cell::RnnTanh, 2, 3).bias(false);
        assert!(init.tensor(Layer::Rnn(&rnn), "", "weight_hh_l0", &[3, 3]).is_ok(), "it has no gates");
    }

    #[test]
    fn strange_tensors_are_errors() {
        let linear = Linear::new(4, 2);
        let of = |stem, shape: &[usize]| Init::new(0).tensor(Layer::Linear(&linear), "", stem, shape).map(drop);
        let message = |result: Result<()>| result.unwrap_err().to_string();
        assert_eq!(
            message(of("weights", &[2, 4])),
            "`weights` in the initialiser belongs to no part of this layer; expected weight, bias"
        );
        assert_eq!(message(of("weight", &[4, 2])), "`weight` must have shape [2, 4], got [4, 2]");
    }
}
