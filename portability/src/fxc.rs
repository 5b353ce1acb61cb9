//! HLSL through FXC, as wgpu's DX12 backend compiles it where there is no DXC: by Microsoft's library under Wine.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

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

/// When a compilation is ended: FXC takes minutes for what it should not be given, and may share its processor.
const LIMIT: Duration = Duration::from_secs(60);

/// Compiles every variant of a full-precision kernel with `program` under `wine`, whose own folder is `prefix`.
pub fn run(variants: &[Variant], wine: &Path, prefix: &Path, program: &Path) -> Result<Report> {
    silence_panics();
    let work = tempfile::tempdir().context("no temporary folder could be made")?;
    let fxc = Fxc { wine, prefix, program, folder: work.path() };
    // Makes Wine's folder, which two cannot at once, and fails here, not in every variant, where FXC cannot run.
    let empty = fxc.compile("first", "[numthreads(1, 1, 1)]\nvoid main() {}\n", "main");
    if let Err(why) = empty {
        bail!("FXC cannot be run: {why}");
    }
    let one = |(index, variant): (usize, &Variant)| {
        let mut report = Report::default();
        let module = variant.module();
        let result = module.and_then(|(module, info)| {
            let (source, entry) = to_hlsl(&module, &info, ShaderModel::V5_1)?;
            let once = || fxc.compile(&format!("{index}"), &source, &entry);
            let mut seconds = once()?;
            for _ in 0..AGAIN {
                if seconds > MOST {
                    seconds = seconds.min(once()?);
                }
            }
            if seconds > MOST { Err(format!("it takes {seconds} s, more than {MOST}")) } else { Ok(()) }
        });
        report.add("FXC cs_5_1", &variant.name(), result);
        report
    };
    let taken = variants.par_iter().enumerate().filter(|(_, variant)| has_hlsl(variant, ShaderModel::V5_1));
    Ok(taken.map(one).reduce(Report::default, Report::and))
}

struct Fxc<'a> {
    wine: &'a Path,
    prefix: &'a Path,
    program: &'a Path,
    folder: &'a Path,
}

impl Fxc<'_> {
    /// Seconds of processor time that it took; an error with what FXC said where it refuses.
    fn compile(&self, name: &str, source: &str, entry: &str) -> Result<f64, String> {
        let text = |error: std::io::Error| error.to_string();
        let file = self.folder.join(format!("{name}.hlsl"));
        fs::write(&file, source).map_err(text)?;
        let mut command = Command::new(self.wine);
        command.arg(self.program).arg(&file).arg(entry);
        // Wine's own library of that name compiles nothing like FXC; Mono and Gecko are not needed.
        command
            .env("WINEPREFIX", self.prefix)
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "d3dcompiler_47=n;mscoree,mshtml=");
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(text)?;
        let output = ended(child)?.wait_with_output().map_err(text)?;
        let said = |bytes| String::from_utf8_lossy(bytes).trim().to_string();
        if !output.status.success() {
            return Err(said(&output.stderr));
        }
        let seconds = said(&output.stdout);
        seconds.parse().map_err(|_| format!("FXC's program says `{seconds}`, not how long it took"))
    }
}

/// The child once it has ended by itself.
fn ended(mut child: Child) -> Result<Child, String> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(child),
            Ok(None) if start.elapsed() < LIMIT => sleep(Duration::from_millis(20)),
            outcome => {
                // It may have ended just now.
                let _ = child.kill();
                let _ = child.wait();
                let why = outcome.err().map(|error| error.to_string());
                return Err(why.unwrap_or_else(|| format!("it is not done after {} s", LIMIT.as_secs())));
            }
        }
    }
}
