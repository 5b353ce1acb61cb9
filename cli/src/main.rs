//! `wgpu-rnn`: compare, verify and time recurrent networks on your own device.
//!
//! Every error is one sentence on standard error. Exit code 1: the work failed; 2: the command line is wrong.

mod adapters;
mod compare;
mod data;
mod report;
mod results;
mod stop;
mod time;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wgpu_rnn::{Device, DeviceKind};

/// LSTM, GRU and the plain RNN on any GPU, or on the CPU: compare them on real data, check them, time them.
#[derive(Parser)]
#[command(name = "wgpu-rnn", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: compare::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Train RNN, GRU and LSTM on the same data and report what each costs and how well it does (the default).
    Compare(compare::Args),
    /// List the GPUs of this machine and what this engine can do on them.
    Adapters(adapters::Args),
    /// Check a device against reference cases that another engine computed.
    Verify(verify::Args),
    /// Time one layer.
    Time(time::Args),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // clap's first line says what is wrong; the rest is usage, which `--help` gives in full.
            let text = error.to_string();
            eprintln!("{}", text.lines().next().unwrap_or("error: the command line is wrong"));
            return ExitCode::from(2);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    let done = match cli.command.unwrap_or(Command::Compare(cli.compare)) {
        Command::Compare(args) => compare::run(&args),
        Command::Adapters(args) => adapters::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Time(args) => time::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Opens a device and says which.
fn open(kind: DeviceKind) -> anyhow::Result<Device> {
    Ok(pollster::block_on(Device::open(kind))?)
}

/// One line about a device.
fn describe(device: &Device) -> String {
    format!("{} ({}, {}), because {}", device.name(), device.kind_name(), device.backend(), device.why())
}
