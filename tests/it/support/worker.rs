//! A worker in this process, on a test's AWS and Slack.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::time::Duration;

use tokio::task::JoinHandle;
use trailkeeper::app::{self, StartError};
use trailkeeper::args::{QueueArgs, RunArgs};
use trailkeeper::config::{Config, Fault};
use trailkeeper::consumer::Shutdown;
use trailkeeper::telemetry::Metrics;

use super::aws::Aws;
use super::slack::Slack;

pub struct Worker {
    shutdown: Shutdown,
    running: JoinHandle<Result<(), StartError>>,
}

/// The configuration of most tests: short waits, so that nothing takes long.
pub fn args(aws: &Aws, slack: &Slack) -> RunArgs {
    let some = |text: &str| Some(text.to_owned());
    RunArgs {
        queue: QueueArgs { queue_url: Some(aws.queue_url("events")) },
        slack_webhook_url: Some(slack.webhook().into()),
        wait_seconds: some("1"),
        visibility_timeout_seconds: some("30"),
        retry_base_seconds: some("1"),
        retry_max_seconds: some("1"),
        shutdown_grace_seconds: some("10"),
        http: trailkeeper::args::HttpArgs { http_addr: some("127.0.0.1:0") },
        ..RunArgs::default()
    }
}

pub fn config(args: RunArgs) -> Result<Config, Vec<Fault>> {
    Config::read(args, |_| None)
}

impl Worker {
    /// A worker with the configuration of most tests.
    pub fn start(aws: &Aws, slack: &Slack) -> Self {
        Self::start_with(aws, args(aws, slack))
    }

    pub fn start_with(aws: &Aws, args: RunArgs) -> Self {
        let shutdown = Shutdown::default();
        let config = config(args).expect("a configuration that holds");
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
    pub async fn start_with(change: impl FnOnce(&mut RunArgs)) -> Self {
        let (aws, slack) = (Aws::start().await, Slack::start().await);
        let mut args = args(&aws, &slack);
        change(&mut args);
        let worker = Worker::start_with(&aws, args);
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
