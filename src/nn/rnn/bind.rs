//! Binding a planned layer to parameters and to the caller's buffers.

use super::batch_first::Turned;
use super::{Rnn, backward, forward};
use crate::cell::MOST_STATES;
use crate::device::{Buffer, DType, Device};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernel::Program;
use crate::kernel::gemm::Matrix;
use crate::kernel::recurrent::{Draws, RANDOM_WORDS, reset_words};
use crate::nn::params::Parameters;
use crate::plan::{Memory, Mode, Reserve, Workspace};
use crate::recipe::Tensor;

/// What a layer reads and writes, floats on the plan's device (with a projection to P elements h and the output have P where H is
/// said), sequences `[T, B, ..]` or, with
/// [`Options::batch_first`](super::Options::batch_first), `[B, T, ..]`; x and y may be stored as f16, in either precision of the
/// plan. The states' first axis is layer-major, PyTorch's. A final state may be the initial one's buffer, the gradient of an
/// initial state that of the final one's, and y and the last output their own gradients; nothing else that is written may
/// overlap another buffer.
#[derive(Clone, Debug)]
pub struct Io {
    /// Input `[T, B, I]`. Padding is never looked at.
    pub x: Buffer,
    /// Where the output of all steps goes, `[T, B, D·H]`, zero past a sequence's end.
    pub y: Option<Buffer>,
    /// Where each sequence's last output goes, `[B, D·H]`: of every direction that after its own last step, Keras's
    /// `return_sequences=False`. Without `y` the caller has no buffer of all
    /// steps' outputs.
    pub last: Option<Buffer>,
    /// Initial h `[L·D, B, H]`; when there is none the learnt one, or zero. A layer that learns its initial states has none
    /// beside, unless they are `carried`.
    pub h0: Option<Buffer>,
    /// Initial c likewise, for cells with a cell state.
    pub c0: Option<Buffer>,
    /// Where the final h of each sequence goes, `[L·D, B, H]`.
    pub hn: Option<Buffer>,
    /// Where the final c goes, `[L·D, B, H]`, for cells with a cell state.
    pub cn: Option<Buffer>,
    /// Whether h0 and c0 were carried over from a run before; then all of them must be given. Without it each sequence's first
    /// step begins anew, and [resets](Bound::set_resets) return to h0 and c0. With it they return to the learnt states, or to
    /// zero, and a first step begins anew only where the mask has time 0; that of a reversed direction never does. The gradient of
    /// h0 is then what reaches the first step, and that of learnt states what reaches resets; without resets it is zero.
    pub carried: bool,
}

/// The caller's buffers of each state, or of each state's gradient, in the order of
/// [`Recipe::state_names`](crate::Recipe::state_names), with the names of their fields.
pub(super) type StateBuffers<'a> = [(&'static str, Option<&'a Buffer>); MOST_STATES];

impl Io {
    /// Input and the output of all steps.
    pub fn new(x: &Buffer, y: &Buffer) -> Self {
        Self { y: Some(y.clone()), last: None, ..Self::of_last(x, y) }
    }

    /// Input and each sequence's last output.
    pub fn of_last(x: &Buffer, last: &Buffer) -> Self {
        let last = Some(last.clone());
        Self { x: x.clone(), y: None, last, h0: None, c0: None, hn: None, cn: None, carried: false }
    }

    /// The same with these states, from [`Rnn::states`], as initial and as final ones: each run goes on where the one before it
    /// ended, the first one from what they hold. See [`carried`](Self::carried).
    #[must_use]
    pub fn carrying(self, states: &[Buffer]) -> Self {
        let mut states = states.iter().cloned();
        let (h, c) = (states.next(), states.next());
        Self { h0: h.clone(), hn: h, c0: c.clone(), cn: c, carried: true, ..self }
    }

    /// Initial states.
    pub(super) fn initial_states(&self) -> StateBuffers<'_> {
        [("h0", self.h0.as_ref()), ("c0", self.c0.as_ref())]
    }

    /// Final states.
    pub(super) fn final_states(&self) -> StateBuffers<'_> {
        [("hn", self.hn.as_ref()), ("cn", self.cn.as_ref())]
    }
}

