//! Installing with apt: the newest Mesa that it can offer, or any package.
//!
//! Debian's stable releases keep the Mesa that they came with; their backports have a newer one.
//! The machine's own configuration stays as it is: the backports' entry, and the package lists
//! that go with it, live in a temporary folder that apt is pointed to for this one installation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::sources::{self, Entry};
use super::version::Version;
use crate::shell;

/// The loader, and Mesa's drivers with lavapipe among them.
const PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];
/// The one of [`PACKAGES`] whose version decides how fast the shaders run.
const MESA: &str = "mesa-vulkan-drivers";
/// Where apt keeps its sources.
const SOURCES: &str = "/etc/apt/sources.list.d";
/// The file of sources beside that folder, where there is one.
const MAIN_SOURCES: &str = "/etc/apt/sources.list";

/// The version of Mesa's Vulkan drivers that is installed as a Debian package.
pub fn installed_mesa() -> Option<Version> {
    let format = "-f=${db:Status-Status} ${Version}\n";
    let listing = shell::capture(Command::new("dpkg-query").args(["-W", format, MESA])).ok()?;
    listing.lines().find_map(|line| line.strip_prefix("installed ").map(Version::new))
}

/// Installs the newest Mesa on offer, unless the `installed` one is it, and says what it did.
pub fn install_newest_mesa(installed: Option<&Version>) -> Result<String> {
    let privilege = Privilege::find()?;
    let candidate = Apt::new(privilege)?.install_newest()?;
    Ok(match installed.filter(|installed| **installed >= candidate) {
        Some(installed) => format!("apt offers no newer Mesa than the installed {installed}"),
        None => format!("installed Mesa {candidate}"),
    })
}

/// Packages to unpack, of which the machine's own release may have too old a version.
pub struct Unpacked {
    /// The package that is needed, and the version that is new enough.
    pub package: &'static str,
    pub least: &'static str,
    /// Debian's release that has it.
    pub release: &'static str,
    /// What it needs of that release where the machine's own is an earlier one.
    pub with: &'static [&'static str],
}

impl Unpacked {
    /// Unpacks the package into `folder` and installs nothing. Whether it came from a later release than the machine's,
    /// together with what it needs of that.
    pub fn fetch(&self, folder: &Path) -> Result<bool> {
        let Self { package, least, release, with } = *self;
        let mut apt = Apt::new(Privilege::find()?)?;
        apt.update();
        let is_new = |candidate: Option<Version>| candidate.is_some_and(|version| version >= Version::new(least));
        let is_later = !is_new(apt.candidate(package)?);
        if is_later {
            let Some(codename) = debian_codename() else {
                bail!(
                    "this system's {package} is older than {least}, and it is not Debian, of which {release} has that"
                );
            };
            apt.add(&sources::other(&configured_entries(), &codename, release))?;
            apt.preferred = Some(release.to_string());
            apt.update();
            if !is_new(apt.candidate(package)?) {
                bail!("{package} {least} or later is in none of apt's sources, {release} among them");
            }
        }
        let work = tempfile::tempdir().context("no temporary folder could be made")?;
        let mut download = apt.command("apt-get");
        download.args(["download", "-q", package]).args(if is_later { with } else { &[] }).current_dir(&work);
        shell::run(&mut download)?;
        for entry in fs::read_dir(&work)?.flatten() {
            shell::run(Command::new("dpkg-deb").arg("--extract").arg(entry.path()).arg(folder))?;
        }
        Ok(is_later)
    }
}

/// Whether a Debian package is installed.
pub fn is_installed(package: &str) -> bool {
    let status = shell::capture(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]));
    status.is_ok_and(|status| status.trim() == "installed")
}

/// Installs a package from the machine's own sources, and says what it did.
pub fn install(package: &str) -> Result<String> {
    install_all(&[package])
}

/// Installs packages from the machine's own sources, and says what it did, of the first.
pub fn install_all(packages: &[&str]) -> Result<String> {
    let version = Apt::new(Privilege::find()?)?.install(packages, packages[0])?;
    Ok(format!("installed {} {version}", packages.join(", ")))
}

