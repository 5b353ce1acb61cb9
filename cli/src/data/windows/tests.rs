//! Tests of windows.

use super::*;
use rand_chacha::rand_core::SeedableRng;

fn shape() -> Shape {
    Shape { steps: 3, horizons: vec![2], batch: 4 }
}

/// Column 0 counts rows, column 1 is the square of the row and the target, column 2 is constant.
fn series(rows: usize) -> Series {
    let row = |row: usize| [row as f64, (row * row) as f64, 7.0];
    of_rows((0..rows).flat_map(row).collect())
}

fn of_rows(values: Vec<f64>) -> Series {
    let columns = ["row", "square", "seven"].map(String::from).to_vec();
    Series::plain("squares", columns, values, vec![1])
}

#[test]
fn other_lengths_are_standardised_alike() {
    let task = Windows::new(series(100), shape(), View::Level).unwrap();
    let moments =
        Moments { mean: vec![3.0, 4.0, 5.0], std: vec![7.0, 8.0, 9.0], scale: vec![11.0], ..task.moments.clone() };
    let task = Windows { moments: moments.clone(), ..task };
    let other = task.with_steps(8).unwrap();
    assert_eq!((other.moments, other.shape.steps), (moments, 8));
}

#[test]
fn goals_are_numbered_target_by_target() {
    let mut wide = series(80);
    wide.layout.targets = vec![1, 0];
    let task = Windows::new(wide, Shape { steps: 3, horizons: vec![4, 1], batch: 4 }, View::Level).unwrap();
    assert_eq!(task.train.last(), Some(&(64 - 3 - 4)));
    let goals: Vec<_> = (0..task.goals()).map(|goal| (task.target(goal), task.horizon(goal))).collect();
    assert_eq!(goals, [(1, 4), (1, 1), (0, 4), (0, 1)]);
    // The window at 5 ends with row 7.
    let truths: Vec<_> = (0..4).map(|goal| task.truth(5, goal)).collect();
    assert_eq!(truths, [121.0, 64.0, 11.0, 8.0]);
    let (changes, scale) = (task.changes(&[5]), task.moments.scale.clone());
    assert_eq!(changes, [72.0 / scale[0], 15.0 / scale[1], 1.0, 1.0].map(|change| change as f32));
    assert_eq!((0..4).map(|goal| task.time(5, goal)).collect::<Vec<_>>(), ["t11", "t8", "t11", "t8"]);
    let every = task.changes_at_every_step(&[5, 9]);
    assert_eq!((every.len(), &every[4 * 4..][..4]), (3 * 2 * 4, &changes[..]));
}

#[test]
fn splits_by_time_without_leaking() {
    let task = Windows::new(series(50), shape(), View::Level).unwrap();
    // 40 training rows hold windows of 3 + 2 rows that start at 0 to 35; 10 rows hold 40 to 45.
    assert_eq!(task.train, (0..=35).collect::<Vec<_>>());
    assert_eq!(task.valid, (40..=45).collect::<Vec<_>>());
    let last_training_target = task.train.iter().map(|&start| task.forecast_row(start, 0)).max().unwrap();
    assert!(last_training_target < task.valid[0]);
    assert!(task.valid.iter().all(|&start| task.forecast_row(start, 0) < 50));
}

#[test]
fn moments_know_nothing_of_validation() {
    let task = Windows::new(series(50), shape(), View::Level).unwrap();
    // Rows 0 to 39: mean 19.5, variance (40² - 1) / 12.
    assert_eq!(task.moments.mean[0], 19.5);
    assert!((task.moments.std[0] - (1599.0f64 / 12.0).sqrt()).abs() < 1e-5);
    assert_eq!((task.moments.mean[2], task.moments.std[2]), (7.0, 1.0));

    let mut changed = series(50);
    changed.values[40 * 3..].fill(1e6);
    let other = Windows::new(changed, shape(), View::Level).unwrap();
    assert_eq!(task.moments, other.moments);
}