/// Gradients that backward reads and writes; those of the parameters go to [`Parameters::gradients`], overwritten, or added to
/// what is there where these [accumulate](Parameters::accumulating).
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    /// Gradient of y `[T, B, D·H]`, if anything depends on y. Padding is never looked at.
    pub dy: Option<Buffer>,
    /// Gradient of each sequence's last output, `[B, D·H]`, if anything depends on it.
    pub dlast: Option<Buffer>,
    /// Gradient of the final h, `[L·D, B, H]`, if anything depends on it.
    pub dhn: Option<Buffer>,
    /// Gradient of the final c, `[L·D, B, H]`.
    pub dcn: Option<Buffer>,
    /// Where the gradient of x goes, `[T, B, I]`, zero in padding.
    pub dx: Option<Buffer>,
    /// Where the gradient of the initial h goes, `[L·D, B, H]`; with resets that to it where a sequence returned to it too.
    pub dh0: Option<Buffer>,
    /// Where the gradient of the initial c goes, `[L·D, B, H]`.
    pub dc0: Option<Buffer>,
}

impl Gradients {
    /// The same with these, from [`Rnn::states`], as gradients of the final and of the initial states: of windows of one run, which
    /// go backward from the last to the first, each leaves the gradient of the states that it began with for the one before it.
    /// They are to be zero before the last window, if nothing depends on its final states.
    #[must_use]
    pub fn carrying(self, gradients: &[Buffer]) -> Self {
        let mut gradients = gradients.iter().cloned();
        let (h, c) = (gradients.next(), gradients.next());
        Self { dhn: h.clone(), dh0: h, dcn: c.clone(), dc0: c, ..self }
    }

    /// Gradients of the final states.
    pub(super) fn final_states(&self) -> StateBuffers<'_> {
        [("dhn", self.dhn.as_ref()), ("dcn", self.dcn.as_ref())]
    }

    /// Gradients of the initial states.
    pub(super) fn initial_states(&self) -> StateBuffers<'_> {
        [("dh0", self.dh0.as_ref()), ("dc0", self.dc0.as_ref())]
    }
}

/// A layer bound to its buffers: programs to record as often as one likes. Recording allocates and uploads nothing.
pub struct Bound {
    /// x to y and final states.
    pub forward: Program,
    /// Packs the weights for forward, where [`Options::pack_once`](super::Options::pack_once) leaves that to it; else, and on the
    /// CPU, which sees by itself that parameters were written, empty. Binding has run it once. To be recorded after parameters
    /// were written, before forward: of `bias_ih` and learnt initial states forward reads what is there, of all else what was
    /// packed.
    pub pack: Program,
    /// Gradients of everything; empty unless the plan is for training. It consumes what forward kept: one forward before
    /// each, with x and the parameters unchanged in between.
    pub backward: Program,
    rnn: Rnn,
    lengths: Buffer,
    /// `[T + 1, ⌈B/32⌉]` words of bits, behind the lengths; empty without resets.
    resets: Buffer,
    /// [`Io::carried`].
    carried: bool,
    norms: Option<Buffer>,
    /// The seed and the draw, where something is drawn.
    random: Option<Buffer>,
    memory: Memory,
}

/// What the programs of one binding are built from.
#[derive(Clone, Copy)]
pub(super) struct BindContext<'a> {
    pub(super) rnn: &'a Rnn,
    pub(super) params: &'a Parameters,
    pub(super) prefix: &'a str,
    pub(super) io: &'a Io,
    pub(super) gradients: &'a Gradients,
    pub(super) reserve: &'a Reserve,
    pub(super) workspace: &'a Workspace,
    pub(super) lengths: &'a Buffer,
    /// Of each layer whose weights stay packed: input weights, where a GPU has them, and the rest.
    pub(super) packed: &'a [[Buffer; 2]],
    pub(super) norms: Option<&'a Buffer>,
    /// What masks come from, where something is drawn.
    pub(super) draws: Option<&'a Draws>,
}

impl BindContext<'_> {
    /// A tensor of a layer, its directions at a stride; its gradient when asked for.
    pub(super) fn tensor(&self, tensor: Tensor, layer: usize, gradient: bool) -> Result<Matrix> {
        self.rnn.tensor(self.params, self.prefix, tensor, layer, gradient)
    }

    /// The same of one that the layer may lack.
    pub(super) fn optional(&self, tensor: Tensor, layer: usize) -> Result<Option<Matrix>> {
        let has = self.rnn.config.recipe().has(tensor);
        has.then(|| self.tensor(tensor, layer, false)).transpose()
    }
}

