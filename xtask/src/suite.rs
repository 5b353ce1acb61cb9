//! `cargo xtask test`: every check that a change must pass, stopping at the first failure.

use std::env;
use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{browser, driver, portability, shell};

/// Runs all the steps in order, passing `runner_args` on to the test runner.
pub fn run(runner_args: &[String]) -> Result<()> {
    let start = Instant::now();
    step("Vulkan driver", driver::ensure)?;
    step("browser", browser::ensure)?;
    step("format", check_format)?;
    step("lints", check_lints)?;
    step("tests", || run_tests(runner_args))?;
    step("doc tests", || shell::run(cargo_of_tests().args(["test", "--workspace", "--doc"])))?;
    step("other compilers", portability::run_quick)?;
    step("docs", build_docs)?;
    println!("\nAll checks passed in {:.1} s.", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs one step under a heading, and says how long it took.
fn step(name: &str, action: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n== {name} ==");
    let start = Instant::now();
    let result = action();
    let seconds = start.elapsed().as_secs_f64();
    if result.is_ok() {
        println!("-- {name}: passed in {seconds:.1} s");
    }
    result.with_context(|| format!("the step `{name}` failed after {seconds:.1} s"))
}

fn check_format() -> Result<()> {
    require_component("fmt", "rustfmt")?;
    shell::run(cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own, which is neither built nor tested here.
    shell::run(cargo().args(["fmt", "--check", "--manifest-path", "peers/Cargo.toml"]))
}

fn check_lints() -> Result<()> {
    require_component("clippy", "clippy")?;
    shell::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// How Mesa's software driver makes machine code of shaders in the tests, unless the environment says otherwise: for four lanes
/// at a time, without LLVM's optimising passes. Most of the tests' time is that compiler's, and so it takes a third of it.
const OF_SOFTWARE_DRIVER: [(&str, &str); 2] = [("LP_NATIVE_VECTOR_WIDTH", "128"), ("GALLIVM_PERF", "nopt")];

/// Cargo, whose programs get [`OF_SOFTWARE_DRIVER`], and a folder of their own for what that driver keeps of compiled shaders.
fn cargo_of_tests() -> Command {
    let mut cargo = cargo();
    let mut folder = OsString::from("shaders");
    for (name, value) in OF_SOFTWARE_DRIVER {
        let value = env::var_os(name).unwrap_or_else(|| value.into());
        // Code that was made otherwise is elsewhere.
        folder.push("-");
        folder.push(&value);
        cargo.env(name, value);
    }
    if env::var_os("MESA_SHADER_CACHE_DIR").is_none() {
        cargo.env("MESA_SHADER_CACHE_DIR", shell::target_folder().join(folder));
    }
    cargo
}

/// Runs the tests with cargo-nextest where it is installed, else with `cargo test`.
fn run_tests(runner_args: &[String]) -> Result<()> {
    let mut runner = cargo_of_tests();
    if answers("nextest") {
        runner.args(["nextest", "run", "--workspace"]);
    } else {
        // Not `--all-targets`, which would run the benchmarks too.
        runner.args(["test", "--workspace", "--lib", "--bins", "--tests", "--examples"]);
    }
    shell::run(runner.args(runner_args))
}

fn build_docs() -> Result<()> {
    shell::run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Fails with one sentence unless `cargo <subcommand>` is there.
fn require_component(subcommand: &str, component: &str) -> Result<()> {
    if !answers(subcommand) {
        bail!("`cargo {subcommand}` is missing: add it with `rustup component add {component}`");
    }
    Ok(())
}

/// Whether `cargo <subcommand>` is installed.
fn answers(subcommand: &str) -> bool {
    shell::capture(cargo().args([subcommand, "--version"])).is_ok()
}

/// The cargo that runs this program, in the workspace's root.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(shell::workspace_root());
    command
}
