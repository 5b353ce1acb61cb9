//! What anyone can forecast without a network: that nothing changes, that things go on as they did, or as a season ago.

use crate::base::numbers::plural;

use super::grid::Spacing;
use super::series::Series;
use super::windows::Windows;

/// A simple forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The value stays as it is now.
    Persistence,
    /// It goes on changing as it did on average in the training part.
    Drift,
    /// The value of so many rows before what is forecast, or of several times as many.
    Season(usize),
    /// The value now, and the change that followed so many rows ago.
    SeasonChange(usize),
}

/// The simple forecasts of a series.
#[derive(Clone, Debug)]
pub struct Baselines {
    /// Rows of a season, if there is one.
    pub period: Option<usize>,
    /// For each goal the best on the validation part, and its forecasts of the validation windows, level by level.
    pub best: Vec<Best>,
}

/// The best of them for a goal.
#[derive(Clone, Debug)]
pub struct Best {
    pub which: Baseline,
    /// Its mean absolute error over the validation windows.
    pub error: f64,
    /// What is added to it at each level that is forecast: the quantiles of its errors over training windows, none at the
    /// median.
    offsets: Vec<f64>,
}

/// The longest season that is looked for, and the most rows that are looked at.
const LONGEST: usize = 800;
const LOOKED_AT: usize = 20_000;
/// A season must halve what is left of the changes, or nearly, to be one.
const BETTER: f64 = 0.7;

impl Baseline {
    /// In words, for a series.
    pub fn title(self, series: &Series) -> String {
        let ago = |period: usize| {
            let seasons = series.layout.spacing.map(Spacing::seasons).unwrap_or_default();
            let named = seasons.into_iter().find(|(rows, _)| *rows == period);
            named.map_or_else(|| plural(period, &series.step), |(_, name)| format!("a {name}"))
        };
        match self {
            Self::Persistence => "persistence: the value stays as it is now".to_string(),
            Self::Drift => "drift: the value goes on changing as it did on average".to_string(),
            Self::Season(period) => format!("the season: the value {} before", ago(period)),
            Self::SeasonChange(period) => format!("the season: the value now and the change of {} before", ago(period)),
        }
    }

    /// The forecast of a column `horizon` rows after `now`. Where a season's rows are not known, nothing changes.
    fn value(self, windows: &Windows, now: usize, horizon: usize, column: usize, drift: f64) -> f64 {
        let at = |row: usize| windows.series.at(row, column);
        // Whole seasons back from what is forecast to what is known.
        let back = |period: usize| (now + horizon).checked_sub(period * horizon.div_ceil(period));
        let known = |row: &usize| windows.joined(*row, now);
        match self {
            Self::Persistence => at(now),
            Self::Drift => at(now) + drift * horizon as f64,
            Self::Season(period) => back(period).filter(known).map_or(at(now), at),
            Self::SeasonChange(period) => {
                let ends = back(period).and_then(|end| Some((end.checked_sub(horizon)?, end)));
                ends.filter(|(start, _)| known(start)).map_or(at(now), |(start, end)| at(now) + at(end) - at(start))
            }
        }
    }
}

impl Baselines {
    /// Of all of these the best for each goal, with quantiles at `levels`; a season of `period` rows, or one that is found.
    pub fn new(windows: &Windows, levels: &[f64], period: Option<usize>) -> Self {
        let column = windows.target(0);
        let period = period.or_else(|| season(windows, column));
        let mut all = vec![Baseline::Persistence, Baseline::Drift];
        all.extend(period.into_iter().flat_map(|period| [Baseline::Season(period), Baseline::SeasonChange(period)]));
        let best = (0..windows.goals()).map(|goal| {
            let of = |which: &Baseline| (*which, windows.error(goal, forecasts(windows, *which, goal, &windows.valid)));
            let least = all.iter().map(of).min_by(|(_, a), (_, b)| a.total_cmp(b));
            let (which, error) = least.unwrap_or((Baseline::Persistence, f64::NAN));
            let offsets = offsets(windows, which, goal, levels);
            Best { which, error, offsets }
        });
        Self { period, best: best.collect() }
    }

    /// The forecasts of a goal at a level, window by window.
    pub fn forecasts<'a>(
        &'a self,
        windows: &'a Windows,
        goal: usize,
        level: usize,
        starts: &'a [usize],
    ) -> impl Iterator<Item = f64> + 'a {
        let best = &self.best[goal];
        let offset = best.offsets.get(level).copied().unwrap_or(0.0);
        forecasts(windows, best.which, goal, starts).map(move |value| value + offset)
    }
}

