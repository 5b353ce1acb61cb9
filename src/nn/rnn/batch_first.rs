//! Sequences whose first axis is the batch: they are turned into the engine's order, time first, and back.

use std::ops::Range;

use super::Rnn;
use super::bind::{Gradients, Io};
use crate::device::Buffer;
use crate::error::Result;
use crate::kernel::Program;
use crate::kernel::copy::copy;
use crate::kernel::gemm::Matrix;
use crate::plan::{Workspace, bindable, windows};

/// Sequences that one copy turns at most: workgroups that every device has along one axis.
const AT_ONCE: usize = 1 << 15;

/// Which way a sequence is turned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToTime,
    ToBatch,
}

/// What turns the caller's sequences before and after the programs that work on others in time order.
pub(super) struct Turned {
    /// The caller's, their sequences in the workspace.
    pub(super) io: Io,
    pub(super) gradients: Gradients,
    /// Before forward and after it, before backward and after it.
    pub(super) around: [Program; 4],
}

impl Turned {
    pub(super) fn new(rnn: &Rnn, io: &Io, gradients: &Gradients, workspace: &Workspace) -> Result<Self> {
        let [input, output] = [rnn.config.input, rnn.config.outputs()];
        let [x, y, dx] = &workspace.turned;
        let turn = |width: usize, from_caller: Option<&Buffer>, own: &Buffer, way: Way| {
            let mut program = Program::default();
            if let Some(caller) = from_caller {
                rnn.turn(width, caller, own, way, &mut program)?;
            }
            Result::Ok(program)
        };
        // Scratch does not last from forward to backward, so x is turned again; y is of no use to backward, and leaves its
        // place to its gradient.
        let mut before_backward = turn(input, Some(&io.x), x, Way::ToTime)?;
        before_backward.append(turn(output, gradients.dy.as_ref(), y, Way::ToTime)?);
        let around = [
            turn(input, Some(&io.x), x, Way::ToTime)?,
            turn(output, io.y.as_ref(), y, Way::ToBatch)?,
            before_backward,
            turn(input, gradients.dx.as_ref(), dx, Way::ToBatch)?,
        ];
        let place = |there: &Option<Buffer>, own: &Buffer| there.as_ref().map(|_| own.clone());
        Ok(Self {
            io: Io { x: x.clone(), y: place(&io.y, y), ..io.clone() },
            gradients: Gradients { dy: place(&gradients.dy, y), dx: place(&gradients.dx, dx), ..gradients.clone() },
            around,
        })
    }
}

impl Rnn {
    /// Copies a sequence of rows of `width` elements from `[B, T, ..]` to `[T, B, ..]`, or back, window by window.
    fn turn(
        &self,
        width: usize,
        batch_first: &Buffer,
        time_first: &Buffer,
        way: Way,
        program: &mut Program,
    ) -> Result<()> {
        let (steps, batch, device) = (self.shape.steps, self.shape.batch, &self.device);
        let [size, of_time] = [batch_first, time_first].map(|buffer| buffer.element_bytes() as usize);
        // Where one binding can't hold all sequences each is bound for itself.
        let whole = windows(device, batch * steps, width, size)?.len() == 1;
        let at_once = if whole { AT_ONCE } else { 1 };
        for times in windows(device, steps, batch * width, of_time)? {
            let part = time_first.slice(times.start * batch * width..times.end * batch * width)?;
            for first in (0..batch).step_by(at_once) {
                let sequences: Range<usize> = first..batch.min(first + at_once);
                let rows = sequences.start * steps + times.start..(sequences.end - 1) * steps + times.end;
                let bound = bindable(device, width, size, &rows);
                let piece = batch_first.slice(bound.start * width..bound.end * width)?;
                let offset = (rows.start - bound.start) * width;
                let caller = Matrix { offset, direction: steps * width, ..Matrix::dense(&piece, width) };
                let own = Matrix { offset: first * width, direction: width, ..Matrix::dense(&part, batch * width) };
                let (from, to) = if way == Way::ToTime { (caller, own) } else { (own, caller) };
                program.push(copy(device, sequences.len(), times.len(), width, Some(&from), &to)?);
            }
        }
        Ok(())
    }
}