/// Where this machine's own sources have Debian's archive.
pub fn archive() -> Option<String> {
    sources::archive(&configured_entries(), &debian_codename()?).map(String::from)
}

/// `program`, run as root and asking no questions.
pub fn as_root(program: &str) -> Result<Command> {
    Ok(Privilege::find()?.command(program))
}

/// How to run a program as root.
#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    /// Fails with one sentence where there is neither apt nor a way to be root.
    fn find() -> Result<Self> {
        if shell::find("apt-get").is_none() {
            bail!("this system has no apt to install one with");
        }
        if shell::capture(Command::new("id").arg("-u"))?.trim() == "0" {
            return Ok(Self::Root);
        }
        if shell::capture(Command::new("sudo").args(["-n", "true"])).is_ok() {
            return Ok(Self::Sudo);
        }
        bail!("installing one with apt needs root, or sudo without a password")
    }

    /// The command `program`, run as root and asking no questions.
    fn command(self, program: &str) -> Command {
        let words = ["env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", program];
        let mut command = match self {
            Self::Root => Command::new(words[0]),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", words[0]]);
                sudo
            }
        };
        command.args(&words[1..]);
        command
    }
}

/// apt with sources and package lists of its own.
struct Apt {
    privilege: Privilege,
    /// Holds the folders `sources`, `lists` and `cache`, and the file `apt.conf`.
    folder: TempDir,
    /// The suite whose packages are preferred.
    preferred: Option<String>,
}

impl Apt {
    /// apt with a copy of the machine's sources.
    fn new(privilege: Privilege) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder could be made")?;
        let apt = Self { privilege, folder, preferred: None };
        open_to_all(apt.folder.path())?;
        for folder in [apt.sources(), apt.lists(), apt.cache()] {
            fs::create_dir(folder)?;
        }
        for file in source_files() {
            let name = file.file_name().unwrap_or_default();
            fs::copy(&file, apt.sources().join(name))
                .with_context(|| format!("{} cannot be copied", file.display()))?;
        }
        apt.configure()?;
        Ok(apt)
    }

    /// Installs the Mesa of the backports where there are some, else the release's own.
    fn install_newest(mut self) -> Result<Version> {
        if let Some(codename) = debian_codename() {
            let suite = format!("{codename}-backports");
            let file = self.add(&sources::other(&configured_entries(), &codename, &suite))?;
            self.preferred = Some(suite);
            match self.install(&PACKAGES, MESA) {
                Ok(version) => return Ok(version),
                Err(error) => println!("going on without {codename}-backports: {error:#}"),
            }
            fs::remove_file(file)?;
            self.preferred = None;
        }
        self.install(&PACKAGES, MESA)
    }

    /// Writes a file of more sources.
    fn add(&self, entries: &[Entry]) -> Result<PathBuf> {
        let file = self.sources().join("wgpu-rnn.sources");
        let text = entries.iter().map(Entry::to_string).collect::<Vec<_>>().join("\n");
        fs::write(&file, text).with_context(|| format!("{} could not be written", file.display()))?;
        Ok(file)
    }

    /// Fetches the lists of the sources as they stand.
    fn update(&self) {
        // One source that does not answer, a third party's say, need not be the one that is needed.
        if let Err(error) = shell::run(self.command("apt-get").args(["update", "-qq"])) {
            println!("{error:#}");
        }
    }

    /// The version of a package that would be installed.
    fn candidate(&self, package: &str) -> Result<Option<Version>> {
        Ok(parse_candidate(&shell::capture(self.command("apt-cache").args(["policy", package]))?))
    }

    /// Installs packages from the sources as they stand, and returns the version of `main`, one of them.
    fn install(&self, packages: &[&str], main: &str) -> Result<Version> {
        self.update();
        let Some(candidate) = self.candidate(main)? else {
            bail!("{main} is in none of apt's sources");
        };
        let mut install = self.command("apt-get");
        install.args(["install", "-y", "-q", "--no-install-recommends"]).args(packages);
        shell::run(&mut install)?;
        Ok(candidate)
    }

    /// `program` of apt, run as root and pointed to the temporary folder.
    fn command(&self, program: &str) -> Command {
        let mut command = self.privilege.command(program);
        command.arg("-c").arg(self.configuration());
        if let Some(suite) = &self.preferred {
            command.args(["-t", suite]);
        }
        command
    }

    /// Writes what differs from the machine's own configuration.
    fn configure(&self) -> Result<()> {
        let lines = [
            format!("Dir::Etc::sourceparts \"{}\";", self.sources().display()),
            format!("Dir::State::lists \"{}\";", self.lists().display()),
            // Both what apt knows of these sources and what it downloads.
            format!("Dir::Cache \"{}\";", self.cache().display()),
            "Acquire::Retries \"3\";".to_owned(),
            "Acquire::Languages \"none\";".to_owned(),
            // Wait for another apt that runs at the same time.
            "DPkg::Lock::Timeout \"300\";".to_owned(),
        ];
        fs::write(self.configuration(), lines.join("\n") + "\n").context("apt could not be configured")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("apt.conf")
    }

    fn sources(&self) -> PathBuf {
        self.folder.path().join("sources")
    }

    fn lists(&self) -> PathBuf {
        self.folder.path().join("lists")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }
}

