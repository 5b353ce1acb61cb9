//! The bundled data: one year of hourly weather.
//!
//! The file has no row for an hour without an observation, and an empty field for what was not measured. Wind direction, hour
//! of the day and day of the year become a sine and a cosine each, so that north is next to north and midnight next to
//! midnight.

use anyhow::{Result, ensure};

use super::columns::{Ask, Reading};
use super::cycles::Cycle;
use super::series::{Layout, Series, from_table};
use super::table::Table;

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
/// The year is gone through once, but its end is like its beginning.
const CYCLES: [Cycle; 2] = [Cycle::Day, Cycle::Year];

/// The bundled weather, hour by hour, to forecast these columns, or the temperature; in the columns of `known`.
pub fn load(targets: &[String], ask: &Ask, known: Option<&Layout>) -> Result<Series> {
    let table = Table::parse(NAME, BUNDLED, None)?;
    let targets = if targets.is_empty() { vec![TARGET.to_string()] } else { table.named(targets)? };
    for target in &targets {
        table.numbers(table.place(target)?)?;
        ensure!(target != DIRECTION, "{NAME}, column `{target}`: expected a quantity to forecast, got a direction");
    }
    let (angle, cycles) = (Some(DIRECTION), Some(&CYCLES[..]));
    let reading = Reading { targets: &targets, ask: Some(ask), known, angle, cycles, units: &UNITS };
    let mut series = from_table(NAME.to_string(), &table, reading)?;
    series.notes.push("Wind direction is a sine and a cosine.".to_owned());
    series.notes.push("Wind gusts are no input: a station reports them only when there are some.".to_owned());
    series.notes.push("All times are UTC.".to_owned());
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(targets: &[&str]) -> Result<Series> {
        load(&targets.iter().map(|name| name.to_string()).collect::<Vec<_>>(), &Ask::default(), None)
    }

    #[test]
    fn other_columns_can_be_forecast_but_no_direction() {
        let series = of(&["pressure", "temp"]).unwrap();
        let of_target = |place: usize| {
            let target = series.layout.targets[place];
            (series.layout.columns[target].as_str(), series.units[target])
        };
        assert_eq!((of_target(0), of_target(1)), (("pressure", "mbar"), ("temp", "°F")));
        let direction = of(&[DIRECTION]).unwrap_err().to_string();
        assert!(direction.ends_with("expected a quantity to forecast, got a direction"), "{direction}");
        assert!(of(&["sun"]).unwrap_err().to_string().contains("expected a column named `sun`"));
    }

    #[test]
    fn the_bundled_year_is_whole() {
        let series = of(&[]).unwrap();
        let names = [
            "temp",
            "dewp",
            "humid",
            "wind_dir_sin",
            "wind_dir_cos",
            "wind_speed",
            "precip",
            "pressure",
            "visib",
            "hour_sin",
            "hour_cos",
            "day_sin",
            "day_cos",
        ];
        assert_eq!(series.layout.columns, names);
        assert!(series.rows() > 8_600, "{} rows", series.rows());
        assert_eq!((series.layout.targets[0], series.step.as_str()), (0, "hour"));
        assert!(series.values.iter().all(|value| value.is_finite()));
        assert_eq!(series.values.len(), series.rows() * series.layout.columns.len());
        let measured = series.measured.iter().filter(|&&measured| measured).count();
        assert!(measured > 8_500, "{measured} hours measured");
        // At six in the morning the sine of the hour is 1.
        let row = series.labels.iter().position(|label| label == "2013-01-03 06:00").unwrap();
        assert!((series.at(row, 9) - 1.0).abs() < 1e-12);
        assert_eq!(series.stretches.last(), Some(&0));
    }
}
