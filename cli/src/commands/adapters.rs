//! `wgpu-rnn adapters`: every adapter, what it has of what matters here, and which strategies can run on it.

use serde::Serialize;
use wgpu_rnn::gpu::{AdapterReport, Capabilities, adapters};
use wgpu_rnn::plan::{Mode, STRATEGIES};
use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};

use crate::base::device::describe;
use crate::base::say;

/// Arguments of `adapters`.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON array instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum AdapterKind {
    Gpu,
    Software,
    Cpu,
}

#[derive(Serialize)]
struct Row {
    /// What `--adapter` takes; none of the CPU executor.
    number: Option<usize>,
    name: String,
    /// `gpu`, `software` or `cpu`.
    kind: AdapterKind,
    backend: String,
    driver: String,
    /// Features and limits; none of the CPU executor.
    capabilities: Option<Capabilities>,
    /// Why this engine can't use it, if it can't.
    unusable: Option<String>,
    strategies: Vec<StrategyRow>,
}

#[derive(Serialize)]
struct StrategyRow {
    name: &'static str,
    /// Why it can't run, if it can't.
    why_not: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut rows: Vec<Row> = pollster::block_on(adapters())?.into_iter().enumerate().map(row).collect();
    let gpus = rows.len();
    rows.push(cpu()?);
    if args.json {
        say(serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    if gpus == 0 {
        say("No adapter was found; why is in the last line.")?;
    }
    rows.iter().try_for_each(print)?;
    let auto = Device::auto()?;
    say(format_args!("`auto` takes {}", describe(&auto)))?;
    Ok(())
}

fn row((number, adapter): (usize, AdapterReport)) -> Row {
    let opened = match &adapter.unusable {
        Some(why) => Err(why.clone()),
        None => pollster::block_on(Device::open_adapter(&adapter)).map_err(|error| error.to_string()),
    };
    let kind = match adapter.capabilities.kind {
        wgpu_rnn::gpu::AdapterKind::Gpu => AdapterKind::Gpu,
        wgpu_rnn::gpu::AdapterKind::Software => AdapterKind::Software,
    };
    Row {
        number: Some(number),
        kind,
        strategies: strategies(opened.as_ref().map_err(String::as_str)),
        name: adapter.name,
        backend: adapter.backend,
        driver: adapter.driver,
        capabilities: Some(adapter.capabilities),
        unusable: adapter.unusable,
    }
}

/// The CPU executor, which is always there.
fn cpu() -> anyhow::Result<Row> {
    let cpu = Device::cpu()?;
    Ok(Row {
        number: None,
        name: cpu.name(),
        kind: AdapterKind::Cpu,
        backend: cpu.backend(),
        driver: "none".to_string(),
        capabilities: None,
        unusable: None,
        strategies: strategies(Ok(&cpu)),
    })
}

/// Which strategies run on a device, asked with training of a small layer; why none does where the device can't be used.
fn strategies(device: Result<&Device, &str>) -> Vec<StrategyRow> {
    let (config, shape) = (RnnConfig::new(Cell::Lstm, 64, 128), BatchShape::new(128, 32));
    let row = |strategy: &&dyn wgpu_rnn::plan::Strategy| StrategyRow {
        name: strategy.name(),
        why_not: match device {
            Ok(device) => strategy.fits(device, &config, shape, Mode::Train).err(),
            Err(why) => Some(why.to_string()),
        },
    };
    STRATEGIES.iter().map(row).collect()
}

fn print(row: &Row) -> std::io::Result<()> {
    match row.number {
        None => say(format_args!("{} — executor, {}", row.name, row.backend))?,
        Some(number) => {
            let kind = if matches!(row.kind, AdapterKind::Gpu) { "hardware" } else { "software" };
            say(format_args!("{number}: {} — {kind}, {}, {}", row.name, row.backend, row.driver))?;
        }
    }
    if let Some(caps) = &row.capabilities {
        let mib = |bytes: u64| bytes / (1 << 20);
        let yes = |has: bool| if has { "yes" } else { "no" };
        say(format_args!(
            "  buffer {} MiB, binding {} MiB, storage buffers {}",
            mib(caps.max_buffer),
            mib(caps.max_binding),
            caps.storage_buffers
        ))?;
        say(format_args!(
            "  workgroup memory {} KiB, invocations {}, subgroups {} ({}–{} lanes)",
            caps.workgroup_memory / 1024,
            caps.workgroup_invocations,
            yes(caps.subgroups),
            caps.subgroup_size[0],
            caps.subgroup_size[1],
        ))?;
        say(format_args!(
            "  timestamps {}, f16 {}, cooperative matrices {}",
            yes(caps.timestamps),
            yes(caps.f16),
            yes(caps.cooperative_matrix)
        ))?;
    }
    row.strategies.iter().try_for_each(|StrategyRow { name, why_not }| match why_not {
        None => say(format_args!("  strategy {name}: yes")),
        Some(why) => say(format_args!("  strategy {name}: no, {why}")),
    })
}
