//! What is forecast of a series, and how.

use anyhow::{Result, bail};

use crate::base::size;
use crate::data::windows::View;

/// Rows from the last one that is seen to the one that is forecast.
pub const HORIZON: usize = 24;

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

/// What a net sees at once, and how far ahead it looks.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Windowing {
    /// How the net sees the values of a series: level (by the mean of the training part), window (from the window's last value,
    /// in its own scale) or changes (from row to row) [default: what short trainings validate best; level for the weather,
    /// and in `flow` and `gates`]
    #[arg(long, value_enum)]
    pub view: Option<View>,
    /// How many rows ahead of the last known one a series is forecast, separated by commas [default: 24; of `train` 1,6,24]
    #[arg(long, value_delimiter = ',', value_parser = size)]
    pub horizons: Vec<usize>,
    /// Sequences of a batch [default: 64 of a series, 32 of a text, 27 of speech]
    #[arg(long, value_parser = size)]
    pub batch: Option<usize>,
}

impl Windowing {
    /// The options that only series have, and whether they were given.
    pub fn given(&self) -> [(&'static str, bool); 2] {
        [("--view", self.view.is_some()), ("--horizons", !self.horizons.is_empty())]
    }

    /// With these horizons unless others were given.
    pub fn goals(&self, usual: &[usize]) -> Result<Goals> {
        let horizons = if self.horizons.is_empty() { usual } else { &self.horizons };
        if let Some(twice) = horizons.iter().enumerate().find(|(at, horizon)| horizons[..*at].contains(horizon)) {
            bail!("--horizons: expected every horizon once, got {} again", twice.1);
        }
        Ok(Goals { horizons: horizons.to_vec(), view: self.view.unwrap_or(View::Level), ..Goals::default() })
    }
}

/// How forecasts of a series are judged.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Judging {
    /// Rows of a season of the series, for the simple forecasts that nets are compared with [default: what is found]
    #[arg(long, value_parser = size)]
    pub period: Option<usize>,
    /// Let forecasts be negative where the series never is.
    #[arg(long)]
    pub negative: bool,
}

impl Judging {
    /// The options, and whether they were given.
    pub fn given(&self) -> [(&'static str, bool); 2] {
        [("--period", self.period.is_some()), ("--negative", self.negative)]
    }
}

impl Default for Goals {
    fn default() -> Self {
        Self { horizons: vec![HORIZON], levels: Vec::new(), view: View::Level, period: None, negative: false }
    }
}
