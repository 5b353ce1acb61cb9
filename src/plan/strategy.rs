//! Strategies: ways to run the recurrence of one layer. All do the same work on the same buffers and pass the same
//! tests; each says whether it can run a shape on a device.

use super::scan::Scan;
use super::sequence::Sequence;
use crate::config::{BatchShape, Precision, RnnConfig};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{AdapterKind, Subject};
use crate::kernel::Op;
use crate::kernel::recurrent::{Chunk, ChunkGradients, FORWARD_REPACKED, Weights};
use crate::plan::Mode;

/// Why a strategy can't run, as a clause.
pub type Why = String;

/// What kernels are made for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Forward alone, or backward too.
    pub mode: Mode,
    /// How floats are stored that are not said to be f32.
    pub precision: Precision,
    /// Whether backward leaves the norms of gradients.
    pub flow: bool,
}

/// A way to run the recurrence.
pub trait Strategy: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Whether it can run this layer on this device. One that was asked for by name runs when it can.
    fn fits(&self, device: &Device, config: &RnnConfig, shape: BatchShape, mode: Mode) -> std::result::Result<(), Why>;

    /// Whether it is likely to be faster than those after it, where it can run.
    fn prefers(&self, _: &Device, _: &RnnConfig, _: BatchShape) -> std::result::Result<(), Why> {
        Ok(())
    }

    /// Makes sure that the driver compiles its kernels for this layer, trying one layout after another: false where it takes
    /// none, which is then known to [`fits`](Self::fits). They are compiled now rather than when the plan is bound, since a
    /// plan's strategy, chunks and memory are settled when it is made; binding finds them compiled. The strategy that is
    /// there for everything need not ask: after it there is no other.
    fn compile(&self, _: &Device, _: &RnnConfig, _: BatchShape, _: Wanted) -> Result<bool> {
        Ok(true)
    }

    /// Why one would take it, as a clause.
    fn because(&self) -> &'static str;

    /// Rows of gates, steps times sequences, that are worth having at once where nothing is kept for backward: chunks of
    /// about so many share one buffer, of half as many where weights are packed as they are needed. None: all.
    fn rows_at_once(&self, _: &Device) -> Option<usize> {
        None
    }

    /// Whether `forward` can pack weights as it needs them.
    fn repacks(&self) -> bool {
        false
    }

    /// Whether `forward` writes a chunk's output too, where the chunk has one.
    fn writes_output(&self) -> bool {
        false
    }

    /// Whether `forward` makes the input projections too.
    fn projects(&self) -> bool {
        false
    }

    /// The steps of a chunk forward; unless a strategy has its own, those of the chunk's executor.
    fn forward(&self, device: &Device, chunk: &Chunk, weights: &Weights) -> Result<Op> {
        chunk.forward(device, weights)
    }

    /// The steps of a chunk backward.
    fn backward(&self, device: &Device, chunk: &Chunk, weights: &Weights, gradients: &ChunkGradients) -> Result<Op> {
        chunk.backward(device, weights, gradients)
    }
}

/// One fused dispatch a phase of a time step, or some where one would take long. Fits every GPU and every size, where
/// steps have a product.
struct Stepwise;

/// All steps in native code, on the CPU executor's threads.
struct Native;

/// Dispatches around the steps of a chunk of inference: its projection, its states in and out, what the layer above reads
/// or the output.
const AROUND: usize = 4;
/// Dispatches that a host encodes in a few seconds, and holds the commands of.
const MOST_DISPATCHES: usize = 2_000_000;

/// Every strategy, in order of preference.
pub const STRATEGIES: &[&dyn Strategy] = &[&Scan, &Sequence, &Stepwise, &Native];

impl Strategy for Stepwise {
    fn name(&self) -> &'static str {
        "stepwise"
    }

    fn fits(&self, device: &Device, config: &RnnConfig, shape: BatchShape, mode: Mode) -> std::result::Result<(), Why> {
        if device.gpu().is_none() {
            return Err("it dispatches GPU kernels, and this is the CPU executor".to_string());
        }
        if !config.recipe().has_product() {
            return Err("a step has no product, and needs no dispatch of its own".to_string());
        }
        // Backward takes one more, which brings the gradients to the initial states.
        let phases = config.recipe().step_products();
        let a_layer = phases.saturating_mul(match mode {
            Mode::Infer => shape.steps,
            Mode::Train => shape.steps.saturating_mul(2).saturating_add(1),
        });
        // Around its steps every chunk has a projection, moves of its states and its output.
        let rows = self.rows_at_once(device).unwrap_or(usize::MAX);
        let chunks = if mode == Mode::Infer { shape.rows().div_ceil(rows).min(shape.steps) } else { 0 };
        let around = if chunks > 1 { chunks.saturating_mul(AROUND) } else { 0 };
        let dispatches = a_layer.saturating_add(around).saturating_mul(config.layers);
        if dispatches > MOST_DISPATCHES {
            return Err(format!("it needs at least {dispatches} dispatches, and a recording takes {MOST_DISPATCHES}"));
        }
        Ok(())
    }

    fn because(&self) -> &'static str {
        "it runs every size on every GPU"
    }

    fn repacks(&self) -> bool {
        true
    }

    fn rows_at_once(&self, device: &Device) -> Option<usize> {
        rows_of_gates(device)
    }
}

