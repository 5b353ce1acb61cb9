//! Every variant's WGSL in files, for compilers that other programs hold.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use wgpu_rnn::gpu::BindingKind;

use crate::corpus::Variant;
use crate::report::Report;

/// The list of files.
const INDEX: &str = "index.json";

/// One of them.
#[derive(Serialize)]
struct Entry {
    file: String,
    name: String,
    half: bool,
    /// Types of the buffers in the order of bindings, as WebGPU calls them; the step index is `step`.
    bindings: Vec<&'static str>,
}

/// Writes every variant that a browser takes, and the list of them, into `folder`.
pub fn run(variants: &[Variant], folder: &Path) -> Result<Report> {
    fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))?;
    let mut report = Report::default();
    let mut entries = Vec::new();
    // Cooperative matrices are wgpu's own extension.
    for variant in variants.iter().filter(|variant| !variant.is_cooperative()) {
        let file = format!("{}-{}.wgsl", variant.spec.kernel.name, entries.len());
        fs::write(folder.join(&file), &variant.source).with_context(|| format!("{file} could not be written"))?;
        let kind = |kind: BindingKind| match kind {
            BindingKind::Read => "read-only-storage",
            BindingKind::ReadWrite => "storage",
            BindingKind::Uniform => "uniform",
            BindingKind::Step => "step",
        };
        let bindings = variant.spec.kernel.bindings.iter().map(|binding| kind(binding.kind)).collect();
        entries.push(Entry { file, name: variant.name(), half: variant.is_half(), bindings });
        report.add("files", &variant.name(), Ok(()));
    }
    let index = serde_json::to_string_pretty(&entries)?;
    fs::write(folder.join(INDEX), index).with_context(|| format!("{INDEX} could not be written"))?;
    Ok(report)
}
