//! [`Rnn`]: a recurrent layer, layers × directions, planned for one shape and bound to an app's buffers.
//!
//! ```text
//! RnnConfig + BatchShape ── Rnn::new ──► Rnn (immutable: strategy, chunks, sizes)
//!                                         │ allocate
//!                     Parameters, Io ── bind ──► Bound ── forward.record, backward.record
//! ```
//!
//! A sequence too long for one plan is trained in windows (truncated back-propagation through time): with [`Io::carrying`] the
//! state goes on from window to window, and no gradient does. For the whole gradient the windows have bindings with a reserve
//! each, all run forward before the first runs backward, the last window first, and each hands the state's gradient to the window
//! before it ([`Gradients::carrying`]); parameters that [accumulate](crate::nn::Parameters::accumulating) hold the sum.
//!
//! Rows are kept in step order inside (see [`kernel::rows`](crate::kernel::rows)); inputs and outputs are in time order.

mod backward;
mod batch_first;
mod bind;
mod device_stream;
mod dropped;
mod forward;
mod peepholes;
mod source;
mod stage;
#[cfg(not(target_arch = "wasm32"))]
mod stream;
mod streamed;

pub use bind::{Bound, Gradients, Io};
pub use device_stream::DeviceStream;
#[cfg(not(target_arch = "wasm32"))]
pub use stream::Stream;

use std::ops::Range;

use crate::config::{BatchShape, Precision, RnnConfig};
use crate::device::{Buffer, Device};
use crate::error::{Error, Result, at_least_one};
use crate::kernel::gemm::Matrix;
use crate::nn::check;
use crate::nn::params::Parameters;
use crate::plan::{
    self, Choice, ChunkBuffers, Cuts, Layout, Memory, Mode, Purpose, Reserve, Strategy, Wanted, Workspace,
};
use crate::recipe::Tensor;

/// Choices that are not part of the layer's mathematics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// Run this strategy or fail. Default: the first that fits.
    pub strategy: Option<&'a str>,
    /// Sequences have lengths of their own, set by [`Bound::set_lengths`]. Default: all are T steps long.
    pub lengths: bool,
    /// Forward keeps the states before every so many steps alone, and backward computes the rest again: one forward more
    /// in time, and the same bits. The reserve falls to the states before each chunk, and all of h where a layer above
    /// reads it: the formula is at [`plan::Layout`]. Rounded up to a multiple of [`plan::granule`]; [`Rnn::recompute`]
    /// says to what. At T or above a layer is one chunk, whose saved values all layers share. When nothing is trained
    /// chunks of so many steps share their buffers, and nothing is computed twice. 0 is an error. Default: everything is
    /// kept for training; without, what the strategy has use for at once.
    pub recompute: Option<usize>,
    /// How packed weights and activations are stored. Default: as f32.
    pub precision: Precision,
    /// Most steps that one dispatch takes with a strategy whose dispatches take many. Default: as many as end soon enough
    /// for the driver and the screen, by a cautious estimate. 0 is an error.
    pub span: Option<usize>,
    /// Whether the stepwise strategy on a software adapter, where nothing is trained and nothing is stored as f16, packs
    /// weights as it needs them rather than hold packed copies of a layer's: the same bits, for H from some hundreds on in
    /// less memory and, the fewer sequences, in more time. Forced where it can't is an error. Default: for weights and
    /// batches so large that it takes little time.
    pub repack: Option<bool>,
    /// Whether, to infer, forward leaves packing weights to [`Bound::pack`], which is recorded once after parameters were
    /// written: each layer has packed copies of its own in each binding, and forward the fewer dispatches. Beside `repack` an
    /// error. The CPU packs once either way, by itself. Default: a GPU's forward packs weights each time, a layer after the other
    /// in the same room.
    pub pack_once: bool,
    /// Whether backward leaves the norms of the gradients of each step's states, [`Bound::norms`], for training: how
    /// gradients flow through the steps. It takes room for a chunk's gradients ([`Rnn::memory`] counts it), and time; every
    /// gradient has the same bits.
    pub flow: bool,
    /// Whether x, y and their gradients are `[B, T, ..]`, PyTorch's `batch_first`, in place of `[T, B, ..]`: they are turned, which
    /// takes room for f32 copies of them. States, resets and what probes give are as ever.
    pub batch_first: bool,
}

