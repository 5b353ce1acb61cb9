//! The recurrence of one layer over a chunk of steps: forward, backward, and the output in time order.
//!
//! | buffer | shape | role |
//! |---|---|---|
//! | `w` | forward `[D]` of [`packed_recurrent`]: `W_hhᵀ`, `b_hh`, peepholes, `W_hrᵀ`; backward, and forward repacked, `[D][G·H, H]`: `W_hh`, and `W_hr` and peepholes behind it | read |
//! | `lengths` | `[B]`, then reset bits, the random state, bits of what dropout leaves of h | read |
//! | `saved` | `[steps, B, D, saved, H]`, with a projection P more in each row | in place: input projection → saved values → pre-activation gradients |
//! | states: `h`, `c` | `[steps + 1, B, D, H]` each, slot 0 those before the chunk | forward writes, backward reads |
//! | `dy` | `[T, B, D·H]` in time order | read by backward, optional |
//! | `carry` | `[states, B, D, H]` | backward, in place: gradients of the states after the chunk → before it; then [what resets and probes need](carry_len) |
//!
//! With a projection h, `dy` and what is carried of h have P elements where H is said.
//!
//! Forward is one dispatch a phase of a step, backward one a phase and one more that passes the first step through `W_hh`. The
//! sequence of one step index after another is one pipeline and one bind group with a moving offset. No buffer aliases
//! another; none needs zeroing; `saved`, `h` and `c` must reach backward.
//!
//! The `sequence_*` kernels do the same in a dispatch for many steps, and forward writes the output with them; the `scan_*`
//! kernels likewise, where no product of a step reads h.
//!
//! A shader of `shaders/recurrent/`, its host file here and its CPU twin share a stem.

mod backward;
mod dropout;
mod flow;
mod forward;
mod left;
pub mod native;
mod numbers;
mod output;
mod prepare;
mod repacked;
mod scan_backward;
mod scan_forward;
mod seen;
mod sequence;
mod sequence_backward;
mod sequence_forward;
mod states;
mod tiles;
mod upstream;

pub use crate::cpu::random::{Masked, RANDOM_WORDS, left_words};
pub use crate::cpu::recurrent::{flows, follow_width, reset_words};
pub use backward::{KERNEL as BACKWARD, SHARED as BACKWARD_SHARED};
pub use dropout::{DRAW, Draws, Dropout, DroppedRows, Given, KERNEL as DROPOUT};
pub use flow::{KERNEL as FLOW, carry_len, direct_from, initial_from, initial_gradients_from};
pub use forward::{KERNEL as FORWARD, SHARED as FORWARD_SHARED};
pub use left::KERNEL as LEFT;
pub use numbers::packed_recurrent;
pub use output::KERNEL as OUTPUT;
pub use prepare::{KERNEL as PREPARE, Prepare};
pub(super) use repacked::repacked_rows;
pub use repacked::{KERNEL as FORWARD_REPACKED, repacked_len};
pub use scan_backward::KERNEL as SCAN_BACKWARD;
pub use scan_forward::KERNEL as SCAN_FORWARD;
pub use seen::KERNEL as SEEN;
pub use sequence::{Pass, SequenceTile, compile_sequence};
pub use sequence_backward::KERNEL as SEQUENCE_BACKWARD;
pub use sequence_forward::KERNEL as SEQUENCE_FORWARD;
pub use states::{KERNEL as STATES, Move, move_states};
pub(super) use tiles::step_tiles;
pub use upstream::KERNEL as UPSTREAM;

