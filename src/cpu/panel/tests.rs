//! Products against their definition.

use super::*;

struct Dense<S> {
    data: Vec<S>,
    columns: usize,
}

impl<S> Rows<S> for &mut Dense<S> {
    fn rows<'s>(&'s mut self, first: usize, rows: &mut [&'s mut [S]]) {
        for (to, row) in rows.iter_mut().zip(self.data.chunks_mut(self.columns).skip(first)) {
            *to = row;
        }
    }
}

fn agrees<S: Scalar>(tolerance: f64) {
    let value = |i: usize, seed: f64| S::from_f64((i as f64 * 0.9 + seed).sin());
    for rows in (0..20).chain([31, ROWS, 2 * ROWS + 1]) {
        for (depth, columns) in [(1, 1), (7, 16), (6, 17), (12, 100), (10, 64)] {
            let weights: Vec<S> = (0..depth * columns).map(|i| value(i, 0.1)).collect();
            let mut transposed = weights.clone();
            for (i, x) in transposed.iter_mut().enumerate() {
                *x = weights[i % depth * columns + i / depth];
            }
            let (mut packed, mut other) = (vec![value(0, 1.0); packed_len(depth, columns)], Vec::new());
            other.resize(packed.len(), value(1, 1.0));
            pack(Threads::ONE, &weights, depth, columns, &mut packed);
            pack_transposed(Threads::ONE, &transposed, depth, &mut other);
            assert_eq!(packed, other);

            // Rows of A with a gap of two elements after the first.
            let apart = depth + 2;
            let a: Vec<S> = (0..rows * apart).map(|i| value(i, 0.2)).collect();
            let bias: Vec<S> = (0..columns).map(|i| value(i, 0.3)).collect();
            let runs = &[0..1, 3..apart][..if depth == 1 { 1 } else { 2 }];
            let part = |r: usize, run: usize| &a[r * apart..][runs[run].clone()];
            for adds in [false, true] {
                let before: Vec<S> = (0..rows * columns).map(|i| value(i, 0.4)).collect();
                // With every instruction set that this processor has.
                for set in ["widest", "AVX2", "none"] {
                    let mut c = Dense { data: before.clone(), columns };
                    let product = Product {
                        packed: &packed,
                        depth,
                        bias: &bias,
                        runs: runs.len(),
                        a: part,
                        rows,
                        columns,
                        adds,
                        backwards: adds,
                        c: &mut c,
                    };
                    match set {
                        "widest" => product.run(),
                        "none" => product.run_with(|known| known.with_simd(pulp::Scalar)),
                        _ => {
                            #[cfg(target_arch = "x86_64")]
                            let Some(avx2) = pulp::x86::V3::try_new() else { continue };
                            #[cfg(not(target_arch = "x86_64"))]
                            let avx2 = pulp::Scalar;
                            product.run_with(|known| Simd::vectorize(avx2, known));
                        }
                    }
                    for (i, (got, before)) in c.data.iter().zip(&before).enumerate() {
                        let (r, j) = (i / columns, i % columns);
                        let factors = runs.iter().cloned().flatten().map(|k| a[r * apart + k].to_f64());
                        let terms = factors.enumerate().map(|(k, x)| x * weights[k * columns + j].to_f64());
                        let want = terms.sum::<f64>() + bias[j].to_f64() + if adds { before.to_f64() } else { 0.0 };
                        assert!((got.to_f64() - want).abs() < tolerance, "{set}: {got} for {want}");
                    }
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
