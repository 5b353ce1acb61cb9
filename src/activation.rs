//! [`Activation`]: the functions that a cell's gates, candidate and output are put through.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::error::{Error, Result};

/// An f32 that can be compared and hashed by its bits, as what pipelines and plans are keyed by must be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number(f32);

impl Number {
    pub(crate) const fn new(value: f32) -> Self {
        Self(value)
    }

    /// The number.
    pub const fn get(self) -> f32 {
        self.0
    }
}

impl From<f32> for Number {
    fn from(value: f32) -> Self {
        Self::new(value)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// Calls `$user!` with every function: ONNX's name and ours, alpha and beta where it has them and nothing else is said. Each is a
/// file `shaders/function/<our name>.wgsl` and an arm in `src/cpu/cell/functions.rs`.
macro_rules! for_each_function {
    ($user:ident) => {
        $user! {
            /// `1 / (1 + e⁻ˣ)`.
            Sigmoid, "Sigmoid", "sigmoid", []
            /// `tanh(x)`.
            Tanh, "Tanh", "tanh", []
            /// `max(x, 0)`.
            Relu, "Relu", "relu", []
            /// `α·x + β`.
            Affine, "Affine", "affine", [1.0, 0.0]
            /// `x`, or `α·x` below zero.
            LeakyRelu, "LeakyRelu", "leaky_relu", [0.01]
            /// `x` above α, else 0.
            ThresholdedRelu, "ThresholdedRelu", "thresholded_relu", [1.0]
            /// `α·tanh(β·x)`.
            ScaledTanh, "ScaledTanh", "scaled_tanh", [1.0, 1.0]
            /// `max(0, min(1, α·x + β))`.
            HardSigmoid, "HardSigmoid", "hard_sigmoid", [0.2, 0.5]
            /// `x`, or `α·(eˣ − 1)` below zero.
            Elu, "Elu", "elu", [1.0]
            /// `x / (1 + |x|)`.
            Softsign, "Softsign", "softsign", []
            /// `ln(1 + eˣ)`.
            Softplus, "Softplus", "softplus", []
        }
    };
}

pub(crate) use for_each_function;

macro_rules! declare {
    ($($(#[$doc:meta])* $id:ident, $onnx:literal, $name:literal, [$($default:literal),*])*) => {
        /// The functions that ONNX lists for LSTM, GRU and RNN.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Function {
            $($(#[$doc])* $id,)*
        }

        impl Function {
            /// Every function.
            pub const ALL: &'static [Self] = &[$(Self::$id),*];

            /// Name on the command line and in files.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }

            /// ONNX's name.
            pub const fn onnx(self) -> &'static str {
                match self { $(Self::$id => $onnx,)* }
            }

            /// Alpha and beta where nothing else is said; as many as it has. LeakyRelu's, ThresholdedRelu's,
            /// HardSigmoid's and Elu's are ONNX's, the others leave x as it is.
            pub const fn defaults(self) -> &'static [f32] {
                match self { $(Self::$id => &[$($default),*],)* }
            }
        }
    };
}
for_each_function!(declare);

/// A function with its numbers.
///
/// ```
/// use wgpu_rnn::{Activation, Function};
/// let hard: Activation = "hard_sigmoid:0.25:0.5".parse()?;
/// assert_eq!(hard, Activation::with(Function::HardSigmoid, &[0.25, 0.5])?);
/// assert_eq!(hard.to_string(), "hard_sigmoid:0.25:0.5");
/// assert!("sigmoid:2".parse::<Activation>().is_err());
/// # Ok::<_, wgpu_rnn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Activation {
    function: Function,
    alpha: Number,
    beta: Number,
}

impl From<Function> for Activation {
    /// With its own alpha and beta.
    fn from(function: Function) -> Self {
        Self::of(function)
    }
}

impl Activation {
    pub(crate) const SIGMOID: Self = Self::of(Function::Sigmoid);
    pub(crate) const TANH: Self = Self::of(Function::Tanh);
    pub(crate) const RELU: Self = Self::of(Function::Relu);

    /// A function with its own alpha and beta.
    pub const fn of(function: Function) -> Self {
        let (alpha, beta) = match function.defaults() {
            [] => (0.0, 0.0),
            [alpha] => (*alpha, 0.0),
            [alpha, beta, ..] => (*alpha, *beta),
        };
        Self { function, alpha: Number::new(alpha), beta: Number::new(beta) }
    }

    /// With an alpha that is known to do.
    pub(crate) const fn with_alpha(function: Function, alpha: f32) -> Self {
        Self { alpha: Number::new(alpha), ..Self::of(function) }
    }

    /// A function with the first of its numbers, alpha and beta; the others are its own. Errors: more numbers than it has;
    /// one that is not finite; a negative alpha of LeakyRelu or Elu, or one of zero of ScaledTanh: backward takes the slope
    /// from the function's value, which then does not tell it.
    pub fn with(function: Function, numbers: &[f32]) -> Result<Self> {
        let what = || format!("the numbers of `{}`", function.name());
        let has = function.defaults().len();
        if numbers.len() > has {
            return Err(Error::invalid(what(), format!("at most {has}"), numbers.len()));
        }
        if let Some(odd) = numbers.iter().find(|number| !number.is_finite()) {
            return Err(Error::invalid(what(), "finite", odd));
        }
        let own = Self::of(function);
        let [alpha, beta] = [own.alpha, own.beta].map(Number::get);
        let (alpha, beta) = (numbers.first().copied().unwrap_or(alpha), numbers.get(1).copied().unwrap_or(beta));
        match function {
            Function::LeakyRelu | Function::Elu if alpha < 0.0 => {
                Err(Error::invalid(format!("alpha of `{}`", function.name()), "at least 0", alpha))
            }
            Function::ScaledTanh if alpha == 0.0 => {
                Err(Error::invalid("alpha of `scaled_tanh`", "anything but 0", alpha))
            }
            // A zero below zero is a zero: the sign of a value tells its slope.
            _ => Ok(Self { function, alpha: Number::new(alpha + 0.0), beta: Number::new(beta) }),
        }
    }

    /// The function.
    pub const fn function(self) -> Function {
        self.function
    }

    /// Its alpha; 0 where it has none.
    pub const fn alpha(self) -> f32 {
        self.alpha.get()
    }

    /// Its beta; 0 where it has none.
    pub const fn beta(self) -> f32 {
        self.beta.get()
    }

    /// Whether all its values are in 0..1, so that it can be a gate.
    pub const fn is_gate(self) -> bool {
        matches!(self.function, Function::Sigmoid | Function::HardSigmoid)
    }

    /// Whether all its values are in −1..1.
    pub const fn is_squashing(self) -> bool {
        match self.function {
            Function::Tanh | Function::Softsign => true,
            Function::ScaledTanh => self.alpha().abs() <= 1.0,
            _ => self.is_gate(),
        }
    }
}

impl FromStr for Activation {
    type Err = Error;

    /// A function's name, ours or ONNX's, then `:` and a number for alpha and the same for beta, where they are not to be its
    /// own.
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let found = Function::ALL.iter().find(|function| function.name() == name || function.onnx() == name);
        let function = found.copied().ok_or_else(|| {
            let names: Vec<_> = Function::ALL.iter().map(|function| function.name()).collect();
            Error::invalid("the activation", format!("one of {}", names.join(", ")), format!("`{name}`"))
        })?;
        let number = |part: &str| {
            part.parse::<f32>()
                .map_err(|_| Error::invalid(format!("the numbers of `{name}`"), "numbers", format!("`{part}`")))
        };
        Self::with(function, &parts.map(number).collect::<Result<Vec<_>>>()?)
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        if *self != Self::of(self.function) {
            let numbers = [self.alpha, self.beta].into_iter().take(self.function.defaults().len());
            numbers.into_iter().try_for_each(|number| write!(f, ":{}", number.get()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for &function in Function::ALL {
            let own = Activation::from(function);
            assert_eq!(own.to_string(), function.name());
            assert_eq!(function.onnx().parse::<Activation>().unwrap(), own);
            let other = Activation::with(function, &[0.25, 3.0][..function.defaults().len()]).unwrap();
            assert_eq!(other.to_string().parse::<Activation>().unwrap(), other);
        }
        let message = |text: &str| text.parse::<Activation>().unwrap_err().to_string();
        assert!(
            message("swish").starts_with("the activation must be one of sigmoid, tanh, relu,"),
            "{}",
            message("swish")
        );
        assert_eq!(message("tanh:1"), "the numbers of `tanh` must be at most 0, got 1");
        assert_eq!(message("elu:x"), "the numbers of `elu` must be numbers, got `x`");
        assert_eq!(message("elu:-1"), "alpha of `elu` must be at least 0, got -1");
        assert_eq!(message("scaled_tanh:0"), "alpha of `scaled_tanh` must be anything but 0, got 0");
        let zero: Activation = "leaky_relu:-0".parse().unwrap();
        assert!(zero.alpha().is_sign_positive());
        assert_eq!(message("affine:inf"), "the numbers of `affine` must be finite, got inf");
    }
}
