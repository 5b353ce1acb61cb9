//! The record: comma-separated files in `<folder>/<adapter>/<date>.csv`, with memory and details beside it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a row is about. Of two rows with the same key, the later one stays.
pub trait Row: Serialize + DeserializeOwned {
    fn key(&self) -> [&str; 4];
}

/// Time of one pair.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Time {
    pub shape: String,
    pub cell: String,
    pub mode: String,
    pub peer: String,
    pub peer_version: String,
    pub adapter: String,
    pub ours_ms: f64,
    pub peer_ms: f64,
    pub ratio: f64,
}

/// Device memory of one pair.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Memory {
    pub shape: String,
    pub cell: String,
    pub mode: String,
    pub peer: String,
    pub peer_version: String,
    pub adapter: String,
    pub ours_bytes: u64,
    pub peer_bytes: u64,
    pub ratio: f64,
}

/// What is known of one library's runs on a GPU; `wgpu-rnn` is a peer here too.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Detail {
    pub shape: String,
    pub cell: String,
    pub mode: String,
    pub peer: String,
    pub peer_version: String,
    pub adapter: String,
    pub wall_ms: f64,
    pub gpu_ms: Option<f64>,
    pub dispatches: Option<usize>,
    pub runs: usize,
}

impl Row for Time {
    fn key(&self) -> [&str; 4] {
        [&self.shape, &self.cell, &self.mode, &self.peer]
    }
}

impl Row for Memory {
    fn key(&self) -> [&str; 4] {
        [&self.shape, &self.cell, &self.mode, &self.peer]
    }
}

impl Row for Detail {
    fn key(&self) -> [&str; 4] {
        [&self.shape, &self.cell, &self.mode, &self.peer]
    }
}

/// Where records of an adapter and date lie.
pub struct Record {
    folder: PathBuf,
    date: String,
}

impl Record {
    /// An error where there are records of the date already, unless this one `merges` with them: then the files are of
    /// several runs.
    pub fn new(root: &Path, adapter: &str, date: &str, merges: bool) -> Result<Self> {
        let folder = root.join(file_name(adapter));
        let taken = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(date) && name.ends_with(".csv")
        });
        if let (Some(taken), false) = (taken, merges) {
            bail!(
                "{} is of another run: expected --merge to add to it, --no-record, or another --date",
                taken.display()
            );
        }
        Ok(Self { folder, date: date.to_string() })
    }

    /// The folder of the adapter.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes `rows` into the file of the date with `suffix` (such as `-memory`), over rows with their keys; others stay.
    /// Readers see the old file or the new one.
    pub fn write<R: Row>(&self, suffix: &str, rows: Vec<R>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(format!("{}{suffix}.csv", self.date));
        let write = || -> Result<()> {
            fs::create_dir_all(&self.folder)?;
            let held: Vec<R> = match path.exists() {
                true => csv::Reader::from_path(&path)?.deserialize().collect::<Result<_, _>>()?,
                false => Vec::new(),
            };
            let mut writer = csv::Writer::from_writer(tempfile::NamedTempFile::new_in(&self.folder)?);
            for row in merge(held, rows) {
                writer.serialize(row)?;
            }
            let file = writer.into_inner().map_err(|error| error.into_error())?;
            // A temporary file is for its owner alone; a record is for everybody.
            #[cfg(unix)]
            fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}

/// New rows take the places of old ones with their keys; the rest follow.
fn merge<R: Row>(held: Vec<R>, new: Vec<R>) -> Vec<R> {
    let mut new: Vec<Option<R>> = new.into_iter().map(Some).collect();
    let mut merged: Vec<R> = Vec::new();
    for row in held {
        let same = new.iter_mut().find(|new| new.as_ref().is_some_and(|new| new.key() == row.key()));
        merged.push(same.and_then(Option::take).unwrap_or(row));
    }
    merged.extend(new.into_iter().flatten());
    let mut seen = HashSet::new();
    merged.retain(|row| seen.insert(row.key().map(str::to_string)));
    merged
}

/// Lower case, with one `-` for whatever is not a letter or digit.
pub fn file_name(adapter: &str) -> String {
    let words = adapter.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// Today in UTC, `YYYY-MM-DD`.
pub fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// The version of a package that this program was built with.
pub fn locked(package: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split_once(&name).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or_else(|| "unknown".to_string(), |(version, _)| version.to_string())
}

/// To four significant digits: a record holds no more than was measured.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = (3 - value.abs().log10().floor() as i32).max(0);
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(shape: &str, peer: &str, ours_ms: f64) -> Time {
        let [cell, mode, adapter] = ["lstm", "forward", "some adapter"].map(str::to_string);
        let (peer, peer_version) = (peer.to_string(), "1".to_string());
        Time { shape: shape.to_string(), cell, mode, peer, peer_version, adapter, ours_ms, peer_ms: 2.0, ratio: 1.0 }
    }

    #[test]
    fn a_record_is_merged_by_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = |merges| Record::new(folder.path(), "llvmpipe (LLVM 15.0.6, 256 bits)", "2026-01-31", merges);
        let record = new(false).expect("a record");
        record.write("", vec![row("S1", "a", 1.0), row("S2", "a", 1.0)]).expect("a first record");
        record.write("", vec![row("S2", "b", 3.0), row("S2", "a", 2.0)]).expect("a second record");
        let path = folder.path().join("llvmpipe-llvm-15-0-6-256-bits/2026-01-31.csv");
        let text = fs::read_to_string(path).expect("the record");
        let wanted = "shape,cell,mode,peer,peer_version,adapter,ours_ms,peer_ms,ratio
S1,lstm,forward,a,1,some adapter,1.0,2.0,1.0
S2,lstm,forward,a,1,some adapter,2.0,2.0,1.0
S2,lstm,forward,b,1,some adapter,3.0,2.0,1.0
";
        assert_eq!(text, wanted);
        // The next run of the day has to say that it adds to this.
        let why = new(false).err().expect("an error").to_string();
        assert!(why.contains("2026-01-31.csv is of another run"), "{why}");
        new(true).expect("a record").write("", vec![row("S1", "a", 4.0)]).expect("a third record");
    }

    #[test]
    fn numbers_are_rounded_and_versions_found() {
        assert_eq!([0.012_345_6, 12_345.6, 0.0].map(rounded), [0.012_35, 12_346.0, 0.0]);
        assert!(locked("burn").starts_with("0."), "{}", locked("burn"));
        assert_eq!(locked("no such package"), "unknown");
    }
}
