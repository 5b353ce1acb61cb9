//! The parts that compile kernels: the member `portability` is built once and called for each.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::need;
use super::sid;
use super::table::Outcome;
use crate::shell;
use crate::suite::cargo;

/// naga alone: always every variant, which takes less than building the program.
pub fn translate(_: bool) -> Result<Outcome> {
    member(&["translate".into()], false)
}

/// `spirv-val`.
pub fn spirv(quick: bool) -> Result<Outcome> {
    let program = need::spirv_val()?;
    member(&["spirv".into(), "--program".into(), program.into()], quick)
}

/// DXC.
pub fn dxc(quick: bool) -> Result<Outcome> {
    let library = need::dxc()?;
    member(&["dxc".into(), "--library".into(), library.into()], quick)
}

/// FXC.
pub fn fxc(quick: bool) -> Result<Outcome> {
    let need::Fxc { wine, prefix, program } = need::fxc()?;
    let paths = [("--wine", wine), ("--prefix", prefix), ("--program", program)];
    let paths = paths.into_iter().flat_map(|(name, path)| [name.into(), path.into()]);
    let arguments: Vec<OsString> = ["fxc".into()].into_iter().chain(paths).collect();
    member(&arguments, quick)
}

/// Dawn's Tint.
pub fn tint(quick: bool) -> Result<Outcome> {
    let (node, package) = need::dawn()?;
    let work = tempfile::tempdir().context("no temporary folder could be made")?;
    member(&["write".into(), "--folder".into(), work.path().into()], quick)?;
    let script = shell::workspace_root().join("portability/tint.mjs");
    summary(Command::new(node).arg(script).arg(work.path()).arg(package))
}

/// Mesa's compilers for GPUs that are not here.
pub fn offline() -> Result<Outcome> {
    member(&["offline".into(), "--sid".into(), sid::ensure()?.into()], false)
}

/// Builds the member and names its program.
pub fn program() -> Result<PathBuf> {
    // With the whole workspace and a test among what is built, the libraries below have the features that tests have
    // them with, and are not compiled a second time.
    shell::run(cargo().args(["build", "--workspace", "--bin", "portability", "--test", "floors"]))?;
    let folder = shell::target_folder().join("debug");
    Ok(folder.join(format!("portability{}", std::env::consts::EXE_SUFFIX)))
}

/// Runs the program of the member with `arguments`.
fn member(arguments: &[OsString], quick: bool) -> Result<Outcome> {
    let mut command = Command::new(program()?);
    command.args(arguments);
    if quick {
        command.arg("--quick");
    }
    summary(&mut command)
}

/// Runs `command`, shows what it says, and reads the summary in its last line. A failure that it counted is no error here.
fn summary(command: &mut Command) -> Result<Outcome> {
    let line = shell::spell(command);
    println!("$ {line}");
    let run = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let run = run.with_context(|| format!("`{line}` could not be started"))?;
    let said = String::from_utf8_lossy(&run.stdout);
    let said = said.trim_end();
    println!("{said}");
    let last = said.lines().next_back().unwrap_or_default();
    match serde_json::from_str::<Outcome>(last) {
        Ok(outcome) if run.status.success() == (outcome.failed == 0 && outcome.done > 0) => Ok(outcome),
        _ => bail!("`{line}` ended without a summary ({})", run.status),
    }
}