impl Strategy for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn fits(&self, device: &Device, _: &RnnConfig, _: BatchShape, _: Mode) -> std::result::Result<(), Why> {
        match device.gpu() {
            None => Ok(()),
            Some(_) => Err("it is the CPU executor's, and this is a GPU device".to_string()),
        }
    }

    fn because(&self) -> &'static str {
        "it is the CPU executor's own"
    }

    fn writes_output(&self) -> bool {
        true
    }

    fn projects(&self) -> bool {
        true
    }

    fn rows_at_once(&self, _: &Device) -> Option<usize> {
        // Measured on two cores: with fewer, threads meet more often than pays; nothing is gained by more.
        Some(2 << 10)
    }
}

/// Rows of gates that a GPU has at once where nothing is kept for backward.
pub(super) fn rows_of_gates(device: &Device) -> Option<usize> {
    match device.gpu()?.capabilities().kind {
        AdapterKind::Software => Some(512),
        // Not measured: the input projection of a chunk should be work for every multiprocessor.
        AdapterKind::Gpu => Some(8 << 10),
    }
}

/// Packed weights of a layer, `W_ih` and `W_hh`, from which on they are not held on a software adapter: 16 MiB.
const LARGE: usize = 4 << 20;
/// Sequences that make packing weights anew in every step little beside their product.
const MANY: usize = 64;

/// Whether weights are packed as they are needed: as was asked for, an error where that can't be, or where they are large
/// and it takes little time.
pub fn repacks(
    device: &Device,
    config: &RnnConfig,
    shape: BatchShape,
    mode: Mode,
    precision: Precision,
    strategy: &dyn Strategy,
    asked: Option<bool>,
) -> Result<bool> {
    let software = device.gpu().is_some_and(|gpu| gpu.capabilities().kind == AdapterKind::Software);
    let refused = device.gpu().is_some_and(|gpu| gpu.doubt(&Subject::kernel(FORWARD_REPACKED.name)).is_some());
    let projects = config.recipe().projection().is_some();
    let can = software && !refused && strategy.repacks() && mode == Mode::Infer && precision == Precision::Full;
    let can = can && !projects;
    if asked == Some(true) && !can {
        let expected =
            "asked for with `stepwise` on a software adapter, in full precision, to infer, without a projection";
        let with = if projects { ", with a projection" } else { "" };
        let got = format!("`{}` on {}, {precision:?} precision, to {mode:?}{with}", strategy.name(), device.name());
        return Err(Error::invalid("packing weights as they are needed", expected, got));
    }
    let inputs = (0..config.layers).map(|layer| config.layer_input(layer)).max().unwrap_or(0);
    let weights = config.directions() * config.recipe().gates() * config.hidden * (inputs + config.hidden);
    Ok(can && asked.unwrap_or(weights >= LARGE && shape.batch >= MANY))
}

/// A strategy that was taken.
pub struct Choice {
    /// The strategy.
    pub strategy: &'static dyn Strategy,
    /// Why this one and no other, as a clause.
    pub why: Why,
}

/// Why a strategy is not trusted with a cell on a device, if it is not.
fn trusted(device: &Device, config: &RnnConfig, mode: Mode, strategy: &dyn Strategy) -> std::result::Result<(), Why> {
    let used = Subject::strategy_of(strategy.name(), config.recipe(), mode == Mode::Train);
    match device.gpu().and_then(|gpu| gpu.doubt(&used)) {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

/// The forced strategy, or the first that fits. A forced one that does not fit is an error, never replaced.
pub fn choose(
    device: &Device,
    config: &RnnConfig,
    shape: BatchShape,
    mode: Mode,
    forced: Option<&str>,
) -> Result<Choice> {
    let taken = |strategy: &&'static dyn Strategy, why: Why| {
        log::debug!("strategy {}: {why}", strategy.name());
        Choice { strategy: *strategy, why }
    };
    if let Some(name) = forced {
        let found = STRATEGIES.iter().find(|strategy| strategy.name() == name).ok_or_else(|| {
            let names: Vec<_> = STRATEGIES.iter().map(|strategy| strategy.name()).collect();
            Error::invalid("the strategy", names.join(" or "), format!("`{name}`"))
        })?;
        let runs = trusted(device, config, mode, *found).and_then(|()| found.fits(device, config, shape, mode));
        runs.map_err(|why| Error::Strategy { strategy: name.to_string(), why })?;
        return Ok(taken(found, "it was asked for".to_string()));
    }
    let mut chosen = None;
    let mut others = Vec::new();
    for strategy in STRATEGIES {
        let fits = trusted(device, config, mode, *strategy).and_then(|()| strategy.fits(device, config, shape, mode));
        match (fits.and_then(|()| strategy.prefers(device, config, shape)), chosen) {
            (Ok(()), None) => chosen = Some(strategy),
            (Ok(()), Some(_)) => {
                others.push(format!("not `{}`, which fits too but is preferred less", strategy.name()))
            }
            (Err(why), _) => others.push(format!("not `{}` because {why}", strategy.name())),
        }
    }
    match chosen {
        Some(strategy) => {
            let reasons: Vec<_> = [strategy.because().to_string()].into_iter().chain(others).collect();
            Ok(taken(strategy, reasons.join("; ")))
        }
        None => {
            let why = format!("no strategy fits {}: {}", device.name(), others.join("; "));
            Err(Error::Strategy { strategy: "auto".to_string(), why })
        }
    }
}
