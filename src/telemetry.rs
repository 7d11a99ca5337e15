//! Logs and metrics: every metric's name, and every value of every label, in one place. Traces have `spans.rs` for
//! their names and [`crate::otlp`] for their way out.
//!
//! A log line never holds a message body or a secret. Lines of other crates are kept at `warn` and above,
//! whatever the filter says: the SDK's finer ones can print what it sends.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use secrecy::SecretString;
use time::OffsetDateTime;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::prelude::*;

use crate::otlp::{SpanLayer, Traces};
use crate::outcome::{Outcome, Reason, words};
use crate::spans;

const MESSAGES_RECEIVED: &str = "trailkeeper_messages_received_total";
const MESSAGES_DELETED: &str = "trailkeeper_messages_deleted_total";
const MESSAGES: &str = "trailkeeper_messages_total";
const DEAD_LETTERS: &str = "trailkeeper_dead_letters_total";
const IN_FLIGHT: &str = "trailkeeper_messages_in_flight";
const POLLERS: &str = "trailkeeper_pollers";
const SQS_REQUESTS: &str = "trailkeeper_sqs_requests_total";
const SLACK_POSTS: &str = "trailkeeper_slack_posts_total";
const RESTORE: &str = "trailkeeper_restore_total";
const ASSUME_ROLE: &str = "trailkeeper_assume_role_total";
const SWEEP: &str = "trailkeeper_sweep_seconds";
const SWEEP_TRAILS: &str = "trailkeeper_sweep_trails";
const SWEEP_ACCOUNTS: &str = "trailkeeper_sweep_accounts";
const SWEEP_FINISHED: &str = "trailkeeper_sweep_finished_timestamp_seconds";
const LEASES_LOST: &str = "trailkeeper_leases_lost_total";
const STATE_AVAILABLE: &str = "trailkeeper_state_available";
const QUEUE_DELAY: &str = "trailkeeper_queue_delay_seconds";
const PROCESSING: &str = "trailkeeper_processing_seconds";
const TIME_TO_RESTORE: &str = "trailkeeper_time_to_restore_seconds";
const SLACK_POST: &str = "trailkeeper_slack_post_seconds";

/// From a queue that is keeping up to one that is days behind.
const DELAY_BUCKETS_SECONDS: [f64; 12] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 3_600.0];
/// From a message that needs no call to one that waits out every timeout.
const WORK_BUCKETS_SECONDS: [f64; 10] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0];

/// The CloudWatch namespace of embedded metrics.
const EMF_NAMESPACE: &str = "trailkeeper";
/// The dimension that has the deployment's name, so that two of them in one account are told apart.
const EMF_DEPLOYMENT: &str = "deployment";
/// A CloudWatch data point is a minute at its finest here; six flushes share it. A histogram keeps at most
/// 100 samples between flushes, the format's own limit.
const EMF_FLUSH: Duration = Duration::from_secs(10);
/// Prometheus histograms keep raw samples until they are put into buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Logs, metrics and traces.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// Which lines are written.
    pub log: Targets,
    /// In which form; by the kind of standard error if not said.
    pub log_format: Option<LogFormat>,
    /// Where metrics go.
    pub metrics: MetricsFormat,
    /// The base endpoint of the collector that traces go to; none without one. A URL, which may hold a token.
    pub otlp_endpoint: Option<SecretString>,
    /// The name of this deployment: a dimension of embedded metrics, where there is one.
    pub deployment: Option<String>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// Where metrics go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// `/metrics`.
    Prometheus,
    /// CloudWatch embedded metrics on standard output.
    Emf,
    /// Nowhere.
    Off,
}

words! {
    /// A request to SQS.
    SqsOperation {
        /// `ReceiveMessage`.
        Receive = "receive",
        /// `DeleteMessageBatch`.
        Delete = "delete",
        /// `ChangeMessageVisibilityBatch`.
        Hide = "change_visibility",
        /// `SendMessage` to the dead-letter queue.
        DeadLetter = "dead_letter",
    }
}

words! {
    /// How SQS answered.
    SqsResult {
        /// Wholly.
        Ok = "ok",
        /// Some entries of the batch failed.
        Partial = "partial",
        /// Not at all.
        Error = "error",
    }
}

