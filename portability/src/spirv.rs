//! SPIR-V through `spirv-val`, as Vulkan wants it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use crate::corpus::Variant;
use crate::report::Report;
use crate::translate::{silence_panics, to_spirv};

/// What naga's arrays in workgroup memory break: they have the stride that they would have in a buffer, which only
/// modules with an explicit layout of workgroup memory may give. Drivers take no notice of it; validation is repeated
/// without these strides, as it ends with the first error.
const STRIDES: &str = "VUID-StandaloneSpirv-None-10684";

/// Versions of SPIR-V that are validated, and Vulkan's that take no later one.
const VERSIONS: [((u8, u8), &str); 3] = [((1, 0), "vulkan1.0"), ((1, 3), "vulkan1.1"), ((1, 6), "vulkan1.3")];

/// Validates every variant with the `spirv-val` at `program`; without checks, and in the latest version with them.
pub fn run(variants: &[Variant], program: &Path) -> Result<Report> {
    silence_panics();
    let folder = tempfile::tempdir().context("no temporary folder could be made")?;
    let version = Command::new(program).arg("--version").output();
    if !version.with_context(|| format!("{} could not be started", program.display()))?.status.success() {
        bail!("{} does not say its version", program.display());
    }
    let validate = |(index, variant): (usize, &Variant)| {
        let mut report = Report::default();
        let module = variant.module();
        for (version, target) in VERSIONS.into_iter().filter(|(version, _)| takes(variant, *version)) {
            for checked in [false, true].into_iter().filter(|checked| !checked || version == (1, 6)) {
                let result = module.as_ref().map_err(Clone::clone).and_then(|(module, info)| {
                    let words = to_spirv(variant, module, info, version, checked)?;
                    let file = folder.path().join(format!("{index}-{target}-{checked}.spv"));
                    valid(program, target, &words, &file)
                });
                let checks = if checked { " with checks" } else { "" };
                report.add(&format!("spirv-val {target}{checks}"), &variant.name(), result);
            }
        }
        report
    };
    Ok(variants.par_iter().enumerate().map(validate).reduce(Report::default, Report::and))
}

/// Cooperative matrices need the memory model of Vulkan 1.2.
fn takes(variant: &Variant, version: (u8, u8)) -> bool {
    !variant.is_cooperative() || version >= (1, 5)
}

fn valid(program: &Path, target: &str, words: &[u32], file: &Path) -> Result<(), String> {
    let said = validate(program, target, words, file)?;
    let said = match said.contains(STRIDES) {
        true => validate(program, target, &without_workgroup_strides(words), file)?,
        false => said,
    };
    if said.is_empty() { Ok(()) } else { Err(said) }
}

/// What `spirv-val` says; nothing where the module is valid.
fn validate(program: &Path, target: &str, words: &[u32], file: &Path) -> Result<String, String> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    fs::write(file, bytes).map_err(|error| error.to_string())?;
    let run = Command::new(program).args(["--target-env", target]).arg(file).output();
    let run = run.map_err(|error| error.to_string())?;
    fs::remove_file(file).map_err(|error| error.to_string())?;
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    match (run.status.success(), said.trim()) {
        (true, _) => Ok(String::new()),
        (false, "") => Err(format!("spirv-val ended with {}", run.status)),
        (false, said) => Ok(said.to_string()),
    }
}

/// The module without the strides of arrays that lie in workgroup memory.
fn without_workgroup_strides(words: &[u32]) -> Vec<u32> {
    const HEADER: usize = 5;
    const TYPE_ARRAY: u32 = 28;
    const TYPE_POINTER: u32 = 32;
    const DECORATE: u32 = 71;
    const WORKGROUP: u32 = 4;
    const ARRAY_STRIDE: u32 = 6;
    let instructions = || {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let length = (words.get(at)? >> 16).max(1) as usize;
            let instruction = words.get(at..at + length)?;
            at += length;
            Some(instruction)
        })
    };
    let mut shared: BTreeSet<u32> = BTreeSet::new();
    // Types come before those that are made of them.
    let types: Vec<&[u32]> =
        instructions().filter(|one| [TYPE_ARRAY, TYPE_POINTER].contains(&(one[0] & 0xffff))).collect();
    for one in types.iter().rev() {
        match (one[0] & 0xffff, &one[1..]) {
            (TYPE_POINTER, [_, WORKGROUP, pointee]) => drop(shared.insert(*pointee)),
            (TYPE_ARRAY, [array, element, _]) if shared.contains(array) => drop(shared.insert(*element)),
            _ => {}
        }
    }
    let is_stride = |one: &[u32]| matches!((one[0] & 0xffff, &one[1..]), (DECORATE, [target, ARRAY_STRIDE, _]) if shared.contains(target));
    let kept = instructions().filter(|one| !is_stride(one));
    words[..HEADER.min(words.len())].iter().chain(kept.flatten()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strides_of_workgroup_memory_are_left_out() {
        let instruction =
            |code: u32, operands: &[u32]| [&[(operands.len() as u32 + 1) << 16 | code], operands].concat();
        let header = [0x0723_0203, 0x0001_0000, 0, 30, 0];
        let strides: Vec<Vec<u32>> = [10, 11, 12].map(|id| instruction(71, &[id, 6, 4])).to_vec();
        // 10 is an array of 11, both in workgroup memory; 12 is in a storage buffer.
        let arrays = [instruction(28, &[11, 1, 2]), instruction(28, &[10, 11, 2]), instruction(29, &[12, 1])].concat();
        let pointers = [instruction(32, &[20, 4, 10]), instruction(32, &[21, 12, 12])].concat();
        let whole = [&header[..], &strides.concat(), &arrays, &pointers].concat();
        let left = [&header[..], &strides[2], &arrays, &pointers].concat();
        assert_eq!(without_workgroup_strides(&whole), left);
    }
}
