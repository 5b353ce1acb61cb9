//! `wgpu-rnn`: compare, verify and time recurrent networks on your own device.
//!
//! Every error is one sentence on standard error. Exit code 1: the work failed; 2: the command line is wrong; 130: it was
//! interrupted.

mod adapters;
mod compare;
mod data;
mod device;
mod doctor;
mod inside;
mod learn;
mod net;
mod report;
mod results;
mod stop;
mod sweep;
mod task;
mod time;
mod tune;
mod verify;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand};
use device::describe;

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
    Train(learn::train::Args),
    /// Say how well a trained model does.
    Eval(learn::eval::Args),
    /// Let a trained model of a text write.
    Sample(learn::sample::Args),
    /// Say what comes after the last rows of a series.
    Forecast(learn::forecast::Args),
    /// Tell the classes of utterances.
    Classify(learn::classify::Args),
    /// Show how gradients flow back through the steps of RNN, GRU and LSTM, and write a page with charts.
    Flow(inside::flow::Args),
    /// Show what the gates and states of RNN, GRU and LSTM keep and discard, and write a page with charts.
    Gates(inside::gates::Args),
    /// List the GPUs of this machine and what this engine can do on them.
    Adapters(adapters::Args),
    /// Examine a device: whether it is right, what its compiler and its floors cost; with a text for a report.
    Doctor(doctor::Args),
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // clap's first paragraph says what is wrong; the rest is usage, which `--help` gives in full.
            complain(error.to_string().split("\n\n").next().unwrap_or("error: the command line is wrong"));
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
        Command::Train(args) => learn::train::run(&args),
        Command::Eval(args) => learn::eval::run(&args),
        Command::Sample(args) => learn::sample::run(&args),
        Command::Forecast(args) => learn::forecast::run(&args),
        Command::Classify(args) => learn::classify::run(&args),
        Command::Flow(args) => inside::flow::run(&args),
        Command::Gates(args) => inside::gates::run(&args),
        Command::Adapters(args) => adapters::run(&args),
        Command::Doctor(args) => doctor::run(&args),
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

/// One line on standard error, whatever line breaks a message brings along.
fn complain(sentence: &str) {
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let _ = writeln!(std::io::stderr(), "{}", words.join(" "));
}

/// Prints a line. A reader that has gone away (`| head`) is no reason to fail: the work goes on.
fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A size on the command line.
fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_string()),
        Ok(size) => Ok(size),
        Err(_) => Err("expected a whole number of at least 1".to_string()),
    }
}

/// What was typed to get here.
fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("wgpu-rnn".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Today's date in UTC, `YYYY-MM-DD`.
fn today() -> anyhow::Result<String> {
    let hours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() / 3600;
    let label = data::calendar::Hour(hours as i64).label();
    Ok(label.chars().take(10).collect())
}