use super::gemm::Matrix;
use super::op::distinct;
use super::rows::RowMap;
use crate::cpu::random::Leaves;
use crate::device::{Buffer, DType, Device};
use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// A chunk of steps of one layer and its buffers.
#[derive(Clone)]
pub struct Chunk {
    /// What its steps are.
    pub recipe: Recipe,
    /// H.
    pub hidden: usize,
    /// D.
    pub directions: usize,
    /// The first direction that goes from the end.
    pub first_reversed: usize,
    /// B.
    pub batch: usize,
    /// First step of the chunk.
    pub first_step: usize,
    /// Steps of the chunk.
    pub steps: usize,
    /// `[B]`, then with resets `[T + 1, ⌈B/32⌉]` words of bits, then where something is drawn
    /// [`RANDOM_WORDS`], and with dropout of h a bit for each element of the states `[B, D, H]`.
    pub lengths: Buffer,
    /// What its steps draw; none where they draw nothing.
    pub drawn: Option<Drawn>,
    /// `[steps, B, D, saved, H]`; with a projection P more in each row.
    pub saved: Buffer,
    /// Whether saved values are kept for backward; without, what forward leaves there is of no concern.
    pub keeps: bool,
    /// `[steps + 1, B, D, H]` of each state, of a projected h `[.., P]`, in the order of [`Recipe::state_names`].
    pub states: Vec<Buffer>,
    /// `[states, B, D, H]`: the states in f32 while steps run, where `saved` and `states` are stored as f16; none
    /// otherwise.
    pub carry: Option<Buffer>,
    /// Where the initial states are kept that sequences return to; none without resets.
    pub initial: Option<Initial>,
    /// `[T, B, D·H]` in time order, which forward writes as well where the strategy does: the whole output, or none.
    pub output: Option<Buffer>,
    /// Most steps that a dispatch of many takes; none for an estimate.
    pub span: Option<usize>,
    /// CPU: what its steps make their input projections from. None: a product has made them.
    pub input: Option<Input>,
}

/// By what a layer's steps draw.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// Words of `lengths` before the random state.
    pub random: usize,
    /// The layer.
    pub layer: usize,
}

impl Drawn {
    /// Words before the bits of what dropout leaves of h.
    pub(super) const fn left(self) -> usize {
        self.random + RANDOM_WORDS
    }
}

/// Where a layer's initial states are, `[states, B, D, H]` from an offset on.
#[derive(Clone)]
pub struct Initial {
    /// f32. Where `carry` is there too it is the beginning of this.
    pub buffer: Buffer,
    /// Elements before them.
    pub offset: usize,
}

/// What input projections are made from on the CPU.
#[derive(Clone)]
pub struct Input {
    /// `W_ih [G·H, I]` of each direction.
    pub w_ih: Matrix,
    /// `b_ih [G·H]` of each direction.
    pub b_ih: Option<Matrix>,
    /// The whole input, `[T, B, I]`, or all states of the layer below with the initial ones, `[T + 1, B, D·H]`.
    pub source: Buffer,
    /// I.
    pub width: usize,
    /// Whether it is those states.
    pub below: bool,
}

/// Recurrent weights, as each executor reads them.
#[derive(Clone)]
pub struct Weights {
    /// `W_hh [G·H, H]` of each direction, where steps have a product; with a projection `[G·H, P]`.
    pub w_hh: Option<Matrix>,
    /// `W_hr [P, H]` of each direction, with a projection.
    pub w_hr: Option<Matrix>,
    /// `b_hh [G·H]` of each direction.
    pub b_hh: Option<Matrix>,
    /// Peepholes `[P·H]` of each direction.
    pub w_ch: Option<Matrix>,
    /// GPU: `[D]` of [`packed_recurrent`], packed before each forward or, for several, once, or what is packed as it is needed.
    /// CPU: weights packed anew by each pass, in training.
    pub workspace: Buffer,
    /// CPU: where weights stay packed from call to call; none where they are packed anew, in the workspace.
    pub packed: Option<native::Packed>,
    /// GPU: whether steps pack the weights as they need them.
    pub repacked: bool,
}

