//! The bundled data: one year of hourly weather, made regular.
//!
//! The file has no row for an hour without an observation, and an empty field for what was not
//! measured. Here every hour from the first to the last has a row, and what is missing takes the last
//! known value (see [`super::gaps`]). Wind direction, hour of the day and day of the year become a sine
//! and a cosine each, so that north is next to north and midnight next to midnight.

use super::calendar::{Hour, cycle};
use super::series::{Columns, Goals, Series};
use super::table::{Cells, Column, Table};
use anyhow::{Context, Result, bail, ensure};

/// Name of the bundled series.
pub const NAME: &str = "weather-nyc-2013.csv";
const BUNDLED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/weather-nyc-2013.csv"));

/// The column to forecast, unless others are asked for.
const TARGET: &str = "temp";
/// Units of the columns that have one.
const UNITS: [(&str, &str); 7] = [
    ("temp", "°F"),
    ("dewp", "°F"),
    ("humid", "%"),
    ("wind_speed", "mph"),
    ("precip", "in"),
    ("pressure", "mbar"),
    ("visib", "mi"),
];
/// Degrees, to become a sine and a cosine.
const DIRECTION: &str = "wind_dir";

/// The bundled weather, hour by hour, to forecast these columns, or the temperature.
pub fn load(targets: &[String]) -> Result<Series> {
    let mut series = from_csv(NAME, BUNDLED, targets)?;
    series.notes.push("Wind gusts are no input: a station reports them only when there are some.".to_owned());
    series.notes.push("All times are UTC.".to_owned());
    Ok(series)
}

fn from_csv(file: &str, text: &str, targets: &[String]) -> Result<Series> {
    let table = Table::parse(file, text)?;
    let usual = [TARGET.to_string()];
    let targets = if targets.is_empty() { &usual } else { targets };
    for target in targets {
        table.numeric(target)?;
        ensure!(target != DIRECTION, "{file}, column `{target}`: expected a quantity to forecast, got a direction");
    }
    let grid = Grid::new(&table)?;
    let mut notes = vec![grid.note()];
    let mut columns = Columns::default();
    let mut goals = Goals::new(targets, grid.hours)?;

    for Column { name, cells } in &table.columns {
        match cells {
            Cells::Numbers(cells) if name == DIRECTION => {
                let degrees = columns.close_gaps(name, &grid.spread(cells));
                columns.push_cycle(name, degrees.into_iter().map(|angle| cycle(f64::from(angle) / 360.0)));
            }
            Cells::Numbers(cells) => {
                let cells = grid.spread(cells);
                goals.found(name, columns.names.len(), &cells);
                columns.push(name.clone(), &cells);
            }
            Cells::Text(_) | Cells::Empty => {}
        }
    }
    columns.push_cycle("hour", grid.hours().map(Hour::day_cycle));
    columns.push_cycle("day", grid.hours().map(Hour::year_cycle));
    notes.extend(columns.notes());
    notes.push("Wind direction, hour of the day and day of the year are each a sine and a cosine.".to_owned());

    let times = grid.hours().map(|hour| hour.label().replace('T', " ")).collect();
    let values = columns.interleave();
    let unit = |name: &String| UNITS.iter().find(|(known, _)| known == name).map_or("", |(_, unit)| unit);
    let units = columns.names.iter().map(unit).collect();
    let (name, columns, (targets, measured)) = (file.to_owned(), columns.names, goals.places()?);
    Ok(Series { name, columns, times, values, units, step: "hour", targets, measured, notes })
}

/// Every hour from the first to the last observation, and the hour that each row of the file belongs to.
struct Grid {
    first: Hour,
    hours: usize,
    /// For each row of the file, its place among the hours.
    places: Vec<usize>,
}

impl Grid {
    fn new(table: &Table) -> Result<Self> {
        let file = &table.file;
        let Some(Column { name, cells: Cells::Text(labels) }) = table.columns.first() else {
            bail!("{file}, line 1: expected the first column to hold times such as 2013-01-01T05:00");
        };
        let mut hours = Vec::with_capacity(labels.len());
        for (label, line) in labels.iter().zip(&table.lines) {
            let hour = Hour::parse(label).with_context(|| {
                format!(
                    "{file}, line {line}, column `{name}`: expected an hour such as 2013-01-01T05:00, got `{label}`"
                )
            })?;
            if let Some(&last) = hours.last() {
                ensure!(hour > last, "{file}, line {line}: expected an hour after {}, got {label}", last.label());
            }
            hours.push(hour);
        }
        let first = hours[0];
        let places: Vec<_> = hours.iter().map(|hour| (hour.0 - first.0) as usize).collect();
        let hours = places.last().map_or(0, |place| place + 1);
        Ok(Self { first, hours, places })
    }

