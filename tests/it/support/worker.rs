//! A worker in this process, on a test's AWS and Slack.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::time::Duration;

use tokio::task::JoinHandle;
use trailkeeper::app::{self, StartError};
use trailkeeper::args::Args;
use trailkeeper::config::Config;
use trailkeeper::consumer::Shutdown;
use trailkeeper::telemetry::Metrics;

use super::aws::Aws;
use super::slack::Slack;

pub struct Worker {
    shutdown: Shutdown,
    running: JoinHandle<Result<(), StartError>>,
}

/// The configuration of most tests: short waits, so that nothing takes long.
pub fn args(aws: &Aws, slack: &Slack) -> Args {
    let short = [
        ("TRAILKEEPER_WAIT_SECONDS", "1"),
        ("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "30"),
        ("TRAILKEEPER_RETRY_BASE_SECONDS", "1"),
        ("TRAILKEEPER_RETRY_MAX_SECONDS", "1"),
        ("TRAILKEEPER_SHUTDOWN_GRACE_SECONDS", "10"),
        ("TRAILKEEPER_HTTP_ADDR", "127.0.0.1:0"),
        // What the sweep does has tests of its own.
        ("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "0"),
    ];
    let mut args: Args = short.map(|(name, value)| (name, value.to_owned())).into_iter().collect();
    args.set("TRAILKEEPER_QUEUE_URL", aws.queue_url("events"));
    args.set("TRAILKEEPER_SLACK_WEBHOOK_URL", slack.webhook());
    args
}

impl Worker {
    /// A worker with the configuration of most tests.
    pub fn start(aws: &Aws, slack: &Slack) -> Self {
        Self::start_with(aws, &args(aws, slack))
    }

    pub fn start_with(aws: &Aws, args: &Args) -> Self {
        let shutdown = Shutdown::default();
        let config = Config::read(args, |_| None).expect("a configuration that holds");
        let running = tokio::spawn(app::run(config, aws.sdk_config(), Metrics::off(), shutdown.clone()));
        Self { shutdown, running }
    }

    /// Tells the worker to drain, without waiting for it.
    pub fn drain(&self) {
        self.shutdown.drain.cancel();
    }

    /// Drains the worker and waits for its end.
    pub async fn stop(self) {
        self.drain();
        self.ended().await.expect("a clean end");
    }

    /// Waits for the worker's end, which comes by itself or after [`Worker::drain`].
    pub async fn ended(self) -> Result<(), StartError> {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.running).await;
        ended.expect("an end").expect("no panic")
    }
}

/// A worker between an AWS and a Slack.
pub struct Scene {
    pub aws: Aws,
    pub slack: Slack,
    pub worker: Worker,
}

impl Scene {
    /// With the configuration of most tests.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With that configuration, changed.
    pub async fn start_with(change: impl FnOnce(&mut Args)) -> Self {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        let mut args = args(&aws, &slack);
        change(&mut args);
        let worker = Worker::start_with(&aws, &args);
        Self { aws, slack, worker }
    }

    /// Sends an event and waits until its message has left the queue.
    pub async fn handle(&self, event: impl ToString) {
        self.aws.send(event.to_string()).await;
        self.settled().await;
    }

    /// Waits until the queue is empty, hidden messages included.
    pub async fn settled(&self) {
        let empty = async || (self.aws.depth("events") == 0).then_some(());
        super::eventually("the queue to be empty", empty).await;
    }
}
