//! HLSL through FXC, as wgpu's DX12 backend compiles it where there is no DXC: by Microsoft's library under Wine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use naga::back::hlsl::ShaderModel;
use rayon::prelude::*;

use crate::corpus::Variant;
use crate::report::Report;
use crate::translate::{has_hlsl, silence_panics, to_hlsl};

/// Seconds of a processor's time that a kernel may take.
const MOST: f64 = 3.0;

/// Times that a kernel over it is compiled again. A machine with other work only makes them longer.
const AGAIN: usize = 3;

/// Kernels that one process compiles: it takes Wine longer to start one than FXC to compile most kernels.
const TOGETHER: usize = 32;

/// Slowest kernels that are named.
const NAMED: usize = 10;

/// Compiles every variant of a full-precision kernel with `program` under `wine`, whose own folder is `prefix`.
pub fn run(variants: &[Variant], wine: &Path, prefix: &Path, program: &Path) -> Result<Report> {
    silence_panics();
    let work = tempfile::tempdir().context("no temporary folder could be made")?;
    let fxc = Fxc { wine, prefix, program, folder: work.path() };
    // Makes Wine's folder, which two cannot at once, and fails here, not in every variant, where FXC cannot run.
    let empty = ("[numthreads(1, 1, 1)]\nvoid main() {}\n".to_string(), "main".to_string());
    if let Err(why) = &fxc.compile("first", &[&empty])?[0] {
        bail!("FXC cannot be run: {why}");
    }
    let taken: Vec<&Variant> = variants.iter().filter(|variant| has_hlsl(variant, ShaderModel::V5_1)).collect();
    let chunks = taken.par_chunks(TOGETHER).enumerate();
    let chunks = chunks.map(|(index, chunk)| fxc.least(&format!("{index}"), chunk)).collect::<Result<Vec<_>>>()?;
    let mut results: Vec<_> = taken.iter().zip(chunks.into_iter().flatten()).collect();
    let seconds = |result: &Result<f64, String>| result.as_ref().copied().unwrap_or(f64::INFINITY);
    results.sort_by(|(_, a), (_, b)| seconds(b).total_cmp(&seconds(a)));
    println!("seconds of the slowest:");
    let mut report = Report::default();
    for (place, (variant, result)) in results.into_iter().enumerate() {
        if let Ok(seconds) = &result
            && place < NAMED
        {
            println!("  {seconds:.2} {}", variant.name());
        }
        let result = result.and_then(|seconds| match seconds > MOST {
            true => Err(format!("it takes {seconds} s, more than {MOST}")),
            false => Ok(()),
        });
        report.add("FXC cs_5_1", &variant.name(), result);
    }
    Ok(report)
}

/// Seconds of processor time, or what is wrong.
type Taken = Result<f64, String>;

struct Fxc<'a> {
    wine: &'a Path,
    prefix: &'a Path,
    program: &'a Path,
    folder: &'a Path,
}

impl Fxc<'_> {
    /// The least time of each variant, of as many as it takes to see that it is below the limit.
    fn least(&self, name: &str, variants: &[&Variant]) -> Result<Vec<Taken>> {
        let source = |variant: &&Variant| {
            let (module, info) = variant.module()?;
            to_hlsl(&module, &info, ShaderModel::V5_1)
        };
        let sources: Vec<Result<(String, String), String>> = variants.iter().map(source).collect();
        let mut taken: Vec<Taken> = vec![Ok(f64::INFINITY); sources.len()];
        for (taken, source) in taken.iter_mut().zip(&sources) {
            if let Err(why) = source {
                *taken = Err(why.clone());
            }
        }
        for _ in 0..=AGAIN {
            let slow: Vec<usize> =
                (0..taken.len()).filter(|&at| taken[at].as_ref().is_ok_and(|&seconds| seconds > MOST)).collect();
            let sources: Vec<&(String, String)> = slow.iter().filter_map(|&at| sources[at].as_ref().ok()).collect();
            for (at, again) in slow.into_iter().zip(self.compile(name, &sources)?) {
                taken[at] = match (&taken[at], again) {
                    (Ok(before), Ok(again)) => Ok(before.min(again)),
                    (_, failed) => failed,
                };
            }
        }
        Ok(taken)
    }

    /// Compiles sources with the names of their entry points.
    fn compile(&self, name: &str, sources: &[&(String, String)]) -> Result<Vec<Taken>> {
        for (at, (source, _)) in sources.iter().enumerate() {
            fs::write(self.folder.join(format!("{name}-{at}.hlsl")), source).context("HLSL could not be written")?;
        }
        let mut taken: Vec<Taken> = Vec::new();
        while taken.len() < sources.len() {
            let line = |(at, (_, entry)): (usize, &&(String, String))| format!("{name}-{at}.hlsl {entry}\n");
            let list: String = sources.iter().enumerate().skip(taken.len()).map(line).collect();
            let file = self.folder.join(format!("{name}.txt"));
            fs::write(&file, list).context("the list could not be written")?;
            let said = self.start(&file)?;
            let before = taken.len();
            taken.extend(said.lines().map(|line| match line.trim().strip_prefix("error: ") {
                Some(why) => Err(why.to_string()),
                None => line.trim().parse().map_err(|_| format!("FXC's program says `{line}`, not how long it took")),
            }));
            if taken.len() == before {
                taken.push(Err("FXC ends its process".to_string()));
            }
        }
        Ok(taken)
    }

    /// Runs the program on a list of files and returns what it says.
    fn start(&self, list: &Path) -> Result<String> {
        let mut command = Command::new(self.wine);
        command.arg(self.program).current_dir(self.folder).stdin(fs::File::open(list)?).stderr(Stdio::piped());
        // Wine's own library of that name compiles nothing like FXC; Mono and Gecko are not needed.
        command
            .env("WINEPREFIX", self.prefix)
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "d3dcompiler_47=n;mscoree,mshtml=");
        let run = command.output().with_context(|| format!("{} could not be started", self.wine.display()))?;
        if !run.status.success() && run.stdout.is_empty() {
            bail!("FXC cannot be run ({}): {}", run.status, String::from_utf8_lossy(&run.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&run.stdout).into_owned())
    }
}
