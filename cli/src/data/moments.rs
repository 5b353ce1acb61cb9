//! Mean and deviation of columns, by which a network's inputs are standardised.

/// Mean and deviation of each of `width` interleaved columns.
///
/// A deviation that is only rounding is no deviation: divided by it, a later change would explode.
pub fn moments(values: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let column = |index: usize| values.iter().skip(index).step_by(width).copied();
    let count = (values.len() / width) as f64;
    let moments = |index| {
        let mean = column(index).sum::<f64>() / count;
        let variance = column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let std = variance.sqrt();
        (mean, if std > 1e-12 * mean.abs() { std } else { 1.0 })
    };
    (0..width).map(moments).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_measured_apart() {
        assert_eq!(moments(&[1.0, 10.0, 3.0, 10.0], 2), (vec![2.0, 10.0], vec![1.0, 1.0]));
        let (mean, std) = moments(&[0.1; 1000], 1);
        assert!((mean[0] - 0.1).abs() < 1e-12 && std == [1.0]);
        let (_, far) = moments(&[1e9, 1e9 + 2.0], 1);
        assert_eq!(far, [1.0]);
        let (_, farther) = moments(&[1e9, 1e9 + 20.0], 1);
        assert_eq!(farther, [10.0]);
    }
}