#[test]
fn batches_are_time_major_and_hold_the_change() {
    let task = Windows::new(series(50), shape(), View::Level).unwrap();
    let (x, y) = (task.inputs_of(&[5, 0]), task.changes(&[5, 0]));
    assert_eq!((x.len(), y.len()), (3 * 2 * 3, 2));
    let row = |row: f64| ((row - 19.5) / task.moments.std[0]) as f32;
    let got: Vec<_> = x.iter().step_by(3).copied().collect();
    assert_eq!(got, [row(5.0), row(0.0), row(6.0), row(1.0), row(7.0), row(2.0)]);
    assert_eq!(x[1], ((25.0 - task.moments.mean[1]) / task.moments.std[1]) as f32);
    assert!(x.iter().skip(2).step_by(3).all(|&seven| seven == 0.0));
    // From row 7 to row 9: 81 - 49; from row 2 to row 4: 16 - 4.
    let scale = task.moments.scale[0];
    assert_eq!(y, [32.0 / scale, 12.0 / scale].map(|change| change as f32));
    assert!((task.value(5, 0, f64::from(y[0])) - 81.0).abs() < 1e-4);
    assert_eq!((task.truth(5, 0), task.now(5, 0), task.time(5, 0)), (81.0, 49.0, "t9"));
}

/// However a network sees windows, an answer of 0 costs 1, and the right answer gives back the truth.
#[test]
fn scale_makes_the_naive_loss_one() {
    for view in View::ALL {
        let task = Windows::new(series(50), shape(), view).unwrap();
        let y = task.changes(&task.train);
        let loss = y.iter().map(|y| y * y).sum::<f32>() / y.len() as f32;
        assert!((loss - 1.0).abs() < 1e-5, "{view:?}: {loss}");
        for (&start, &y) in task.valid.iter().zip(&task.changes(&task.valid)) {
            assert!((task.value(start, 0, f64::from(y)) - task.truth(start, 0)).abs() < 1e-3, "{view:?}");
        }
    }
}

#[test]
fn views_show_windows_in_their_way() {
    let seen = |view: View, start: usize| Windows::new(series(50), shape(), view).unwrap().inputs_of(&[start]);
    // Steps of the squares of 5, 6 and 7, of which the last is 49, are 11 and 13; before 5 comes 4.
    let squares = |all: Vec<f32>| all.into_iter().skip(1).step_by(3).collect::<Vec<_>>();
    let window = squares(seen(View::Window, 5));
    assert_eq!(window[2], 0.0);
    assert!((window[0] / window[1] - 24.0 / 13.0).abs() < 1e-5, "{window:?}");
    let changes = squares(seen(View::Changes, 5));
    assert!(
        (changes[0] / changes[1] - 9.0 / 11.0).abs() < 1e-5 && (changes[2] / changes[1] - 13.0 / 11.0).abs() < 1e-5
    );
    // Nothing is before the first row.
    assert_eq!(squares(seen(View::Changes, 0))[0], 0.0);
}

/// A counter, and a wave on top of a billion, are seen as the same without what is on top.
#[test]
fn far_values_keep_their_differences() {
    let wave = |row: usize| (row as f64 * 0.3).sin() * 5.0;
    let with = |offset: f64| {
        let rows = (0..200).flat_map(|row| [row as f64, offset + wave(row), 7.0]).collect();
        Windows::new(of_rows(rows), shape(), View::Level).unwrap()
    };
    let (near, far) = (with(0.0), with(1e9));
    for (a, b) in [(near.inputs_of(&[3, 90]), far.inputs_of(&[3, 90])), (near.changes(&[3, 90]), far.changes(&[3, 90]))]
    {
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    }
    let y = far.changes(&[3])[0];
    assert!((far.value(3, 0, f64::from(y)) - far.truth(3, 0)).abs() < 1e-4);
}

