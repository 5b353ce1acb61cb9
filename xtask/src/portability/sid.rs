//! Debian's unstable suite in a folder, for the Mesa in it: its drivers of GPUs that are not here, and the shims that
//! answer what these ask of the kernel. Nothing of the machine itself changes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::need;
use crate::driver::apt;
use crate::shell;

/// What is installed in it.
const PACKAGES: [&str; 3] = ["libvulkan1", "mesa-vulkan-drivers", "mesa-drm-shim"];

/// A file of the last of them.
const SHIM: &str = "usr/lib/x86_64-linux-gnu/libasahi_noop_drm_shim.so";

/// What Debian signs with, of the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Runs a command, `$1` and on, with the folder `$0` for its root; the mounts are seen by no one else, and go with it.
const ENTER: &str = "for d in proc dev sys; do mount --rbind /$d \"$0/$d\" || exit; done; exec chroot \"$0\" \"$@\"";

/// The folder; made where it is missing, which takes root, some minutes and 1 GiB.
pub fn ensure() -> Result<PathBuf> {
    need::linux_on_x86_64("Debian's unstable suite")?;
    let folder = need::folder()?.join("sid");
    if folder.join(SHIM).is_file() {
        return Ok(folder);
    }
    for package in ["debootstrap", "debian-archive-keyring"] {
        if !apt::is_installed(package) {
            println!("{}", apt::install(package).with_context(|| format!("{package} is missing"))?);
        }
    }
    let archive = apt::archive().context("this machine's sources of packages name no archive of Debian")?;
    let mut make = apt::as_root("debootstrap").context("making a folder with Debian's unstable suite needs root")?;
    make.args(["--variant=minbase", "--include=ca-certificates", "--keyring", KEYRING, "sid"])
        .arg(&folder)
        .arg(archive);
    shell::run(&mut make)?;
    // It reaches the network as this machine does.
    for file in ["etc/resolv.conf", "etc/hosts", "etc/apt/apt.conf.d/."] {
        let to = folder.join(file.trim_end_matches("/."));
        shell::run(apt::as_root("cp")?.args(["-rL", &format!("/{file}")]).arg(to))?;
    }
    let inside = |words: &[&str]| -> Result<()> {
        let mut command: Command = apt::as_root("unshare")?;
        command.args(["--mount", "sh", "-c", ENTER]).arg(&folder).args(words);
        shell::run(&mut command)
    };
    inside(&["apt-get", "update", "-qq"])?;
    inside(&[&["apt-get", "install", "-y", "-q", "--no-install-recommends"], &PACKAGES[..]].concat())?;
    if !folder.join(SHIM).is_file() {
        bail!("{} has no {SHIM}, which mesa-drm-shim should have", folder.display());
    }
    Ok(folder)
}
