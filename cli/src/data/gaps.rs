//! Missing values: where the gaps are, and how they are closed.
//!
//! A gap takes the last value known before it. A line drawn across the gap would look smoother, but a
//! window that ends inside the gap would then hold a hint of the value after it, and a forecast made
//! from it would look better than it is. Only a gap at the very beginning takes the value after it.

use std::ops::Range;

/// The rows of the longest run of missing values; empty if none is missing.
pub fn longest(cells: &[Option<f32>]) -> Range<usize> {
    let mut longest = 0..0;
    let mut start = 0;
    for (row, cell) in cells.iter().enumerate() {
        if cell.is_some() {
            start = row + 1;
        } else if row + 1 - start > longest.len() {
            longest = start..row + 1;
        }
    }
    longest
}

/// How many values are missing.
pub fn missing(cells: &[Option<f32>]) -> usize {
    cells.iter().filter(|cell| cell.is_none()).count()
}

/// Closes every gap; a column without any value becomes zero.
pub fn carry(cells: &[Option<f32>]) -> Vec<f32> {
    let first = cells.iter().flatten().next().copied().unwrap_or(0.0);
    let keep_last = |last: &mut f32, cell: &Option<f32>| {
        *last = cell.unwrap_or(*last);
        Some(*last)
    };
    cells.iter().scan(first, keep_last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAPPY: [Option<f32>; 8] = [None, Some(2.0), None, Some(4.0), None, None, None, Some(5.0)];

    #[test]
    fn carries_the_last_known_value() {
        assert_eq!(carry(&GAPPY), [2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, 5.0]);
        assert_eq!(carry(&[None, None]), [0.0, 0.0]);
    }

    #[test]
    fn counts_gaps() {
        assert_eq!(longest(&GAPPY), 4..7);
        assert_eq!(longest(&[None, None, Some(1.0), None, None]), 0..2);
        assert_eq!(longest(&[Some(1.0)]), 0..0);
        assert_eq!(missing(&GAPPY), 5);
    }
}
