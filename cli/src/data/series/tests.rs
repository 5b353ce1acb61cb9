//! Tests of series that files become.

use super::*;

fn read(text: &str, columns: &str, ask: &Ask) -> Result<Series> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.csv");
    std::fs::write(&path, text).unwrap();
    load(&path, &[columns.to_string()], ask)
}

fn of(text: &str, columns: &str) -> Result<Series> {
    read(text, columns, &Ask::default())
}

/// Rows an hour apart, of what comes for each row.
fn hours(rows: usize, of: impl Fn(usize) -> String) -> String {
    (0..rows).map(|row| format!("2024-01-{:02} {:02}:00,{}\n", 1 + row / 24, row % 24, of(row))).collect()
}

#[test]
fn reads_numbers_labels_and_gaps() {
    let text = "day,city,a,t,none\nmon,X,1,10,\ntue,Y,,20,\nwed,Z,3,,\nthu,Z,5,7,\nfri,Z,5,7,\n";
    let series = of(text, "t").unwrap();
    assert_eq!(series.name, "mine.csv");
    assert_eq!(series.layout.columns, ["a", "t"]);
    assert_eq!(series.labels, ["mon", "tue", "wed", "thu", "fri"]);
    assert_eq!(series.values[..6], [1.0, 10.0, 1.0, 20.0, 3.0, 20.0]);
    assert_eq!((&series.layout.targets[..], series.rows(), series.at(1, 1)), (&[1][..], 5, 20.0));
    assert_eq!(series.measured, [true, true, false, true, true]);
    assert_eq!(
        series.notes,
        [
            "5 rows read.",
            "Columns `a`, `t`: 1 missing value each (at most 1 in a row) took the last known value.",
            "Column `day` is left out: it holds text.",
            "Column `city` is left out: it holds text.",
            "Column `none` is left out: it is empty.",
        ]
    );
    assert_eq!(series.ahead(3), None);
}

#[test]
fn several_columns_are_forecast_in_the_order_that_was_asked_for() {
    let series = of("a,b,c\n1,,3\n4,5,6\n7,8,\n", "c,b").unwrap();
    assert_eq!((series.layout.targets, series.measured), (vec![2, 1], vec![false, true, false]));
    let twice = of("a,b\n1,2\n", "b,b").unwrap_err().to_string();
    assert_eq!(twice, "expected every column to forecast once, got `b` again");
}

#[test]
fn what_is_no_input_is_told() {
    let row = |row: usize| format!("{},{},{},7,{}", row + 1900, (row * 37 % 11), row + 5, 20240101 + row % 28);
    let rows: String = (0..60).map(|at| format!("{}\n", row(at))).collect();
    let series = of(&format!("year,t,No,seven,due date\n{rows}"), "t").unwrap();
    assert_eq!(series.layout.columns, ["t"]);
    let left_out: Vec<&String> = series.notes.iter().filter(|note| note.contains("left out")).collect();
    assert_eq!(
        left_out,
        [
            "Column `seven` is left out: it is always 7 in the part that is trained on.",
            "Column `No` is left out: it counts the rows.",
            "Column `due date` is left out: its numbers are dates.",
        ]
    );
    let named = read(
        &format!("year,t,No,seven,due date\n{rows}"),
        "t",
        &Ask { inputs: vec!["No,due date".into()], ..Ask::default() },
    );
    assert_eq!(named.unwrap().layout.columns, ["t", "No", "due date"]);
    let unnamed = of(",t\n1,2\n2,3\n", "t").unwrap();
    assert_eq!(unnamed.notes[1], "Column 1 has no name and is left out.");
    let without =
        read("a,t,b\n1,2,3\n4,5,6\n3,2,1\n", "t", &Ask { without: vec!["b".into()], ..Ask::default() }).unwrap();
    assert!(
        without.layout.columns == ["a", "t"] && without.notes.contains(&"Column `b` is left out: as was asked.".into())
    );
    let both = read("a,t\n1,2\n", "t", &Ask { without: vec!["t".into()], ..Ask::default() }).unwrap_err().to_string();
    assert_eq!(both, "--without: expected no column that is forecast, got `t`");
}

