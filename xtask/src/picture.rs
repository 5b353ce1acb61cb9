//! `cargo xtask picture`: pictures of report pages for the documentation, taken with the browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::browser;
use crate::shell;

/// What to take a picture of.
#[derive(Args)]
pub struct Options {
    /// The page that a command left
    page: PathBuf,
    /// The PNG file to write
    out: PathBuf,
    /// One figure of it, by its id, as high as it is; else the page from its top
    #[arg(long)]
    figure: Option<String>,
    /// Width in pixels of the page; the picture has twice as many
    #[arg(long, default_value_t = 760)]
    width: u32,
    /// Height, where it is not a figure's own
    #[arg(long, default_value_t = 900)]
    height: u32,
}

/// Takes the picture.
pub fn take(options: &Options) -> Result<()> {
    let Options { page, out, figure, width, height } = options;
    browser::ensure()?;
    let page = fs::canonicalize(page).with_context(|| format!("{}: could not find the page", page.display()))?;
    let query = figure.as_ref().map_or_else(String::new, |figure| format!("?figure={figure}"));
    let address = format!("file://{}{query}", page.display());
    let profile = tempfile::tempdir().context("no temporary folder could be made")?;
    let height = match figure {
        None => *height,
        Some(figure) => {
            let seen = shell::capture(headless(profile.path(), *width, *height)?.arg("--dump-dom").arg(&address))?;
            let told = seen.split_once("data-height=\"").and_then(|(_, rest)| rest.split_once('"'));
            let told = told.and_then(|(height, _)| height.parse().ok());
            told.with_context(|| format!("{}: there is no figure `{figure}`", page.display()))?
        }
    };
    let out = std::path::absolute(out)?;
    let mut camera = headless(profile.path(), *width, height)?;
    shell::capture(camera.arg(format!("--screenshot={}", out.display())).arg(&address))?;
    println!("{}: {width} x {height}", out.display());
    Ok(())
}

/// The browser without a window, with a profile of its own.
fn headless(profile: &Path, width: u32, height: u32) -> Result<Command> {
    let mut command = Command::new(browser::find().context("there is no browser")?);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
    command.args(["--force-device-scale-factor=2", "--virtual-time-budget=3000"]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("--window-size={width},{height}"));
    Ok(command)
}