#[test]
fn no_window_crosses_a_cut() {
    let mut cut = series(50);
    cut.stretches[20..].fill(1);
    let task = Windows::new(cut, shape(), View::Level).unwrap();
    // Windows of 3 rows and 2 ahead that start at 16 to 19 cross row 20.
    assert_eq!(task.train, (0..=15).chain(20..=35).collect::<Vec<_>>());
    assert!(task.notes()[0].starts_with("4 windows are left out: "), "{:?}", task.notes());
}

#[test]
fn an_error_is_the_mean_absolute_miss() {
    let task = Windows::new(series(50), shape(), View::Level).unwrap();
    // From row n to row n + 2 the square grows by 4n + 4; n runs from 42 to 47, 44.5 on average.
    let now = task.valid.iter().map(|&start| task.now(start, 0));
    assert!((task.error(0, now) - 182.0).abs() < 1e-9);
    assert_eq!(task.error(0, task.valid.iter().map(|&start| task.truth(start, 0))), 0.0);
}

#[test]
fn a_quantile_costs_more_on_its_rare_side() {
    let task = Windows::new(series(50), shape(), View::Level).unwrap();
    let off = |by: f64| task.valid.iter().map(|&start| task.truth(start, 0) + by).collect::<Vec<_>>();
    let loss = |by: f64| task.quantile_loss(0, 0.9, off(by).into_iter());
    assert!((loss(-3.0) - 2.0 * 0.9 * 3.0).abs() < 1e-9 && (loss(3.0) - 2.0 * 0.1 * 3.0).abs() < 1e-9);
    assert!((task.error(0, off(3.0).into_iter()) - 3.0).abs() < 1e-9);
}

#[test]
fn what_was_learnt_elsewhere_needs_one_window() {
    let moments = Windows::new(series(50), shape(), View::Level).unwrap().moments;
    // Of 21 rows 5 are for validation, as many as a window and its goal take.
    let task = Windows::known(series(21), Shape { batch: 500, ..shape() }, moments.clone()).unwrap();
    assert_eq!((task.valid.len(), task.moments == moments), (1, true));
    let error = Windows::known(series(19), shape(), moments).unwrap_err().to_string();
    assert!(error.contains("in the last 2 tenths, got 19 rows without one"), "{error}");
}

#[test]
fn a_filled_target_is_never_the_truth() {
    let mut gappy = series(50);
    gappy.measured[44] = false;
    let task = Windows::new(gappy, shape(), View::Level).unwrap();
    // Row 44 is the target of the window at 40 and the last known value of the window at 42.
    assert_eq!(task.valid, [41, 43, 44, 45]);
    assert_eq!(task.stretch(10), [43, 44, 45]);
    assert_eq!(task.stretch(2), [43, 44]);
    assert_eq!(task.stretch(1), [41]);
}

#[test]
fn random_starts_repeat_with_the_seed() {
    let task = Windows::new(series(50), shape(), View::Level).unwrap();
    let draw = |seed| task.random_starts(&mut ChaCha8Rng::seed_from_u64(seed));
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert!(draw(1).iter().all(|start| task.train.contains(start)));
}

#[test]
fn too_little_data_is_refused() {
    let error = format!("{:#}", Windows::new(series(20), shape(), View::Level).unwrap_err());
    assert_eq!(
        error,
        "squares: expected at least 21 rows for a batch of 4 windows of 3 + 2 rows and a validation window, \
         got 20 rows with 12 training and 0 validation windows; where nets are trained --steps, --horizons and --batch ask \
         for less"
    );
    let few = "Errors are of 1 validation window alone: they say little.";
    assert_eq!(Windows::new(series(21), shape(), View::Level).unwrap().notes().last().map(String::as_str), Some(few));
    assert!(!Windows::new(series(400), shape(), View::Level).unwrap().notes().concat().contains("say little"));
    assert!(Windows::new(series(21), shape(), View::Level).is_ok());
    assert!(Windows::new(series(0), shape(), View::Level).is_err());
    let mut flat = series(50);
    flat.values.fill(7.0);
    let error = format!("{:#}", Windows::new(flat, shape(), View::Level).unwrap_err());
    assert!(error.contains("expected changes in the part that is trained on"), "{error}");
}
