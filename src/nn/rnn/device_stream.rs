//! [`DeviceStream`]: a recurrent layer that takes one or a few time steps a call, on its parameters' device.

use super::streamed::{expect_forward, expect_one_state, expect_sequences, expect_states};
use super::{Bound, Gradients, Io, Options, Rnn};
use crate::cell::MOST_STATES;
use crate::config::{BatchShape, RnnConfig};
use crate::device::{Buffer, Device, Recorder};
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::gemm::Matrix;
use crate::kernel::recurrent::{Move, move_states};
use crate::nn::params::Parameters;
use crate::plan::{Memory, Mode};
use crate::recipe::Tensor;

/// A recurrent layer that takes one or a few time steps a call on a device, and keeps its states there in between: for an app
/// whose frames are on its GPU.
///
/// A GPU's weights are packed when it is made, and by [`load`](Self::load); the CPU packs in the first call after they were
/// written. A call records a program into the app's encoder, or into one of [`Device::run`]. On a GPU it allocates and uploads
/// nothing, nor does it on a CPU device of one thread. It gives what the whole sequence gives: to the bit where the strategy is
/// the same one ([`Options::strategy`]), since strategies differ in the last places.
///
/// With [`Options::lengths`] sequences may take fewer steps of a call than others, one at least, and with
/// [`StepOptions::resets`](crate::StepOptions::resets) begin anew within a call. [`bound`](Self::bound) takes lengths and masks,
/// which stay for all calls until they are set again.
///
/// It holds the parameters; those that are never trained are best [frozen](Parameters::frozen). One stream of many sequences has
/// one copy of the packed weights. For slices of the CPU's memory, on the calling thread, there is [`Stream`](super::Stream).
///
/// ```
/// use wgpu_rnn::nn::rnn::{DeviceStream, Options, tensors};
/// use wgpu_rnn::nn::{Init, Layer, Parameters};
/// use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};
///
/// # fn main() -> wgpu_rnn::Result<()> {
/// let device = Device::cpu()?; // Or a GPU.
/// let config = RnnConfig::new(Cell::Gru, 8, 64);
/// let params = Parameters::new(&device, tensors(&config, ""))?;
/// Init::new(0).apply(&params, "", Layer::Rnn(&config))?;
/// // A step of three sequences a call.
/// let (x, y) = (device.alloc("x", 3 * 8)?, device.alloc("y", 3 * 64)?);
/// let shape = BatchShape::new(1, 3);
/// let stream = DeviceStream::new(&params, "", config, shape, &x, &y, Options::default())?;
/// for frame in 0..10 {
///     device.write(&x, &[frame as f32; 3 * 8])?;
///     device.run(|recorder| stream.record(recorder))?;
/// }
/// assert_eq!(device.read(stream.h())?, device.read(&y)?);
/// // The second sequence begins anew.
/// stream.reset(&[1])?;
/// # Ok(())
/// # }
/// ```
pub struct DeviceStream {
    bound: Bound,
    params: Parameters,
    prefix: String,
    /// `[L, B, H]` each, of a projected h `[L, B, P]`.
    states: Vec<Buffer>,
}

impl DeviceStream {
    /// Plans `shape.steps` steps a call of `shape.batch` sequences on the device of `params`, whose tensors are named after
    /// `prefix`; `x [S, B, I]` and `y [S, B, H]`, the batch
    /// first with [`Options::batch_first`], are the app's buffers for a call. States are zero, or those that the layer has
    /// learnt to begin with. Errors: a layer that does not go forward alone, and whatever
    /// [`Rnn::new`] and [`Rnn::bind`] refuse.
    pub fn new(
        params: &Parameters,
        prefix: &str,
        config: RnnConfig,
        shape: BatchShape,
        x: &Buffer,
        y: &Buffer,
        options: Options<'_>,
    ) -> Result<Self> {
        config.check()?;
        expect_forward(&config)?;
        let device = params.device();
        let rnn = Rnn::new(device, config, shape, Mode::Infer, Options { pack_once: true, ..options })?;
        let states = rnn.states()?;
        let io = Io::new(x, y).carrying(&states);
        let stream = Self {
            bound: rnn.bind(params, prefix, &io, &Gradients::default(), &rnn.reserve()?, &rnn.workspace()?)?,
            params: params.clone(),
            prefix: prefix.to_string(),
            states,
        };
        stream.set_state(None, None)?;
        Ok(stream)
    }

    /// Packs the parameters as they are now: after they were written and before the next call, since a call reads `bias_ih` as it
    /// is and everything else as it was packed. States stay. Submits; [`bound`](Self::bound)`.pack` is the program for an app's
    /// encoder.
    pub fn load(&self) -> Result<()> {
        self.device().run(|recorder| self.bound.pack.record(recorder))
    }

