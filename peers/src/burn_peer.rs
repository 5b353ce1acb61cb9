//! Burn's recurrent layers on its wgpu backend, as its users get them (default features, fusion and autotune on), or on
//! Flex, its CPU backend.
//!
//! Burn has a pair of linear layers a gate, `[inputs, outputs]` each, and batches first. Its equations are PyTorch's: the
//! GRU with `reset_after`, its default, has the recurrent bias of n inside `r ⊙ (…)`, and z keeps the old state.

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::Param;
use burn::nn::{GateController, Gru, GruConfig, Linear, Lstm, LstmConfig};
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use wgpu_rnn::Cell;

use crate::case::{Case, GRADIENTS, Results, swap, transpose};
use crate::peer::{Peer, Run, Sample};
use crate::shapes::{Mode, Shape};

/// Burn on one adapter, or on the CPU.
pub struct Burn {
    name: &'static str,
    device: Device,
}

enum Module {
    Lstm(Lstm),
    Gru(Gru),
}

struct Layer {
    device: Device,
    module: Module,
    shape: Shape,
    mode: Mode,
    /// `[B, T, I]`.
    x: Tensor<3>,
}

/// What one run leaves on the device: y and, after training, every gradient.
struct Left {
    y: Tensor<3>,
    dx: Option<Tensor<3>>,
    /// For each gate W_ih, W_hh, b_ih, b_hh.
    gates: Vec<(Tensor<2>, Tensor<2>, Tensor<1>, Tensor<1>)>,
}

impl Burn {
    /// Opens the adapter that Burn has of ours' kind; an error when it is not the same one.
    pub fn new(ours: &wgpu_rnn::Device) -> Result<Self> {
        let kind = match ours.kind_name() {
            "software" => DeviceKind::Cpu,
            "gpu" => DeviceKind::DefaultDevice,
            other => bail!("Burn's wgpu backend can't be compared with the {other} executor"),
        };
        let options = Device::wgpu_options().device_kind(kind);
        let (device, setup) = options.init_with_setup().context("opening Burn's wgpu device")?;
        let info = setup.adapter.get_info();
        ensure!(info.name == ours.name(), "Burn took the adapter `{}`, this engine `{}`", info.name, ours.name());
        Ok(Self { name: "burn-wgpu", device })
    }

    /// On the CPU.
    pub fn flex() -> Self {
        Self { name: "burn-flex", device: Device::flex() }
    }
}

impl Peer for Burn {
    fn name(&self) -> String {
        self.name.to_string()
    }

    fn version(&self) -> String {
        crate::record::locked("burn")
    }

    fn load(&mut self, case: &Case) -> Result<Option<Box<dyn Run + '_>>> {
        let device = match case.mode {
            Mode::Forward => self.device.clone(),
            Mode::Training => self.device.clone().autodiff(),
        };
        let Shape { steps, batch, input, hidden, .. } = case.shape;
        let gate = |index: usize| linear_pair(case, index, &device);
        let module = match case.cell {
            Cell::Lstm => {
                let mut lstm = LstmConfig::new(input, hidden, true).init(&device);
                lstm.input_gate = gate(0);
                lstm.forget_gate = Some(gate(1));
                lstm.cell_gate = gate(2);
                lstm.output_gate = gate(3);
                Module::Lstm(lstm)
            }
            Cell::Gru => {
                let mut gru = GruConfig::new(input, hidden, true).init(&device);
                gru.reset_gate = gate(0);
                gru.update_gate = gate(1);
                gru.new_gate = gate(2);
                Module::Gru(gru)
            }
            _ => return Ok(None),
        };
        let x = TensorData::new(swap(&case.x, steps, batch, input), [batch, steps, input]);
        let x = Tensor::<3>::from_data(x, &device);
        let x = if case.mode == Mode::Training { x.require_grad() } else { x };
        Ok(Some(Box::new(Layer { device, module, shape: case.shape.clone(), mode: case.mode, x })))
    }
}

