//! The stack of docker-compose.yml, under a name and on ports of its own, so that a developer's stack goes on
//! beside it.

use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::aws::Aws;
use crate::slack::Slack;

const PROJECT: &str = "trailkeeper-test";
const LOCALSTACK_PORT: &str = "24566";
const MOTO_PORT: &str = "25000";
const SLACK_PORT: &str = "28025";
const PROMETHEUS_PORT: &str = "29090";
/// Everything goes at once; without its profile named, compose would leave Prometheus running.
const DOWN: [&str; 6] = ["--profile", "observability", "down", "--volumes", "--timeout", "0"];
/// The longest that any test waits for what it expects; far above what it takes, so that a slow machine fails
/// nothing.
const PATIENCE: Duration = Duration::from_mins(3);

/// For tests in which a message has to be visible again.
pub(crate) const SHORT_VISIBILITY: &str = "tests/compose/short-visibility.yml";
/// Whether the stack that tests share is up.
static SHARED_IS_UP: AtomicBool = AtomicBool::new(false);

/// A running stack; it is brought down when it is dropped, unless the next test is to find it.
pub(crate) struct Stack {
    pub(crate) aws: Aws,
    pub(crate) slack: Slack,
    overlay: Option<&'static str>,
    stays_up: bool,
}

impl Stack {
    fn new(overlay: Option<&'static str>) -> Self {
        let (aws, slack) = (Aws::new(LOCALSTACK_PORT, MOTO_PORT), Slack::new(SLACK_PORT));
        Self { aws, slack, overlay, stays_up: false }
    }

    /// The stack of all tests that kill, stop and pause nothing: three workers, and hidden messages come back soon.
    /// The first of these tests starts it. It stays up until a test with a stack of its own comes, or one of these
    /// fails. Slack and the dead-letter queue are empty for each.
    pub(crate) async fn shared() -> Self {
        let overlay = Some(SHORT_VISIBILITY);
        let is_up = SHARED_IS_UP.load(Ordering::Relaxed);
        let mut stack = if is_up { Self::new(overlay) } else { Self::up_with(3, overlay).await };
        stack.stays_up = every_test_runs();
        SHARED_IS_UP.store(stack.stays_up, Ordering::Relaxed);
        stack.settled().await;
        stack.aws.purge_dead_letters().await;
        stack.slack.forget().await;
        stack
    }

    /// Starts a stack of the test's own and waits until every worker is healthy.
    pub(crate) async fn up(workers: usize) -> Self {
        Self::up_with(workers, None).await
    }

    /// The same, with a second compose file laid over the first.
    pub(crate) async fn up_with(workers: usize, overlay: Option<&'static str>) -> Self {
        let stack = Self::new(overlay);
        // The one that tests share, or what a killed run has left.
        SHARED_IS_UP.store(false, Ordering::Relaxed);
        stack.compose(&DOWN);
        stack.compose(&["up", "--detach", "--scale", &format!("worker={workers}")]);
        eventually("every worker to be healthy", async || {
            let ids = stack.containers("worker");
            let healthy = |id: &String| inspect(id, "{{.State.Health.Status}}") == "healthy";
            (ids.len() == workers && ids.iter().all(healthy)).then_some(())
        })
        .await;
        eventually("the first sweep", async || {
            let lines = stack.containers("worker").iter().flat_map(|id| log_lines(id)).collect::<Vec<_>>();
            lines.iter().any(|line| line["message"] == "swept").then_some(())
        })
        .await;
        stack
    }

    /// Runs compose on this stack, and demands that it ends well; its standard output.
    pub(crate) fn compose(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("compose runs");
        told(&format!("compose {}", args.join(" ")), &output)
    }

    /// Compose on this stack.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        static HAS_V2: OnceLock<bool> = OnceLock::new();
        let has_v2 = HAS_V2.get_or_init(|| {
            let version = Command::new("docker").args(["compose", "version"]).output();
            version.is_ok_and(|output| output.status.success())
        });
        let mut command = Command::new(if *has_v2 { "docker" } else { "docker-compose" });
        if *has_v2 {
            command.arg("compose");
        }
        command.args(["--project-name", PROJECT, "--file", "docker-compose.yml"]);
        if let Some(overlay) = self.overlay {
            command.args(["--file", overlay]);
        }
        command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        command
            .env("LOCALSTACK_PORT", LOCALSTACK_PORT)
            .env("MOTO_PORT", MOTO_PORT)
            .env("SLACK_PORT", SLACK_PORT)
            .env("PROMETHEUS_PORT", PROMETHEUS_PORT)
            // The first at the start, and no other: tests stop trails themselves.
            .env("SWEEP_INTERVAL_SECONDS", "86400");
        command
    }

    /// The containers of a service.
    pub(crate) fn containers(&self, service: &str) -> Vec<String> {
        self.compose(&["ps", "--all", "--quiet", service]).lines().map(str::to_owned).collect()
    }

    /// The one container of a service.
    pub(crate) fn container(&self, service: &str) -> String {
        let ids = self.containers(service);
        assert_eq!(ids.len(), 1, "containers of {service}");
        ids.into_iter().next().expect("one")
    }

    /// The decisions that workers logged, in their order.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let mut lines = self.containers("worker").iter().flat_map(|id| log_lines(id)).collect::<Vec<_>>();
        lines.sort_by_key(|line| line["timestamp"].to_string());
        lines.iter().filter_map(|line| Some(line.get("outcome")?.as_str()?.to_owned())).collect()
    }

    /// Waits until nothing is left in the queue, hidden messages included.
    pub(crate) async fn settled(&self) {
        eventually("the queue to be empty", async || (self.aws.depth().await.total() == 0).then_some(()))
            .await;
    }

    /// Asks Prometheus; its answer's `data`.
    pub(crate) async fn prometheus(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = format!("http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/{path}");
        let url = reqwest::Url::parse_with_params(&url, query).expect("a URL");
        let answer: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        Some(answer["data"].clone())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.stays_up && !std::thread::panicking() {
            return;
        }
        SHARED_IS_UP.store(false, Ordering::Relaxed);
        if std::thread::panicking() {
            // Straight to the terminal: it is too late for an assertion to carry it.
            let _ = self.command(&["ps", "--all"]).status();
            let _ = self.command(&["logs", "--no-color", "--tail", "200", "worker"]).status();
            let _ =
                self.command(&["logs", "--no-color", "--tail", "20", "localstack", "moto", "slack"]).status();
        }
        // A drop within a panic must not panic; what is left over, the next `up` clears away.
        let _ = self.command(&DOWN).output();
    }
}

/// Whether the command line names no test. Of all tests the last one has a stack of its own, so none is left in the end.
/// Of those that somebody names, the last one may be any.
fn every_test_runs() -> bool {
    std::env::args().skip(1).all(|argument| argument.starts_with("--"))
}

/// Runs docker, and demands that it ends well; its standard output.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output().expect("docker runs");
    told(&format!("docker {}", args.join(" ")), &output)
}

/// What `docker inspect` says of a container, in a Go template.
pub(crate) fn inspect(id: &str, format: &str) -> String {
    docker(&["inspect", "--format", format, id])
}

/// The lines that a worker has logged.
pub(crate) fn log_lines(id: &str) -> Vec<Value> {
    let output = Command::new("docker").args(["logs", id]).output().expect("docker runs");
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn told(what: &str, output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} ended with {}:\n{error}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Looks again and again until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"))
}
