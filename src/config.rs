//! From flags and variables to a configuration that holds: parsed whole, and every fault named at once.

mod commands;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::filter::{LevelFilter, Targets};
use url::Url;

use crate::args::{DlqArgs, HttpArgs, ModeArgs, QueueArgs, RunArgs};
use crate::consumer::redrive::is_same_queue;
use crate::consumer::{PoolConfig, RetryPolicy};
use crate::telemetry::{LogFormat, MetricsFormat, TelemetryConfig};

pub use commands::{DlqConfig, ReplayConfig, Wanted};

/// Variables of the interface that this version does not act on. Whoever sets one expects something of it, so
/// it is an error rather than a surprise. Beside each stands the one value that asks for nothing.
const NOT_YET: [(&str, Option<&str>); 7] = [
    ("TRAILKEEPER_SLACK_BOT_TOKEN", None),
    ("TRAILKEEPER_SLACK_CHANNEL", None),
    ("TRAILKEEPER_SLACK_API_URL", None),
    ("TRAILKEEPER_POLICY", None),
    ("TRAILKEEPER_MEMBER_ROLE", None),
    ("TRAILKEEPER_EXTERNAL_ID", None),
    ("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", Some("0")),
];

/// Where health and metrics are served unless something else is said.
const HTTP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9090);

/// One thing that is wrong with the configuration. Names the variable; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    /// `what` is a whole sentence without its end.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a worker needs to know, one part for each concern.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is done about events.
    pub respond: RespondConfig,
    /// Where messages come from and go to.
    pub queue: QueueConfig,
    /// How many at once, and for how long.
    pub pool: PoolConfig,
    /// Where claims live.
    pub state: StateConfig,
    /// Whether to ask for scale-in protection while at work.
    pub task_protection: bool,
    /// The ECS agent of the task that this runs in.
    pub ecs_agent: Option<String>,
    /// Where health and metrics are served.
    pub http: SocketAddr,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
}

/// Where claims live.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// The table that all workers share; in memory without one.
    pub table: Option<String>,
    /// How long a finished event is remembered.
    pub remember: Duration,
}

/// What is done about events.
#[derive(Debug, Clone)]
pub struct RespondConfig {
    /// See [`Mode`].
    pub mode: Mode,
    /// Slack's incoming webhook; there unless the mode is a dry run.
    pub slack_webhook: Option<SecretString>,
}

/// How far the worker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Restart and tell.
    Restore,
    /// Tell only.
    Notify,
    /// Log what would be done.
    DryRun,
}

/// Where messages come from and go to.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// The queue.
    pub url: String,
    /// The dead-letter queue, if it is not the redrive policy's.
    pub dead_letter_url: Option<String>,
    /// The long poll.
    pub wait: Duration,
}

impl Config {
    /// Reads the whole configuration. `environment` looks up the variables that have no flag.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(args: RunArgs, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        Self::read_for(args, environment, true)
    }

    /// The same for somebody who only looks, and need not have the webhook.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read_to_check(
        args: RunArgs,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Fault>> {
        Self::read_for(args, environment, false)
    }

    fn read_for(
        args: RunArgs,
        environment: impl Fn(&str) -> Option<String>,
        tells: bool,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults(Vec::new());
        let mode = faults.mode(args.mode);
        let slack_webhook = faults.webhook(args.slack_webhook_url, tells && mode != Mode::DryRun);
        let url = faults.queue(args.queue);
        let dead_letter_url = faults.dead_letters(args.dlq, url.as_deref());
        let wait = faults.seconds("TRAILKEEPER_WAIT_SECONDS", args.wait_seconds, 0..=20, 20);
        let visibility = faults.seconds(
            "TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS",
            args.visibility_timeout_seconds,
            1..=43_200,
            120,
        );
        let retry = faults.retry(args.max_attempts, args.retry_base_seconds, args.retry_max_seconds);
        let grace =
            faults.seconds("TRAILKEEPER_SHUTDOWN_GRACE_SECONDS", args.shutdown_grace_seconds, 1..=3_600, 100);
        let pool = PoolConfig {
            concurrency: faults.count("TRAILKEEPER_CONCURRENCY", args.concurrency, 1..=1_000, 32),
            max_pollers: faults.count("TRAILKEEPER_MAX_POLLERS", args.max_pollers, 1..=32, 4),
            visibility,
            grace,
            retry,
        };
        let hours = faults.number("TRAILKEEPER_STATE_TTL_HOURS", args.state_ttl_hours, 1..=8_760, 336);
        let http = http_address(&args.http).unwrap_or_else(|fault| {
            faults.0.push(fault);
            HTTP_ADDRESS
        });
        let telemetry = faults.telemetry(args.log, args.log_format, args.metrics, args.otlp_endpoint);
        let task_protection = faults.one_of(
            "TRAILKEEPER_TASK_PROTECTION",
            args.task_protection,
            &[("off", false), ("on", true)],
        );
        let ecs_agent = present(environment("ECS_AGENT_URI"));
        faults.not_yet(environment);
        match (faults.0.is_empty(), url) {
            (true, Some(url)) => Ok(Self {
                respond: RespondConfig { mode, slack_webhook },
                queue: QueueConfig { url, dead_letter_url, wait },
                pool,
                state: StateConfig {
                    table: present(args.state_table),
                    remember: Duration::from_secs(hours * 3_600),
                },
                task_protection,
                ecs_agent,
                http,
                telemetry,
            }),
            _ => Err(faults.0),
        }
    }
}