/// What forward keeps of a run of a layer's steps, in *step order*: step s of a reversed direction is at time
/// `length − 1 − s`. Past
/// a sequence's last step it is of no use.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The steps.
    pub steps: Range<usize>,
    /// Saved values `[steps, B, D, saved, H]`, with a projection P elements more in each row, which
    /// [`Recipe::values`](crate::Recipe::values) names. Backward turns them into gradients.
    pub saved: Buffer,
    /// h before the first step and after each, `[steps + 1, B, D, H]`, with a projection `[.., P]`.
    pub h: Buffer,
    /// c likewise, of a cell with a cell state.
    pub c: Option<Buffer>,
}

/// A recurrent layer planned for one shape on one device. Immutable; see [`Rnn::bind`].
#[derive(Clone)]
pub struct Rnn {
    device: Device,
    /// As it runs: to infer nothing is dropped.
    config: RnnConfig,
    /// As it was given.
    given: RnnConfig,
    shape: BatchShape,
    mode: Mode,
    lengths: bool,
    batch_first: bool,
    /// Whether `Bound::pack` packs weights, and forward does not.
    packs_once: bool,
    precision: Precision,
    span: Option<usize>,
    strategy: &'static dyn Strategy,
    why: String,
    cuts: Cuts,
    layout: Layout,
}

/// PyTorch's names and shapes of a recurrent layer's tensors, in PyTorch's order, after `prefix`.
///
/// `weight_ih_l{k} [G·H, I]`, `weight_hh_l{k} [G·H, H]`, `bias_ih_l{k} [G·H]`, `bias_hh_l{k} [G·H]`, the reverse direction's with
/// the suffix `_reverse`; of the biases those that there are. With a projection to P elements `weight_hh` is `[G·H, P]`, the
/// inputs of layers above the first are as wide as the output, and `weight_hr_l{k} [P, H]` comes behind the biases. Peepholes,
/// which PyTorch does not have, are `weight_ch_l{k} [P·H]` behind them, and learnt initial states `h0_l{k} [H]` and `c0_l{k}
/// [H]`. In parameters of another order peepholes and `weight_hr` must come after `weight_hh`, and a reverse direction's tensors
/// after the other's.
pub fn tensors(config: &RnnConfig, prefix: &str) -> Vec<(String, Vec<usize>)> {
    let of = |(layer, direction)| {
        let tensors = config.recipe().tensors(config.layer_input(layer), config.hidden);
        tensors.map(move |(tensor, shape)| (name(config, prefix, tensor, layer, direction), shape))
    };
    places(config).flat_map(of).collect()
}

/// Its layers, and the directions of each.
fn places(config: &RnnConfig) -> impl Iterator<Item = (usize, usize)> {
    let directions = config.directions();
    (0..config.layers).flat_map(move |layer| (0..directions).map(move |direction| (layer, direction)))
}

fn name(config: &RnnConfig, prefix: &str, tensor: Tensor, layer: usize, direction: usize) -> String {
    let suffix = if config.first_reversed() <= direction { "_reverse" } else { "" };
    format!("{prefix}{}_l{layer}{suffix}", tensor.stem())
}

