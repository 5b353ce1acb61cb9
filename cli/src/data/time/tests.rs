//! Tests of times.

use super::*;

fn stamps(text: &str, wanted: Wanted<'_>) -> Result<Option<Stamps>> {
    find(&Table::parse("f.csv", text, None).unwrap(), wanted, &[])
}

/// The times of a column of such fields, as text.
fn times(name: &str, fields: &[&str]) -> Option<Vec<String>> {
    let found = stamps(&format!("{name},v\n{},1\n", fields.join(",1\n")), Wanted::Find).unwrap()?;
    Some(found.instants.into_iter().map(|instant| civil(instant).strftime("%Y-%m-%d %H:%M:%S").to_string()).collect())
}

#[test]
fn usual_writings_are_read() {
    let midnight = ["2024-01-31 00:00:00", "2024-02-01 00:00:00"];
    let days: [&[&str]; 27] = [
        &["Wed 31 Jan 2024", "Thu 1 Feb 2024"],
        &["Wednesday 31 January 2024", "Thursday 1 February 2024"],
        &["Wed. 31.01.2024", "Thu. 01.02.2024"],
        &["Wed Jan 31 00:00:00 2024", "Thu Feb  1 00:00:00 2024"],
        &["31 Jan 2024 00:00:00 +0000", "1 Feb 2024 00:00:00 +0000"],
        &["45322", "45323"],
        &["2024-01-31", "2024-02-01"],
        &["2024/01/31", "2024/02/01"],
        &["31.01.2024", "01.02.2024"],
        &["1/31/2024", "2/1/2024"],
        &["31/1/2024", "1/2/2024"],
        &["31-01-2024", "01-02-2024"],
        &["31 Jan 2024", "1 Feb 2024"],
        &["31-Jan-24", "01-Feb-24"],
        &["Jan 31 2024", "Feb 1 2024"],
        &["31 January 2024", "1 February 2024"],
        &["2024-01-31T00:00Z", "2024-02-01T01:00+01:00"],
        &["2024-01-31T00:00+02:00", "2024-02-01T00:00+02:00"],
        &["2024-01-31 00:00:00+02:00", "2024-02-01 00:00:00+01:00"],
        &["2024-01-31T00:00:00", "2024-02-01 00:00:00.000"],
        &["20240131", "20240201"],
        &["2024013100", "2024020100"],
        &["202401310000", "202402010000"],
        &["20240131000000", "20240201000000"],
        &["31-Jan-2024 00:00", "01-Feb-2024 00:00"],
        &["2024-01-31 00:00:00 UTC", "2024-02-01 00:00:00 UTC"],
        &["1706659200", "1706745600"],
    ];
    for fields in days {
        assert_eq!(times("date", fields).as_deref(), Some(&midnight.map(String::from)[..]), "{fields:?}");
    }
    let hours: [&[&str]; 5] = [
        &["2024-01-31 18:05", "2024-01-31 18:05:30"],
        &["31.01.2024 18:05:00", "31.01.2024 18:05:30"],
        &["1/31/2024 6:05:00 PM", "1/31/2024 6:05:30 PM"],
        &["1706724300000", "1706724330000"],
        &["1706724300000000000", "1706724330000000000"],
    ];
    for fields in hours {
        let want = ["2024-01-31 18:05:00", "2024-01-31 18:05:30"].map(String::from);
        assert_eq!(times("timestamp", fields).as_deref(), Some(&want[..]), "{fields:?}");
    }
    let months = Some(["2024-01-01 00:00:00", "2024-04-01 00:00:00"].map(String::from).to_vec());
    let written: [&[&str]; 6] = [
        &["2024-01", "2024-04"],
        &["Jan 2024", "Apr 2024"],
        &["01/2024", "04/2024"],
        &["2024Q1", "2024Q2"],
        &["2024-Q1", "2024-Q2"],
        &["2024.0", "2024.25"],
    ];
    for fields in written {
        assert_eq!(times("year", fields), months, "{fields:?}");
    }
    assert_eq!(times("YEAR", &["1700", "1701"]).unwrap()[1], "1701-01-01 00:00:00");
    assert_eq!(times("year", &["1958.2027", "1958.2219"]).unwrap()[0], "1958-03-15 23:39:07");
}