words! {
    /// How Slack answered.
    SlackResult {
        /// Posted.
        Ok = "ok",
        /// 429.
        RateLimited = "rate_limited",
        /// For now not.
        Failed = "failed",
        /// For good not.
        Refused = "refused",
    }
}

words! {
    /// How one attempt at restarting a trail ended.
    RestoreResult {
        /// Restarted and verified.
        Restored = "restored",
        /// It was logging again already.
        AlreadyLogging = "already_logging",
        /// There is no such trail.
        NotFound = "not_found",
        /// For good not.
        Refused = "refused",
        /// For now not.
        Failed = "failed",
    }
}

words! {
    /// How a sweep saw a trail.
    TrailState {
        /// On.
        Ok = "ok",
        /// Off, or gone.
        Stopped = "stopped",
        /// On, and its log files cannot be delivered.
        Undelivered = "undelivered",
    }
}

words! {
    /// Whether a sweep could look at an account.
    SweepResult {
        /// As a whole.
        Ok = "ok",
        /// Not, or not as a whole.
        Failed = "failed",
    }
}

words! {
    /// How STS answered when a role in another account was asked for.
    AssumeResult {
        /// With a session.
        Ok = "ok",
        /// For good not.
        Denied = "denied",
        /// For now not.
        Failed = "failed",
    }
}

/// A message became `outcome`, one of a closed list.
pub(crate) fn message(outcome: &'static str) {
    counter!(MESSAGES, "outcome" => outcome).increment(1);
}

pub(crate) fn messages_received(count: usize) {
    counter!(MESSAGES_RECEIVED).increment(count as u64);
}

pub(crate) fn message_deleted() {
    counter!(MESSAGES_DELETED).increment(1);
}

