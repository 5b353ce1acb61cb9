//! Checks of a device against the CPU executor's f64 reference, and what follows from them.
//!
//! A [`Case`] is a small product or a small layer. Its results are held against the reference within the bounds of the test
//! suite, and a second run must give the same bits. What fails is written down as a doubt ([`Gpu::found`]) that the planner
//! reads; what passed is not checked again on that adapter. Cases come in groups, a kernel or a strategy with a cell:
//!
//! - a plan has the groups that it needs checked before a strategy is chosen for the first time (`choose.rs`);
//! - [`Device::auto`] has a first layer checked, and takes the CPU executor where no strategy makes it right (`open.rs`);
//! - [`Device::check`] has them all checked, and reports.
//!
//! All of it works on the wgpu device beside the plans' own pool and counters.

mod case;
mod choose;
mod layer;
mod open;
mod product;

pub use case::{Case, GRADIENT_BOUND, HALF_BOUND, OUTPUT_BOUND, relative_error};
pub(crate) use choose::{choose, products};

use serde::Serialize;

use crate::device::Device;
use crate::error::Result;
use crate::gpu::Subject;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// A tiny size and an awkward one of everything: what a plan has checked for itself.
    Short,
    /// Many sizes, so that each way to lay out a kernel comes up.
    Full,
}

/// What came out of one [`Case`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// What it checks, in words.
    pub case: String,
    /// What is not used when it fails.
    pub subject: Subject,
    /// The largest `‖got − want‖ / ‖want‖` of its results; none where it came to none.
    pub error: Option<f64>,
    /// What the error may be.
    pub bound: f64,
    /// Why it failed, as a clause.
    pub failure: Option<String>,
    /// What the device lacked to run it at all, such as room: then it neither passed nor failed.
    pub skipped: Option<String>,
    /// Milliseconds until everything was compiled and bound.
    pub prepare_ms: f64,
    /// Milliseconds of two runs and their read-backs.
    pub run_ms: f64,
}

impl Checked {
    /// Whether the device was right.
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.skipped.is_none()
    }
}

/// What came out of [`Device::check`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// The device.
    pub device: String,
    /// How much was checked.
    pub extent: Extent,
    /// Every case.
    pub cases: Vec<Checked>,
}

impl CheckReport {
    /// Whether the device was right in every case that it could run.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Checked> {
        self.cases.iter().filter(|case| case.failure.is_some())
    }
}

/// A clock, where there is one: a browser's is not the standard library's.
#[derive(Clone, Copy)]
struct Clock {
    #[cfg(not(target_arch = "wasm32"))]
    start: std::time::Instant,
}

impl Clock {
    fn start() -> Self {
        Self {
            #[cfg(not(target_arch = "wasm32"))]
            start: std::time::Instant::now(),
        }
    }

    /// Milliseconds since the start; 0 without a clock.
    fn ms(self) -> f64 {
        #[cfg(not(target_arch = "wasm32"))]
        return self.start.elapsed().as_secs_f64() * 1e3;
        #[cfg(target_arch = "wasm32")]
        0.0
    }
}

impl Device {
    /// Checks every strategy with every cell, forward and backward, every kernel of products and, where there are such, half
    /// precision and cooperative matrices. What fails is not planned with any more on this adapter; the CPU executor has
    /// nothing to fall back to and just reports. Plans have what they use checked by themselves, once an adapter: this is
    /// for those who want it done at a time of their own, or want to see it. It compiles some dozens of small kernels,
    /// submits to the device's queue, and waits.
    ///
    /// An error when the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn check(&self, extent: Extent) -> Result<CheckReport> {
        pollster::block_on(self.examine(extent))
    }

    /// [`check`](Self::check) without blocking. In a browser, where a plan can't wait for its own, await it before the first
    /// plan.
    pub async fn examine(&self, extent: Extent) -> Result<CheckReport> {
        let aside = self.beside(false, u64::MAX);
        let mut checked = Vec::new();
        for case in Case::all(self, extent) {
            let found = case.run_on(self, &aside).await?;
            checked.push((case.group, found));
        }
        choose::note(self, &checked);
        Ok(CheckReport { device: self.name(), extent, cases: checked.into_iter().map(|(_, case)| case).collect() })
    }
}
