//! LSTM, GRU and the plain RNN, forward and backward, as fused WGSL compute kernels on any GPU that wgpu reaches, with a
//! native CPU executor where there is none.
//!
//! A layer is a stack of [`Cell`]s in one or two directions, over a batch of sequences that may each have a length of
//! their own. It is *planned* once for a shape ([`Rnn::new`]), *bound* once to parameters and buffers ([`Rnn::bind`]),
//! and then *recorded* as often as one likes; recording uploads, allocates and compiles nothing. Names, shapes, gate
//! order and equations are PyTorch's, so its weights load as they are ([`io`]). [`Cell`] has the equations of every
//! cell, forward and backward.
//!
//! Shapes are row-major: T steps, B batch, I input size, H hidden size, L layers, D directions, G gates.
//!
//! ```
//! use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
//! use wgpu_rnn::nn::{Init, Layer, Parameters};
//! use wgpu_rnn::plan::Mode;
//! use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};
//!
//! # fn main() -> wgpu_rnn::Result<()> {
//! let device = Device::auto()?; // a GPU or, where there is none, the CPU executor
//! let gru = RnnConfig::new(Cell::Gru, 3, 4); // I = 3, H = 4
//! let shape = BatchShape::new(5, 2); // T = 5, B = 2
//!
//! let parameters = Parameters::new(&device, tensors(&gru, ""))?;
//! Init::new(7).apply(&parameters, "", Layer::Rnn(&gru))?; // or Parameters::set
//!
//! let plan = Rnn::new(&device, gru, shape, Mode::Infer, Options::default())?;
//! let x = device.upload("x", &[0.5; 5 * 2 * 3])?; // [T, B, I]
//! let y = device.alloc("y", 5 * 2 * 4)?; // [T, B, D·H]
//! let (io, none) = (Io::new(&x, &y), Gradients::default());
//! let bound = plan.bind(&parameters, "", &io, &none, &plan.reserve()?, &plan.workspace()?)?;
//!
//! device.run(|recorder| bound.forward.record(recorder))?;
//! let h = device.read(&y)?; // waits
//! assert!(h.len() == 40 && h.iter().all(|h| h.abs() < 1.0));
//! # Ok(())
//! # }
//! ```
//!
//! # In an app
//!
//! [`Device::from_wgpu`] adopts the app's device and queue, [`Buffer::from_wgpu`] its buffers, and a [`Recorder`] is one
//! compute pass of its own encoder. The crate then submits nothing and waits for nothing; a pass before may write x,
//! one after may read y. `wgpu` 30 is part of this crate's interface, so the app needs the same version.
//!
//! ```no_run
//! use wgpu_rnn::nn::{Parameters, rnn::{Bound, Gradients, Io, Rnn}};
//! use wgpu_rnn::{Buffer, DType, Device, Recorder, Result};
//!
//! /// Once: `rnn` is planned on `device`, which is `Device::from_wgpu(…)`.
//! fn bind(
//!     device: &Device,
//!     rnn: &Rnn,
//!     parameters: &Parameters,
//!     [x, y]: [&wgpu::Buffer; 2],
//! ) -> Result<Bound> {
//!     let (rows, config) = (rnn.shape().rows(), rnn.config());
//!     let x = Buffer::from_wgpu(device, x, 0, rows * config.input, DType::Float)?;
//!     let y = Buffer::from_wgpu(device, y, 0, rows * config.outputs(), DType::Float)?;
//!     let (io, none) = (Io::new(&x, &y), Gradients::default());
//!     rnn.bind(parameters, "", &io, &none, &rnn.reserve()?, &rnn.workspace()?)
//! }
//!
//! /// In every frame.
//! fn frame(device: &wgpu::Device, queue: &wgpu::Queue, bound: &Bound) -> Result<()> {
//!     let mut encoder = device.create_command_encoder(&Default::default());
//!     // … a pass of the app that writes x …
//!     bound.forward.record(&mut Recorder::new(&mut encoder))?;
//!     // … a pass of the app that reads y …
//!     queue.submit([encoder.finish()]);
//!     Ok(())
//! }
//! ```
//!
//! No dispatch keeps a device for long, but a large layer has many of them: [`Program::parts`](kernel::Program::parts) cuts
//! a program for several submits, and [`Gpu::set_bounds`](gpu::Gpu::set_bounds) says how long a dispatch may be.
//! [`Device::run`] submits several times by itself.
//!
//! Uploads ([`Device::write`], [`Parameters::set`], [`Bound::set_lengths`]) take effect before the next submit,
//! whatever was recorded before them: call them before recording.
//!
//! To go on where the last call stopped, as a stream does, plan few steps and let one buffer be both [`Io::h0`] and
//! [`Io::hn`]. On the CPU, [`Stream`](nn::rnn::Stream) takes a step a call without a lock or an allocation.
//!
//! # What is believed of a device
//!
//! Before a strategy is chosen on an adapter for the first time, [`Rnn::new`] has it checked there with a small layer against
//! the CPU's f64 reference, and has the driver compile its kernels; what is wrong or refused is not used, and
//! [`Rnn::why`] says so. That submits to the queue and waits, once an adapter, driver and version. [`Device::check`] does it
//! at a time of the app's choosing (in a browser [`Device::examine`], as nothing can wait there), and
//! [`gpu::trust_data`] with [`gpu::recall_trust`] keep what was found from one run to the next. A lost device makes every
//! call an [`Error::Device`] that says so; see [`Device::lost`].
//!
//! # Features and limits to request
//!
//! WebGPU's default limits and no feature at all are enough. An app that opens its device for this crate gets more with
//!
//! ```no_run
//! # use wgpu_rnn::gpu::Capabilities;
//! # async fn open(adapter: &wgpu::Adapter) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
//! adapter
//!     .request_device(&wgpu::DeviceDescriptor {
//!         required_features: Capabilities::useful_features() & adapter.features(),
//!         required_limits: Capabilities::useful_limits(&adapter.limits()),
//!         ..Default::default()
//!     })
//!     .await
//! # }
//! ```
//!
//! - [`useful_limits`](gpu::Capabilities::useful_limits): the adapter's own buffer, binding and workgroup sizes. With the default
//!   of 128 MiB a binding, layers that need more are split into chunks of steps, with the same results up to rounding.
//! - [`useful_features`](gpu::Capabilities::useful_features): timestamps, for the GPU's own time in [`Device::time`]
//!   and [`Device::profile`]; pipeline caches, for [`Device::pipeline_cache_data`]; f16, for [`Precision::Half`].
//!
//! On Windows wgpu compiles shaders for DX12 by DXC where it is linked in (feature `static-dxc`: MSVC, not ARM, and the
//! build fetches a prebuilt library) or where `dxcompiler.dll` lies beside the program, and else by the old FXC, which
//! takes up to seconds a kernel and knows no f16; `WGPU_DX12_COMPILER` forces one. An app that makes its own instance
//! chooses in its `wgpu::Dx12BackendOptions`; the default, `Auto`, is that order. On DX12 devices opened without f16,
//! which FXC may compile for, kernels use 16 KiB of workgroup memory at most.
//!
//! What an adapter offers is in [`gpu::adapters`]; what a plan takes, before anything is allocated, in [`Rnn::memory`].
//! What does not fit is an [`Error`] that says what was needed and what the device allows. Buffers that are dropped wait
//! in a pool for the next plan; [`Device::trim`] frees them.
//!
//! # Training
//!
//! A plan with [`Mode::Train`] has a [`backward`](nn::rnn::Bound::backward) too. [`Gradients`] names the gradients that
//! it reads and where others go; those of the [`Parameters`] it overwrites. Around it go [`nn::Linear`] and
//! [`nn::Embedding`], a [`nn::Loss`], and a [`train::Optimizer`] with its [`train::Schedule`] and clipping. All of them
//! are recorded in the same way, so that one step is one submit:
//!
//! ```
//! # use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
//! # use wgpu_rnn::nn::{Init, Layer, Loss, Parameters};
//! # use wgpu_rnn::plan::Mode;
//! # use wgpu_rnn::train::{Optimizer, OptimizerConfig};
//! # use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};
//! # fn main() -> wgpu_rnn::Result<()> {
//! # let device = Device::cpu()?;
//! # let (gru, shape) = (RnnConfig::new(Cell::Gru, 3, 4), BatchShape::new(5, 2));
//! # let parameters = Parameters::new(&device, tensors(&gru, ""))?;
//! # Init::new(7).apply(&parameters, "", Layer::Rnn(&gru))?;
//! # let plan = Rnn::new(&device, gru, shape, Mode::Train, Options::default())?;
//! # let x = device.upload("x", &[0.5; 5 * 2 * 3])?;
//! # let (y, dy) = (device.alloc("y", 40)?, device.alloc("dy", 40)?);
//! # let target = device.upload("target", &[0.25; 40])?;
//! # let io = Io::new(&x, &y);
//! let gradients = Gradients { dy: Some(dy.clone()), ..Gradients::default() };
//! let bound = plan.bind(&parameters, "", &io, &gradients, &plan.reserve()?, &plan.workspace()?)?;
//! let loss = Loss::mse(&device, &y, &target, Some(&dy))?;
//! let adam = OptimizerConfig::adam(1e-2).clip_norm(Some(1.0));
//! let optimizer = Optimizer::new(&parameters, adam)?;
//! # let mut losses = Vec::new();
//! for _ in 0..50 {
//!     device.run(|recorder| {
//!         bound.forward.record(recorder)?;
//!         loss.record(recorder)?;
//!         bound.backward.record(recorder)?;
//!         optimizer.record(recorder)
//!     })?;
//! #     losses.push(loss.read_value()?);
//! }
//! # assert!(losses[49] < 0.2 * losses[0], "{losses:?}");
//! # Ok(())
//! # }
//! ```
//!
//! Where gradients are kept in half precision, [`train::LossScale`] multiplies them, from a [`nn::Loss::scaled_mse`] made
//! with [`train::Optimizer::scale`] on; finding its size reads nothing back either.
//!
//! Whole programs are in the repository's `examples/`.
//!
//! # Determinism
//!
//! The same inputs on the same device, with the same driver and the same version of this crate, give the same bits:
//! sums are taken in a fixed order and there are no atomics. So do other plans of one strategy (recomputation, spans,
//! windows, norms of gradients, tiles of products, repacked weights): kernels that differ in nothing else have the same
//! equations in `fma`s, which leave a compiler no product and sum to contract in the one and not in the other. That is
//! tested on software Vulkan; it holds where a driver's compiler treats an `fma`, and a division, alike in every kernel and
//! reorders neither products nor sums. On the CPU executor neither does the number of threads
//! matter. [`Init`] draws the same numbers everywhere. Between devices the last bits differ; against reference results
//! computed in f64, [`io::Case`] allows outputs a relative error of [`io::OUTPUT_BOUND`] and gradients one of
//! [`io::GRADIENT_BOUND`]. [`Device::oracle`] is the CPU executor in f64, to measure any device against.
//!
//! # Modules
//!
//! | module | what is in it |
//! |---|---|
//! | [`nn`] | [`Parameters`], [`Init`], [`nn::rnn`], [`nn::Linear`], [`nn::Embedding`], [`nn::Loss`] |
//! | [`train`] | [`train::Optimizer`], [`train::Schedule`], [`train::LossScale`] |
//! | [`probe`] | what a model does inside: [`probe::Flow`], how gradients flow through the steps |
//! | [`io`] | safetensors files with PyTorch's names, reference cases |
//! | [`plan`] | how a layer is run: strategies, splitting, memory |
//! | [`kernel`] | one file a kernel family, on the GPU and on the CPU; [`kernel::Program`], what a plan is recorded as |
//! | [`shader`] | how the WGSL of a kernel is put together |
//! | [`gpu`] | adapters, capabilities, the wgpu device |
//! | [`cpu`] | the native executor: threads, products, activations, the recurrence |
//!
//! The last four are the engine's own floors. They are public for those who add a strategy or a kernel, or want to see
//! what is dispatched; an app needs none of them but [`gpu::adapters`] and [`gpu::Capabilities`].
//!
//! [`Rnn::new`]: nn::rnn::Rnn::new
//! [`Rnn::bind`]: nn::rnn::Rnn::bind
//! [`Rnn::memory`]: nn::rnn::Rnn::memory
//! [`Rnn::why`]: nn::rnn::Rnn::why
//! [`Bound::set_lengths`]: nn::rnn::Bound::set_lengths
//! [`Io::h0`]: nn::rnn::Io::h0
//! [`Io::hn`]: nn::rnn::Io::hn
//! [`Gradients`]: nn::rnn::Gradients
//! [`Parameters`]: nn::Parameters
//! [`Parameters::set`]: nn::Parameters::set
//! [`Init`]: nn::Init
//! [`Mode::Train`]: plan::Mode::Train

mod activation;
mod cell;
mod config;
pub mod cpu;
mod device;
mod error;
pub mod gpu;
pub mod io;
pub mod kernel;
pub mod nn;
pub mod plan;
pub mod probe;
mod recipe;
pub mod shader;
pub mod train;

pub use activation::{Activation, Function, Number};
pub use cell::{Cell, CellRow, MOST_STATES, ValueKind};
pub use config::{BatchShape, Direction, Precision, RnnConfig};
pub use device::{Buffer, DType, Device, DeviceKind, Recorder, Timing};
pub use device::{Clock, KernelTime, Profile, Profiler, Span};
pub use error::{Error, Result};
pub use recipe::{Activations, Bias, Clip, GateRun, Recipe, StepOptions, Tensor, Zoneout};
// wgpu's types are part of this interface; an app takes them from here to have the same version.
pub use wgpu;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