pub(crate) fn dead_letter(reason: &'static str) {
    counter!(DEAD_LETTERS, "reason" => reason).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 messages are in flight")]
pub(crate) fn in_flight(count: usize) {
    gauge!(IN_FLIGHT).set(count as f64);
}

#[expect(clippy::cast_precision_loss, reason = "there are at most a handful of pollers")]
pub(crate) fn pollers(count: usize) {
    gauge!(POLLERS).set(count as f64);
}

pub(crate) fn sqs_request(operation: SqsOperation, result: SqsResult) {
    counter!(SQS_REQUESTS, "operation" => operation.as_str(), "result" => result.as_str()).increment(1);
}

pub(crate) fn slack_post(result: SlackResult, took: Duration) {
    counter!(SLACK_POSTS, "result" => result.as_str()).increment(1);
    histogram!(SLACK_POST).record(took);
}

pub(crate) fn restore(result: RestoreResult) {
    counter!(RESTORE, "result" => result.as_str()).increment(1);
}

pub(crate) fn assumed(result: AssumeResult) {
    counter!(ASSUME_ROLE, "result" => result.as_str()).increment(1);
}

/// A sweep has come to its end.
#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far fewer than 2^52")]
pub(crate) fn swept(took: Duration, at: OffsetDateTime) {
    histogram!(SWEEP).record(took);
    gauge!(SWEEP_FINISHED).set(at.unix_timestamp() as f64);
}

/// Trails that a sweep saw, by state.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 trails are seen")]
pub(crate) fn swept_trails(ok: usize, stopped: usize, undelivered: usize) {
    let states =
        [(TrailState::Ok, ok), (TrailState::Stopped, stopped), (TrailState::Undelivered, undelivered)];
    for (state, count) in states {
        gauge!(SWEEP_TRAILS, "state" => state.as_str()).set(count as f64);
    }
}

/// Accounts that a sweep looked at, and those that it could not.
pub(crate) fn swept_accounts(ok: usize, failed: usize) {
    for (result, count) in [(SweepResult::Ok, ok), (SweepResult::Failed, failed)] {
        counter!(SWEEP_ACCOUNTS, "result" => result.as_str()).increment(count as u64);
    }
}

pub(crate) fn lease_lost() {
    counter!(LEASES_LOST).increment(1);
}

pub(crate) fn state_available(is_available: bool) {
    gauge!(STATE_AVAILABLE).set(f64::from(is_available));
}

pub(crate) fn queue_delay(delay: Duration) {
    histogram!(QUEUE_DELAY).record(delay);
}

pub(crate) fn processing(took: Duration) {
    histogram!(PROCESSING).record(took);
}

pub(crate) fn time_to_restore(took: Duration) {
    histogram!(TIME_TO_RESTORE).record(took);
}

/// Where `/metrics` gets its text from; nothing unless the format is Prometheus.
#[derive(Clone)]
pub struct Metrics(Source);

#[derive(Clone)]
enum Source {
    Prometheus(PrometheusHandle),
    Emf(&'static metrics_cloudwatch_embedded::Collector),
    Off,
}

impl Metrics {
    /// No metrics anywhere.
    #[must_use]
    pub fn off() -> Self {
        Self(Source::Off)
    }

    /// The metrics in Prometheus's text form, if they are kept in it.
    #[must_use]
    pub fn render(&self) -> Option<String> {
        match &self.0 {
            Source::Prometheus(handle) => Some(handle.render()),
            Source::Emf(_) | Source::Off => None,
        }
    }

    /// Keeps the metrics going until dropped: moves samples into buckets, or writes them out.
    pub async fn upkeep(&self) {
        match &self.0 {
            Source::Prometheus(handle) => loop {
                tokio::time::sleep(UPKEEP).await;
                handle.run_upkeep();
            },
            Source::Emf(_) => loop {
                tokio::time::sleep(EMF_FLUSH).await;
                self.flush();
            },
            Source::Off => std::future::pending().await,
        }
    }

    /// Writes out what is not yet written; for the end of the program.
    pub fn flush(&self) {
        if let Source::Emf(collector) = &self.0
            && let Err(error) = collector.flush(std::io::stdout())
        {
            tracing::warn!(%error, "metrics could not be written to standard output");
        }
    }
}

/// What is to be kept going while the program runs, and flushed at its end.
pub struct Telemetry {
    pub metrics: Metrics,
    pub traces: Traces,
}

/// Sets logs, metrics and traces up, once in a process, on the runtime that the program runs on.
///
/// # Errors
/// When a recorder or subscriber is installed already, or the way to the collector cannot be set up.
pub fn init(config: &TelemetryConfig) -> anyhow::Result<Telemetry> {
    let (traces, span_layer) = match &config.otlp_endpoint {
        Some(endpoint) => Traces::start(endpoint).map(|(traces, layer)| (traces, Some(layer)))?,
        None => (Traces::off(), None),
    };
    init_logs(config, span_layer)?;
    let source = match config.metrics {
        MetricsFormat::Prometheus => Source::Prometheus(install_prometheus()?),
        MetricsFormat::Emf => {
            let mut builder = metrics_cloudwatch_embedded::Builder::new().cloudwatch_namespace(EMF_NAMESPACE);
            if let Some(deployment) = &config.deployment {
                builder = builder.with_dimension(EMF_DEPLOYMENT, deployment.clone());
            }
            Source::Emf(builder.init().map_err(|error| anyhow::anyhow!("metrics: {error}"))?)
        }
        MetricsFormat::Off => Source::Off,
    };
    describe();
    Ok(Telemetry { metrics: Metrics(source), traces })
}

fn install_prometheus() -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for name in [QUEUE_DELAY, TIME_TO_RESTORE, SWEEP] {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &DELAY_BUCKETS_SECONDS)?;
    }
    for name in [PROCESSING, SLACK_POST] {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &WORK_BUCKETS_SECONDS)?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| anyhow::anyhow!("metrics are set up already"))?;
    Ok(handle)
}

