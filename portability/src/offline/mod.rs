//! Registers, spills and occupancy of every kernel that planners choose, by the compilers of GPUs that are not here.
//! Estimates: nothing runs.

mod device;
mod family;
mod table;
mod worker;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wgpu_rnn::kernel::planned;
use wgpu_rnn::shader::Spec;

use device::Adapter;
use family::{FAMILIES, Family};
use table::Row;

use crate::report::Report;

/// What the part is called with.
#[derive(clap::Args)]
pub struct Args {
    /// Only these families
    #[arg(long, value_name = "NAME")]
    family: Vec<String>,
    /// Folder with Debian's unstable suite, Mesa and its shims in it
    #[arg(long, value_name = "FOLDER", default_value = "target/portability/sid")]
    sid: PathBuf,
    /// Folder of the tables
    #[arg(long, value_name = "FOLDER", default_value = "benches/record/offline")]
    out: PathBuf,
    /// Compile everything, also what the tables have already
    #[arg(long)]
    anew: bool,
    /// Print all that the driver says of variants with this in their kernel, cell or constants, and write nothing
    #[arg(long, value_name = "TEXT")]
    show: Option<String>,
    #[arg(long, hide = true)]
    worker: bool,
}

impl Args {
    /// Whether it is called to print and not to judge.
    pub fn prints(&self) -> bool {
        self.worker || self.show.is_some()
    }
}

/// Makes the tables.
pub fn run(args: &Args) -> Result<Report> {
    let mut report = Report::default();
    if args.worker {
        worker::serve()?;
        return Ok(report);
    }
    if let Some(name) = args.family.iter().find(|name| FAMILIES.iter().all(|family| family.name != **name)) {
        let names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
        bail!("there is no family `{name}`; there are {}", names.join(", "));
    }
    std::fs::create_dir_all(&args.out)?;
    let wanted = |family: &&Family| args.family.is_empty() || args.family.iter().any(|name| name == family.name);
    for family in FAMILIES.iter().filter(wanted) {
        let rows = tabulate(family, args).with_context(|| format!("the table of {}", family.name))?;
        judge(&mut report, family, &rows);
    }
    Ok(report)
}

fn tabulate(family: &Family, args: &Args) -> Result<Vec<Row>> {
    let program = place(family, &args.sid)?;
    let path = args.out.join(format!("{}.csv", family.name));
    let before = if path.exists() && !args.anew { Some(table::read(&path)?) } else { None };
    let known = |adapter: &Adapter, spec: &Spec| match (&args.show, &before) {
        (Some(show), _) => !format!("{} {}", spec.kernel.name, spec.variant()).contains(show.as_str()),
        (None, Some((of, rows))) if of == adapter => find(rows, spec).is_some(),
        _ => false,
    };
    let (adapter, outcomes) = worker::compile(family, &args.sid, &program, known)?;
    let specs = listed(&adapter);
    if args.show.is_some() {
        for (index, outcome) in &outcomes {
            println!("{} {}: {outcome:?}", specs[*index].kernel.name, specs[*index].variant());
        }
        return Ok(Vec::new());
    }
    let old = before.map(|(_, rows)| rows).unwrap_or_default();
    let row = |(index, spec): (usize, &Spec)| match outcomes.get(&index) {
        Some(outcome) => Some(Row::new(spec, outcome)),
        None => find(&old, spec).cloned(),
    };
    let rows: Vec<Row> = specs.iter().enumerate().filter_map(row).collect();
    table::write(&path, &adapter, &rows)?;
    Ok(rows)
}

/// The row of a variant whose text has not changed.
fn find<'r>(rows: &'r [Row], spec: &Spec) -> Option<&'r Row> {
    let (variant, text) = (spec.variant(), table::text(spec));
    rows.iter().find(|row| row.kernel == spec.kernel.name && row.variant == variant && row.text == text)
}

/// Where this program is for a family's driver.
fn place(family: &Family, folder: &Path) -> Result<String> {
    let own = std::env::current_exe()?;
    if !family.is_in_folder() {
        return Ok(own.to_string_lossy().into_owned());
    }
    // One a family: a program that runs can't be written to, and another process may be at another family.
    let there = format!("tmp/wgpu-rnn-portability-{}", family.name);
    let path = folder.join(&there);
    // What runs from an earlier call keeps its file.
    let _ = std::fs::remove_file(&path);
    std::fs::copy(&own, &path)
        .with_context(|| format!("{} is no folder that programs can be put into", folder.display()))?;
    Ok(format!("/{there}"))
}

/// What is compiled for an adapter.
fn listed(adapter: &Adapter) -> Vec<Spec> {
    planned(adapter.class(), adapter.workgroup_invocations, adapter.workgroup_memory, adapter.f16)
}

/// Counts each row: one that is refused failed, and one of a current GPU that moves values to memory.
fn judge(report: &mut Report, family: &Family, rows: &[Row]) {
    for row in rows {
        let some = |value: Option<f64>| value.unwrap_or_default();
        let found = match row {
            row if !row.refused.is_empty() => Err(row.refused.clone()),
            row if row.spills.is_none() => Err("the driver does not tell of spills".to_string()),
            row if family.current && some(row.spills) + some(row.private) > 0.0 => {
                Err(format!("{} spills, {} bytes of memory an invocation", some(row.spills), some(row.private)))
            }
            _ => Ok(()),
        };
        report.add(family.name, &format!("{}: {}", row.kernel, row.variant), found);
    }
}