/// The two linear layers of a gate, its rows of PyTorch's tensors transposed.
fn linear_pair(case: &Case, gate: usize, device: &Device) -> GateController {
    let Shape { input, hidden, .. } = case.shape;
    let linear = |weight: &[f32], bias: &[f32], inputs: usize| {
        let rows = &weight[gate * hidden * inputs..(gate + 1) * hidden * inputs];
        let weight = TensorData::new(transpose(rows, hidden, inputs), [inputs, hidden]);
        let bias = TensorData::new(bias[gate * hidden..(gate + 1) * hidden].to_vec(), [hidden]);
        Linear { weight: Param::from_data(weight, device), bias: Some(Param::from_data(bias, device)) }
    };
    GateController {
        input_transform: linear(&case.weight_ih, &case.bias_ih, input),
        hidden_transform: linear(&case.weight_hh, &case.bias_hh, hidden),
    }
}

impl Module {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Lstm(lstm) => lstm.forward(x, None).0,
            Self::Gru(gru) => gru.forward(x, None),
        }
    }

    /// In PyTorch's order.
    fn gates(&self) -> Vec<&GateController> {
        match self {
            Self::Lstm(lstm) => {
                let gates = [Some(&lstm.input_gate), lstm.forget_gate.as_ref(), Some(&lstm.cell_gate)];
                gates.into_iter().flatten().chain([&lstm.output_gate]).collect()
            }
            Self::Gru(gru) => vec![&gru.reset_gate, &gru.update_gate, &gru.new_gate],
        }
    }
}

impl Layer {
    /// One forward or training step, waited for.
    fn run(&self) -> Result<Left> {
        let y = self.module.forward(self.x.clone());
        let left = match self.mode {
            Mode::Forward => Left { y, dx: None, gates: Vec::new() },
            Mode::Training => {
                // A gradient of ones, made on the device.
                let gradients = y.backward();
                let missing = || anyhow!("Burn gave no gradient of a parameter");
                let mut gates = Vec::new();
                for gate in self.module.gates() {
                    let (input, hidden) = (&gate.input_transform, &gate.hidden_transform);
                    let bias = |linear: &Linear| linear.bias.as_ref().and_then(|bias| bias.grad(&gradients));
                    gates.push((
                        input.weight.grad(&gradients).ok_or_else(missing)?,
                        hidden.weight.grad(&gradients).ok_or_else(missing)?,
                        bias(input).ok_or_else(missing)?,
                        bias(hidden).ok_or_else(missing)?,
                    ));
                }
                let dx = self.x.grad(&gradients).context("Burn gave no gradient of x")?;
                Left { y, dx: Some(dx), gates }
            }
        };
        self.device.sync().map_err(|error| anyhow!("Burn failed: {error:?}"))?;
        Ok(left)
    }
}

impl Run for Layer {
    fn once(&mut self) -> Result<Sample> {
        Sample::of(|| self.run())
    }

    fn results(&mut self) -> Result<Results> {
        let Left { y, dx, gates } = self.run()?;
        let Shape { steps, batch, input, hidden, .. } = self.shape;
        let y = swap(&read(y)?, batch, steps, hidden);
        let Some(dx) = dx else { return Ok(Results { y, gradients: Vec::new() }) };
        let mut all: [Vec<f32>; 5] = Default::default();
        all[0] = swap(&read(dx)?, batch, steps, input);
        for (weight_ih, weight_hh, bias_ih, bias_hh) in gates {
            all[1].extend(transpose(&read(weight_ih)?, input, hidden));
            all[2].extend(transpose(&read(weight_hh)?, hidden, hidden));
            all[3].extend(read(bias_ih)?);
            all[4].extend(read(bias_hh)?);
        }
        Ok(Results { y, gradients: GRADIENTS.into_iter().zip(all).collect() })
    }

    /// What its allocator holds of the device after one run that began with an emptied pool.
    fn memory(&mut self) -> Result<Option<u64>> {
        self.device.sync().map_err(|error| anyhow!("Burn failed: {error:?}"))?;
        self.device.memory_cleanup();
        let left = self.run()?;
        let usage = self.device.memory_pool_usage();
        drop(left);
        Ok(usage.map(|usage| usage.bytes_reserved))
    }
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_into_vec::<f32>().map_err(|error| anyhow!("reading from Burn: {error:?}"))
}