fn forecasts<'a>(
    windows: &'a Windows,
    which: Baseline,
    goal: usize,
    starts: &'a [usize],
) -> impl Iterator<Item = f64> + 'a {
    let (column, horizon) = (windows.target(goal), windows.horizon(goal));
    let drift = drift(windows, column);
    starts.iter().map(move |&start| which.value(windows, windows.last(start), horizon, column, drift))
}

/// The mean change of a column from row to row over the training part.
fn drift(windows: &Windows, column: usize) -> f64 {
    let rows = windows.trained_rows();
    let (first, last) = (windows.series.at(rows.start, column), windows.series.at(rows.end - 1, column));
    (last - first) / (rows.len() - 1).max(1) as f64
}

/// The quantiles of a baseline's errors over training windows.
fn offsets(windows: &Windows, which: Baseline, goal: usize, levels: &[f64]) -> Vec<f64> {
    let truths = windows.train.iter().map(|&start| windows.truth(start, goal));
    let mut errors: Vec<f64> =
        truths.zip(forecasts(windows, which, goal, &windows.train)).map(|(truth, value)| truth - value).collect();
    errors.sort_unstable_by(f64::total_cmp);
    levels.iter().map(|&level| if level == 0.5 { 0.0 } else { quantile(&errors, level) }).collect()
}

/// The quantile of ascending values that another value of their kind lies below with this probability, as nearly as so many
/// can tell; of none, 0.
pub fn predictive_quantile(ascending: &[f64], level: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1).filter(|last| *last > 0) else { return quantile(ascending, level) };
    let at = (level * (ascending.len() + 1) as f64 - 1.0).clamp(0.0, last as f64);
    quantile(ascending, at / last as f64)
}

/// The quantile of ascending values; of none, 0.
pub fn quantile(ascending: &[f64], level: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else { return 0.0 };
    let at = level * last as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    ascending[low] + share * (ascending[(low + 1).min(last)] - ascending[low])
}

/// The season of a column in the training part: the lag at which changes resemble those of a lag before most, if they do.
fn season(windows: &Windows, column: usize) -> Option<usize> {
    let rows = windows.trained_rows();
    let rows = rows.end.saturating_sub(LOOKED_AT)..rows.end;
    let values: Vec<f64> = rows.clone().map(|row| windows.series.at(row, column)).collect();
    let joined = |a: usize, b: usize| windows.joined(rows.start + a, rows.start + b);
    let longest = (values.len() / 3).min(LONGEST);
    // The mean absolute distance of the values so far apart, less what the drift explains.
    let apart = |lag: usize| {
        let pairs: Vec<f64> = (lag..values.len())
            .filter(|&row| joined(row - lag, row))
            .map(|row| values[row] - values[row - lag])
            .collect();
        let mean = pairs.iter().sum::<f64>() / pairs.len().max(1) as f64;
        pairs.iter().map(|change| (change - mean).abs()).sum::<f64>() / pairs.len().max(1) as f64
    };
    let distances: Vec<f64> = (0..=longest).map(|lag| if lag == 0 { f64::NAN } else { apart(lag) }).collect();
    // A season is a lag whose values are nearer than those half of it apart, and nearer than those of the lags around it.
    let is_season = |lag: &usize| {
        let (here, half) = (distances[*lag], distances[lag / 2]);
        let around = &distances[lag.saturating_sub(2).max(1)..=(lag + 2).min(longest)];
        here < BETTER * half && around.iter().all(|other| here <= *other)
    };
    let found = (2..=longest).filter(is_season).min_by(|a, b| distances[*a].total_cmp(&distances[*b]))?;
    // Of several seasons alike the shortest is meant, as a day of a week of days; and one of the calendar, where it is near.
    let shortest = (2..=found).filter(is_season).find(|lag| distances[*lag] <= distances[found] * 1.1)?;
    let near =
        |period: &usize| period.abs_diff(shortest) * 30 <= shortest && distances[*period] <= distances[shortest] * 1.1;
    let of_calendar = windows.series.layout.spacing.map(Spacing::seasons).unwrap_or_default();
    let mut of_calendar = of_calendar.into_iter().map(|(rows, _)| rows).filter(|period| *period <= longest);
    of_calendar.find(near).or(Some(shortest))
}

#[cfg(test)]
mod tests {
    use super::super::series::{Ask, load};
    use super::super::windows::{Shape, View};
    use super::*;

    fn windows(rows: usize, value: impl Fn(f64) -> f64, horizon: usize) -> Windows {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.csv");
        let text: String = (0..rows).map(|row| format!("{}\n", value(row as f64))).collect();
        std::fs::write(&path, format!("v\n{text}")).unwrap();
        let series = load(&path, &["v".to_string()], &Ask::default()).unwrap();
        Windows::new(series, Shape { steps: 10, horizons: vec![horizon], batch: 4 }, View::Level).unwrap()
    }