impl Rnn {
    /// Binds the layer: parameters (their names after `prefix`), the caller's buffers, and memory that
    /// [`reserve`](Self::reserve) and [`workspace`](Self::workspace) gave. All lengths start at T. Errors: a tensor that
    /// is missing, misshapen or on another device, a cell state for a cell without one, a reserve or workspace of another
    /// plan that does not fit.
    pub fn bind(
        &self,
        params: &Parameters,
        prefix: &str,
        io: &Io,
        gradients: &Gradients,
        reserve: &Reserve,
        workspace: &Workspace,
    ) -> Result<Bound> {
        self.check_parameters(params, prefix)?;
        self.check_io(io, gradients)?;
        reserve.check(&self.device, &self.layout)?;
        let workspace = &workspace.fit(&self.device, &self.layout)?;
        let lengths = self.device.alloc_u32("lengths", self.layout.lengths)?;
        let room = |[input, rest]: &[usize; 2]| {
            let room = self.device.alloc_as(self.precision, "packed weights", input + rest)?;
            Ok([room.slice(0..*input)?, room.slice(*input..input + rest)?])
        };
        let packed = &self.layout.packed.iter().map(room).collect::<Result<Vec<_>>>()?;
        let norms = match self.layout.norms {
            0 => None,
            elements => Some(self.device.alloc("norms of gradients", elements)?),
        };
        let random = lengths.len() - self.layout.drawn;
        let draws = (self.layout.drawn > 0).then(|| Draws { lengths: lengths.clone(), random });
        let turned = self.batch_first.then(|| Turned::new(self, io, gradients, workspace)).transpose()?;
        let with = BindContext {
            rnn: self,
            params,
            prefix,
            io: turned.as_ref().map_or(io, |turned| &turned.io),
            gradients: turned.as_ref().map_or(gradients, |turned| &turned.gradients),
            reserve,
            workspace,
            lengths: &lengths,
            packed,
            norms: norms.as_ref(),
            draws: draws.as_ref(),
        };
        let pack = forward::pack(&with)?;
        if pack.dispatches() > 0 && !self.device.gpu().is_some_and(Gpu::plans_only) {
            self.device.run(|recorder| pack.record(recorder))?;
        }
        let mut forward = forward::build(&with)?;
        let mut backward = match self.mode {
            Mode::Train => backward::build(&with)?,
            Mode::Infer => Program::default(),
        };
        if let Some(Turned { around: [before_forward, after_forward, before_backward, after_backward], .. }) = turned {
            forward = before_forward.then(forward).then(after_forward);
            if self.mode == Mode::Train {
                backward = before_backward.then(backward).then(after_backward);
            }
        }
        let batch = self.shape.batch;
        let held = reserve.memory();
        let own: u64 =
            packed.iter().map(|[_, rest]| rest).chain([&lengths]).chain(&norms).map(Buffer::allocated_bytes).sum();
        let scratch = held.workspace + workspace.bytes() + own;
        let memory = Memory { reserve: held.reserve, workspace: scratch };
        let random_state = draws.map(|_| lengths.slice(random..random + RANDOM_WORDS)).transpose()?;
        let (resets, lengths) = (lengths.slice(batch..random)?, lengths.slice(0..batch)?);
        let bound = Bound {
            forward,
            pack,
            backward,
            rnn: self.clone(),
            lengths,
            resets,
            carried: io.carried,
            norms,
            random: random_state,
            memory,
        };
        bound.set_seed(0)?;
        if self.config.recipe().resets() {
            bound.set_resets(&vec![false; self.shape.rows()])?;
        }
        bound.write_lengths(&vec![self.shape.steps; self.shape.batch])?;
        Ok(bound)
    }