    /// Records the next steps: from x to y and to the states after them.
    pub fn record(&self, recorder: &mut Recorder<'_>) -> Result<()> {
        self.bound.forward.record(recorder)
    }

    /// h of each layer and sequence, `[L, B, H]`.
    pub fn h(&self) -> &Buffer {
        &self.states[0]
    }

    /// c of each layer and sequence, `[L, B, H]`, for cells that have it.
    pub fn c(&self) -> Option<&Buffer> {
        self.states.get(self.bound.rnn().config().recipe().state("c")?)
    }

    /// Sets the states, `[L, B, H]`: h and, for cells that have it, c; where none is given the learnt initial one, or zero. An
    /// error, and nothing set, for other sizes or a c that the cell does not have. Uploads, and submits: never between recording
    /// and submitting.
    pub fn set_state(&self, h: Option<&[f32]>, c: Option<&[f32]>) -> Result<()> {
        let shape = self.bound.rnn().shape();
        expect_states(self.bound.rnn().config(), shape.batch, [("h", h), ("c", c)])?;
        let all: Vec<usize> = (0..shape.batch).collect();
        self.begin(&all, [h.is_none(), c.is_none()])?;
        for (state, given) in self.states.iter().zip([h, c]) {
            given.map_or(Ok(()), |given| self.device().write(state, given))?;
        }
        Ok(())
    }

    /// Begins these sequences anew, at their learnt initial states or at zero; the others go on. An error, and nothing done, for a
    /// sequence that there is not. It makes an op for each run of neighbours in each layer, and submits: never between recording
    /// and submitting. Where sequences begin anew in most calls, a [mask](Bound::set_resets) costs less.
    pub fn reset(&self, sequences: &[usize]) -> Result<()> {
        expect_sequences("a sequence to begin anew", self.bound.rnn().shape().batch, sequences)?;
        self.begin(sequences, [true; MOST_STATES])
    }

    /// Replaces one sequence: its states are `h` and, for cells that have it, `c`, `[L, H]` each; the others go on. An error, and
    /// nothing set, for a sequence that there is not or other sizes. Uploads: never between recording and submitting.
    pub fn replace(&self, sequence: usize, h: &[f32], c: &[f32]) -> Result<()> {
        let (shape, config) = (self.bound.rnn().shape(), *self.bound.rnn().config());
        expect_sequences("the sequence to replace", shape.batch, &[sequence])?;
        expect_one_state(&config, [("h", h), ("c", c)])?;
        for ((state, given), width) in self.states.iter().zip([h, c]).zip(self.bound.rnn().widths()) {
            for (layer, row) in given.chunks_exact(width).enumerate() {
                let first = (layer * shape.batch + sequence) * width;
                self.device().write(&state.slice(first..first + width)?, row)?;
            }
        }
        Ok(())
    }

    /// The plan's binding: its programs, its lengths, its strategy.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Bytes as allocated, the states included.
    pub fn memory(&self) -> Memory {
        let Memory { reserve, workspace } = self.bound.memory();
        let states: u64 = self.states.iter().map(Buffer::allocated_bytes).sum();
        Memory { reserve, workspace: workspace + states }
    }

    fn device(&self) -> &Device {
        self.bound.device()
    }

    /// Brings the learnt initial states, or zero, to these sequences of each layer: of the states that `which` says.
    fn begin(&self, sequences: &[usize], which: [bool; MOST_STATES]) -> Result<()> {
        let rnn = self.bound.rnn();
        let config = rnn.config();
        let mut program = Program::default();
        for layer in 0..config.layers {
            // Neighbours go together, each with the one row.
            for some in sequences.chunk_by(|one, next| one + 1 == *next) {
                let mut moves = Vec::new();
                for (index, ((state, learnt), _)) in
                    self.states.iter().zip(Tensor::INITIAL).zip(which).enumerate().filter(|(_, (_, wanted))| *wanted)
                {
                    let columns = config.width(index);
                    let before = some.first().map_or(0, |first| first * columns);
                    let from = match config.recipe().has(learnt) {
                        true => Some(rnn.tensor(&self.params, &self.prefix, learnt, layer, false)?),
                        false => None,
                    };
                    let to = rnn.caller_state(layer, index, state);
                    let from = from.map(|row| Matrix { row: 0, ..row });
                    moves.push(Move { from, to: Matrix { offset: to.offset + before, ..to }, columns });
                }
                move_states(self.device(), [1, some.len()], &moves, &mut program)?;
            }
        }
        self.device().run(|recorder| program.record(recorder))
    }
}
