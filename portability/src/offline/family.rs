//! GPUs whose compilers run without one, each standing for its family, and where those compilers are.

use std::path::Path;
use std::process::Command;

/// Where a driver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// This machine's own Mesa: RADV has a device without hardware.
    Host,
    /// Mesa of Debian's unstable suite in a folder: a shim answers the driver's calls to the kernel as the hardware would.
    Sid,
}

/// One GPU.
#[derive(Debug)]
pub struct Family {
    /// Its name on the command line, and of its table.
    pub name: &'static str,
    /// Whether it is made still, or in wide use; nothing that is planned for such a GPU may spill.
    pub current: bool,
    place: Place,
    /// The driver's file is `<driver>_icd.json`, its shim `lib<shim>_noop_drm_shim.so`.
    driver: &'static str,
    shim: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

/// All of them.
pub const FAMILIES: &[Family] = &[
    radv("polaris10", false, &[("RADV_FORCE_FAMILY", "polaris10")]),
    radv("navi21", true, &[("RADV_FORCE_FAMILY", "navi21")]),
    radv("navi31", true, &[("RADV_FORCE_FAMILY", "navi31")]),
    radv("gfx1201", true, &[("RADV_FORCE_FAMILY", "gfx1201")]),
    sid("m1", true, "asahi", "asahi", &[]),
    sid("adreno630", true, "freedreno", "freedreno", &[("FD_GPU_ID", "630")]),
    sid("ampere", true, "nouveau", "nouveau", &[("NOUVEAU_CHIPSET", "172"), NVK]),
    sid("kepler", false, "nouveau", "nouveau", &[("NOUVEAU_CHIPSET", "f0"), NVK]),
];

/// NVK does not vouch for GPUs that it was not tested on.
const NVK: (&str, &str) = ("NVK_I_WANT_A_BROKEN_VULKAN_DRIVER", "1");

const fn radv(name: &'static str, current: bool, environment: &'static [(&'static str, &'static str)]) -> Family {
    Family { name, current, place: Place::Host, driver: "radeon", shim: "", environment }
}

const fn sid(
    name: &'static str,
    current: bool,
    driver: &'static str,
    shim: &'static str,
    environment: &'static [(&'static str, &'static str)],
) -> Family {
    Family { name, current, place: Place::Sid, driver, shim, environment }
}

/// Runs a command, `$1` and on, with the folder `$0` for its root; the mounts are seen by no one else, and go with it.
const ENTER: &str = "for d in proc dev sys; do mount --rbind /$d \"$0/$d\" || exit; done; exec chroot \"$0\" \"$@\"";

/// Whether another root can be entered without asking.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout.trim_ascii() == b"0")
}

const DRIVERS: &str = "/usr/share/vulkan/icd.d";
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

impl Family {
    /// Whether its driver is in the folder rather than on this machine.
    pub fn is_in_folder(&self) -> bool {
        self.place == Place::Sid
    }

    /// `program` with `args` where the driver is, which then sees no other; `program` lies at that path in the folder too.
    pub fn command(&self, folder: &Path, program: &str, args: &[&str]) -> Command {
        let mut command = match self.place {
            Place::Host => Command::new("env"),
            Place::Sid => {
                let root = is_root();
                let mut command = Command::new(if root { "unshare" } else { "sudo" });
                command.args(if root { &[][..] } else { &["-n", "unshare"][..] });
                command.args(["--mount", "sh", "-c", ENTER]).arg(folder).arg("/usr/bin/env");
                command
            }
        };
        let set = |(name, value): (&str, String)| format!("{name}={value}");
        command.arg(set(("VK_DRIVER_FILES", self.manifest())));
        if self.place == Place::Sid {
            command.arg(set(("LD_PRELOAD", format!("{LIBRARIES}/lib{}_noop_drm_shim.so", self.shim))));
        }
        // Compiled anew each time: what a driver keeps on disk has no statistics.
        command.arg("MESA_SHADER_CACHE_DISABLE=true");
        command.args(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(program).args(args);
        command
    }

    /// The driver's manifest; older releases have the processor in its name.
    fn manifest(&self) -> String {
        let [plain, long] = ["", ".x86_64"].map(|part| format!("{DRIVERS}/{}_icd{part}.json", self.driver));
        if self.place == Place::Host && !Path::new(&plain).exists() { long } else { plain }
    }
}
