//! Flags and variables, as text: [`crate::config`] reads them all, so that every fault is named in one go.

#![expect(
    clippy::doc_markdown,
    reason = "what is documented here is printed as help, where backticks are noise"
)]

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

/// Everything `run` is configured with, as text. An empty value is an absent one.
#[derive(Debug, Default, Clone, Args)]
#[expect(missing_docs, reason = "a doc comment on a flattened field would become the help text of its flags")]
pub struct RunArgs {
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub dlq: DlqArgs,
    #[command(flatten)]
    pub mode: ModeArgs,
    /// Slack's incoming webhook, a secret: better set in the environment. Required, unless dry-run
    #[arg(long, env = "TRAILKEEPER_SLACK_WEBHOOK_URL", value_name = "URL", hide_env_values = true)]
    pub slack_webhook_url: Option<SecretString>,
    /// The DynamoDB table shared by all workers: partition key `pk` (string), TTL attribute `expires_at`
    /// [default: none; the state is in memory, right for one worker only]
    #[arg(long, env = "TRAILKEEPER_STATE_TABLE", value_name = "NAME")]
    pub state_table: Option<String>,
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
    /// on: ECS scale-in protection while work is in flight; needs ECS_AGENT_URI, which ECS sets [default: off]
    #[arg(long, env = "TRAILKEEPER_TASK_PROTECTION", value_name = "on|off")]
    pub task_protection: Option<String>,
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
    /// Where traces go: the base endpoint of a collector that takes OTLP over HTTP, like http://localhost:4318
    /// [default: nowhere]
    #[arg(long, env = "TRAILKEEPER_OTLP_ENDPOINT", value_name = "URL", hide_env_values = true)]
    pub otlp_endpoint: Option<SecretString>,
    #[command(flatten)]
    pub http: HttpArgs,
}

/// Which queue.
#[derive(Debug, Default, Clone, Args)]
pub struct QueueArgs {
    /// The queue that the worker consumes: an https URL. Required
    #[arg(long, env = "TRAILKEEPER_QUEUE_URL", value_name = "URL")]
    pub queue_url: Option<String>,
}

/// Which dead-letter queue.
#[derive(Debug, Default, Clone, Args)]
pub struct DlqArgs {
    /// Where poison goes [default: the target of the queue's redrive policy]
    #[arg(long, env = "TRAILKEEPER_DLQ_URL", value_name = "URL")]
    pub dlq_url: Option<String>,
}

/// How far the worker goes.
#[derive(Debug, Default, Clone, Args)]
pub struct ModeArgs {
    /// restore (restart logging and notify), notify (notify only), or dry-run (neither; log the decision)
    /// [default: restore]
    #[arg(long, env = "TRAILKEEPER_MODE", value_name = "MODE")]
    pub mode: Option<String>,
}

/// Where the local HTTP server is.
#[derive(Debug, Default, Clone, Args)]
pub struct HttpArgs {
    /// Serves /healthz, /readyz and /metrics [default: 0.0.0.0:9090]
    #[arg(long, env = "TRAILKEEPER_HTTP_ADDR", value_name = "ADDRESS:PORT")]
    pub http_addr: Option<String>,
}

/// What `check` is told: all that `run` is.
#[derive(Debug, Default, Clone, Args)]
#[expect(missing_docs, reason = "a doc comment on a flattened field would become the help text of its flags")]
pub struct CheckArgs {
    /// Print JSON, for machines
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `replay` is told.
#[derive(Debug, Default, Clone, Args)]
#[expect(missing_docs, reason = "a doc comment on a flattened field would become the help text of its flags")]
pub struct ReplayArgs {
    /// Recorded events, or folders of them; - is standard input. Gzip is recognized
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Send nothing; print for each event what would be done and what Slack would be told
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub mode: ModeArgs,
}

/// Which dead letters.
#[derive(Debug, Default, Clone, Args)]
pub struct WantedArgs {
    /// Only those with this reason: malformed, unsupported, restore-refused, notify-refused,
    /// attempts-exhausted, or none (moved by SQS itself)
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those of the event with this eventID
    #[arg(long, value_name = "ID")]
    pub event: Option<String>,
}

/// What `dlq list` is told.
#[derive(Debug, Default, Clone, Args)]
#[expect(missing_docs, reason = "a doc comment on a flattened field would become the help text of its flags")]
pub struct DlqListArgs {
    #[command(flatten)]
    pub wanted: WantedArgs,
    /// Print JSON, for machines
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub dlq: DlqArgs,
}

/// What `dlq redrive` is told.
#[derive(Debug, Default, Clone, Args)]
#[expect(missing_docs, reason = "a doc comment on a flattened field would become the help text of its flags")]
pub struct DlqRedriveArgs {
    #[command(flatten)]
    pub wanted: WantedArgs,
    /// Do not ask before all dead letters are put back
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub queue: QueueArgs,
    #[command(flatten)]
    pub dlq: DlqArgs,
}
