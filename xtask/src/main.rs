//! Development tasks of wgpu-rnn, run as `cargo xtask <task>`.
//!
//! | task | what it does |
//! | --- | --- |
//! | `test` | everything that must pass before a change lands |
//! | `driver` | makes sure that there is a Vulkan driver to run the shaders on |
//! | `browser` | makes sure that there is a browser to open reports in |
//! | `picture` | a picture of a report's figure, for the documentation |
//! | `portability` | every kernel through other compilers, and the tests on other drivers |
//! | `data` | fetches the text of *Moby-Dick* for the text model |

mod browser;
mod data;
mod driver;
mod picture;
mod portability;
mod shell;
mod suite;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command line.
#[derive(Parser)]
#[command(about = "Development tasks of wgpu-rnn", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

/// The tasks, one a subcommand.
#[derive(Subcommand)]
enum Task {
    /// Run every check: driver, browser, format, lints, tests, doc tests, other compilers, docs
    Test {
        /// Passed on to the test runner (cargo-nextest where it is installed, else cargo test)
        #[arg(last = true, value_name = "RUNNER_ARGS")]
        runner_args: Vec<String>,
    },
    /// Find a Vulkan driver, or install a software one
    Driver,
    /// Find a browser to open reports in, or install one
    Browser,
    /// Take a picture of a report, for the documentation
    Picture(picture::Options),
    /// Compile every kernel by other compilers, and run the tests on other drivers
    Portability(portability::Options),
    /// Fetch the text of Moby-Dick into data/moby-dick.txt
    Data,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test { runner_args } => suite::run(&runner_args),
        Task::Driver => driver::ensure(),
        Task::Browser => browser::ensure(),
        Task::Picture(options) => picture::take(&options),
        Task::Portability(options) => portability::run(&options),
        Task::Data => data::fetch_moby_dick(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