/// Gradients around a chunk.
#[derive(Clone)]
pub struct ChunkGradients {
    /// Gradient of the output, if anything depends on it.
    pub dy: Option<Buffer>,
    /// Whether it is this chunk's in step order ([`Chunk::upstream`]) rather than in time order. Only on GPUs.
    pub in_step_order: bool,
    /// Which rows of `dy` are bound.
    pub rows: RowMap,
    /// Gradients of the final states in, of the first ones out: `[states, B, D, H]`, the first of [`carry_len`] elements.
    pub carry: Buffer,
    /// Where norms of the gradients of each step's states go, `[steps, B, D, flows]` without gaps, if they are wanted: of
    /// each state, and of what of the last of them came directly.
    pub norms: Option<Matrix>,
}

impl Chunk {
    /// Elements of a state of one sequence and direction, 0 h and 1 c: H, of a projected h P.
    pub const fn width(&self, state: usize) -> usize {
        self.recipe.width(state, self.hidden)
    }

    /// Elements of all states of one step.
    fn all_states(&self) -> usize {
        self.batch * self.directions * self.recipe.width_of_states(self.hidden)
    }

    /// h: there where the chunk has been [checked](Self::check).
    pub(crate) fn h(&self) -> &Buffer {
        &self.states[0]
    }

    /// c, for cells that have it.
    pub(crate) fn c(&self) -> Option<&Buffer> {
        self.states.get(self.recipe.state("c")?)
    }

    /// What forward's kernels bind as `carry`, if there is anything: what is carried lies before the initial states.
    fn carried(&self) -> Option<&Buffer> {
        self.initial.as_ref().map(|initial| &initial.buffer).or(self.carry.as_ref())
    }

    /// Where in what is bound as `carry` the initial states begin.
    fn initial_offset(&self) -> usize {
        self.initial.as_ref().map_or(0, |initial| initial.offset)
    }

    /// Where in `lengths` the bits are of what dropout leaves of h, if there is such dropout, and its factor.
    fn dropped_of_h(&self) -> (Option<usize>, f32) {
        match (self.recipe.options().recurrent_dropout, self.drawn) {
            (Some(share), Some(drawn)) => (Some(drawn.left()), Leaves::of(share.get()).scale),
            _ => (None, 1.0),
        }
    }

    /// The lengths, without what lies behind them.
    pub fn lengths_alone(&self) -> Buffer {
        self.lengths.slice(0..self.batch.min(self.lengths.len())).unwrap_or_else(|_| self.lengths.clone())
    }

    /// An error unless the output, where there is one, has room for all steps up to the chunk's last.
    fn check_output(&self, device: &Device) -> Result<()> {
        let Some(y) = &self.output else { return Ok(()) };
        let width = self.directions * self.width(0);
        let rows = y.len() / (self.batch * width).max(1);
        y.check_floats("y", device, &[rows.max(self.first_step + self.steps), self.batch, width])
    }

    /// An error unless the chunk's buffers are of its sizes, on `device`.
    fn check(&self, device: &Device) -> Result<()> {
        let states = |state: usize| [self.steps + 1, self.batch, self.directions, self.width(state)];
        let saved = [self.steps, self.batch, self.directions, self.recipe.saved_width(self.hidden)];
        self.lengths.check("lengths", device, &[self.lengths.len()], DType::U32)?;
        let end = self.drawn.map_or(self.lengths.len(), |drawn| drawn.random);
        let words = end.saturating_sub(self.batch);
        let bits = match self.dropped_of_h() {
            (Some(_), _) => left_words(self.batch * self.directions * self.width(0)),
            (None, _) => 0,
        };
        if end < self.batch || self.drawn.is_some_and(|_| end + RANDOM_WORDS + bits > self.lengths.len()) {
            return Err(Error::shape("lengths", &[self.batch], &[self.lengths.len()]));
        }
        let least = if self.recipe.resets() { (self.first_step + self.steps + 1) * reset_words(self.batch) } else { 0 };
        if words < least {
            return Err(Error::invalid(
                "the bits of resets",
                format!("{least} words at least"),
                format!("{words} words"),
            ));
        }
        let all = self.all_states();
        if let Some(initial) = &self.initial {
            initial.buffer.check("the initial states", device, &[initial.offset + all], DType::Float)?;
        } else if self.recipe.resets() {
            return Err(Error::invalid("the initial states", "there", "none"));
        }
        self.saved.check_floats("the saved gates", device, &saved)?;
        if let Some(carry) = &self.carry {
            carry.check("the carried state", device, &[all], DType::Float)?;
        }
        let names = self.recipe.state_names();
        if self.states.len() != names.len() {
            let got = format!("{} of them", self.states.len());
            return Err(Error::invalid("the states", format!("a buffer for each of {}", names.join(", ")), got));
        }
        let mut all = names.iter().zip(&self.states).enumerate();
        all.try_for_each(|(state, (name, of_all))| {
            of_all.check_floats(&format!("the states {name}"), device, &states(state))
        })
    }
}