    fn check_io(&self, io: &Io, gradients: &Gradients) -> Result<()> {
        let (steps, batch) = (self.shape.steps, self.shape.batch);
        let rows = if self.batch_first { [batch, steps] } else { [steps, batch] };
        let [x, y] = [self.config.input, self.config.outputs()].map(|width| [rows[0], rows[1], width]);
        let state = |state: usize| [self.config.layers * self.config.directions(), batch, self.config.width(state)];
        let check = |name: &str, buffer: Option<&Buffer>, shape: &[usize]| match buffer {
            Some(buffer) => buffer.check(name, &self.device, shape, DType::Float),
            None => Ok(()),
        };
        let sequences = [
            ("x", Some(&io.x), &x),
            ("y", io.y.as_ref(), &y),
            ("dy", gradients.dy.as_ref(), &y),
            ("dx", gradients.dx.as_ref(), &x),
        ];
        for (name, buffer, shape) in sequences {
            buffer.map_or(Ok(()), |buffer| buffer.check_floats(name, &self.device, shape))?;
        }
        for (name, buffer) in [("last", &io.last), ("dlast", &gradients.dlast)] {
            check(name, buffer.as_ref(), &[batch, self.config.outputs()])?;
        }
        let (initial, of_initial) = (io.initial_states(), gradients.initial_states());
        let learns = self.config.learns_state && !io.carried;
        if let Some((name, _)) = initial.iter().chain(&of_initial).find(|(_, buffer)| learns && buffer.is_some()) {
            return Err(Error::invalid(format!("`{name}`"), "none, as the layer learns its initial states", "given"));
        }
        let states = self.config.recipe().states();
        let all = initial.iter().take(states).all(|(_, buffer)| buffer.is_some());
        if io.carried && !all {
            return Err(Error::invalid("the states that are carried over", "all given", "not all given"));
        }
        let outputs = [(&gradients.dy, &io.y), (&gradients.dlast, &io.last)];
        if outputs.iter().any(|(gradient, output)| gradient.is_some() && output.is_none()) {
            return Err(Error::invalid("the output whose gradient is given", "there", "none"));
        }
        let lists = [initial, io.final_states(), gradients.final_states(), of_initial];
        for (index, list) in (0..MOST_STATES).flat_map(|index| lists.iter().map(move |list| (index, list))) {
            let (name, buffer) = list[index];
            if buffer.is_some() && index >= states {
                return Err(Error::unsupported(format!("a cell state (`{name}`)"), self.config.cell));
            }
            check(name, buffer, &state(index))?;
        }
        check_overlaps(io, gradients)
    }
}

/// An error when a buffer that is written overlaps another. A final state may take the initial one's place, and the
/// gradient of an initial state that of the final one: each layer's is read before it is written. y may be its own
/// gradient, as it is for half its square.
fn check_overlaps<'a>(io: &'a Io, gradients: &'a Gradients) -> Result<()> {
    let in_place = |written: StateBuffers<'a>, read: StateBuffers<'a>| {
        let both = written.into_iter().zip(read);
        both.map(|((name, buffer), (may, _))| (name, buffer, may))
    };
    let dlast = ("dlast", gradients.dlast.as_ref());
    let (initial, of_final) = (io.initial_states(), gradients.final_states());
    let read = [("x", Some(&io.x))].into_iter().chain(initial);
    let read: Vec<_> = read.chain([("dy", gradients.dy.as_ref()), dlast]).chain(of_final).collect();
    let written = [("y", io.y.as_ref(), "dy"), ("last", io.last.as_ref(), "dlast")].into_iter();
    let written = written.chain(in_place(io.final_states(), initial)).chain([("dx", gradients.dx.as_ref(), "")]);
    let written: Vec<_> = written.chain(in_place(gradients.initial_states(), of_final)).collect();
    for (index, (name, buffer, may)) in written.iter().enumerate() {
        let others = written[index + 1..].iter().map(|(name, buffer, _)| (*name, *buffer));
        for (other, with) in others.chain(read.iter().copied()) {
            if let (Some(one), Some(two)) = (buffer, with)
                && other != *may
                && one.overlaps(two)
            {
                return Err(Error::invalid(format!("`{name}`"), "memory of its own", format!("that of `{other}`")));
            }
        }
    }
    Ok(())
}

impl Bound {
    /// The planned layer.
    pub fn rnn(&self) -> &Rnn {
        &self.rnn
    }

    /// Bytes as allocated; equal to [`Rnn::memory`].
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Sets each sequence's length, until it is set again. A length of 0 or above T is an error that names the sequence. The plan
    /// must have been made with [`Options::lengths`](super::Options::lengths). Uploads: never between recording and submitting.
    pub fn set_lengths(&self, lengths: &[usize]) -> Result<()> {
        self.rnn.shape.check_lengths(lengths)?;
        if !self.rnn.lengths && lengths.iter().any(|&length| length != self.rnn.shape.steps) {
            return Err(Error::invalid("lengths of their own", "asked for when the layer is planned", "not asked for"));
        }
        self.write_lengths(lengths)
    }

