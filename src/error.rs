//! The one error type: what was wrong, what was expected, what came.

use crate::cell::Cell;

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, each with what was expected and what came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size or count outside its range.
    #[error("{what} must be {expected}, got {got}")]
    Invalid {
        /// The quantity.
        what: String,
        /// What it may be.
        expected: String,
        /// What it was.
        got: String,
    },
    /// A tensor of another shape than the one needed.
    #[error("`{name}` must have shape {expected:?}, got {got:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Needed shape.
        expected: Vec<usize>,
        /// Given shape.
        got: Vec<usize>,
    },
    /// A tensor with other element type than the one needed.
    #[error("`{name}` must be {expected}, got {got}")]
    DType {
        /// The tensor.
        name: String,
        /// Needed element type.
        expected: String,
        /// Given element type.
        got: String,
    },
    /// A tensor that should be there and is not.
    #[error("`{name}` is missing from {place}; it has {found}")]
    Missing {
        /// The tensor.
        name: String,
        /// Where it was looked for.
        place: String,
        /// What is there instead.
        found: String,
    },
    /// A tensor that should not be there.
    #[error("`{name}` in {place} belongs to no part of this layer; expected {expected}")]
    Unexpected {
        /// The tensor.
        name: String,
        /// Where it was found.
        place: String,
        /// What may be there.
        expected: String,
    },
    /// A sequence length of 0 or beyond T.
    #[error("the length of sequence {sequence} must be between 1 and {steps}, got {got}")]
    Length {
        /// Index of the sequence in the batch.
        sequence: usize,
        /// Steps T of the padded batch.
        steps: usize,
        /// Given length.
        got: usize,
    },
    /// An option that this layer does not have.
    #[error("{option} is not available for {place}")]
    Unsupported {
        /// The option.
        option: String,
        /// The layer, device or file that lacks it.
        place: String,
    },
    /// A strategy that can't run this shape on this device.
    #[error("strategy `{strategy}` can't run here: {why}")]
    Strategy {
        /// The strategy asked for.
        strategy: String,
        /// Why it does not fit.
        why: String,
    },
    /// A size beyond what the device takes.
    #[error("{what} needs {needed}, and {device} allows {limit}")]
    Limit {
        /// The buffer, binding or dispatch.
        what: String,
        /// What it needs.
        needed: String,
        /// What the device allows.
        limit: String,
        /// The device.
        device: String,
    },
    /// No device of the asked kind.
    #[error("no {wanted} was found: {why}")]
    NoDevice {
        /// Kind of device asked for.
        wanted: String,
        /// What was found instead.
        why: String,
    },
    /// A buffer that belongs to another device than the one at work.
    #[error("{what} must be on {expected}, got {got}")]
    WrongDevice {
        /// The buffer.
        what: String,
        /// The device at work.
        expected: String,
        /// The buffer's device.
        got: String,
    },
    /// A loss or gradient that is not a finite number.
    #[error("{what} at training step {step} is {got}, expected a finite number")]
    NonFinite {
        /// What became non-finite.
        what: String,
        /// Step at which it was seen.
        step: u64,
        /// Its value.
        got: f64,
    },
    /// A file that can't be read or written, or is not what it should be.
    #[error("{path}: {why}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A shader that does not compile; the place is in the fragment's own lines.
    #[error("shader `{shader}` does not compile at {place}: {why}")]
    Shader {
        /// Composed shader.
        shader: String,
        /// Fragment and line.
        place: String,
        /// The compiler's message.
        why: String,
    },
    /// The device was lost or refused work.
    #[error("{device} failed while it {doing}: {why}")]
    Device {
        /// The device.
        device: String,
        /// What it was doing.
        doing: String,
        /// What it answered.
        why: String,
    },
}

impl Error {
    /// [`Error::Invalid`] from anything that prints.
    pub fn invalid(what: impl ToString, expected: impl ToString, got: impl ToString) -> Self {
        Self::Invalid { what: what.to_string(), expected: expected.to_string(), got: got.to_string() }
    }

    /// [`Error::Shape`] from slices.
    pub fn shape(name: impl ToString, expected: &[usize], got: &[usize]) -> Self {
        Self::Shape { name: name.to_string(), expected: expected.to_vec(), got: got.to_vec() }
    }

    /// [`Error::Unsupported`] for a cell.
    pub fn unsupported(option: impl ToString, cell: Cell) -> Self {
        Self::Unsupported { option: option.to_string(), place: format!("the {} layer", cell.title()) }
    }
}

/// `value`, or [`Error::Invalid`] when it is zero.
pub(crate) fn at_least_one(what: &str, value: usize) -> Result<usize> {
    if value == 0 {
        return Err(Error::invalid(what, "at least 1", value));
    }
    Ok(value)
}
