//! `cargo xtask browser`: a browser to open reports in, for the tests that look at them; installed where there is none.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::driver::apt;
use crate::shell;

/// Names a browser that is not found by itself.
pub const VARIABLE: &str = "WGPU_RNN_BROWSER";

/// Programs that are Chromium, or as good.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Makes sure that there is a browser, and says which one it is.
pub fn ensure() -> Result<()> {
    if find().is_none() {
        match apt::install(NAMES[0]) {
            Ok(done) => println!("{done}"),
            Err(error) => bail!("this machine has no Chromium, and {error:#}: install one, or name it in {VARIABLE}"),
        }
    }
    match find() {
        Some(browser) => println!("browser: {}", browser.display()),
        None => bail!("this machine has no Chromium: install one, or name it in {VARIABLE}"),
    }
    Ok(())
}

/// The browser, if there is one.
pub fn find() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    named.or_else(|| NAMES.into_iter().find_map(shell::find))
}
