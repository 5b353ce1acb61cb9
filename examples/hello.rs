//! The smallest whole program: a GRU with random weights reads one sequence of five steps, on the GPU or, where there is
//! none, on the CPU.
//!
//! `cargo run --release --example hello`

use wgpu_rnn::nn::rnn::{Gradients, Io, Options, Rnn, tensors};
use wgpu_rnn::nn::{Init, Layer, Parameters};
use wgpu_rnn::{BatchShape, Cell, Device, Result, RnnConfig, plan::Mode};

fn main() -> Result<()> {
    let device = Device::auto()?;
    println!("{}: {}", device.name(), device.why());
    let (gru, shape) = (RnnConfig::new(Cell::Gru, 3, 4), BatchShape::new(5, 1)); // I = 3, H = 4; T = 5, B = 1
    let parameters = Parameters::new(&device, tensors(&gru, ""))?;
    Init::new(7).apply(&parameters, "", Layer::Rnn(&gru))?;
    let plan = Rnn::new(&device, gru, shape, Mode::Infer, Options::default())?;
    let x = device.upload("x", &[1.0; 5 * 3])?; // [T, B, I]
    let y = device.alloc("y", 5 * 4)?; // [T, B, H]
    let (io, none, reserve, workspace) = (Io::new(&x, &y), Gradients::default(), plan.reserve()?, plan.workspace()?);
    let bound = plan.bind(&parameters, "", &io, &none, &reserve, &workspace)?;
    device.run(|recorder| bound.forward.record(recorder))?;
    device.read(&y)?.chunks(4).for_each(|h| println!("{h:6.3?}"));
    Ok(())
}
