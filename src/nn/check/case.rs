//! [`Case`]: one thing to check.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Checked, Clock, Extent, layer, product};
use crate::config::Precision;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::Subject;
use crate::kernel::gemm;
use crate::recipe::Recipe;

/// Largest [`relative_error`] of a result in f32 against a reference: outputs and final states.
pub const OUTPUT_BOUND: f64 = 1e-5;
/// The same of gradients.
pub const GRADIENT_BOUND: f64 = 1e-4;
/// The same of either where activations are stored as f16.
pub const HALF_BOUND: f64 = 1e-2;

/// One thing to check on a device: a product by one kernel, a layer by one strategy, or cooperative matrices.
/// [`Case::all`] lists them, [`Case::run`] runs one.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) what: What,
    /// What a plan asks for before it uses it.
    pub(super) group: String,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Product(product::Product),
    Layer(layer::Trial),
    Cooperative,
}

/// A result under its name.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) backward: bool,
    pub(super) values: Vec<f64>,
}

/// What a case gave on a device: twice, and how long it took to get ready and to run.
pub(super) struct Runs {
    pub(super) runs: [Vec<Found>; 2],
    pub(super) prepare_ms: f64,
    pub(super) run_ms: f64,
}

impl Case {
    /// Everything that is checked on a device, group by group: products first, since layers are made with them.
    pub fn all(device: &Device, extent: Extent) -> Vec<Self> {
        let mut all: Vec<Self> = product::all(device, extent);
        if device.gpu().is_some_and(|gpu| gpu.capabilities().cooperative_size.is_some()) {
            all.push(Self { what: What::Cooperative, group: gemm::COOPERATIVE_CHECK.to_string() });
        }
        for precision in [Precision::Full, Precision::Half] {
            for strategy in layer::strategies(device) {
                // What a plan asks for is checked when it does; ahead of that the cells, or everything.
                let recipes = Recipe::texts().filter(|recipe| extent == Extent::Full || recipe.is_plain());
                all.extend(recipes.flat_map(|recipe| layer::cases(device, strategy, recipe, precision, extent)));
            }
        }
        all
    }

    /// The name of its group: what it checks without the sizes.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// What is not used where it fails; of a layer whose results are right and whose gradients are not, that backward.
    pub fn subject(&self) -> Subject {
        match &self.what {
            What::Product(product) => product.subject(),
            What::Layer(trial) => trial.subject(false),
            What::Cooperative => Subject::CooperativeMatrices,
        }
    }

    /// Whether it is a layer whose sequences are in several bindings, as those of large layers are.
    pub fn in_sections(&self) -> bool {
        matches!(&self.what, What::Layer(trial) if trial.in_sections())
    }

    /// Whether it is a layer with options of a step.
    pub fn has_options(&self) -> bool {
        matches!(&self.what, What::Layer(trial) if trial.has_options())
    }

    /// Runs it, with the device's own pipelines. What the device gets wrong or refuses is in what comes out, and is not
    /// planned with any more; an error when the device is lost, or where the reference can't be made.
    pub async fn run(&self, device: &Device) -> Result<Checked> {
        let checked = self.run_on(device, &device.beside(true, u64::MAX)).await?;
        if let (Some(gpu), Some(why)) = (device.gpu(), &checked.failure) {
            gpu.found(checked.subject.clone(), why.clone());
        }
        Ok(checked)
    }

    /// Runs it with what `aside` has compiled.
    pub(super) async fn run_on(&self, device: &Device, aside: &Device) -> Result<Checked> {
        let bound = match &self.what {
            What::Product(_) => OUTPUT_BOUND,
            What::Layer(trial) => trial.bounds()[0],
            What::Cooperative => 0.0,
        };
        let mut checked = Checked {
            case: self.to_string(),
            subject: self.subject(),
            error: None,
            bound,
            failure: None,
            skipped: None,
            prepare_ms: 0.0,
            run_ms: 0.0,
        };
        let (got, want) = match &self.what {
            What::Product(product) => (product.on(aside).await, product.reference()),
            What::Layer(trial) => (trial.on(aside).await, trial.reference().await?),
            What::Cooperative => {
                let start = Clock::start();
                checked.failure = gemm::check_cooperative(device);
                checked.run_ms = start.ms();
                return Ok(checked);
            }
        };
        let got = match got {
            Ok(got) => got,
            Err(error) => {
                if let Some(gpu) = device.gpu() {
                    gpu.alive("was being checked")?;
                }
                // What is too large for a device says nothing of its results.
                match error {
                    Error::Limit { .. } => checked.skipped = Some(error.to_string()),
                    _ => checked.failure = Some(format!("its check failed: {error}")),
                }
                return Ok(checked);
            }
        };
        (checked.prepare_ms, checked.run_ms) = (got.prepare_ms, got.run_ms);
        let bound_of = |backward: bool| match &self.what {
            What::Layer(trial) => trial.bounds()[usize::from(backward)],
            _ => bound,
        };
        let [first, second] = &got.runs;
        for ((one, other), want) in first.iter().zip(second).zip(&want) {
            let (error, bound) = (relative_error(&one.values, &want.values), bound_of(one.backward));
            if checked.error.is_none_or(|worst| error / bound > worst / checked.bound) {
                (checked.error, checked.bound) = (Some(error), bound);
            }
            let same = one.values.iter().zip(&other.values).all(|(one, other)| one.to_bits() == other.to_bits());
            let wrong = match (error <= bound, same) {
                (false, _) => format!("its check had `{}` off by {error:.1e}, at most {bound:.0e}", one.name),
                (true, false) => format!("two runs of its check gave `{}` other bits", one.name),
                (true, true) => continue,
            };
            // Results come before gradients: what is wrong first says the most.
            if checked.failure.is_none() {
                checked.failure = Some(wrong);
                if let What::Layer(trial) = &self.what {
                    checked.subject = trial.subject(one.backward);
                }
            }
        }
        Ok(checked)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.what {
            What::Product(product) => write!(f, "{}, {product}", self.group),
            What::Layer(trial) => write!(f, "{}, {trial}", self.group),
            What::Cooperative => write!(f, "{}", self.group),
        }
    }
}

/// `‖got − want‖ / ‖want‖`, or `‖got‖` where nothing but zero is wanted; infinite when something is not finite, or missing.
/// What [`OUTPUT_BOUND`] and [`GRADIENT_BOUND`] bound.
pub fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(got, want)| got - want));
    let size = norm(&mut want.iter().copied());
    let error = if size > 0.0 { difference / size } else { difference };
    if error.is_finite() && got.len() == want.len() { error } else { f64::INFINITY }
}

/// Numbers in ±1 from a seed.
pub(super) fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut source = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| source.random_range(-1.0..1.0)).collect()
}
