//! What other compilers make of the kernels: `cargo xtask portability` installs what a part needs, and runs it.
//!
//! Each part compiles the variants that [`wgpu_rnn::kernel::variants`] enumerates, says which ones failed, and ends with
//! a line of JSON that says how many there were.

mod corpus;
mod dxc;
mod fxc;
mod hazard;
mod offline;
mod report;
mod spirv;
mod translate;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Variants of each kernel, cell and way of storing that the quick run takes; of those that Dawn makes pipelines of, which
/// takes longest, one.
const FEW: usize = 3;

/// The command line.
#[derive(Parser)]
#[command(about = "What other compilers make of the kernels", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    part: Part,
    /// Only a few variants of every kernel, cell and way of storing
    #[arg(long, global = true)]
    quick: bool,
}

/// The parts, one a subcommand.
#[derive(Subcommand)]
enum Part {
    /// Translate every variant by naga as wgpu does: to SPIR-V, HLSL, MSL and GLSL
    Translate,
    /// Validate the SPIR-V of every variant
    Spirv {
        /// The program `spirv-val`
        #[arg(long, value_name = "FILE", default_value = "spirv-val")]
        program: PathBuf,
    },
    /// Compile the HLSL of every variant by DXC
    Dxc {
        /// DXC's library, `libdxcompiler.so`
        #[arg(long, value_name = "FILE")]
        library: PathBuf,
    },
    /// Compile the HLSL of every variant by FXC under Wine
    Fxc {
        /// Wine
        #[arg(long, value_name = "FILE")]
        wine: PathBuf,
        /// Wine's own folder, which it makes
        #[arg(long, value_name = "FOLDER")]
        prefix: PathBuf,
        /// `fxc.c`, compiled for Windows, beside FXC's library
        #[arg(long, value_name = "FILE")]
        program: PathBuf,
    },
    /// Run two dispatches that no barrier keeps apart, for a validation layer to see
    Hazard,
    /// Registers, spills and occupancy of every kernel that planners choose, by the compilers of real GPUs, into tables
    Offline(offline::Args),
    /// Write the WGSL of every variant into files, for `tint.mjs`
    Write {
        /// Where to
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Cli { part, quick }: Cli) -> Result<ExitCode> {
    let few = quick.then_some(FEW);
    let variants = || corpus::variants(few);
    let report = match part {
        Part::Translate => translate::run(&variants()),
        Part::Spirv { program } => spirv::run(&variants(), &program)?,
        Part::Dxc { library } => dxc::run(&corpus::of_32_kib(few), &library)?,
        Part::Fxc { wine, prefix, program } => fxc::run(&corpus::of_fxc(few), &wine, &prefix, &program)?,
        Part::Write { folder } => write::run(&corpus::of_32_kib(quick.then_some(1)), &folder)?,
        Part::Offline(args) if args.prints() => {
            offline::run(&args)?;
            return Ok(ExitCode::SUCCESS);
        }
        Part::Offline(args) => offline::run(&args)?,
        Part::Hazard => {
            hazard::run()?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    report.print()
}
