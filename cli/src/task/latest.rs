//! What comes after the last rows of a series.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use wgpu_rnn::BatchShape;

use super::KnownSeries;
use super::quantiles::{Forecasts, floors, middle};
use super::series::{form, read_known};
use crate::data::series::{self, Ask};
use crate::data::windows::{self, Windows};
use crate::net::{Batch, Fed, Form, Model};

/// The last rows of a series, from which what comes after them is forecast.
pub struct Latest {
    windows: Windows,
    known: KnownSeries,
}

/// One goal's forecast.
#[derive(Clone, Debug, PartialEq)]
pub struct Ahead {
    /// Place of the column.
    pub column: usize,
    /// Rows ahead.
    pub horizon: usize,
    /// When that is, where times are known.
    pub time: Option<String>,
    /// How much of the validation part lay in the outermost interval, if there is one.
    pub coverage: Option<f64>,
    /// The same of its second half, when calibrated on its first.
    pub halved: Option<f64>,
    /// A value for each level, ascending, or the mean alone.
    pub values: Vec<f64>,
}

impl Latest {
    pub fn load(path: Option<&Path>, ask: &Ask, steps: usize, known: KnownSeries) -> Result<Self> {
        let series = read_known(path, ask, &known)?;
        let rows = series.rows();
        ensure!(rows >= steps, "{}: expected at least the {steps} rows that the model reads, got {rows}", series.name);
        let unbroken =
            series.stretches.iter().rev().take_while(|stretch| Some(*stretch) == series.stretches.last()).count();
        if unbroken < steps {
            bail!(
                "{}: expected the {steps} last rows without a hole, which the model reads, got {unbroken} after a hole of more \
                 than {} rows",
                series.name,
                series::LONGEST_GAP
            );
        }
        let shape = windows::Shape { steps, horizons: known.horizons.clone(), batch: 1 };
        Ok(Self { windows: Windows::unsplit(series, shape, known.moments.clone()), known })
    }

    pub fn series(&self) -> &series::Series {
        &self.windows.series
    }

    /// Whether all that is forecast was measured in the last row; else its last known values stand there.
    pub fn measured(&self) -> bool {
        self.windows.series.measured.last().is_some_and(|&measured| measured)
    }

    /// The form of a model of one sequence.
    pub fn form(&self) -> Form {
        form(&self.known, BatchShape::new(self.windows.shape().steps, 1))
    }

    /// What comes after the last row.
    pub fn ahead(&self, model: &mut Model) -> Result<Vec<Ahead>> {
        let (windows, known) = (&self.windows, &self.known);
        let start = windows.series.rows() - windows.shape().steps;
        let x = Fed::Values(windows.inputs_of(&[start]));
        let y = Fed::Values(vec![0.0; model.form().answers.targets()]);
        model.feed(Batch::new(x, y))?;
        let outputs = model.predict()?;
        ensure!(outputs.iter().all(|output| output.is_finite()), "the model's outputs are not finite");
        let floors = floors(windows, &known.never_negative, known.negative);
        let forecasts = Forecasts::new(windows, &[start], &outputs, &known.factors, middle(&known.levels), &floors);
        let ahead = |goal: usize| Ahead {
            column: windows.target(goal),
            horizon: windows.horizon(goal),
            time: windows.series.ahead(windows.horizon(goal)),
            coverage: known.coverage.get(goal).copied(),
            halved: known.halved.get(goal).copied(),
            values: (0..forecasts.levels).flat_map(|level| forecasts.of(goal, level)).collect(),
        };
        Ok((0..windows.goals()).map(ahead).collect())
    }
}