#[test]
fn rows_have_times_and_go_on() {
    let series = of(&format!("time,t\n{}", hours(24 * 20, |row| row.to_string())), "t").unwrap();
    assert_eq!(series.layout.columns, ["t", "hour_sin", "hour_cos", "weekday_sin", "weekday_cos"]);
    assert_eq!((series.step.as_str(), series.last(), series.own_columns()), ("hour", "2024-01-20 23:00", 1));
    assert_eq!(series.ahead(1).as_deref(), Some("2024-01-21 00:00"));
    assert_eq!((series.ahead(4_000_000_000), series.ahead(usize::MAX / 4)), (None, None));
    assert_eq!(series.notes[1], "Times are in column `time`: a row each hour.");
    assert!(
        series.notes[2].starts_with("Inputs from the times: time of the day and day of the week, each"),
        "{:?}",
        series.notes
    );
    let untimed = read("time,t\n2024-01-02,1\n2024-01-01,2\n", "t", &Ask { no_time: true, ..Ask::default() }).unwrap();
    assert_eq!(
        (untimed.labels[0].as_str(), untimed.values.as_slice(), untimed.ahead(1)),
        ("2024-01-02", &[1.0, 2.0][..], None)
    );
}

#[test]
fn small_holes_are_filled_and_large_ones_cut() {
    let without = |holes: std::ops::Range<usize>| {
        let rows = hours(24 * 20, |row| row.to_string());
        let kept: String = rows
            .lines()
            .enumerate()
            .filter(|(row, _)| !holes.contains(row))
            .fold(String::new(), |all, (_, line)| all + line + "\n");
        of(&format!("time,t\n{kept}"), "t").unwrap()
    };
    let small = without(100..110);
    assert_eq!(
        (small.rows(), small.at(105, 0), small.measured[105], small.stretches.last()),
        (480, 99.0, false, Some(&0))
    );
    assert_eq!(small.notes[2], "10 rows are missing and put in, 480 in all.");
    let large = without(100..130);
    assert_eq!((large.rows(), large.at(99, 0), large.at(100, 0)), (450, 99.0, 130.0));
    assert_eq!(
        (large.stretches[99], large.stretches[100], large.ahead(2).as_deref()),
        (0, 1, Some("2024-01-21 01:00"))
    );
    assert!(
        large.notes[2].contains("30 rows are not there or not known, more than 24 in a row: 2 stretches are left"),
        "{:?}",
        large.notes
    );
}

#[test]
fn a_long_gap_leaves_an_input_out_and_cuts_at_a_target() {
    let gap = "1,\n".repeat(LONGEST_GAP + 1);
    let text = format!("a,t\n2,2\n{gap}3,4\n3,5\n");
    let series = of(&text, "t").unwrap();
    assert_eq!((series.rows(), series.stretches.as_slice()), (3, &[0, 1, 1][..]));
    let series = of(&text, "a").unwrap();
    assert_eq!(series.layout.columns, ["a"]);
    assert!(
        series.notes.contains(&"Column `t` is left out: it misses 25 values in a row.".into()),
        "{:?}",
        series.notes
    );
}

#[test]
fn what_a_model_knows_is_found_by_name() {
    let known = of(&format!("time,a,t\n{}", hours(24 * 20, |row| format!("{},{row}", row % 7))), "t").unwrap().layout;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.csv");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load_known(&path, &Ask::default(), &known)
    };
    let other = read(&format!("time,b,t,a\n{}", hours(50, |row| format!("9,{row},{}", row % 5)))).unwrap();
    assert_eq!((&other.layout, other.at(13, 0), other.at(13, 1)), (&known, 3.0, 13.0));
    assert!(other.notes.contains(&"Column `b` is left out: the model does not read it.".into()), "{:?}", other.notes);
    let refused = |text: &str| format!("{:#}", read(text).unwrap_err());
    let texts = refused(&format!("time,t,a\n{}", hours(50, |row| format!("{row},low"))));
    assert!(texts.contains("column `a`: expected an input that the model reads, but it can't be used"), "{texts}");
    assert!(texts.contains("expected a number, got `low`"), "{texts}");
    let daily = refused("time,t,a\n2024-01-01,1,2\n2024-01-02,1,2\n2024-01-03,1,2\n");
    assert!(
        daily.contains("expected times as the model was trained on, with a row each hour, got a row each day"),
        "{daily}"
    );
    let none = refused("t,a\n1,2\n3,4\n");
    assert!(none.contains("with a row each hour, got no equal steps"), "{none}");
    assert!(refused("time,t\n2024-01-01,1\n").contains("expected a column named `a`"));
}

#[test]
fn errors_name_file_line_and_column() {
    let ends = |text: &str, column: &str, want: &str| {
        let error = format!("{:#}", of(text, column).unwrap_err());
        assert!(error.ends_with(want) && error.contains("mine.csv"), "{error}");
    };
    ends("a,b\n1,2\n", "t", "line 1: expected a column named `t`, got `a`, `b`");
    ends("a,t\n1,x\n3,y\n", "t", "line 2, column `t`: expected a number, got `x`");
    ends("a,t\n1,2\n3,y\n", "t", "line 3, column `t`: expected a finite number or a missing value, got `y`");
}
