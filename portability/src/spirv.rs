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

/// What naga's arrays and structures outside of buffers break, variables of functions and workgroup memory: they have the layout
/// that they would have in a buffer, which is not allowed there. Drivers take no notice of it; validation is repeated
/// without it, as it ends with the first error.
const LAYOUTS: &str = "VUID-StandaloneSpirv-None-10684";

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
    let said = match said.contains(LAYOUTS) {
        true => validate(program, target, &without_layout(words), file)?,
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

/// The module without the strides of arrays and the offsets of members that lie in no buffer.
fn without_layout(words: &[u32]) -> Vec<u32> {
    const HEADER: usize = 5;
    const TYPE_ARRAY: u32 = 28;
    const TYPE_STRUCT: u32 = 30;
    const TYPE_POINTER: u32 = 32;
    const DECORATE: u32 = 71;
    const MEMBER_DECORATE: u32 = 72;
    /// Workgroup memory, variables of the module and of functions.
    const NO_BUFFERS: [u32; 3] = [4, 6, 7];
    const ARRAY_STRIDE: u32 = 6;
    const OFFSET: u32 = 35;
    let instructions = || {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let length = (words.get(at)? >> 16).max(1) as usize;
            let instruction = words.get(at..at + length)?;
            at += length;
            Some((instruction[0] & 0xffff, &instruction[1..], instruction))
        })
    };
    let mut free: BTreeSet<u32> = BTreeSet::new();
    // Types come before those that are made of them.
    let types: Vec<_> =
        instructions().filter(|(code, ..)| [TYPE_ARRAY, TYPE_STRUCT, TYPE_POINTER].contains(code)).collect();
    for (code, operands, _) in types.into_iter().rev() {
        match (code, operands) {
            (TYPE_POINTER, [_, class, pointee]) if NO_BUFFERS.contains(class) => drop(free.insert(*pointee)),
            (TYPE_ARRAY, [array, element, _]) if free.contains(array) => drop(free.insert(*element)),
            (TYPE_STRUCT, [of, members @ ..]) if free.contains(of) => free.extend(members),
            _ => {}
        }
    }
    let is_layout = |code: u32, operands: &[u32]| match (code, operands) {
        (DECORATE, [target, ARRAY_STRIDE, _]) | (MEMBER_DECORATE, [target, _, OFFSET, _]) => free.contains(target),
        _ => false,
    };
    let kept = instructions().filter(|(code, operands, _)| !is_layout(*code, operands)).map(|(.., whole)| whole);
    words[..HEADER.min(words.len())].iter().chain(kept.flatten()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_layouts_outside_of_buffers_are_left_out() {
        let instruction =
            |code: u32, operands: &[u32]| [&[(operands.len() as u32 + 1) << 16 | code], operands].concat();
        let header = [0x0723_0203, 0x0001_0000, 0, 30, 0];
        let strides: Vec<Vec<u32>> = [10, 11, 12].map(|id| instruction(71, &[id, 6, 4])).to_vec();
        let offsets: Vec<Vec<u32>> = [13, 14].map(|id| instruction(72, &[id, 0, 35, 0])).to_vec();
        // 10 is an array of 11, both in workgroup memory, and 13 of a function; 12 is in a storage buffer, and so is 14.
        let arrays = [instruction(28, &[11, 1, 2]), instruction(28, &[10, 11, 2]), instruction(29, &[12, 1])].concat();
        let structs = [instruction(30, &[13, 1]), instruction(30, &[14, 12])].concat();
        let pointers = [[20, 4, 10], [21, 12, 14], [22, 7, 13]].map(|operands| instruction(32, &operands)).concat();
        let rest = [arrays, structs, pointers].concat();
        let whole = [&header[..], &strides.concat(), &offsets.concat(), &rest].concat();
        let left = [&header[..], &strides[2], &offsets[1], &rest].concat();
        assert_eq!(without_layout(&whole), left);
    }
}
