//! What was measured to be fastest on one adapter. It decides how long work takes and nothing of what comes out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::Gpu;
use crate::error::{Error, Result};

/// Names of kernels by classes of sizes, as `kernel::gemm::tune` measured them on one adapter and driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// The adapter's name.
    pub adapter: String,
    /// Its driver and version.
    pub driver: String,
    /// What is fastest for a class of sizes.
    pub choices: BTreeMap<String, String>,
}

impl Tuning {
    /// Nothing measured yet on `gpu`.
    pub fn new(gpu: &Gpu) -> Self {
        let info = gpu.info();
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_string();
        Self { adapter: info.name.clone(), driver, choices: BTreeMap::new() }
    }

    /// Whether it was measured on the adapter and driver behind `gpu`.
    pub fn is_of(&self, gpu: &Gpu) -> bool {
        let own = Self::new(gpu);
        (&self.adapter, &self.driver) == (&own.adapter, &own.driver)
    }
}

impl Gpu {
    /// Plans that are built from now on follow `tuning`; an error when it is of another adapter or driver. What it names
    /// and this version does not know is ignored.
    pub fn set_tuning(&self, tuning: Tuning) -> Result<()> {
        if !tuning.is_of(self) {
            let own = Self::label(&Tuning::new(self));
            return Err(Error::invalid("the tuning", format!("of {own}"), Self::label(&tuning)));
        }
        *self.tuning() = Some(tuning);
        Ok(())
    }

    /// What the tuning names for a class of sizes.
    pub(crate) fn tuned(&self, class: &str) -> Option<String> {
        self.tuning().as_ref()?.choices.get(class).cloned()
    }

    fn label(tuning: &Tuning) -> String {
        format!("{} ({})", tuning.adapter, tuning.driver)
    }
}