impl Rnn {
    /// Plans `config` for `shape`. Sizes beyond the device's limits, or a strategy that does not fit, are errors.
    pub fn new(
        device: &Device,
        config: RnnConfig,
        shape: BatchShape,
        mode: Mode,
        options: Options<'_>,
    ) -> Result<Self> {
        config.check()?;
        shape.check()?;
        let given = config;
        let config = match mode {
            Mode::Train => given,
            Mode::Infer => given.without_dropout(),
        };
        let precision = options.precision;
        device.expect(precision)?;
        let size = match precision {
            Precision::Full => device.float_bytes() as usize,
            Precision::Half => 2,
        };
        if let Some(steps) = options.span {
            at_least_one("the steps of a dispatch", steps)?;
        }
        if let Some(steps) = options.recompute {
            at_least_one("the steps between kept states", steps)?;
        }
        if options.pack_once && mode == Mode::Train {
            return Err(Error::invalid("weights that are packed once", "asked for to infer", "asked for to train"));
        }
        if options.pack_once && options.repack == Some(true) {
            let expected = "either packed once or as they are needed";
            return Err(Error::invalid("how weights are packed", expected, "both"));
        }
        if options.flow && mode == Mode::Infer {
            return Err(Error::invalid("norms of gradients", "asked for to train", "asked for to infer"));
        }
        if options.flow && config.options.projection.is_some() {
            return Err(Error::Unsupported {
                option: "norms of gradients".to_string(),
                place: "a projection, whose h and c are of two widths, and norms of one".to_string(),
            });
        }
        if options.flow && config.options.clip.gradient.is_some() {
            let place =
                "`clip_gradient`: what comes directly, not through `weight_hh`, is clipped with the rest".to_string();
            return Err(Error::Unsupported { option: "norms of gradients".to_string(), place });
        }
        let wanted = Wanted { mode, precision, flow: options.flow };
        let Choice { strategy, why } = check::choose(device, &config, shape, wanted, options.strategy)?;
        let packs_once = options.pack_once && device.gpu().is_some();
        let repack = if packs_once { Some(false) } else { options.repack };
        let repacks = plan::repacks(device, &config, shape, mode, precision, strategy, repack)?;
        let cut = |repacks: bool| {
            let shared = match mode {
                Mode::Train => options.recompute,
                Mode::Infer => options.recompute.or_else(|| {
                    // What packing spares is not to be spent on gates.
                    let rows = strategy.rows_at_once(device)? / if repacks { 2 } else { 1 };
                    let chunks = shape.rows().div_ceil(rows);
                    Some(shape.steps.div_ceil(chunks))
                }),
            };
            Cuts::new(device, &config, shape, mode, options.flow, shared, size)
        };
        let cuts = cut(repacks)?;
        let (device, lengths, span, batch_first) = (device.clone(), options.lengths, options.span, options.batch_first);
        let purpose = Purpose { mode, precision, lengths, repacks, packs_once, flow: options.flow, batch_first };
        let layout = Layout::new(&device, &config, shape, purpose, &cuts)?;
        Ok(Self {
            device,
            config,
            given,
            shape,
            mode,
            lengths,
            batch_first,
            packs_once,
            span,
            precision,
            strategy,
            why,
            cuts,
            layout,
        })
    }

    /// The layer and batch as the CPU executor and the sizes of carried gradients know them.
    fn native_layer(&self) -> crate::cpu::recurrent::LayerShape {
        crate::cpu::recurrent::LayerShape {
            recipe: self.config.recipe(),
            hidden: self.config.hidden,
            directions: self.config.directions(),
            first_reversed: self.config.first_reversed(),
            batch: self.shape,
        }
    }

    /// The layer, as it was given.
    #[expect(clippy::misnamed_getters, reason = "`config` is the layer as it runs")]
    pub fn config(&self) -> &RnnConfig {
        &self.given
    }

    /// How it stores packed weights and activations.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The shape it is planned for.
    pub fn shape(&self) -> BatchShape {
        self.shape
    }

