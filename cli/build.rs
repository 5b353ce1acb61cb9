//! Tells the command which wgpu it is built with, which wgpu itself doesn't: `WGPU_VERSION`, from the lock file above.

use std::path::Path;
use std::{env, fs};

fn main() {
    let here = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let lock = Path::new(&here).ancestors().map(|folder| folder.join("Cargo.lock")).find(|file| file.is_file());
    let text = lock.as_deref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let version = version(&text, "wgpu").unwrap_or("30");
    println!("cargo::rustc-env=WGPU_VERSION={version}");
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(lock) = lock {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
}

/// The version of a package in a lock file.
fn version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let of = lock.split("[[package]]").find(|part| part.contains(&format!("name = \"{package}\"\n")))?;
    of.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
}