    /// Noise between -0.5 and 0.5 that repeats.
    fn noise(row: f64) -> f64 {
        ((row * 12.9898).sin() * 43_758.545_3).fract().abs() - 0.5
    }

    #[test]
    fn each_kind_of_series_has_its_baseline() {
        let season = |row: f64| 10.0 * (row * std::f64::consts::TAU / 24.0).sin();
        let best = |value: &dyn Fn(f64) -> f64| {
            let windows = windows(600, value, 6);
            let found = Baselines::new(&windows, &[], None);
            (found.best[0].which, found.period)
        };
        assert_eq!(best(&|row| season(row) + noise(row)), (Baseline::Season(24), Some(24)));
        assert_eq!(best(&|row| season(row) + row), (Baseline::SeasonChange(24), Some(24)));
        assert_eq!(best(&|row| 0.5 * row + 3.0 * noise(row)).0, Baseline::Drift);
        assert_eq!(best(&|row| noise((row / 40.0).floor()) * 5.0).0, Baseline::Persistence);
    }

    #[test]
    fn seasons_are_found_in_rows() {
        let of = |period: f64| {
            let windows = windows(900, |row| (row * std::f64::consts::TAU / period).sin() + 0.3 * noise(row), 5);
            Baselines::new(&windows, &[], None).period
        };
        assert_eq!([of(7.0), of(12.0), of(52.0)], [Some(7), Some(12), Some(52)]);
        // A long one is found nearly.
        assert!(of(168.0).is_some_and(|period| period.abs_diff(168) <= 2));
        assert_eq!(Baselines::new(&windows(900, noise, 5), &[], None).period, None);
    }

    #[test]
    fn a_season_looks_back_whole_seasons_and_only_at_what_is_known() {
        let windows = windows(100, |row| row * row, 3);
        let value = |which: Baseline, now: usize, horizon: usize| which.value(&windows, now, horizon, 0, 2.0);
        assert_eq!(value(Baseline::Season(4), 50, 3), 49.0 * 49.0);
        assert_eq!(value(Baseline::Season(4), 50, 7), 49.0 * 49.0);
        assert_eq!(value(Baseline::Season(4), 50, 8), 50.0 * 50.0);
        assert_eq!(value(Baseline::SeasonChange(4), 50, 3), 50.0 * 50.0 + 49.0 * 49.0 - 46.0 * 46.0);
        assert_eq!(value(Baseline::Season(60), 50, 3), 2500.0);
        assert_eq!((value(Baseline::Drift, 50, 3), value(Baseline::Persistence, 50, 3)), (2506.0, 2500.0));
    }

    #[test]
    fn quantiles_of_a_baseline_are_those_of_its_errors() {
        let windows = windows(600, |row| noise(row) * 2.0, 1);
        let found = Baselines::new(&windows, &[0.1, 0.5, 0.9], Some(7));
        assert_eq!((found.period, found.best[0].offsets[1]), (Some(7), 0.0));
        let share = |level: usize| {
            let below = windows.valid.iter().zip(found.forecasts(&windows, 0, level, &windows.valid));
            below.filter(|(start, value)| windows.truth(**start, 0) < *value).count() as f64
                / windows.valid.len() as f64
        };
        assert!((share(0) - 0.1).abs() < 0.06 && (share(2) - 0.9).abs() < 0.06, "{} {}", share(0), share(2));
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!([0.5, 0.1, 0.99].map(|level| predictive_quantile(&ten, level)), [5.5, 1.1, 10.0]);
        assert_eq!([quantile(&[1.0, 2.0, 4.0], 0.25), quantile(&[1.0], 0.9), quantile(&[], 0.5)], [1.5, 1.0, 0.0]);
    }

    #[test]
    fn seasons_are_named() {
        let title = |which: Baseline, spacing: Option<Spacing>| {
            let mut series = Series::plain("s", vec!["v".into()], vec![1.0], vec![0]);
            series.step = spacing.map_or("row".into(), Spacing::row);
            series.layout.spacing = spacing;
            which.title(&series)
        };
        let hour = Spacing::Even(crate::data::time::DAY / 24);
        assert_eq!(title(Baseline::Season(24), Some(hour)), "the season: the value a day before");
        let weeks = title(Baseline::SeasonChange(52), Some(Spacing::Even(7 * crate::data::time::DAY)));
        assert_eq!(weeks, "the season: the value now and the change of a year before");
        assert_eq!(title(Baseline::Season(11), Some(Spacing::Months(12))), "the season: the value 11 years before");
        assert_eq!(title(Baseline::Season(52), None), "the season: the value 52 rows before");
    }
}