/// Describes every metric, and starts each counter at zero: a rate needs a first sample to rise from.
fn describe() {
    describe_counter!(MESSAGES_RECEIVED, Unit::Count, "Messages received from the queue.");
    describe_counter!(MESSAGES_DELETED, Unit::Count, "Messages deleted from the queue.");
    describe_counter!(MESSAGES, Unit::Count, "What became of messages.");
    describe_counter!(DEAD_LETTERS, Unit::Count, "Messages copied to the dead-letter queue.");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Messages being worked on or settled.");
    describe_gauge!(POLLERS, Unit::Count, "Long polls under way.");
    describe_counter!(SQS_REQUESTS, Unit::Count, "Requests to SQS.");
    describe_counter!(SLACK_POSTS, Unit::Count, "Posts to Slack.");
    describe_counter!(RESTORE, Unit::Count, "Attempts at restarting a trail.");
    describe_counter!(ASSUME_ROLE, Unit::Count, "Sessions asked for in other accounts.");
    describe_counter!(
        LEASES_LOST,
        Unit::Count,
        "Messages that another worker received while this one worked on them."
    );
    describe_gauge!(
        STATE_AVAILABLE,
        Unit::Count,
        "1 while the state table does what it is asked for, 0 while it does not."
    );
    describe_gauge!(SWEEP_TRAILS, Unit::Count, "Trails that the last sweep of this worker saw.");
    describe_counter!(SWEEP_ACCOUNTS, Unit::Count, "Accounts that sweeps looked at.");
    describe_gauge!(SWEEP_FINISHED, Unit::Seconds, "When the last sweep of this worker ended, since 1970.");
    describe_histogram!(SWEEP, Unit::Seconds, "One sweep.");
    describe_histogram!(QUEUE_DELAY, Unit::Seconds, "From sent to first received.");
    describe_histogram!(PROCESSING, Unit::Seconds, "From received to decided.");
    describe_histogram!(TIME_TO_RESTORE, Unit::Seconds, "From the event to logging verified.");
    describe_histogram!(SLACK_POST, Unit::Seconds, "One post to Slack.");
    for name in [MESSAGES_RECEIVED, MESSAGES_DELETED, LEASES_LOST] {
        counter!(name).absolute(0);
    }
    for name in [IN_FLIGHT, POLLERS] {
        gauge!(name).set(0.0);
    }
    for name in [QUEUE_DELAY, PROCESSING, TIME_TO_RESTORE, SLACK_POST, SWEEP] {
        // Registering is what makes it appear.
        let _ = histogram!(name);
    }
    for outcome in Outcome::ALL {
        counter!(MESSAGES, "outcome" => outcome.as_str()).absolute(0);
    }
    for reason in Reason::ALL {
        counter!(DEAD_LETTERS, "reason" => reason.as_str()).absolute(0);
    }
    for operation in SqsOperation::ALL {
        for result in SqsResult::ALL {
            counter!(SQS_REQUESTS, "operation" => operation.as_str(), "result" => result.as_str())
                .absolute(0);
        }
    }
    for result in SlackResult::ALL {
        counter!(SLACK_POSTS, "result" => result.as_str()).absolute(0);
    }
    for result in RestoreResult::ALL {
        counter!(RESTORE, "result" => result.as_str()).absolute(0);
    }
    for result in SweepResult::ALL {
        counter!(SWEEP_ACCOUNTS, "result" => result.as_str()).absolute(0);
    }
    for result in AssumeResult::ALL {
        counter!(ASSUME_ROLE, "result" => result.as_str()).absolute(0);
    }
}

fn init_logs(config: &TelemetryConfig, span_layer: Option<SpanLayer>) -> anyhow::Result<()> {
    let json = match config.log_format {
        Some(format) => format == LogFormat::Json,
        None => !std::io::stderr().is_terminal(),
    };
    let foreign =
        filter_fn(|line| line.target().starts_with("trailkeeper") || *line.level() <= tracing::Level::WARN);
    let quiet = Targets::new()
        .with_default(LevelFilter::TRACE)
        // Spans are for traces: a line does not repeat what it stands in.
        .with_target(spans::TARGET, LevelFilter::OFF)
        // It logs an error for every sample beyond its hundred; that limit is documented, not an error.
        .with_target("metrics_cloudwatch_embedded", LevelFilter::OFF);
    let filter = config.log.clone().and(foreign).and(quiet);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
    };
    let layers: Vec<SpanLayer> = std::iter::once(lines).chain(span_layer).collect();
    Ok(tracing_subscriber::registry().with(layers).try_init()?)
}

/// Tells from now on where a panic happened and not what it said: the text of a panic can quote the data that caused
/// it. In the log if there is one, else to whoever called the program.
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "panicked");
        } else {
            let fault = "this is a fault in trailkeeper";
            // A panic in here would end the program without another word.
            let _ = writeln!(std::io::stderr(), "trailkeeper: panicked at {place}: {fault}");
        }
    }));
}