#[test]
fn offsets_that_do_not_change_are_the_files_own() {
    for [one, two] in [
        ["2024-01-31T06:00+02:00", "2024-01-31T07:00+02:00"],
        ["Wed, 31 Jan 2024 06:00:00 +0200", "Wed, 31 Jan 2024 07:00:00 +0200"],
    ] {
        let found = stamps(&format!("time,v\n\"{one}\",1\n\"{two}\",1\n"), Wanted::Find).unwrap().unwrap();
        assert_eq!((civil(found.instants[1]).to_string(), found.utc), ("2024-01-31T07:00:00".into(), false));
    }
}

#[test]
fn offsets_that_change_are_taken_out() {
    let fields = ["2024-10-27T02:00+02:00", "2024-10-27T02:00+01:00", "2024-10-27T03:00+01:00"];
    let text = format!("time,v\n{},1\n", fields.join(",1\n"));
    let found = stamps(&text, Wanted::Find).unwrap().unwrap();
    let hours: Vec<i64> = found.instants.iter().map(|time| time.rem_euclid(DAY) / (3600 * SECOND)).collect();
    assert_eq!((hours, found.utc), (vec![0, 1, 2], true));
}

#[test]
fn other_numbers_and_texts_are_no_times() {
    assert_eq!(times("wh", &["100000006.4", "100000012.9"]), None);
    assert_eq!(times("count", &["1706659200", "1706745600"]), None);
    assert_eq!(times("price", &["1999", "2001"]), None);
    assert_eq!(times("year", &["2001", "1999", "2003"]), None);
    assert_eq!(times("city", &["Oslo", "Rome"]), None);
    assert_eq!(times("date", &["20241399", "20241400"]), None);
    assert_eq!(times("time", &["45322", "45323"]), None);
    assert_eq!(times("date", &["Wed", "Thu"]), None);
}

#[test]
fn a_time_of_any_name_can_be_named() {
    let found = stamps("a,x\n5,2001\n6,1999\n", Wanted::Named("x")).unwrap().unwrap();
    assert_eq!(civil(found.instants[1]).year(), 1999);
    assert!(stamps("year,x\n2001,1\n2002,2\n", Wanted::None).unwrap().is_none());
    let found = stamps("a,x\n5,45323\n6,45322\n7,45324\n", Wanted::Named("x")).unwrap().unwrap();
    assert_eq!(civil(found.instants[1]).to_string(), "2024-01-31T00:00:00");
    let table = Table::parse("f.csv", "year,x\n2001,1\n2002,2\n", None).unwrap();
    assert!(find(&table, Wanted::Find, &[0]).unwrap().is_none());
    let error = format!("{:#}", stamps("a,x\n5,low\n", Wanted::Named("x")).unwrap_err());
    assert!(error.starts_with("f.csv, column `x`: expected times such as"), "{error}");
}

#[test]
fn times_in_several_columns_are_put_together() {
    let found = stamps("No,year,month,day,hour,v\n1,2010,1,2,3,9\n2,2010,1,2,4,9\n", Wanted::Find).unwrap().unwrap();
    assert_eq!(found.from, "columns `year`, `month`, `day`, `hour`");
    assert_eq!(civil(found.instants[1]).to_string(), "2010-01-02T04:00:00");
    let found = stamps("year,quarter,v\n1959,1,9\n1959,2,9\n", Wanted::Find).unwrap().unwrap();
    assert_eq!(civil(found.instants[1]).to_string(), "1959-04-01T00:00:00");
    let found = stamps("year,doy,hour,v\n2024,60,6,9\n2024,61,6,9\n", Wanted::Find).unwrap().unwrap();
    assert_eq!(found.from, "columns `year`, `doy`, `hour`");
    assert_eq!(civil(found.instants[1]).to_string(), "2024-03-01T06:00:00");
    let found = stamps("year,month,doy,v\n2024,2,60,9\n2024,3,61,9\n", Wanted::Find).unwrap().unwrap();
    assert_eq!(civil(found.instants[1]).to_string(), "2024-03-01T00:00:00");
    assert!(stamps("year,doy,v\n2023,365,9\n2023,366,9\n", Wanted::Find).unwrap().is_none());
    let found = stamps("Year,Month,v\n2024,Jan,9\n2024,February,9\n", Wanted::Find).unwrap().unwrap();
    assert_eq!(civil(found.instants[1]).to_string(), "2024-02-01T00:00:00");
    let found =
        stamps("Date;Time;v\n10/03/2004;18.00.00;2\n10/03/2004;19.00.00;3\n13/03/2004;00.00.00;3\n", Wanted::Find);
    let found = found.unwrap().unwrap();
    assert_eq!((found.columns, civil(found.instants[1]).to_string()), (vec![0, 1], "2004-03-10T19:00:00".into()));
    let found = stamps("Date,Time,v\n2021-01-01,12:00 AM,2\n2021-01-01,1:00 PM,3\n", Wanted::Find).unwrap().unwrap();
    assert_eq!(civil(found.instants[1]).to_string(), "2021-01-01T13:00:00");
}

