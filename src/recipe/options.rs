//! What may be chosen about a layer's step: biases, peepholes, coupled gates, functions, limits.

use std::fmt;
use std::str::FromStr;

use crate::activation::{Activation, Number};
use crate::error::{Error, Result};

/// Which biases a layer has, of the two that PyTorch and cuDNN add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// None: PyTorch's `bias=False`, cuDNN's `CUDNN_RNN_NO_BIAS`.
    None,
    /// `bias_ih` alone: Keras's LSTM, cuDNN's `CUDNN_RNN_SINGLE_INP_BIAS`.
    Input,
    /// `bias_hh` alone: cuDNN's `CUDNN_RNN_SINGLE_REC_BIAS`.
    Recurrent,
    /// Both: PyTorch's `bias=True`, cuDNN's `CUDNN_RNN_DOUBLE_BIAS`.
    #[default]
    Both,
}

impl Bias {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::None, Self::Input, Self::Recurrent, Self::Both];

    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Input => "input",
            Self::Recurrent => "recurrent",
            Self::Both => "both",
        }
    }
}

impl FromStr for Bias {
    type Err = Error;

    /// `none`, `input`, `recurrent` or `both`.
    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|bias| bias.name() == text);
        found.ok_or_else(|| Error::invalid("the biases", "none, input, recurrent or both", format!("`{text}`")))
    }
}

impl From<bool> for Bias {
    /// PyTorch's: both or none.
    fn from(yes: bool) -> Self {
        if yes { Self::Both } else { Self::None }
    }
}

/// Limits that values are brought within, each one's size at most that number; none: no limit. Where a value is beyond its
/// limit no gradient passes. They are the same on both sides of zero; cuDNN's may differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clip {
    /// The arguments of the functions of gates and candidate: ONNX's `clip`, which ONNX Runtime does not apply to the cell
    /// state on its way to h, though ONNX says so.
    pub inputs: Option<Number>,
    /// The cell state as it is stored: `cell_clip` of TensorFlow and TensorFlow Lite.
    pub cell: Option<Number>,
    /// The cell state where it is read, by the next step, by h and by peepholes; what is stored, and given as the final state, is not
    /// clipped: cuDNN's `cudnnRNNSetClip`.
    pub cell_as_read: Option<Number>,
    /// The gradient of h at each step of backward, before its cell.
    pub gradient: Option<Number>,
    /// With a [projection](StepOptions::projection), h as it makes it: `proj_clip` of TensorFlow and TensorFlow Lite. Backward
    /// takes an h at its limit for one beyond it.
    pub projection: Option<Number>,
}

impl Clip {
    /// Every limit and its name.
    pub const fn all(self) -> [(&'static str, Option<Number>); 5] {
        let Self { inputs, cell, cell_as_read, gradient, projection } = self;
        [
            ("clip_inputs", inputs),
            ("clip_cell", cell),
            ("clip_cell_as_read", cell_as_read),
            ("clip_gradient", gradient),
            ("clip_projection", projection),
        ]
    }
}

/// The probability with which a unit's state stays, at a step, what it was before the step (Krueger et al. 2017); none: never.
///
/// ```text
/// h = z_h⊙h_prev + (1 − z_h)⊙h'      c = z_c⊙c_prev + (1 − z_c)⊙c'      h', c': what the cell makes
/// ```
///
/// In training z is 1 with the probability and else 0, drawn for each unit, step and sequence; to infer it is the probability.
/// With zoneout of c a step saves one value more for backward, c'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zoneout {
    /// Of h: `zoneout` of haste.
    pub h: Option<Number>,
    /// LSTM and SRU: of c. The output gate and h see the cell state that the step has made, whether or not it stays.
    pub c: Option<Number>,
}

impl Zoneout {
    /// Nothing of a state stays.
    pub const NONE: Self = Self { h: None, c: None };

