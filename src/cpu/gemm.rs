//! Large products of strided matrices: a checked face on the `gemm` crate.

use gemm_common::Parallelism;

use crate::cpu::scalar::Scalar;
use crate::cpu::threads::Threads;
use crate::error::{Error, Result};

/// A matrix to read: element `(r, c)` is `data[r·row_stride + c·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, S> {
    data: &'a [S],
    layout: Layout,
}

/// A matrix to write, laid out like [`Mat`]; no two of its elements share a place.
#[derive(Debug)]
pub struct MatMut<'a, S> {
    data: &'a mut [S],
    layout: Layout,
}

impl<'a, S> Mat<'a, S> {
    /// A matrix with any strides, or an error when its last element is beyond `data`.
    pub fn new(data: &'a [S], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Result<Self> {
        let layout = Layout { rows, cols, row_stride, col_stride };
        layout.check(data.len())?;
        Ok(Self { data, layout })
    }

    /// `[rows, cols]`, row after row without gaps.
    pub fn row_major(data: &'a [S], rows: usize, cols: usize) -> Result<Self> {
        Self::new(data, rows, cols, cols, 1)
    }

    /// Its transpose, on the same data.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { layout: self.layout.transposed(), ..self }
    }

    /// Number of rows.
    pub const fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Number of columns.
    pub const fn cols(&self) -> usize {
        self.layout.cols
    }
}

impl<'a, S> MatMut<'a, S> {
    /// A matrix with any strides, or an error when its last element is beyond `data` or two elements would overlap.
    pub fn new(data: &'a mut [S], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Result<Self> {
        let layout = Layout { rows, cols, row_stride, col_stride };
        layout.check(data.len())?;
        layout.check_distinct()?;
        Ok(Self { data, layout })
    }

    /// `[rows, cols]`, row after row without gaps.
    pub fn row_major(data: &'a mut [S], rows: usize, cols: usize) -> Result<Self> {
        Self::new(data, rows, cols, cols, 1)
    }

    /// Its transpose, on the same data.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { layout: self.layout.transposed(), ..self }
    }

    /// Number of rows.
    pub const fn rows(&self) -> usize {
        self.layout.rows
    }

    /// Number of columns.
    pub const fn cols(&self) -> usize {
        self.layout.cols
    }
}

