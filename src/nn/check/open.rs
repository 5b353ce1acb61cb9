//! Opening a device that is believed: a GPU that makes a first layer right, or else the CPU executor.

use super::{Extent, choose, layer};
use crate::config::Precision;
use crate::device::{Device, DeviceKind};
use crate::error::Result;
use crate::gpu::Subject;
use crate::recipe::Recipe;

impl Device {
    /// Opens a device. Never a software adapter unless it is asked for. With [`DeviceKind::Auto`] a GPU is taken if it
    /// passes a first check ([`or_cpu`](Self::or_cpu)). [`Error::NoDevice`](crate::Error::NoDevice) when there is none of the
    /// kind, [`Error::Device`](crate::Error::Device) when the one there is can't be opened.
    pub async fn open(kind: DeviceKind) -> Result<Self> {
        let device = Self::open_as(kind).await?;
        if kind == DeviceKind::Auto { device.or_cpu().await } else { Ok(device) }
    }

    /// A hardware GPU if there is one that is right, else the native CPU executor; [`why`](Self::why) says which and why.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn auto() -> Result<Self> {
        pollster::block_on(Self::open(DeviceKind::Auto))
    }

    /// This device if products and a small layer come out right on it with one of the strategies that it has, else the native
    /// CPU executor, whose [`why`](Self::why) says what went wrong. The check is made once an adapter, driver and version;
    /// in a browser it is [`examine`](Self::examine) that checks, and this goes by what that has found.
    pub async fn or_cpu(self) -> Result<Self> {
        match self.failing() {
            None => Ok(self),
            Some(why) => {
                Self::cpu_because(format!("{} is not used: {why}; so the native CPU executor runs", self.name()))
            }
        }
    }

    /// Why no strategy runs here, if none does.
    fn failing(&self) -> Option<String> {
        let gpu = self.gpu()?;
        let recipe = Recipe::texts().next()?;
        let mut reasons = Vec::new();
        if let Err(error) = choose::products(self) {
            return Some(error.to_string());
        }
        // The last is the one that runs everything. Those that don't run this cell say nothing.
        let runs = |name: &&'static str| !layer::cases(self, name, recipe, Precision::Full, Extent::Short).is_empty();
        let strategies: Vec<_> = layer::strategies(self).filter(runs).collect();
        for name in strategies.into_iter().rev() {
            let subject = Subject::strategy_of(name, recipe, true);
            match choose::layers(self, gpu, name, recipe, Precision::Full) {
                Err(error) => reasons.push(format!("`{name}`: {error}")),
                Ok(()) => match gpu.doubt(&subject) {
                    None => return None,
                    Some(why) => reasons.push(format!("not `{name}` because {why}")),
                },
            }
        }
        Some(reasons.join("; "))
    }
}
