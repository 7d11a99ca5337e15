//! Commands and flags, and what becomes of them. Values are taken as text here: [`crate::config`] reads them
//! all, so that every fault is named in one go.

#![expect(
    clippy::doc_markdown,
    reason = "what is documented here is printed as help, where backticks are noise"
)]

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::{self, StartError};
use crate::config::{Config, Fault, HttpAddress};
use crate::consumer::Shutdown;
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

/// Everything `run` is configured with, as text. An empty value is an absent one.
#[derive(Debug, Default, Clone, Args)]
pub struct RunArgs {
    /// The queue to consume: an https URL. Required
    #[arg(long, env = "TRAILKEEPER_QUEUE_URL", value_name = "URL")]
    pub queue_url: Option<String>,
    /// Where poison goes [default: the target of the queue's redrive policy]
    #[arg(long, env = "TRAILKEEPER_DLQ_URL", value_name = "URL")]
    pub dlq_url: Option<String>,
    /// restore (restart logging and notify), notify (notify only), or dry-run (neither; log the decision)
    /// [default: restore]
    #[arg(long, env = "TRAILKEEPER_MODE", value_name = "MODE")]
    pub mode: Option<String>,
    /// Slack's incoming webhook, a secret: better set in the environment. Required, unless dry-run
    #[arg(long, env = "TRAILKEEPER_SLACK_WEBHOOK_URL", value_name = "URL", hide_env_values = true)]
    pub slack_webhook_url: Option<String>,
    /// How long a finished event is remembered, in hours, 1 to 8760 [default: 336]
    #[arg(long, env = "TRAILKEEPER_STATE_TTL_HOURS", value_name = "HOURS")]
    pub state_ttl_hours: Option<String>,
    /// Messages worked on at once, 1 to 1000 [default: 32]
    #[arg(long, env = "TRAILKEEPER_CONCURRENCY", value_name = "N")]
    pub concurrency: Option<String>,
    /// Concurrent long polls at most, 1 to 32; one when idle [default: 4]
    #[arg(long, env = "TRAILKEEPER_MAX_POLLERS", value_name = "N")]
    pub max_pollers: Option<String>,
    /// Long poll, 0 to 20 [default: 20]
    #[arg(long, env = "TRAILKEEPER_WAIT_SECONDS", value_name = "SECONDS")]
    pub wait_seconds: Option<String>,
    /// Set on every receive and extended while work goes on, 1 to 43200 [default: 120]
    #[arg(long, env = "TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", value_name = "SECONDS")]
    pub visibility_timeout_seconds: Option<String>,
    /// Executions before a message is poison, 1 to 1000 [default: 10]
    #[arg(long, env = "TRAILKEEPER_MAX_ATTEMPTS", value_name = "N")]
    pub max_attempts: Option<String>,
    /// The longest first wait between attempts of one message; it doubles with each, full jitter [default: 1]
    #[arg(long, env = "TRAILKEEPER_RETRY_BASE_SECONDS", value_name = "SECONDS")]
    pub retry_base_seconds: Option<String>,
    /// The longest wait between attempts of one message [default: 300]
    #[arg(long, env = "TRAILKEEPER_RETRY_MAX_SECONDS", value_name = "SECONDS")]
    pub retry_max_seconds: Option<String>,
    /// From SIGTERM: drain for this long, then give everything back, 1 to 3600 [default: 100]
    #[arg(long, env = "TRAILKEEPER_SHUTDOWN_GRACE_SECONDS", value_name = "SECONDS")]
    pub shutdown_grace_seconds: Option<String>,
    /// prometheus (/metrics), emf (CloudWatch embedded metrics on standard output), or off
    /// [default: prometheus]
    #[arg(long, env = "TRAILKEEPER_METRICS", value_name = "FORM")]
    pub metrics: Option<String>,
    /// A level (error, warn, info, debug, trace), or levels by module: info,trailkeeper::consumer=debug
    /// [default: info]
    #[arg(long, env = "TRAILKEEPER_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// json or text, on standard error [default: json unless a terminal]
    #[arg(long, env = "TRAILKEEPER_LOG_FORMAT", value_name = "FORM")]
    pub log_format: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the help text of every flag below")]
    pub http: HttpArgs,
}

/// Where the local HTTP server is.
#[derive(Debug, Default, Clone, Args)]
pub struct HttpArgs {
    /// Serves /healthz, /readyz and /metrics [default: 0.0.0.0:9090]
    #[arg(long, env = "TRAILKEEPER_HTTP_ADDR", value_name = "ADDRESS:PORT")]
    pub http_addr: Option<String>,
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
            let metrics = telemetry::init(&config.telemetry)?;
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