/// `c ← β·c + α·a·b`, for `a [m, k]`, `b [k, n]` and `c [m, n]`; with β = 0 what c held does not matter, NaN included.
/// Uses up to `threads` threads of the current pool (see [`Pool::run`](crate::cpu::threads::Pool::run)).
pub fn gemm<S: Scalar>(
    threads: Threads,
    alpha: S,
    a: Mat<'_, S>,
    b: Mat<'_, S>,
    beta: S,
    c: MatMut<'_, S>,
) -> Result<()> {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    if b.rows() != k {
        return Err(Error::shape("the right factor of a product", &[k, n], &[b.rows(), n]));
    }
    if (c.rows(), c.cols()) != (m, n) {
        return Err(Error::shape("the result of a product", &[m, n], &[c.rows(), c.cols()]));
    }
    let parallelism = match threads.count() {
        1 => Parallelism::None,
        count => Parallelism::Rayon(count),
    };
    // The kernels want columns of the result to be farther apart than rows: else cᵀ ← bᵀ·aᵀ.
    let (crs, ccs) = c.layout.strides();
    let turned = ccs < crs;
    let (left, right) = if turned { (b.transposed(), a.transposed()) } else { (a, b) };
    let (rows, columns) = if turned { (n, m) } else { (m, n) };
    let (crs, ccs) = if turned { (ccs, crs) } else { (crs, ccs) };
    let (lrs, lcs) = left.layout.strides();
    let (rrs, rcs) = right.layout.strides();
    // SAFETY: the constructors have checked that every element that the strides reach is inside its slice, that
    // elements of c are distinct, and the sizes agree; c is borrowed mutably, so it overlaps neither factor.
    unsafe {
        S::product()(
            rows,
            columns,
            k,
            c.data.as_mut_ptr(),
            ccs,
            crs,
            beta != S::ZERO,
            left.data.as_ptr(),
            lcs,
            lrs,
            right.data.as_ptr(),
            rcs,
            rrs,
            beta,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
    Ok(())
}

/// Sizes and strides of a matrix.
#[derive(Clone, Copy, Debug)]
struct Layout {
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl Layout {
    const fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// Strides by row and by column, within `isize`; that of a dimension with one element is never used to step.
    fn strides(self) -> (isize, isize) {
        let signed = |stride: usize| isize::try_from(stride).unwrap_or(isize::MAX);
        (signed(self.row_stride), signed(self.col_stride))
    }

    /// An error when an element lies beyond `len`.
    fn check(self, len: usize) -> Result<()> {
        if self.rows == 0 || self.cols == 0 {
            return Ok(());
        }
        let down = (self.rows - 1).checked_mul(self.row_stride);
        let across = (self.cols - 1).checked_mul(self.col_stride);
        let last = down.zip(across).and_then(|(d, a)| d.checked_add(a));
        if last.is_some_and(|last| last < len) {
            return Ok(());
        }
        Err(Error::invalid("the last element of a matrix", format!("within its {len} elements"), self))
    }

    /// An error when two elements might share a place.
    fn check_distinct(self) -> Result<()> {
        let apart = |outer: usize, outer_stride: usize, inner: usize, inner_stride: usize| {
            let run = (inner.max(1) - 1).saturating_mul(inner_stride);
            (inner <= 1 || inner_stride > 0) && (outer <= 1 || outer_stride > run)
        };
        let by_rows = apart(self.rows, self.row_stride, self.cols, self.col_stride);
        let by_cols = apart(self.cols, self.col_stride, self.rows, self.row_stride);
        if by_rows || by_cols {
            return Ok(());
        }
        Err(Error::invalid("the strides of a matrix to write", "such that no elements overlap", self))
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}] with strides [{}, {}]", self.rows, self.cols, self.row_stride, self.col_stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp<S: Scalar>(len: usize, seed: f64) -> Vec<S> {
        (0..len).map(|i| S::from_f64((i as f64 * 0.7 + seed).sin())).collect()
    }

    fn agrees<S: Scalar>(tolerance: f64) {
        for threads in [1, 2] {
            for (m, k, n) in [(1, 5, 7), (3, 1, 2), (17, 33, 9), (64, 40, 1), (2, 0, 3)] {
                let (a, b) = (ramp::<S>(k * m, 0.1), ramp::<S>(k * (n + 3), 0.2));
                let mut c = ramp::<S>(m * n, 0.3);
                let before = c.clone();
                // a is stored transposed, b with gaps after its rows.
                let at = Mat::row_major(&a, k, m).unwrap().transposed();
                let bt = Mat::new(&b, k, n, n + 3, 1).unwrap();
                let ct = MatMut::row_major(&mut c, m, n).unwrap();
                let (alpha, beta) = (S::from_f64(0.5), S::from_f64(-2.0));
                gemm(Threads::new(threads).unwrap(), alpha, at, bt, beta, ct).unwrap();
                for i in 0..m {
                    for j in 0..n {
                        let dot: f64 = (0..k).map(|p| a[p * m + i].to_f64() * b[p * (n + 3) + j].to_f64()).sum();
                        let want = 0.5 * dot - 2.0 * before[i * n + j].to_f64();
                        assert!((c[i * n + j].to_f64() - want).abs() < tolerance);
                    }
                }
            }
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        agrees::<f32>(1e-5);
        agrees::<f64>(1e-13);
    }

    #[test]
    fn beta_zero_overwrites_nan() {
        let mut c = [f32::NAN];
        let one = Mat::row_major(&[3.0], 1, 1).unwrap();
        gemm(Threads::ONE, 1.0, one, one, 0.0, MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
        assert_eq!(c, [9.0]);
    }

    #[test]
    fn bad_matrices_are_errors() {
        let data = [0f32; 12];
        assert!(Mat::new(&data, 3, 4, 4, 1).is_ok());
        assert!(Mat::new(&data, 3, 4, 5, 1).is_err());
        assert!(Mat::new(&data, 2, 2, usize::MAX, 2).is_err());
        assert!(Mat::new(&data, 0, 9, 0, 0).is_ok());
        let mut data = [0f32; 12];
        assert!(MatMut::new(&mut data, 3, 4, 1, 3).is_ok());
        assert!(MatMut::new(&mut data, 3, 4, 1, 1).is_err());
        assert!(MatMut::new(&mut data, 3, 4, 0, 1).is_err());
        let three = Mat::row_major(&[0.0; 3], 1, 3).unwrap();
        assert!(gemm(Threads::ONE, 1.0, three, three, 0.0, MatMut::row_major(&mut data, 1, 3).unwrap()).is_err());
    }
}
