//! `wgpu-rnn adapters`: every adapter, what it has of what matters here, and which strategies can run on it.

use serde::Serialize;
use wgpu_rnn::gpu::{AdapterReport, adapters};
use wgpu_rnn::plan::STRATEGIES;
use wgpu_rnn::{BatchShape, Cell, Device, RnnConfig};

/// Arguments of `adapters`.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON array instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    adapter: AdapterReport,
    strategies: Vec<StrategyRow>,
}

#[derive(Serialize)]
struct StrategyRow {
    name: &'static str,
    /// Why it can't run, if it can't.
    why_not: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let rows: Vec<Row> = pollster::block_on(adapters()).into_iter().map(row).collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    if rows.is_empty() {
        println!("No adapter: this machine has no Vulkan, Metal, DX12 or OpenGL driver.");
    }
    for row in &rows {
        print(row);
    }
    let cpu = Device::cpu()?;
    println!("CPU executor: {}", cpu.backend());
    print_strategies(&strategies(Ok(&cpu)));
    let auto = Device::auto()?;
    println!("`auto` takes {}", crate::describe(&auto));
    Ok(())
}

fn row(adapter: AdapterReport) -> Row {
    let opened = match &adapter.unusable {
        Some(why) => Err(why.clone()),
        None => pollster::block_on(Device::open_adapter(&adapter)).map_err(|error| error.to_string()),
    };
    let strategies = strategies(opened.as_ref().map_err(String::as_str));
    Row { adapter, strategies }
}

/// Which strategies run on a device, asked with a small layer; why none does where the device can't be used.
fn strategies(device: Result<&Device, &str>) -> Vec<StrategyRow> {
    let (config, shape) = (RnnConfig::new(Cell::Lstm, 64, 128), BatchShape::new(128, 32));
    let row = |strategy: &&dyn wgpu_rnn::plan::Strategy| StrategyRow {
        name: strategy.name(),
        why_not: match device {
            Ok(device) => strategy.fits(device, &config, shape).err(),
            Err(why) => Some(why.to_string()),
        },
    };
    STRATEGIES.iter().map(row).collect()
}

fn print(row: &Row) {
    let (adapter, caps) = (&row.adapter, &row.adapter.capabilities);
    let kind = match caps.kind {
        wgpu_rnn::gpu::AdapterKind::Gpu => "hardware",
        wgpu_rnn::gpu::AdapterKind::Software => "software",
    };
    let mib = |bytes: u64| bytes / (1 << 20);
    let yes = |has: bool| if has { "yes" } else { "no" };
    println!("{} — {kind}, {}, {}", adapter.name, adapter.backend, adapter.driver);
    println!("  buffer {} MiB, binding {} MiB, storage buffers {}", mib(caps.max_buffer), mib(caps.max_binding), caps.storage_buffers);
    println!(
        "  workgroup memory {} KiB, invocations {}, subgroups {} ({}–{} lanes)",
        caps.workgroup_memory / 1024,
        caps.workgroup_invocations,
        yes(caps.subgroups),
        caps.subgroup_size[0],
        caps.subgroup_size[1],
    );
    println!(
        "  timestamps {}, f16 {}, cooperative matrices {}",
        yes(caps.timestamps),
        yes(caps.f16),
        yes(caps.cooperative_matrix)
    );
    print_strategies(&row.strategies);
}

fn print_strategies(rows: &[StrategyRow]) {
    for StrategyRow { name, why_not } in rows {
        match why_not {
            None => println!("  strategy {name}: yes"),
            Some(why) => println!("  strategy {name}: no, {why}"),
        }
    }
}