    fn hours(&self) -> impl Iterator<Item = Hour> {
        (0..self.hours as i64).map(|offset| Hour(self.first.0 + offset))
    }

    /// The values at their hours, with nothing at the hours that the file leaves out.
    fn spread(&self, cells: &[Option<f32>]) -> Vec<Option<f32>> {
        let mut spread = vec![None; self.hours];
        for (&place, &cell) in self.places.iter().zip(cells) {
            spread[place] = cell;
        }
        spread
    }

    fn note(&self) -> String {
        let (read, missing) = (self.places.len(), self.hours - self.places.len());
        format!(
            "{read} hours read; {missing} missing {} put in, {} hours in all.",
            if missing == 1 { "hour was" } else { "hours were" },
            self.hours
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "\
time,temp,wind_dir,visib
2013-01-01T01:00,40,0,10
2013-01-01T02:00,42,90,
2013-01-01T05:00,,,9
2013-01-01T06:00,46,180,8
";

    #[test]
    fn becomes_regular() {
        let series = from_csv("w.csv", SMALL, &[]).unwrap();
        let names = ["temp", "wind_dir_sin", "wind_dir_cos", "visib", "hour_sin", "hour_cos", "day_sin", "day_cos"];
        assert_eq!(series.columns, names);
        assert_eq!(series.rows(), 6);
        assert_eq!(series.times[2], "2013-01-01 03:00");
        let column = |index: usize| series.values.iter().skip(index).step_by(names.len()).copied().collect::<Vec<_>>();
        assert_eq!(column(0), [40.0, 42.0, 42.0, 42.0, 42.0, 46.0]);
        assert_eq!(column(3), [10.0, 10.0, 10.0, 10.0, 9.0, 8.0]);
        assert_eq!(series.measured, [true, true, false, false, false, true]);
        for (got, want) in column(1).iter().zip([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]) {
            assert!((got - want).abs() < 1e-6);
        }
        assert!((column(4)[5] - 1.0).abs() < 1e-6, "at six in the morning the sine of the hour is 1");
    }

    #[test]
    fn says_what_was_repaired() {
        let notes = from_csv("w.csv", SMALL, &[]).unwrap().notes;
        assert_eq!(
            notes,
            [
                "4 hours read; 2 missing hours were put in, 6 hours in all.",
                "Columns `temp`, `wind_dir`, `visib`: 3 missing values each (at most 3 in a row) took the last known value.",
                "Wind direction, hour of the day and day of the year are each a sine and a cosine.",
            ]
        );
    }

    #[test]
    fn refuses_times_that_do_not_go_forward() {
        let error = |text: &str| format!("{:#}", from_csv("w.csv", text, &[]).unwrap_err());
        let twice = "time,temp\n2013-01-01T01:00,1\n2013-01-01T01:00,2\n";
        assert_eq!(error(twice), "w.csv, line 3: expected an hour after 2013-01-01T01:00, got 2013-01-01T01:00");
        let noon = "time,temp\nnoon,1\n";
        let want = "w.csv, line 2, column `time`: expected an hour such as 2013-01-01T05:00, got `noon`";
        assert_eq!(error(noon), want);
        let untimed = "temp\n1\n";
        assert!(error(untimed).contains("expected the first column to hold times"));
    }

    #[test]
    fn other_columns_can_be_forecast_but_no_direction() {
        let series = load(&["pressure".to_string(), "temp".to_string()]).unwrap();
        let of = |place: usize| (series.columns[series.targets[place]].as_str(), series.units[series.targets[place]]);
        assert_eq!((of(0), of(1)), (("pressure", "mbar"), ("temp", "°F")));
        let direction = load(&[DIRECTION.to_string()]).unwrap_err().to_string();
        assert!(direction.ends_with("expected a quantity to forecast, got a direction"), "{direction}");
        assert!(load(&["sun".to_string()]).unwrap_err().to_string().contains("expected a column named `sun`"));
    }

    #[test]
    fn the_bundled_year_is_whole() {
        let series = load(&[]).unwrap();
        assert!(series.rows() > 8_600, "{} rows", series.rows());
        assert_eq!(series.columns[series.targets[0]], TARGET);
        assert!(series.values.iter().all(|value| value.is_finite()));
        assert_eq!(series.values.len(), series.rows() * series.columns.len());
        let measured = series.measured.iter().filter(|&&measured| measured).count();
        assert!(measured > 8_500, "{measured} hours measured");
    }
}
