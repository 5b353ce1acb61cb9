//! HLSL through DXC, as wgpu's DX12 backend compiles it.

use std::path::Path;

use anyhow::{Context, Result};
use hassle_rs::{Dxc, DxcCompiler, DxcLibrary};
use naga::back::hlsl::ShaderModel;
use rayon::prelude::*;

use crate::corpus::Variant;
use crate::report::Report;
use crate::translate::{has_hlsl, silence_panics, to_hlsl};

/// What wgpu passes besides entry point and profile.
const ARGUMENTS: [&str; 4] = ["-HV", "2018", "-no-warnings", "-Ges"];

/// The oldest model that wgpu has DXC for, and the first with f16.
const MODELS: [ShaderModel; 2] = [ShaderModel::V6_0, ShaderModel::V6_2];

/// What it says outside of Windows, whatever it compiles: only there it signs.
const UNSIGNED: &str = "DXIL signing library";

/// Compiles every variant with the `libdxcompiler` at `library`.
pub fn run(variants: &[Variant], library: &Path) -> Result<Report> {
    silence_panics();
    let dxc = Dxc::new(Some(library.to_path_buf())).context("DXC cannot be loaded")?;
    // Fails here, not in every variant, where the library is another.
    Compiler::new(&dxc)?;
    let one = |compiler: &mut Result<Compiler>, variant: &Variant| match compiler {
        Ok(compiler) => compiler.all_models(variant),
        Err(error) => {
            let mut report = Report::default();
            report.add("DXC", &variant.name(), Err(format!("{error:#}")));
            report
        }
    };
    let reports = variants.par_iter().filter(|variant| has_hlsl(variant, ShaderModel::V6_2));
    Ok(reports.map_init(|| Compiler::new(&dxc), one).reduce(Report::default, Report::and))
}

struct Compiler {
    compiler: DxcCompiler,
    library: DxcLibrary,
}

impl Compiler {
    fn new(dxc: &Dxc) -> Result<Self> {
        let of = || {
            Ok::<_, hassle_rs::HassleError>(Self { compiler: dxc.create_compiler()?, library: dxc.create_library()? })
        };
        of().context("DXC cannot be started")
    }

    fn all_models(&self, variant: &Variant) -> Report {
        let mut report = Report::default();
        let module = variant.module();
        for model in MODELS.into_iter().filter(|&model| has_hlsl(variant, model)) {
            let result = module.as_ref().map_err(Clone::clone).and_then(|(module, info)| {
                let (source, entry) = to_hlsl(module, info, model)?;
                // wgpu asks for 16-bit types on every device that has them.
                self.compile(&source, &entry, model, model >= ShaderModel::V6_2)
            });
            report.add(&format!("DXC cs_{}", model.to_str()), &variant.name(), result);
        }
        report
    }

    fn compile(&self, source: &str, entry: &str, model: ShaderModel, half: bool) -> Result<(), String> {
        let text = |error: hassle_rs::HassleError| error.to_string();
        let blob = self.library.create_blob_with_encoding_from_str(source).map_err(text)?;
        let profile = format!("cs_{}", model.to_str());
        let mut arguments = ARGUMENTS.to_vec();
        if half {
            arguments.push("-enable-16bit-types");
        }
        let compiled = self.compiler.compile(&blob, "kernel.hlsl", entry, &profile, &arguments, None, &[]);
        let (result, failed) = match compiled {
            Ok(result) => (result, false),
            Err((result, _)) => (result, true),
        };
        let said = result.get_error_buffer().map_err(text)?;
        let said = self.library.get_blob_as_string(&said.into()).map_err(text)?;
        // As to wgpu, whatever DXC says is an error.
        let said: Vec<&str> = said.trim_end_matches('\0').lines().filter(|line| !line.contains(UNSIGNED)).collect();
        let said = said.join("\n");
        let said = said.trim();
        if !failed && said.is_empty() { Ok(()) } else { Err(said.to_string()) }
    }
}
