//! Missing values: where the gaps are, and how they are closed.
//!
//! A gap takes the last value known before it. A line drawn across the gap would look smoother, but a
//! window that ends inside the gap would then hold a hint of the value after it, and a forecast made
//! from it would look better than it is. Only a gap at the very beginning takes the value after it.

use std::ops::Range;

/// The rows of the longest run of missing values; empty if none is missing.
pub fn longest(missing: &[bool]) -> Range<usize> {
    runs(missing).fold(0..0, |longest, run| if run.len() > longest.len() { run } else { longest })
}

/// The runs of more than `most` missing values.
pub fn long_runs(missing: &[bool], most: usize) -> impl Iterator<Item = Range<usize>> {
    runs(missing).filter(move |run| run.len() > most)
}

fn runs(missing: &[bool]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    missing.chunk_by(|a, b| a == b).filter_map(move |chunk| {
        let start = at;
        at += chunk.len();
        chunk[0].then_some(start..at)
    })
}

/// Closes every gap; a column without any value becomes zero.
pub fn carry(cells: &[Option<f64>]) -> Vec<f64> {
    let first = cells.iter().flatten().next().copied().unwrap_or(0.0);
    let keep_last = |last: &mut f64, cell: &Option<f64>| {
        *last = cell.unwrap_or(*last);
        Some(*last)
    };
    cells.iter().scan(first, keep_last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAPPY: [Option<f64>; 8] = [None, Some(2.0), None, Some(4.0), None, None, None, Some(5.0)];

    #[test]
    fn carries_the_last_known_value() {
        assert_eq!(carry(&GAPPY), [2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, 5.0]);
        assert_eq!(carry(&[None, None]), [0.0, 0.0]);
    }

    #[test]
    fn finds_runs() {
        let missing: Vec<bool> = GAPPY.iter().map(Option::is_none).collect();
        assert_eq!(longest(&missing), 4..7);
        assert_eq!(longest(&[true, true, false, true, true]), 0..2);
        assert_eq!((longest(&[false]), longest(&[])), (0..0, 0..0));
        assert_eq!(long_runs(&missing, 0).collect::<Vec<_>>(), [0..1, 2..3, 4..7]);
        assert_eq!((long_runs(&missing, 1).next(), long_runs(&missing, 1).count()), (Some(4..7), 1));
    }
}
