//! What other compilers make of the kernels: `cargo xtask portability` installs what a part needs, and runs it.
//!
//! Each part compiles the variants that [`wgpu_rnn::kernel::variants`] enumerates, says which ones failed, and ends with
//! a line of JSON that says how many there were.

mod corpus;
mod dxc;
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
    let variants = || corpus::variants(quick);
    let report = match part {
        Part::Translate => translate::run(&variants()),
        Part::Spirv { program } => spirv::run(&variants(), &program)?,
        Part::Dxc { library } => dxc::run(&variants(), &library)?,
        Part::Write { folder } => write::run(&variants(), &folder)?,
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