/// Where health and metrics are served: the address alone, for the command that needs nothing else.
///
/// # Errors
/// When it is not an address and a port.
pub fn http_address(args: &HttpArgs) -> Result<SocketAddr, Fault> {
    let Some(text) = present(args.http_addr.clone()) else { return Ok(HTTP_ADDRESS) };
    SocketAddr::from_str(&text).map_err(|_| {
        Fault::new(format!(
            "TRAILKEEPER_HTTP_ADDR is {text:?}, not an IP address and a port like 0.0.0.0:9090"
        ))
    })
}

/// Collects faults; each reader puts a default in place of what it could not read.
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, what: String) {
        self.0.push(Fault(what));
    }

    fn number(&mut self, name: &str, text: Option<String>, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(text) = present(text) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.add(format!("{name} is {text:?}, not a whole number from {least} to {most}"));
                default
            }
        }
    }

    fn count(
        &mut self,
        name: &str,
        text: Option<String>,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> NonZeroUsize {
        let count = self.number(name, text, range, default);
        usize::try_from(count).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
    }

    fn seconds(
        &mut self,
        name: &str,
        text: Option<String>,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> Duration {
        Duration::from_secs(self.number(name, text, range, default))
    }

    fn retry(&mut self, attempts: Option<String>, base: Option<String>, max: Option<String>) -> RetryPolicy {
        let attempts = self.number("TRAILKEEPER_MAX_ATTEMPTS", attempts, 1..=1_000, 10);
        let base = self.seconds("TRAILKEEPER_RETRY_BASE_SECONDS", base, 0..=3_600, 1);
        let max = self.seconds("TRAILKEEPER_RETRY_MAX_SECONDS", max, 0..=36_000, 300);
        if base > max {
            let (base, max) = (base.as_secs(), max.as_secs());
            self.add(format!(
                "TRAILKEEPER_RETRY_BASE_SECONDS is {base}, more than TRAILKEEPER_RETRY_MAX_SECONDS, which is {max}"
            ));
        }
        RetryPolicy { max_attempts: u32::try_from(attempts).unwrap_or(u32::MAX), base, max }
    }

    /// The first of `values` is the default.
    fn one_of<T: Copy>(&mut self, name: &str, text: Option<String>, values: &[(&str, T)]) -> T {
        let default = values[0].1;
        let Some(text) = present(text) else { return default };
        if let Some((_, value)) = values.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
        self.add(format!("{name} is {text:?}, not one of {}", words.join(", ")));
        default
    }

    fn mode(&mut self, args: ModeArgs) -> Mode {
        let modes = [("restore", Mode::Restore), ("notify", Mode::Notify), ("dry-run", Mode::DryRun)];
        self.one_of("TRAILKEEPER_MODE", args.mode, &modes)
    }

    fn queue(&mut self, args: QueueArgs) -> Option<String> {
        let Some(text) = present(args.queue_url) else {
            self.add("TRAILKEEPER_QUEUE_URL is required: the URL of the queue to consume".to_owned());
            return None;
        };
        self.url("TRAILKEEPER_QUEUE_URL", text)
    }

    fn dead_letters(&mut self, args: DlqArgs, queue: Option<&str>) -> Option<String> {
        let url = present(args.dlq_url).and_then(|text| self.url("TRAILKEEPER_DLQ_URL", text));
        if let (Some(url), Some(queue)) = (&url, queue)
            && is_same_queue(url, queue)
        {
            self.add("TRAILKEEPER_DLQ_URL is the queue itself: poison would go round for ever".to_owned());
        }
        url
    }

    fn url(&mut self, name: &str, text: String) -> Option<String> {
        if is_web_address(&text) {
            return Some(text);
        }
        self.add(format!(
            "{name} is {text:?}, not a URL like https://sqs.eu-west-1.amazonaws.com/111122223333/name"
        ));
        None
    }

    fn webhook(&mut self, secret: Option<SecretString>, required: bool) -> Option<SecretString> {
        let text = secret.map(|secret| secret.expose_secret().to_owned());
        let Some(text) = present(text) else {
            if required {
                self.add(
                    "TRAILKEEPER_SLACK_WEBHOOK_URL is required, unless TRAILKEEPER_MODE is dry-run"
                        .to_owned(),
                );
            }
            return None;
        };
        if !is_web_address(&text) {
            // What stands there may be the secret with a slip of the pen: it is not repeated.
            self.add(
                "TRAILKEEPER_SLACK_WEBHOOK_URL is not a URL (its value is a secret and not shown)".to_owned(),
            );
        }
        Some(SecretString::from(text))
    }

    fn telemetry(
        &mut self,
        log: Option<String>,
        log_format: Option<String>,
        metrics: Option<String>,
        otlp_endpoint: Option<SecretString>,
    ) -> TelemetryConfig {
        let text = present(log).unwrap_or_else(|| "info".to_owned());
        let log = log_filter(&text).unwrap_or_else(|| {
            self.add(format!(
                "TRAILKEEPER_LOG is {text:?}, not a level (error, warn, info, debug, trace) or a list like \
                 info,trailkeeper::consumer=debug"
            ));
            Targets::new()
        });
        let log_format = log_format.filter(|format| !format.trim().is_empty()).map(|format| {
            let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
            self.one_of("TRAILKEEPER_LOG_FORMAT", Some(format), &formats)
        });
        let forms = [
            ("prometheus", MetricsFormat::Prometheus),
            ("emf", MetricsFormat::Emf),
            ("off", MetricsFormat::Off),
        ];
        let metrics = self.one_of("TRAILKEEPER_METRICS", metrics, &forms);
        let otlp_endpoint = self.otlp_endpoint(otlp_endpoint);
        TelemetryConfig { log, log_format, metrics, otlp_endpoint }
    }

    fn otlp_endpoint(&mut self, secret: Option<SecretString>) -> Option<SecretString> {
        let text = present(secret.map(|secret| secret.expose_secret().to_owned()))?;
        let url = Url::parse(&text).ok().filter(is_web);
        let wrong = match &url {
            None => "is not a URL like http://localhost:4318",
            Some(url) if url.path().trim_end_matches('/').ends_with("/v1/traces") => {
                "ends in /v1/traces, which is appended to it: leave that out"
            }
            Some(url) if !url.username().is_empty() || url.password().is_some() => {
                "holds a user or a password, which are not sent: set OTEL_EXPORTER_OTLP_HEADERS=authorization=…"
            }
            Some(_) => return Some(SecretString::from(text)),
        };
        // A token may stand in it: it is not repeated.
        self.add(format!("TRAILKEEPER_OTLP_ENDPOINT {wrong}"));
        None
    }

    fn not_yet(&mut self, environment: impl Fn(&str) -> Option<String>) {
        for (name, harmless) in NOT_YET {
            let value = present(environment(name));
            if value.is_some() && value.as_deref() != harmless {
                self.add(format!("{name} is set, and this version does not support it yet: unset it"));
            }
        }
    }
}

/// A variable that is set to nothing is taken as not set: templates leave such behind.
fn present(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A level for all, and levels for modules of ours. `Targets` itself would take a misspelt level for the name
/// of a module, and then log nothing.
fn log_filter(text: &str) -> Option<Targets> {
    let level = |text: &str| text.trim().parse::<LevelFilter>().ok();
    text.split(',').try_fold(Targets::new(), |targets, part| match part.split_once('=') {
        None => Some(targets.with_default(level(part)?)),
        Some((module, text)) if module.trim().starts_with("trailkeeper") => {
            Some(targets.with_target(module.trim(), level(text)?))
        }
        Some(_) => None,
    })
}

fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| is_web(&url))
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}
