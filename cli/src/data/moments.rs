//! Mean and deviation of columns, by which a network's inputs are standardised.

/// Mean and deviation of each of `width` interleaved columns.
///
/// A deviation that is only rounding is no deviation: divided by it, a later change would explode.
pub fn moments(values: &[f32], width: usize) -> (Vec<f32>, Vec<f32>) {
    let column = |index: usize| values.iter().skip(index).step_by(width).map(|&value| f64::from(value));
    let count = (values.len() / width) as f64;
    let moments = |index| {
        let mean = column(index).sum::<f64>() / count;
        let variance = column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let std = variance.sqrt() as f32;
        (mean as f32, if std > 1e-6 * mean.abs() as f32 { std } else { 1.0 })
    };
    (0..width).map(moments).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_measured_apart() {
        assert_eq!(moments(&[1.0, 10.0, 3.0, 10.0], 2), (vec![2.0, 10.0], vec![1.0, 1.0]));
        assert_eq!(moments(&[0.1; 1000], 1), (vec![0.1], vec![1.0]));
    }
}