#[test]
fn day_and_month_are_told_by_the_order_or_asked_for() {
    let monthly: Vec<String> = (0..14).map(|month| format!("{:02}/02/{}", month % 12 + 1, 2024 + month / 12)).collect();
    let monthly: Vec<&str> = monthly.iter().map(String::as_str).collect();
    assert_eq!(times("d", &monthly).unwrap()[13], "2025-02-02 00:00:00");
    assert_eq!(times("d", &["01/03/2024", "02/01/2024", "03/02/2024"]).unwrap()[1], "2024-02-01 00:00:00");
    let from = |text: &str| stamps(text, Wanted::Find).unwrap().unwrap().from;
    assert_eq!(from("d,v\n1/31/2024,1\n2/1/2024,2\n"), "column `d`, the month first");
    assert_eq!(from("d,v\n31-01-2024,1\n01-02-2024,2\n"), "column `d`, the day first");
    assert_eq!(from("d,v\n2024/01/31,1\n2024/02/01,2\n"), "column `d`");
    let error = stamps("d,v\n01/02/2024,1\n02/03/2024,2\n", Wanted::Find).unwrap_err().to_string();
    assert!(error.contains("got `01/02/2024`, of which the first number may be the day or the month"), "{error}");
}

#[test]
fn a_row_without_a_time_is_told() {
    let rows: String = (10..29).map(|day| format!("2024-01-{day},1\n")).collect();
    let error = |field: &str| stamps(&format!("d,v\n{rows}{field},1\n"), Wanted::Find).unwrap_err().to_string();
    assert!(error("soon").starts_with("f.csv, line 21, column `d`: expected a time as in the other rows, got `soon`"));
    assert!(error("NA").contains("got a missing value"));
}

#[test]
fn what_is_written_as_a_time_comes_before_numbers() {
    let text = "downtime_total,n,stamp\n1000,1,2024-01-31\n1001,2,2024-02-01\n1002,3,2024-02-02\n";
    let found = stamps(text, Wanted::Find).unwrap().unwrap();
    assert_eq!((found.columns, found.from.as_str()), (vec![2], "column `stamp`"));
    // A word within a word says nothing.
    for name in ["downtime", "timestep", "sentiment", "updated", "runtime_min"] {
        assert_eq!(times(name, &["1706659200", "1706745600"]), None, "{name}");
    }
    for name in ["pickup_datetime", "startTime", "Time (UTC)", "unix_time", "when", "DATE", "time2"] {
        assert!(times(name, &["1706659200", "1706745600"]).is_some(), "{name}");
    }
    assert_eq!(times("month", &["199001", "199002"]).unwrap()[1], "1990-02-01 00:00:00");
    assert_eq!(times("people", &["199001", "199002"]), None);
}

#[test]
fn hours_may_be_numbers_beside_dates() {
    let rows = |hours: [&str; 3]| {
        let text =
            format!("date,Hour,v\n2024-01-31,{},1\n2024-01-31,{},1\n2024-02-01,{},1\n", hours[0], hours[1], hours[2]);
        stamps(&text, Wanted::Find).unwrap().unwrap()
    };
    let read = |found: &Stamps| {
        found.instants.iter().map(|&instant| civil(instant).strftime("%d %H").to_string()).collect::<Vec<_>>()
    };
    let from_one = rows(["23", "24", "1"]);
    assert_eq!(read(&from_one), ["31 22", "31 23", "01 00"]);
    assert_eq!(from_one.from, "columns `date` and `Hour`, whose hours count from 1");
    let from_zero = rows(["22", "23", "0"]);
    assert_eq!((read(&from_zero), from_zero.columns), (read(&from_one), vec![0, 1]));
    assert_eq!(rows(["22", "25", "0"]).columns, [0]);
}
