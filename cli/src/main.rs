//! `wgpu-rnn`: compare, verify and time recurrent networks on your own device.
//!
//! Every error is one sentence on standard error. Exit code 1: the work failed; 2: the command line is wrong; 130: it was
//! interrupted.

mod base;
mod commands;
mod data;
mod doctor;
mod inside;
mod learn;
mod measure;
mod net;
mod report;
mod results;
mod study;
mod task;

use std::process::ExitCode;

use base::{complain, stop};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use commands::{adapters, classify, compare, eval, flow, forecast, gates, sample, sweep, time, train, tune, verify};

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
    /// Train a model on a series, a text or utterances, with checkpoints to go on from.
    Train(Box<train::Args>),
    /// Say how well a trained model does.
    Eval(eval::Args),
    /// Let a trained model of a text write.
    Sample(sample::Args),
    /// Say what comes after the last rows of a series.
    Forecast(forecast::Args),
    /// Tell the classes of utterances.
    Classify(classify::Args),
    /// Show how gradients flow back through the steps of RNN, GRU and LSTM, and write a page with charts.
    Flow(flow::Args),
    /// Show what the gates and states of RNN, GRU and LSTM keep and discard, and write a page with charts.
    Gates(gates::Args),
    /// List the GPUs of this machine and what this engine can do on them.
    Adapters(adapters::Args),
    /// Examine a device: whether it is right, what its compiler and its floors cost; with a text for a report.
    Doctor(commands::doctor::Args),
    /// Check a device against reference cases that another engine computed.
    Verify(verify::Args),
    /// Time one layer.
    Time(time::Args),
    /// Time RNN, GRU and LSTM over hidden size, length and batch, and write a page with charts.
    Sweep(sweep::Args),
    /// Measure which kernels are fastest on a GPU, or on a software adapter, and remember it.
    Tune(tune::Args),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    // A number below zero is a value, which the option itself refuses or not.
    let numbers = |arg: clap::Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
    let command = Cli::command().mut_args(numbers).mut_subcommands(|sub| sub.mut_args(numbers));
    let cli = match command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // clap's first paragraph says what is wrong, and a tip what was meant; the rest is usage, which `--help` gives in full.
            let said = error.to_string();
            let mut paragraphs = said.split("\n\n").map(str::trim);
            let wrong = paragraphs.next().unwrap_or("error: the command line is wrong").to_string();
            let tip = paragraphs.find_map(|tip| tip.strip_prefix("tip: ").filter(|tip| tip.contains("similar")));
            complain(&tip.map_or_else(|| wrong.clone(), |tip| format!("{wrong}; {tip}")));
            return ExitCode::from(2);
        }
        Err(help) => {
            // A reader that has gone away is no failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let done = match cli.command.unwrap_or(Command::Compare(cli.compare)) {
        Command::Compare(args) => compare::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Forecast(args) => forecast::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Flow(args) => flow::run(&args),
        Command::Gates(args) => gates::run(&args),
        Command::Adapters(args) => adapters::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Time(args) => time::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Tune(args) => tune::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::from(if error.is::<stop::Interrupted>() { 130 } else { 1 })
        }
    }
}
