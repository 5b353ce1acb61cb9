//! Seeing inside: how gradients flow through the steps of a layer, what its gates and states do, and warnings of what goes
//! wrong there.
//!
//! ```
//! use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
//! use wgpu_rnn::nn::{Init, Layer, Parameters};
//! use wgpu_rnn::plan::Mode;
//! use wgpu_rnn::probe::{Flow, Gates, values};
//! use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};
//!
//! # fn main() -> wgpu_rnn::Result<()> {
//! let device = Device::cpu()?;
//! let (config, shape) = (RnnConfig::new(Cell::Lstm, 3, 8), BatchShape::new(20, 4));
//! let params = Parameters::new(&device, tensors(&config, ""))?;
//! Init { forget_bias: Some(1.0), ..Init::new(1) }.apply(&params, "", Layer::Rnn(&config))?;
//!
//! let rnn = Rnn::new(&device, config, shape, Mode::Train, Options { flow: true, ..Options::default() })?;
//! let (x, y) = (device.alloc("x", 20 * 4 * 3)?, device.alloc("y", 20 * 4 * 8)?);
//! let dhn = device.alloc("gradient of the last state", 4 * 8)?;
//! device.write(&x, &[0.5; 20 * 4 * 3])?;
//! device.write(&dhn, &[1.0; 4 * 8])?;
//! let gradients = Gradients { dhn: Some(dhn), ..Gradients::default() };
//! let reserve = rnn.reserve()?;
//! let bound = rnn.bind(&params, "", &Io::new(&x, &y), &gradients, &reserve, &rnn.workspace()?)?;
//! let gates = Gates::new(&bound, &reserve)?;
//! device.run(|recorder| {
//!     bound.forward.record(recorder)?;
//!     gates.record(recorder)?;
//!     bound.backward.record(recorder)
//! })?;
//!
//! let forget = values(Cell::Lstm)[1];
//! println!("the forget gates are {:?} on average", gates.read()?.summary(0, 0, forget).map(|all| all.mean));
//! let reach = Flow::read(&bound)?.trace(0, 0).reach();
//! println!("a step back multiplies gradients by {:?}, which are {}", reach.decay, reach.verdict);
//! # Ok(())
//! # }
//! ```

mod flow;
mod gates;
mod values;
mod watch;

pub use flow::{Flow, GONE, Norms, ONE_PERCENT, Reach, Trace, Verdict, WILD};
pub use gates::{Activity, Gates, Summary, Unit};
pub use values::{Value, Values, values};
pub use watch::{LOOKS, Remark, SATURATED, Trouble, Warning, Watch, troubles};

pub use crate::kernel::moments::{HIGH, LOW};