impl ChunkGradients {
    /// How `dy` is ordered, for the shaders: 0 there is none, 1 time order, 2 step order.
    fn order(&self) -> u32 {
        match (&self.dy, self.in_step_order) {
            (None, _) => 0,
            (Some(_), false) => 1,
            (Some(_), true) => 2,
        }
    }

    /// An error unless these are the gradients around `chunk`, and share no allocation with anything that `kernel` reads
    /// or writes.
    fn check(&self, device: &Device, chunk: &Chunk, weights: &Weights, kernel: &str) -> Result<()> {
        if let Some(norms) = &self.norms {
            let flows = flows(chunk.recipe) * chunk.directions;
            norms.check("the norms of gradients", chunk.steps * chunk.batch, flows, 1)?;
        }
        let carried = carry_len(device, &chunk.layer(), self.norms.is_some());
        self.carry.check("the carried gradients", device, &[carried], DType::Float)?;
        let mut read = vec![&weights.workspace, &chunk.lengths];
        read.extend(weights.w_hh.iter().chain(&weights.w_hr).map(|weights| &weights.buffer));
        if let Some(dy) = &self.dy {
            let rows = if self.in_step_order { chunk.steps * chunk.batch } else { self.rows.window_rows };
            dy.check_floats("dy", device, &[rows, chunk.directions * chunk.width(0)])?;
            read.push(dy);
        }
        read.extend(&chunk.states);
        let norms = self.norms.iter().map(|norms| &norms.buffer);
        let written: Vec<&Buffer> = [&chunk.saved, &self.carry].into_iter().chain(norms).collect();
        distinct(kernel, &written, &read)
    }
}

impl Weights {
    /// `W_hh`; an error where there is none.
    fn w_hh(&self) -> Result<&Matrix> {
        self.w_hh.as_ref().ok_or_else(|| Error::invalid("`weight_hh`", "there", "none"))
    }

    /// An error unless each matrix holds the weights of `chunk`'s layer.
    fn check(&self, chunk: &Chunk) -> Result<()> {
        let gates = chunk.recipe.gates() * chunk.hidden;
        if chunk.recipe.has_product() {
            self.w_hh()?.check("weight_hh", gates, chunk.width(0), chunk.directions)?;
        }
        match (&self.w_hr, chunk.recipe.projection()) {
            (None, None) => (),
            (Some(w_hr), Some(size)) => w_hr.check("weight_hr", size, chunk.hidden, chunk.directions)?,
            (w_hr, _) => {
                let there = |yes: bool| if yes { "there" } else { "none" };
                return Err(Error::invalid("`weight_hr`", there(w_hr.is_none()), there(w_hr.is_some())));
            }
        }
        let peepholes = chunk.recipe.peepholes() * chunk.hidden;
        for (name, row, columns) in [("bias_hh", &self.b_hh, gates), ("weight_ch", &self.w_ch, peepholes)] {
            if let Some(row) = row {
                Matrix { row: 0, ..row.clone() }.check(name, 1, columns, chunk.directions)?;
            }
        }
        Ok(())
    }
}