    /// Every probability and its name.
    pub const fn all(self) -> [(&'static str, Option<Number>); 2] {
        [("zoneout", self.h), ("zoneout_cell", self.c)]
    }
}

/// What may be changed about a cell's step. By default nothing is, and the cell is PyTorch's. All gates have one function, and
/// both directions the same functions, where ONNX may name others for the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StepOptions {
    /// LSTM: the gates i and f see the cell state before the step and o the one after it, each unit its own, by the weights
    /// of [`WeightCh`](super::Tensor::WeightCh) (Gers and Schmidhuber 2000; ONNX's P):
    ///
    /// ```text
    /// a_i += p_i⊙c_prev      a_f += p_f⊙c_prev      a_o += p_o⊙c
    /// ```
    pub peephole: bool,
    /// LSTM: the input gate is `i = 1 − f`, so that `c = f⊙c_prev + (1 − f)⊙g`, and the layer has three gates, f, g and o (Greff
    /// et al. 2017, CIFG). ONNX's
    /// `input_forget` couples them the other way, f = 1 − i: the same layer with the signs of that gate's rows turned where its
    /// function has φ(−a) = 1 − φ(a), as σ has.
    pub coupled: bool,
    /// GRU: the reset gate acts on h before the product with the candidate's weights, as in the first paper (Cho et al. 2014;
    /// Keras's `reset_after=False`, ONNX's `linear_before_reset = 0`), where PyTorch's and cuDNN's acts on the product. A step
    /// then makes two products, one after the other.
    ///
    #[doc = crate::cell::equations!(gru_reset_before)]
    pub reset_before: bool,
    /// LSTM: what the step gives is a product of what the cell makes, `h = W_hr·m` with `m = o⊙tanh(c)`, of so many elements
    /// (Sak et al. 2014, LSTMP; `proj_size` of `torch.nn.LSTM`, cuDNN's `recProjSize`). h, the output and `weight_hh`'s rows are
    /// so wide; c and the gates keep H units. None: h is what the cell makes.
    ///
    #[doc = crate::cell::equations!(lstm_projection)]
    pub projection: Option<usize>,
    /// The function of the gates, ONNX's f for LSTM and GRU; none: σ.
    pub gate: Option<Activation>,
    /// The function of what is added to the state, ONNX's g for LSTM and GRU, and f for the RNN; none: the cell's, tanh, the
    /// rectifier, or none.
    pub candidate: Option<Activation>,
    /// LSTM: the function of the cell state on its way to h, ONNX's h; none: tanh. SRU: the same; none: h sees it as it is.
    pub output: Option<Activation>,
    /// Limits.
    pub clip: Clip,
    /// Sequences begin anew within a batch: before the steps of a mask `[T, B]`
    /// ([`set_resets`](crate::nn::rnn::Bound::set_resets)) their states return to the initial ones, and the gradient flows into
    /// those.
    pub resets: bool,
    /// What may stay of the states before a step.
    pub zoneout: Zoneout,
    /// Variational dropout of h (Gal and Ghahramani 2016; `recurrent_dropout` of Keras, which has a mask for each gate where
    /// here all gates have one): the probability that a unit's h, as
    /// products with `weight_hh` read it, is at all steps of a sequence zero in training, and else divided by what is left of
    /// 1; none: nothing is dropped. To infer nothing is.
    pub recurrent_dropout: Option<Number>,
}

impl StepOptions {
    /// Nothing is changed.
    pub const NONE: Self = Self {
        peephole: false,
        coupled: false,
        reset_before: false,
        projection: None,
        gate: None,
        candidate: None,
        output: None,
        clip: Clip { inputs: None, cell: None, cell_as_read: None, gradient: None, projection: None },
        resets: false,
        zoneout: Zoneout::NONE,
        recurrent_dropout: None,
    };

    /// Whether nothing is changed.
    pub const fn is_none(self) -> bool {
        let Self {
            peephole,
            coupled,
            reset_before,
            projection,
            gate,
            candidate,
            output,
            clip,
            resets,
            zoneout,
            recurrent_dropout,
        } = self;
        let Clip { inputs, cell, cell_as_read, gradient, projection: of_h } = clip;
        let Zoneout { h, c } = zoneout;
        let functions = gate.is_some() || candidate.is_some() || output.is_some();
        let limits =
            inputs.is_some() || cell.is_some() || cell_as_read.is_some() || gradient.is_some() || of_h.is_some();
        let drawn = h.is_some() || c.is_some() || recurrent_dropout.is_some();
        !(peephole || coupled || reset_before || projection.is_some() || resets || functions || limits || drawn)
    }

