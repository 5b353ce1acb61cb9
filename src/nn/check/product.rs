//! Products to check: each kernel and, in full, each tile.

use super::case::{Case, Found, Runs, What, random};
use super::{Clock, Extent};
use crate::device::Device;
use crate::error::Result;
use crate::gpu::Subject;
use crate::kernel::Program;
use crate::kernel::gemm::{Accumulate, Gemm, Matrix, Slices, Tile, slice_rows};
use crate::shader::constants;

/// `C + A·B + bias` by one tile.
#[derive(Clone, Debug)]
pub(super) struct Product {
    tile: Option<Tile>,
    size: [usize; 3],
    transposed: bool,
    sliced: bool,
}

/// Whole vectors and tiles, and sizes that are no multiple of anything.
const SIZES: [[usize; 3]; 2] = [[32, 32, 16], [37, 29, 41]];

/// The products of a device; none on the CPU, whose library is not this crate's.
pub(super) fn all(device: &Device, extent: Extent) -> Vec<Case> {
    let Some(gpu) = device.gpu() else { return Vec::new() };
    let mut all = Vec::new();
    for size in SIZES {
        for tile in Tile::candidates(gpu.capabilities(), size[0]) {
            for transposed in [false, true] {
                // In short each kernel of a tile once.
                if extent == Extent::Short && transposed != (size == SIZES[1]) {
                    continue;
                }
                let product = Product { tile: Some(tile), size, transposed, sliced: false };
                all.push(Case { group: format!("products {}", product.kernel()), what: What::Product(product) });
            }
        }
    }
    all.push(Case {
        group: "products gemm_slices".to_string(),
        what: What::Product(Product { tile: None, size: [8, 12, 600], transposed: true, sliced: true }),
    });
    // Group by group.
    all.sort_by(|one, other| one.group.cmp(&other.group));
    all
}

impl Product {
    /// The kernel that makes it.
    fn kernel(&self) -> &'static str {
        let whole = self.size.iter().all(|size| size.is_multiple_of(4));
        match self.tile {
            None => "gemm_slices",
            Some(Tile::Direct { .. }) => "gemm",
            Some(Tile::Staged(_)) if whole => "gemm_staged_vector",
            Some(Tile::Staged(_)) => "gemm_staged",
        }
    }

    /// The kernel, or of those that stage the tile: where one is wrong, another may be right.
    pub(super) fn subject(&self) -> Subject {
        match self.tile {
            Some(tile @ Tile::Staged(_)) => Subject::variant(self.kernel(), constants(&tile.constants())),
            _ => Subject::kernel(self.kernel()),
        }
    }

    fn operands(&self) -> [Vec<f32>; 4] {
        let [m, n, k] = self.size;
        [(1, m * k), (2, k * n), (3, m * n), (4, n)].map(|(seed, len)| random(seed, len))
    }

    /// C as it must be.
    pub(super) fn reference(&self) -> Vec<Found> {
        let ([m, n, k], [a, b, c, bias]) = (self.size, self.operands());
        let (row, column) = if self.transposed { (1, m) } else { (k, 1) };
        let sum = |at: usize| {
            let (i, j) = (at / n, at % n);
            let product: f64 = (0..k).map(|l| f64::from(a[i * row + l * column]) * f64::from(b[l * n + j])).sum();
            product + f64::from(c[at]) + if self.sliced { 0.0 } else { f64::from(bias[j]) }
        };
        vec![Found { name: "c".to_string(), backward: false, values: (0..m * n).map(sum).collect() }]
    }

    pub(super) async fn on(&self, device: &Device) -> Result<Runs> {
        let start = Clock::start();
        let [m, n, k] = self.size;
        let [a, b, before, bias] = self.operands();
        let upload = |values: &[f32], columns| Ok(Matrix::dense(&device.upload("a checked product", values)?, columns));
        let a = if self.transposed { upload(&a, m)?.transposed() } else { upload(&a, k)? };
        let c = upload(&before, n)?;
        let plain = Gemm::plain(m, n, k, a, upload(&b, n)?, c.clone());
        let call = match self.sliced {
            false => Gemm { bias: Some(upload(&bias, n)?), ..plain },
            true => {
                let rows = slice_rows(device, m, n, 1, 1).unwrap_or(k.div_ceil(3));
                let scratch = device.alloc("a checked product", m * n * k.div_ceil(rows))?;
                Gemm { slices: Some(Slices { rows, scratch }), ..plain }
            }
        };
        let mut program = Program::default();
        Gemm { tile: self.tile, accumulate: Accumulate::Before, ..call }.add_to(device, &mut program)?;
        let prepare_ms = start.ms();
        let start = Clock::start();
        let mut runs = [Vec::new(), Vec::new()];
        for run in &mut runs {
            device.write(&c.buffer, &before)?;
            device.run(|recorder| program.record(recorder))?;
            let values = device.download_f64(&c.buffer).await?;
            run.push(Found { name: "c".to_string(), backward: false, values });
        }
        Ok(Runs { runs, prepare_ms, run_ms: start.ms() })
    }
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [m, n, k] = self.size;
        let tile = self.tile.map_or_else(|| "in slices".to_string(), |tile| tile.name());
        write!(f, "{m}×{k}·{k}×{n}{}, {tile}", if self.transposed { ", A transposed" } else { "" })
    }
}
