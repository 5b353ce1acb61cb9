//! The manifests of Vulkan's installable client drivers: JSON files that name a library each.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{env, fmt, fs};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::library::{self, Libraries};

/// The folders that the Vulkan loader reads whatever the environment says.
const FOLDERS: [&str; 3] = ["/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d"];

/// A driver, as its manifest describes it.
#[derive(Debug, PartialEq)]
pub struct Icd {
    /// The JSON file.
    pub manifest: PathBuf,
    /// The library as the manifest names it: a plain name, or a path made absolute.
    pub library: PathBuf,
}

/// What a driver runs shaders on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A GPU.
    Hardware,
    /// The CPU.
    Software,
}

/// The part of a manifest that matters here.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "ICD")]
    icd: Body,
}

#[derive(Deserialize)]
struct Body {
    library_path: String,
    /// "32" or "64", where the manifest says.
    library_arch: Option<String>,
}

impl Icd {
    /// Reads the file `manifest`.
    pub fn read(manifest: &Path) -> Result<Self> {
        let text = fs::read_to_string(manifest).context("cannot be read")?;
        Self::parse(manifest, &text)
    }

    /// Reads `text`, which lies in the file `manifest`.
    fn parse(manifest: &Path, text: &str) -> Result<Self> {
        let Manifest { icd } = serde_json::from_str(text).context("is no driver manifest")?;
        let expected = usize::BITS.to_string();
        if let Some(got) = icd.library_arch.filter(|bits| *bits != expected) {
            bail!("is for another architecture (expected {expected} bits, got {got})");
        }
        // A plain name is looked up by the dynamic loader; a path is relative to the manifest.
        let library = match (icd.library_path.contains('/'), manifest.parent()) {
            (true, Some(folder)) => folder.join(icd.library_path),
            _ => PathBuf::from(icd.library_path),
        };
        Ok(Self { manifest: manifest.to_owned(), library })
    }

    /// Fails unless the driver's library, and what it needs, are there.
    pub fn check(&self, libraries: &Libraries) -> Result<()> {
        let name = self.library.to_string_lossy();
        let file = if self.library.is_absolute() {
            Some(self.library.clone()).filter(|file| file.is_file())
        } else {
            libraries.find(&name)
        };
        match file {
            Some(file) => library::check_needs(&file),
            None => bail!("its library {name} is missing"),
        }
    }

    /// Whether it drives a GPU, told by the manifest's name.
    pub fn kind(&self) -> Kind {
        let name = self.name();
        if name.starts_with("lvp") || name.contains("swiftshader") { Kind::Software } else { Kind::Hardware }
    }

    fn name(&self) -> String {
        let name = self.manifest.file_name().unwrap_or_default();
        name.to_string_lossy().to_lowercase()
    }
}

impl fmt::Display for Icd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind() {
            Kind::Hardware => "GPU",
            Kind::Software if self.name().starts_with("lvp") => "lavapipe, on the CPU",
            Kind::Software => "software, on the CPU",
        };
        write!(f, "{} ({kind})", self.manifest.display())
    }
}

/// The manifests that the Vulkan loader would read here, in a fixed order.
pub fn manifests() -> Vec<PathBuf> {
    match named_by_hand() {
        Some(list) => json_files(env::split_paths(&list)),
        None => json_files(search_folders()),
    }
}

/// Whether a variable names the manifests instead of the usual folders.
pub fn are_named_by_hand() -> bool {
    named_by_hand().is_some()
}

/// The variables that replace the search: a list of files, or of folders that hold them.
fn named_by_hand() -> Option<OsString> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    set("VK_DRIVER_FILES").or_else(|| set("VK_ICD_FILENAMES"))
}

/// The folders to search when no variable names the manifests.
fn search_folders() -> impl Iterator<Item = PathBuf> {
    let listed = ["XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS"].into_iter().filter_map(env::var_os);
    let mut roots: Vec<PathBuf> = listed.flat_map(|list| env::split_paths(&list).collect::<Vec<_>>()).collect();
    roots.extend(env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    roots.into_iter().map(|root| root.join("vulkan/icd.d")).chain(FOLDERS.map(PathBuf::from))
}

/// The files among `places` and the `.json` files in those that are folders, each once.
fn json_files(places: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for place in places {
        let mut found = match fs::read_dir(&place) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|file| is_json(file)).collect(),
            Err(_) if place.is_file() => vec![place],
            Err(_) => Vec::new(),
        };
        found.sort();
        found.retain(|file| !files.contains(file));
        files.extend(found);
    }
    files
}

fn is_json(file: &Path) -> bool {
    file.extension() == Some(OsStr::new("json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(library: &str) -> Result<Icd> {
        let text = format!(
            r#"{{"ICD": {{"api_version": "1.4.305", "library_path": "{library}"}},
                "file_format_version": "1.0.1"}}"#
        );
        Icd::parse(Path::new("/icd.d/lvp_icd.json"), &text)
    }

    #[test]
    fn a_library_is_a_name_or_a_path_from_the_manifest() {
        assert_eq!(parse("libvulkan_lvp.so").unwrap().library, Path::new("libvulkan_lvp.so"));
        assert_eq!(parse("/lib/libvulkan_lvp.so").unwrap().library, Path::new("/lib/libvulkan_lvp.so"));
        assert_eq!(parse("./lvp.so").unwrap().library, Path::new("/icd.d/./lvp.so"));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for text in ["", "{}", r#"{"ICD": {}}"#, r#"{"layer": {"library_path": "a.so"}}"#] {
            let error = Icd::parse(Path::new("/icd.d/a.json"), text).unwrap_err();
            assert!(format!("{error:#}").starts_with("is no driver manifest"), "{error:#}");
        }
    }

    #[test]
    fn another_architectures_driver_is_refused() {
        let other = if usize::BITS == 64 { "32" } else { "64" };
        let text = format!(r#"{{"ICD": {{"library_path": "a.so", "library_arch": "{other}"}}}}"#);
        let error = Icd::parse(Path::new("/icd.d/a.json"), &text).unwrap_err();
        assert!(error.to_string().contains("another architecture"), "{error}");
    }

    #[test]
    fn the_kind_is_told_by_the_name() {
        let kind = |manifest: &str| Icd { manifest: manifest.into(), library: "a.so".into() }.kind();
        assert_eq!(kind("/icd.d/lvp_icd.x86_64.json"), Kind::Software);
        assert_eq!(kind("/opt/vk_swiftshader_icd.json"), Kind::Software);
        assert_eq!(kind("/icd.d/nvidia_icd.json"), Kind::Hardware);
    }

    #[test]
    fn json_files_come_once_from_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["b.json", "a.json", "c.txt"] {
            fs::write(file(name), "").unwrap();
        }
        let places = [file("b.json"), folder.path().to_owned(), file("missing.json")];
        assert_eq!(json_files(places.into_iter()), [file("b.json"), file("a.json")]);
    }

    #[test]
    fn a_missing_library_is_named() {
        let icd = Icd { manifest: "/icd.d/a.json".into(), library: "/no/such/library.so".into() };
        let error = icd.check(&Libraries::of_this_machine()).unwrap_err();
        assert_eq!(error.to_string(), "its library /no/such/library.so is missing");
    }
}