    /// Its switches by name.
    pub(crate) const fn switches(&self) -> [(&'static str, bool); 4] {
        let Self { peephole, coupled, reset_before, resets, .. } = *self;
        [("peephole", peephole), ("coupled", coupled), ("reset_before", reset_before), ("resets", resets)]
    }

    /// Its limits and probabilities by name.
    pub(crate) fn numbers(self) -> impl Iterator<Item = (&'static str, Option<Number>)> {
        let drops = [("recurrent_dropout", self.recurrent_dropout)];
        self.clip.all().into_iter().chain(self.zoneout.all()).chain(drops)
    }

    /// Its functions by what they are of.
    const fn functions(&self) -> [(&'static str, Option<Activation>); 3] {
        [("gate", self.gate), ("candidate", self.candidate), ("output", self.output)]
    }
}

impl fmt::Display for StepOptions {
    /// What [`from_str`](Self::from_str) reads: `peephole,gate=hard_sigmoid:0.25:0.5,clip_inputs=3`; nothing where nothing is
    /// changed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switches = self.switches().into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_string());
        let functions = self.functions().into_iter().filter_map(|(of, function)| Some(format!("{of}={}", function?)));
        let projection = self.projection.map(|size| format!("projection={size}"));
        let numbers = self.numbers().filter_map(|(name, number)| Some(format!("{name}={}", number?.get())));
        f.write_str(&switches.chain(projection).chain(functions).chain(numbers).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for StepOptions {
    type Err = Error;

    /// Words with commas between them: `peephole`, `coupled`, `reset_before`, `resets`; `projection=` with a whole number;
    /// `gate=`, `candidate=` and `output=` with an [`Activation`]; `clip_inputs=`, `clip_cell=`, `clip_cell_as_read=`,
    /// `clip_gradient=`, `clip_projection=`, `zoneout=`, `zoneout_cell=` and `recurrent_dropout=` with a number.
    fn from_str(text: &str) -> Result<Self> {
        let mut options = Self::NONE;
        let mut said: Vec<&str> = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let name = word.split_once('=').map_or(word, |(name, _)| name);
            if said.contains(&name) {
                return Err(Error::invalid("the options of a step", "each once", format!("`{name}` twice")));
            }
            said.push(name);
            let number = |value: &str| match value.parse::<f32>() {
                Ok(number) => Ok(Some(Number::new(number))),
                Err(_) => Err(Error::invalid(format!("the value of `{word}`"), "a number", format!("`{value}`"))),
            };
            match word.split_once('=') {
                None if word == "peephole" => options.peephole = true,
                None if word == "coupled" => options.coupled = true,
                None if word == "reset_before" => options.reset_before = true,
                None if word == "resets" => options.resets = true,
                Some(("projection", value)) => {
                    let size = value.parse::<usize>().map_err(|_| {
                        Error::invalid(format!("the value of `{word}`"), "a whole number", format!("`{value}`"))
                    })?;
                    options.projection = Some(size);
                }
                Some(("gate", value)) => options.gate = Some(value.parse()?),
                Some(("candidate", value)) => options.candidate = Some(value.parse()?),
                Some(("output", value)) => options.output = Some(value.parse()?),
                Some(("clip_inputs", value)) => options.clip.inputs = number(value)?,
                Some(("clip_cell", value)) => options.clip.cell = number(value)?,
                Some(("clip_cell_as_read", value)) => options.clip.cell_as_read = number(value)?,
                Some(("clip_gradient", value)) => options.clip.gradient = number(value)?,
                Some(("clip_projection", value)) => options.clip.projection = number(value)?,
                Some(("zoneout", value)) => options.zoneout.h = number(value)?,
                Some(("recurrent_dropout", value)) => options.recurrent_dropout = number(value)?,
                Some(("zoneout_cell", value)) => options.zoneout.c = number(value)?,
                _ => {
                    let named = |name: &&str| format!("{name}=…");
                    let valued = Self::NONE.functions().map(|(name, _)| name);
                    let numbers: Vec<_> = Self::NONE.numbers().map(|(name, _)| name).collect();
                    let words = Self::NONE.switches().map(|(name, _)| name.to_string()).into_iter();
                    let all: Vec<_> =
                        words.chain(["projection"].iter().chain(&valued).chain(&numbers).map(named)).collect();
                    let expected = format!("some of {}", all.join(", "));
                    return Err(Error::invalid("the options of a step", expected, format!("`{word}`")));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recipe;
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for recipe in Recipe::texts() {
            let text = recipe.options().to_string();
            assert_eq!(text.parse::<StepOptions>().unwrap(), recipe.options(), "{text}");
            assert_eq!(text.is_empty(), recipe.is_plain());
        }
        let text = "peephole, gate=hard_sigmoid:0.25 ,clip_inputs=3";
        assert_eq!(
            text.parse::<StepOptions>().unwrap().to_string(),
            "peephole,gate=hard_sigmoid:0.25:0.5,clip_inputs=3"
        );
        let message = |text: &str| text.parse::<StepOptions>().unwrap_err().to_string();
        assert_eq!(
            message("peepholes"),
            "the options of a step must be some of peephole, coupled, reset_before, resets, projection=…, gate=…, candidate=…, output=…, clip_inputs=…, \
             clip_cell=…, clip_cell_as_read=…, clip_gradient=…, clip_projection=…, zoneout=…, zoneout_cell=…, \
             recurrent_dropout=…, got `peepholes`"
        );
        assert_eq!(
            message("clip_cell=1,clip_cell=2"),
            "the options of a step must be each once, got `clip_cell` twice"
        );
        assert_eq!(message("projection=x"), "the value of `projection=x` must be a whole number, got `x`");
        assert_eq!(message("clip_cell=x"), "the value of `clip_cell=x` must be a number, got `x`");
        assert!(message("gate=swish").starts_with("the activation must be one of"));
    }
}