impl Drop for Apt {
    /// Removes the folder as root, who wrote into it.
    fn drop(&mut self) {
        let mut command = self.privilege.command("rm");
        if let Err(error) = shell::capture(command.arg("-rf").arg(self.folder.path())) {
            eprintln!("{error:#}");
        }
    }
}

/// Lets apt's unprivileged downloader into `folder`, as into any that apt works in.
fn open_to_all(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("{} cannot be opened to apt", folder.display()))?;
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// The files in [`SOURCES`] that apt reads.
fn source_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(SOURCES).into_iter().flatten().flatten();
    let is_source = |file: &PathBuf| ["sources", "list"].iter().any(|end| has_ending(file, end));
    entries.map(|entry| entry.path()).filter(is_source).collect()
}

/// Everything that apt is configured with on this machine.
fn configured_entries() -> Vec<Entry> {
    let files = source_files().into_iter().chain(iter::once(MAIN_SOURCES.into()));
    files
        .filter_map(|file| Some((fs::read_to_string(&file).ok()?, file)))
        .flat_map(|(text, file)| match has_ending(&file, "sources") {
            true => sources::parse_deb822(&text),
            false => sources::parse_one_line(&text),
        })
        .collect()
}

fn has_ending(file: &Path, ending: &str) -> bool {
    file.extension().is_some_and(|found| found == ending)
}

/// The name of this Debian release; `None` on any other system.
fn debian_codename() -> Option<String> {
    parse_codename(&fs::read_to_string("/etc/os-release").ok()?)
}

fn parse_codename(os_release: &str) -> Option<String> {
    let value = |name: &str| {
        let mut pairs = os_release.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim().trim_matches('"'))
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME").map(str::to_owned))?
}

/// Reads the candidate out of what `apt-cache policy` says of one package.
fn parse_candidate(policy: &str) -> Option<Version> {
    let mut lines = policy.lines().map(str::trim);
    let candidate = lines.find_map(|line| line.strip_prefix("Candidate:"))?.trim();
    (candidate != "(none)").then(|| Version::new(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_apts_policy() {
        let policy =
            |candidate: &str| format!("{MESA}:\n  Installed: (none)\n  Candidate: {candidate}\n  Version table:\n");
        assert_eq!(parse_candidate(&policy("25.0.7-2")), Some(Version::new("25.0.7-2")));
        assert_eq!(parse_candidate(&policy("(none)")), None);
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn only_debian_has_a_codename_here() {
        let release = |id: &str| format!("NAME=\"An OS\"\nID={id}\nVERSION_CODENAME=\"bookworm\"\n");
        assert_eq!(parse_codename(&release("debian")).as_deref(), Some("bookworm"));
        assert_eq!(parse_codename(&release("ubuntu")), None);
        assert_eq!(parse_codename("ID=debian\nVERSION_ID=12\n"), None);
    }
}
