//! tract, which runs ONNX models forward, on the calling thread.

use anyhow::{Context, Result};
use tract_onnx::prelude::*;

use crate::case::{Case, Results};
use crate::onnx;
use crate::peer::{Peer, Run, Sample};
use crate::shapes::Mode;

/// tract.
pub struct Tract;

struct Layer {
    model: Arc<TypedRunnableModel>,
    x: Tensor,
}

impl Peer for Tract {
    fn name(&self) -> String {
        "tract".to_string()
    }

    fn version(&self) -> String {
        crate::record::locked("tract-onnx")
    }

    fn load(&mut self, case: &Case) -> Result<Option<Box<dyn Run + '_>>> {
        if case.mode == Mode::Training {
            return Ok(None);
        }
        let model = tract_onnx::onnx().model_for_read(&mut onnx::model(case)?.as_slice())?;
        let model = model.into_optimized()?.into_runnable()?;
        let x = Tensor::from_shape(&[case.shape.steps, case.shape.batch, case.shape.input], &case.x)?;
        let layer = Layer { model, x };
        // It loads some models that it then can't run, such as a GRU of one input.
        if let Err(why) = layer.run() {
            eprintln!("tract is left out of {} {}: {why:#}", case.shape.name, case.cell.name());
            return Ok(None);
        }
        Ok(Some(Box::new(layer)))
    }
}

impl Layer {
    fn run(&self) -> Result<TValue> {
        let outputs = self.model.run(tvec!(self.x.clone().into()))?;
        outputs.into_iter().next().context("tract gave no output")
    }
}

impl Run for Layer {
    fn once(&mut self) -> Result<Sample> {
        Sample::of(|| self.run())
    }

    fn results(&mut self) -> Result<Results> {
        let y = self.run()?;
        Ok(Results { y: y.to_plain_array_view::<f32>()?.iter().copied().collect(), gradients: Vec::new() })
    }

    fn memory(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}
