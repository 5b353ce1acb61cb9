//! `cargo xtask driver`: a Vulkan driver to run the shaders on, installed where there is none.
//!
//! On Linux a driver is usable when the loader (`libvulkan.so.1`) is there, and a manifest in one
//! of its folders names a library that can be loaded. A machine without a GPU gets Mesa's
//! lavapipe, which runs shaders on the CPU, from apt: the newest Mesa on offer, since the compute
//! shaders of releases before [`RECENT_MESA`] run more than ten times slower. macOS and Windows
//! bring an adapter of their own.

pub mod apt;
mod icd;
mod library;
mod sources;
mod version;

use std::fs;

use anyhow::{Result, bail};

use icd::{Icd, Kind};
use library::Libraries;
use version::Version;

/// The first Mesa release whose lavapipe is known to be fast; an older one is replaced.
const RECENT_MESA: &str = "25";

/// What to do by hand where apt cannot help.
const BY_HAND: &str = "install the Vulkan loader and Mesa's Vulkan drivers \
    (Debian and Ubuntu: libvulkan1 mesa-vulkan-drivers, Fedora: vulkan-loader \
    mesa-vulkan-drivers, Arch: vulkan-icd-loader vulkan-swrast, Alpine: vulkan-loader \
    mesa-vulkan-swrast)";

/// Makes sure that there is a Vulkan driver, and says which one it is.
pub fn ensure() -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("driver: the one that comes with this system (Metal, Direct3D 12 or Vulkan)");
        return Ok(());
    }
    let survey = Survey::take();
    let installed = apt::installed_mesa();
    if survey.is_good_enough(installed.as_ref()) {
        return survey.report();
    }
    match apt::install_newest_mesa(installed.as_ref()) {
        Ok(outcome) => println!("{outcome}"),
        // An old driver is slow, but it does run the shaders.
        Err(error) if survey.is_usable() => println!("keeping the driver that is here: {error:#}"),
        Err(error) => bail!("{}, and {error:#}: {BY_HAND}", survey.complaint()),
    }
    Survey::take().report()
}

/// What there is of Vulkan on this machine.
struct Survey {
    has_loader: bool,
    has_gpu: bool,
    /// The usable drivers.
    drivers: Vec<Icd>,
    /// Why each other manifest's driver cannot be used, one sentence each.
    rejected: Vec<String>,
}

impl Survey {
    fn take() -> Self {
        let libraries = Libraries::of_this_machine();
        let mut survey = Self {
            has_loader: libraries.find("libvulkan.so.1").is_some(),
            // Whoever names the drivers by hand knows what they run on.
            has_gpu: icd::are_named_by_hand() || has_gpu(),
            drivers: Vec::new(),
            rejected: Vec::new(),
        };
        for manifest in icd::manifests() {
            match Icd::read(&manifest).and_then(|icd| icd.check(&libraries).map(|()| icd)) {
                Ok(icd) => survey.drivers.push(icd),
                Err(error) => survey.rejected.push(format!("{}: {error:#}", manifest.display())),
            }
        }
        survey
    }

    fn is_usable(&self) -> bool {
        self.has_loader && self.preferred().is_some()
    }

    /// The driver that the shaders will most likely run on: a GPU's before a software one.
    fn preferred(&self) -> Option<&Icd> {
        let gpu = self.drivers.iter().find(|icd| self.has_gpu && icd.kind() == Kind::Hardware);
        gpu.or_else(|| self.drivers.iter().find(|icd| icd.kind() == Kind::Software))
    }

    /// Whether nothing need be installed. `installed` is the version of apt's Mesa, if it is here.
    fn is_good_enough(&self, installed: Option<&Version>) -> bool {
        if !self.has_loader {
            return false;
        }
        match (self.preferred().map(Icd::kind), installed) {
            (None, _) => false,
            (Some(Kind::Hardware), _) => true,
            (Some(Kind::Software), Some(mesa)) => *mesa >= Version::new(RECENT_MESA),
            // A software driver that apt does not know was put here on purpose.
            (Some(Kind::Software), None) => true,
        }
    }

    /// Says which driver there is, or fails saying what is missing.
    fn report(&self) -> Result<()> {
        let Some(driver) = self.preferred().filter(|_| self.has_loader) else {
            bail!("{}: {BY_HAND}", self.complaint());
        };
        let mesa = match apt::installed_mesa().filter(|_| driver.kind() == Kind::Software) {
            Some(old) if old < Version::new(RECENT_MESA) => {
                format!(", Mesa {old}, many times slower than Mesa {RECENT_MESA}")
            }
            Some(recent) => format!(", Mesa {recent}"),
            None => String::new(),
        };
        println!("driver: {driver}{mesa}");
        Ok(())
    }

    /// What is missing, in one clause.
    fn complaint(&self) -> String {
        if self.preferred().is_some() {
            return "this machine has a Vulkan driver, but not the loader (libvulkan.so.1)".to_owned();
        }
        let no = if self.has_loader { "no" } else { "neither the Vulkan loader (libvulkan.so.1) nor a" };
        let rejected = match self.rejected.as_slice() {
            [] => String::new(),
            reasons => format!(" (not usable: {})", reasons.join(", ")),
        };
        format!("this machine has {no} Vulkan driver that runs here{rejected}")
    }
}

/// Whether the kernel shows a GPU: a DRM render node or an NVIDIA device.
fn has_gpu() -> bool {
    let any = |folder: &str, prefix: &str| {
        fs::read_dir(folder).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
                number.is_some_and(|digits| digits.parse::<u32>().is_ok())
            })
        })
    };
    any("/dev/dri", "renderD") || any("/dev", "nvidia")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(has_gpu: bool, manifests: &[&str]) -> Survey {
        let drivers =
            manifests.iter().map(|manifest| Icd { manifest: manifest.into(), library: "libvulkan_some.so".into() });
        Survey { has_loader: true, has_gpu, drivers: drivers.collect(), rejected: Vec::new() }
    }

    #[test]
    fn a_gpu_driver_counts_only_where_there_is_a_gpu() {
        let manifests = ["/icd.d/radeon_icd.json", "/icd.d/lvp_icd.json"];
        assert_eq!(survey(true, &manifests).preferred().unwrap().kind(), Kind::Hardware);
        assert_eq!(survey(false, &manifests).preferred().unwrap().kind(), Kind::Software);
        assert!(survey(false, &manifests[..1]).preferred().is_none());
    }

    #[test]
    fn an_old_software_driver_is_not_good_enough() {
        let software = survey(false, &["/icd.d/lvp_icd.x86_64.json"]);
        assert!(!software.is_good_enough(Some(&Version::new("22.3.6-1+deb12u1"))));
        assert!(software.is_good_enough(Some(&Version::new("25.0.7-2~bpo12+1"))));
        assert!(software.is_good_enough(None));
        let gpu = survey(true, &["/icd.d/nvidia_icd.json"]);
        assert!(gpu.is_good_enough(Some(&Version::new("22.3.6-1+deb12u1"))));
    }

    #[test]
    fn nothing_is_good_enough_without_the_loader() {
        let mut bare = survey(false, &["/icd.d/lvp_icd.json"]);
        bare.has_loader = false;
        assert!(!bare.is_good_enough(None));
        assert_eq!(bare.complaint(), "this machine has a Vulkan driver, but not the loader (libvulkan.so.1)");
        assert!(bare.report().is_err());
    }

    #[test]
    fn a_machine_without_drivers_is_told_so() {
        let empty = survey(false, &[]);
        assert!(!empty.is_good_enough(None));
        assert_eq!(empty.complaint(), "this machine has no Vulkan driver that runs here");
    }
}
