//! What is forecast of a series, and how.

use crate::base::size;
use crate::data::windows::View;

/// Rows from the last one that is seen to the one that is forecast.
const HORIZON: usize = 24;

/// What is forecast of each column, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Goals {
    /// So many rows ahead each.
    pub horizons: Vec<usize>,
    /// Levels of the quantiles, ascending; none for the mean.
    pub levels: Vec<f64>,
    pub view: View,
    /// Rows of a season; without, one is looked for.
    pub period: Option<usize>,
    /// Whether forecasts may be negative where the series never is.
    pub negative: bool,
}

/// How a series is forecast.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct How {
    /// How the net sees the values of a series: level (by the mean of the training part), window (from the window's last value,
    /// in its own scale) or changes (from row to row) [default: what short trainings validate best; level for the weather]
    #[arg(long, value_enum)]
    pub view: Option<View>,
    /// Rows of a season of the series, for the simple forecasts that nets are compared with [default: what is found]
    #[arg(long, value_parser = size)]
    pub period: Option<usize>,
    /// Let forecasts be negative where the series never is.
    #[arg(long)]
    pub negative: bool,
}

impl How {
    /// The options, and whether they were given.
    pub fn given(&self) -> [(&'static str, bool); 3] {
        [("--view", self.view.is_some()), ("--period", self.period.is_some()), ("--negative", self.negative)]
    }

    /// With what is forecast.
    pub fn goals(self, horizons: Vec<usize>, levels: Vec<f64>) -> Goals {
        let Self { view, period, negative } = self;
        Goals { horizons, levels, view: view.unwrap_or(View::Level), period, negative }
    }
}

impl Default for Goals {
    fn default() -> Self {
        Self { horizons: vec![HORIZON], levels: Vec::new(), view: View::Level, period: None, negative: false }
    }
}