    fn write_lengths(&self, lengths: &[usize]) -> Result<()> {
        let lengths: Vec<u32> = lengths.iter().map(|&length| length as u32).collect();
        self.rnn.device.write_u32(&self.lengths, &lengths)
    }

    /// Sets before which steps the state of which sequence returns to its initial value, `[T, B]` in time order, as a new
    /// episode begins in recurrent reinforcement learning; at first there are none. The mask stays until it is set again. The
    /// output of the step before stays, and no gradient passes from the step to it: it flows into the initial state. In a
    /// reversed direction what lies between two resets is a sequence of its own as well. Padding is not looked at. The initial
    /// state is that of this run, `h0` or the learnt one or zero; where `h0` was [carried over](Io::carried), the learnt one or
    /// zero. Errors: another number of entries; a layer without [`StepOptions::resets`](crate::StepOptions::resets). Uploads:
    /// never between recording and submitting.
    pub fn set_resets(&self, resets: &[bool]) -> Result<()> {
        let (shape, config) = (self.rnn.shape, self.rnn.config);
        if !config.recipe().resets() {
            return Err(Error::invalid("resets", "an option of the layer's step", "not among them"));
        }
        if resets.len() != shape.rows() {
            return Err(Error::shape("resets", &[shape.steps, shape.batch], &[resets.len()]));
        }
        let words = reset_words(shape.batch);
        let mut bits = vec![0u32; (shape.steps + 1) * words];
        // What the first step of a sequence sees is its initial state anyhow, unless that was carried over.
        if !self.carried {
            bits[..2 * words].fill(u32::MAX);
        }
        for (time, resets) in resets.chunks_exact(shape.batch).enumerate() {
            for (sequence, _) in resets.iter().enumerate().filter(|(_, reset)| **reset) {
                bits[(time + 1) * words + sequence / 32] |= 1 << (sequence % 32);
            }
        }
        self.rnn.device.write_u32(&self.resets, &bits)
    }

    /// Seeds what is drawn: what is dropped ([`RnnConfig::dropout`](crate::RnnConfig::dropout) and the like) and what stays of
    /// states ([`Zoneout`](crate::Zoneout)), and begins with its first draw again; at first
    /// the seed is 0. Each forward run draws anew, by a counter on the device, and the backward run after it has its masks.
    /// Nothing to do where nothing is drawn. What is drawn depends on the seed, the run's number and the place in the layer
    /// alone: two bindings with one seed draw alike, run by run, so give each its own. Uploads: never between recording and
    /// submitting.
    pub fn set_seed(&self, seed: u64) -> Result<()> {
        self.set_seed_after(seed, 0)
    }

    /// The same as it is after so many forward runs with this seed: for a training that goes on from a checkpoint.
    pub fn set_seed_after(&self, seed: u64, runs: u32) -> Result<()> {
        let Some(random) = &self.random else { return Ok(()) };
        self.rnn.device.write_u32(random, &[seed as u32, (seed >> 32) as u32, runs, 0])
    }

    /// The bits of [`set_resets`](Self::set_resets), for an app that writes them on the device: u32, `[T + 1, ⌈B/32⌉]`, bit b % 32
    /// of word b / 32 for sequence b. Row 0 is the first step of a reversed direction, row 1 + t the step at time t. Without
    /// [`Io::carried`] all bits of the first two rows are set. None without resets.
    pub fn resets(&self) -> Option<&Buffer> {
        Some(&self.resets).filter(|resets| !resets.is_empty())
    }

    /// Lengths, `[B]`, u32.
    pub fn lengths(&self) -> &Buffer {
        &self.lengths
    }

    /// What the last backward left of gradients, where [`Options::flow`](super::Options::flow) asked for it: `[L, T, B, D, F]`
    /// norms over the units of the gradients of a step's states, in *step order* (step s of a reversed direction is at time
    /// `length − 1 − s`), zero past a sequence's last step. F is 2 or, with a cell state, 3: of h; of c; and what of c, or else
    /// of h, came directly, without passing through a product with `weight_hh` at any later step. They are of the gradients that
    /// backward was given, the loss scale included. [`crate::probe::Flow`] reads them.
    pub fn norms(&self) -> Option<&Buffer> {
        self.norms.as_ref()
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.rnn.device
    }
}
