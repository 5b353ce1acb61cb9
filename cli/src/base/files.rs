//! Files that are written: whether they can be, and each in one step.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// An error unless files can be written into `out`, or into the nearest folder above it that exists. Leaves nothing.
pub fn check_writable(out: &Path) -> Result<()> {
    let here = Path::new(".");
    let existing =
        out.ancestors().map(|path| if path == Path::new("") { here } else { path }).find(|path| path.exists());
    let folder = existing.unwrap_or(here);
    tempfile::tempfile_in(folder)
        .map(drop)
        .with_context(|| format!("{}: could not write into this folder", out.display()))
}

/// A folder that one run alone writes into, as long as this lives.
pub struct Claim {
    lock: PathBuf,
    /// Held open: the lock is the operating system's and ends with the process, however that ends.
    _file: File,
    /// Folders that were made, the innermost first; those that stay empty go again.
    made: Vec<PathBuf>,
}

/// Name of the file that is locked.
const LOCK: &str = ".wgpu-rnn.lock";

/// The table beside the page of a training.
pub const TRAINING: &str = "training.csv";

impl Claim {
    /// Claims a folder for another page than a training's, which has the same name and would be lost.
    pub fn for_page(folder: &Path) -> Result<Self> {
        let claim = Self::new(folder)?;
        if folder.join(TRAINING).exists() {
            bail!(
                "{}: expected a folder without a training, whose page would be replaced; name another with --out",
                folder.display()
            );
        }
        Ok(claim)
    }

    /// Claims a folder, which is made if it does not exist. An error where another run has it.
    pub fn new(folder: &Path) -> Result<Self> {
        let missing = folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let made = missing.map(Path::to_path_buf).collect();
        let unwritable = || format!("{}: could not write into this folder", folder.display());
        std::fs::create_dir_all(folder).with_context(unwritable)?;
        let lock = folder.join(LOCK);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&lock);
            let file = file.with_context(unwritable)?;
            match file.try_lock() {
                // The run that had it may have removed it in between.
                Ok(()) if !lock.exists() => {}
                Ok(()) => return Ok(Self { lock, _file: file, made }),
                Err(TryLockError::WouldBlock) => {
                    bail!(
                        "{}: another run of wgpu-rnn is writing into this folder; wait for it, or name another folder with --out",
                        folder.display()
                    )
                }
                Err(TryLockError::Error(why)) => {
                    return Err(why).with_context(|| format!("{}: could not lock the folder", folder.display()));
                }
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.lock);
        // Only empty folders can be removed.
        let _ = self.made.iter().try_for_each(std::fs::remove_dir);
    }
}

/// Puts `content` at `path` in one step.
pub fn replace(path: &Path, content: &str) -> Result<()> {
    let attempt = || -> std::io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!("{name}.");
        let mut builder = tempfile::Builder::new();
        // What a killed run leaves can be told by its name.
        builder.prefix(&prefix).suffix(".part");
        // A temporary file is private unless said otherwise; a report is as readable as any new file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(content.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    attempt().with_context(|| format!("{}: could not write the file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_claimed_once_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("deep/report");
        let claim = Claim::new(&out).unwrap();
        let error = Claim::new(&out).map(drop).unwrap_err().to_string();
        assert!(error.contains("report: another run of wgpu-rnn is writing into this folder"), "{error}");
        drop(claim);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let again = Claim::new(&out).unwrap();
        std::fs::write(out.join("page"), "").unwrap();
        drop(again);
        let names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["page"]);
    }

    #[test]
    fn what_cannot_be_written_to_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        check_writable(folder.path()).unwrap();
        check_writable(&folder.path().join("deep/report")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for out in [file.clone(), file.join("report")] {
            let error = format!("{:#}", check_writable(&out).unwrap_err());
            assert!(error.starts_with(&format!("{}: could not write", out.display())), "{error}");
        }
    }
}