    /// The strategy that runs it.
    pub fn strategy(&self) -> &'static str {
        self.strategy.name()
    }

    /// Why that strategy runs it and no other, as a clause.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Chunks of steps that it runs in; one unless a binding would be too large, states are recomputed, or nothing is kept
    /// for backward and a part is enough to have at once.
    pub fn chunks(&self) -> usize {
        self.cuts.chunks.len()
    }

    /// Steps from one kept state to the next, as rounded, when backward computes the others again.
    pub fn recompute(&self) -> Option<usize> {
        self.cuts.shared.filter(|_| self.mode == Mode::Train)
    }

    /// Bytes that [`reserve`](Self::reserve) and [`workspace`](Self::workspace) will allocate, and what each binding has of its own:
    /// weights that stay packed, lengths, norms.
    pub fn memory(&self) -> Memory {
        self.layout.memory(self.device.float_bytes())
    }

    /// Allocates what forward keeps for backward. Bindings of one plan may share it as long as no backward is pending.
    pub fn reserve(&self) -> Result<Reserve> {
        Reserve::new(&self.device, &self.layout)
    }

    /// Allocates scratch, which bindings may share as long as their recordings do not interleave.
    pub fn workspace(&self) -> Result<Workspace> {
        Workspace::new(&self.device, &self.layout)
    }

    /// Allocates states for an app to give or to have, zero at first: `[L·D, B, H]` each, of a projected h `[.., P]`, in the order of
    /// [`Recipe::state_names`](crate::Recipe::state_names). [`Io::carrying`] takes them from run to run.
    pub fn states(&self) -> Result<Vec<Buffer>> {
        let rows = self.config.layers * self.config.directions() * self.shape.batch;
        let names = self.config.recipe().state_names().iter().enumerate();
        names.map(|(state, name)| self.device.alloc(name, rows * self.config.width(state))).collect()
    }

    /// What `reserve` holds of a layer between forward and backward, in runs of steps from the first on. An error where
    /// forward keeps nothing, or not all: to infer, and where backward computes states again.
    pub fn kept(&self, reserve: &Reserve, layer: usize) -> Result<Vec<Kept>> {
        if self.mode == Mode::Infer || self.cuts.shared.is_some() {
            let got = if self.mode == Mode::Infer { "one that infers" } else { "one that computes states again" };
            return Err(Error::invalid("the plan whose values are looked at", "one that keeps them all", got));
        }
        reserve.check(&self.device, &self.layout)?;
        if layer >= self.config.layers {
            return Err(Error::invalid("the layer that is looked at", format!("below {}", self.config.layers), layer));
        }
        let sections = self.cuts.sections.iter().cloned().zip(reserve.layer(layer));
        let kept = |(steps, ChunkBuffers { saved, states, .. })| {
            let mut states = states.into_iter();
            Some(Kept { steps, saved, h: states.next()?, c: states.next() })
        };
        Ok(sections.filter_map(kept).collect())
    }

    /// A tensor of a layer, its directions at a stride.
    fn tensor(
        &self,
        params: &Parameters,
        prefix: &str,
        tensor: Tensor,
        layer: usize,
        gradient: bool,
    ) -> Result<Matrix> {
        let first = params.entry(&name(&self.config, prefix, tensor, layer, 0))?;
        let last = params.entry(&name(&self.config, prefix, tensor, layer, self.config.directions() - 1))?;
        if last.offset < first.offset {
            let expected = format!("declared after `{}`", first.name);
            return Err(Error::invalid(format!("`{}`", last.name), expected, "declared before it"));
        }
        let all = if gradient { params.gradients() } else { params.values() };
        let buffer = all.slice(first.offset..last.offset + last.len())?;
        let row = first.shape.get(1).copied().unwrap_or(1);
        Ok(Matrix { buffer, offset: 0, row, column: 1, direction: last.offset - first.offset })
    }

    /// An error unless `params` holds this layer's tensors after `prefix`, in the shapes it needs, on this device.
    fn check_parameters(&self, params: &Parameters, prefix: &str) -> Result<()> {
        if !params.device().same(&self.device) {
            return Err(Error::WrongDevice {
                what: "the parameters".to_string(),
                expected: self.device.name(),
                got: params.device().name(),
            });
        }
        if self.mode == Mode::Train {
            params.expect_gradients()?;
        }
        for (name, shape) in tensors(&self.config, prefix) {
            let entry = params.entry(&name)?;
            if entry.shape != shape {
                return Err(Error::shape(name, &shape, &entry.shape));
            }
        }
        let recipe = self.config.recipe();
        let behind = [Tensor::WeightHr, Tensor::WeightCh].into_iter();
        for tensor in behind.filter(|tensor| recipe.has(*tensor) && recipe.has_product()) {
            for (layer, direction) in places(&self.config) {
                let entry = |tensor| params.entry(&name(&self.config, prefix, tensor, layer, direction));
                let (w_hh, other) = (entry(Tensor::WeightHh)?, entry(tensor)?);
                if other.offset < w_hh.offset {
                    let after = format!("declared after `{}`", w_hh.name);
                    return Err(Error::invalid(format!("`{}`", other.name), after, "declared before it"));
                }
            }
        }
        Ok(())
    }
}
