//! `cargo xtask portability`: every kernel through every compiler, and the tests on every driver, that can be had without
//! the hardware.
//!
//! A part says what it needs, and installs it where it can: below `target/portability`, or with apt. One whose need can't
//! be met fails, and says what is missing. The compilers are called by the member `portability/`.

mod compilers;
mod drivers;
mod need;
mod sid;
mod table;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::driver;
use table::{Outcome, Row};

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only this part; may be given several times
    #[arg(long, value_name = "PART")]
    part: Vec<Part>,
    /// All but this part; may be given several times
    #[arg(long, value_name = "PART", conflicts_with = "part")]
    without: Vec<Part>,
    /// What takes minutes at most: compilers on fewer variants, and no driver unless `--part` names it
    #[arg(long)]
    quick: bool,
}

/// One compiler or driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every variant by naga to SPIR-V, HLSL, MSL and GLSL, with wgpu's options
    Translate,
    /// The SPIR-V by spirv-val
    Spirv,
    /// The HLSL by DXC
    Dxc,
    /// The HLSL by FXC under Wine, in 3 seconds each
    Fxc,
    /// The WGSL by Dawn's Tint, and into pipelines
    Tint,
    /// Registers, spills and occupancy by Mesa's compilers for GPUs of AMD, Apple, Qualcomm and NVIDIA, into
    /// benches/record/offline
    Offline,
    /// The GPU tests under Vulkan's validation layer, which watches for hazards
    Validation,
    /// The GPU tests on Chromium's SwiftShader
    Swiftshader,
    /// Some of the GPU tests on Mesa's OpenGL
    Gles,
}

impl Part {
    /// What the quick run leaves out.
    fn is_slow(self) -> bool {
        matches!(self, Self::Offline | Self::Validation | Self::Swiftshader | Self::Gles)
    }

    fn run(self, quick: bool) -> Result<Outcome> {
        match self {
            Self::Translate => compilers::translate(quick),
            Self::Spirv => compilers::spirv(quick),
            Self::Dxc => compilers::dxc(quick),
            Self::Fxc => compilers::fxc(quick),
            Self::Tint => compilers::tint(quick),
            Self::Offline => compilers::offline(),
            Self::Validation => drivers::validation(quick),
            Self::Swiftshader => drivers::swiftshader(quick),
            Self::Gles => drivers::gles(quick),
        }
    }
}

/// What every change must pass.
pub fn run_quick() -> Result<()> {
    run(&Options { part: Vec::new(), without: Vec::new(), quick: true })
}

/// Runs the parts that `options` name, prints the table, and fails when any of them did.
pub fn run(options: &Options) -> Result<()> {
    driver::ensure()?;
    let mut rows = Vec::new();
    for &part in Part::value_variants() {
        let name = part.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
        let asked = options.part.contains(&part);
        let left_out = match options.part.is_empty() {
            false => (!asked).then_some("not asked for"),
            true if options.without.contains(&part) => Some("left out with --without"),
            true => (options.quick && part.is_slow()).then_some("not in the quick run"),
        };
        if let Some(why) = left_out {
            rows.push(Row::left_out(name, why));
            continue;
        }
        println!("\n== portability: {name} ==");
        let start = Instant::now();
        let outcome = part.run(options.quick);
        if let Err(error) = &outcome {
            println!("error: {error:#}");
        }
        rows.push(Row::of(name, outcome, start.elapsed()));
    }
    println!("\n{}", table::format(&rows));
    let failed: Vec<&str> = rows.iter().filter(|row| row.failed()).map(|row| row.part.as_str()).collect();
    if !failed.is_empty() {
        bail!("not portable: {}", failed.join(", "));
    }
    Ok(())
}
