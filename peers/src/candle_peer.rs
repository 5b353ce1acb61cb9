//! candle's `nn::rnn` on the CPU.

use std::collections::HashMap;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use candle_nn::rnn::{GRU, GRUConfig, LSTM, LSTMConfig, RNN};
use wgpu_rnn::Cell;

use crate::case::{Case, GRADIENTS, Results, swap};
use crate::peer::{Peer, Run, Sample};
use crate::shapes::{Mode, Shape};

/// candle.
pub struct Candle;

enum Module {
    Lstm(LSTM),
    Gru(GRU),
}

struct Layer {
    module: Module,
    shape: Shape,
    mode: Mode,
    /// `[B, T, I]`.
    x: Var,
    /// In the order of [`GRADIENTS`], without x.
    parameters: Vec<Var>,
}

impl Peer for Candle {
    fn name(&self) -> String {
        "candle".to_string()
    }

    fn version(&self) -> String {
        crate::record::locked("candle-core")
    }

    fn load(&mut self, case: &Case) -> Result<Option<Box<dyn Run + '_>>> {
        let Shape { steps, batch, input, hidden, .. } = case.shape;
        let rows = case.cell.gates() * hidden;
        let shapes: [&[usize]; 4] = [&[rows, input], &[rows, hidden], &[rows], &[rows]];
        let mut parameters = Vec::new();
        let mut named = HashMap::new();
        for ((name, values), shape) in case.parameters().into_iter().zip(shapes) {
            let var = Var::from_tensor(&Tensor::from_slice(values, shape, &Device::Cpu)?)?;
            named.insert(format!("{name}_l0"), var.as_tensor().clone());
            parameters.push(var);
        }
        let builder = VarBuilder::from_tensors(named, DType::F32, &Device::Cpu);
        let module = match case.cell {
            Cell::Lstm => Module::Lstm(LSTM::new(input, hidden, LSTMConfig::default(), builder)?),
            Cell::Gru => Module::Gru(GRU::new(input, hidden, GRUConfig::default(), builder)?),
            _ => return Ok(None),
        };
        let x = Tensor::from_vec(swap(&case.x, steps, batch, input), (batch, steps, input), &Device::Cpu)?;
        let (x, shape, mode) = (Var::from_tensor(&x)?, case.shape.clone(), case.mode);
        Ok(Some(Box::new(Layer { module, shape, mode, x, parameters })))
    }
}

impl Layer {
    /// y `[T, B, H]`, and in training the gradients of its sum.
    fn run(&self) -> Result<(Tensor, Vec<Tensor>)> {
        let x = match self.mode {
            Mode::Forward => self.x.as_detached_tensor(),
            Mode::Training => self.x.as_tensor().clone(),
        };
        let states: Vec<Tensor> = match &self.module {
            Module::Lstm(lstm) => lstm.seq(&x)?.into_iter().map(|state| state.h).collect(),
            Module::Gru(gru) => gru.seq(&x)?.into_iter().map(|state| state.h).collect(),
        };
        let y = Tensor::stack(&states, 0)?;
        if self.mode == Mode::Forward {
            return Ok((y, Vec::new()));
        }
        let gradients = y.sum_all()?.backward()?;
        let of = |var: &Var| gradients.get(var).cloned().context("candle gave no gradient");
        let all = [&self.x].into_iter().chain(&self.parameters).map(of).collect::<Result<_>>()?;
        Ok((y, all))
    }
}

impl Run for Layer {
    fn once(&mut self) -> Result<Sample> {
        Sample::of(|| self.run())
    }

    fn results(&mut self) -> Result<Results> {
        let (y, gradients) = self.run()?;
        let Shape { steps, batch, input, .. } = self.shape;
        let read = |tensor: &Tensor| -> Result<Vec<f32>> { Ok(tensor.flatten_all()?.to_vec1()?) };
        let mut values = gradients.iter().map(read).collect::<Result<Vec<_>>>()?;
        if let Some(dx) = values.first_mut() {
            *dx = swap(dx, batch, steps, input);
        }
        Ok(Results { y: read(&y)?, gradients: GRADIENTS.into_iter().zip(values).collect() })
    }

    fn memory(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}
