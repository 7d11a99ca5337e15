//! Commands, and what becomes of them.

#![expect(
    clippy::doc_markdown,
    reason = "what is documented here is printed as help, where backticks are noise"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{self, StartError};
use crate::args::{HttpArgs, RunArgs};
use crate::config::{Config, Fault, HttpAddress};
use crate::consumer::{Reason, Shutdown};
use crate::{http, telemetry};

/// A command failed while running.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong; also clap's own.
const MISCONFIGURED: u8 = 2;

/// Keeps AWS CloudTrail switched on: restarts a stopped trail within seconds and tells Slack who stopped it.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume the queue until SIGTERM or SIGINT, then drain and exit 0.
    ///
    /// AWS itself is configured the SDK's way: AWS_REGION, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_CLOUDTRAIL,
    /// credentials and roles from the environment, a profile, or the task.
    Run(Box<RunArgs>),
    /// Ask the local worker's /healthz: exit 0 healthy, 1 not. For images without a shell.
    Healthcheck(HttpArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(*args),
        Command::Healthcheck(args) => healthcheck(&args),
    }
}

fn run(args: RunArgs) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let config = match Config::read(args, environment) {
        Ok(config) => config,
        Err(faults) => return misconfigured(&faults),
    };
    let ran = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let metrics = telemetry::init(&config.telemetry, Reason::ALL.map(Reason::as_str))?;
            let shutdown = Shutdown::on_signals()?;
            let sdk = match app::sdk_config().await {
                Ok(sdk) => sdk,
                Err(error) => return Ok(Err(error)),
            };
            Ok(app::run(config, sdk, metrics, shutdown).await)
        })
    });
    match ran {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(StartError::Misconfigured(faults))) => misconfigured(&faults),
        Ok(Err(error @ StartError::Failed(_))) => failed(&error),
        Err(error) => failed(&*error),
    }
}

fn healthcheck(args: &HttpArgs) -> ExitCode {
    let address = match HttpAddress::read(args) {
        Ok(address) => address,
        Err(fault) => return misconfigured(&[fault]),
    };
    match runtime().and_then(|runtime| runtime.block_on(http::ask_health(address))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => failed(&*error),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[expect(clippy::print_stderr, reason = "the command line's own answer to whoever typed it")]
fn misconfigured(faults: &[Fault]) -> ExitCode {
    for fault in faults {
        eprintln!("trailkeeper: {fault}");
    }
    ExitCode::from(MISCONFIGURED)
}

#[expect(clippy::print_stderr, reason = "the command line's own answer to whoever typed it")]
fn failed(error: &(impl std::fmt::Display + ?Sized)) -> ExitCode {
    eprintln!("trailkeeper: {error}");
    ExitCode::from(FAILED)
}
