//! The real binary, on a test's AWS and Slack.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::aws::{Aws, REGION};
use super::slack::Slack;

/// A running `trailkeeper run`.
pub struct Process {
    child: Child,
    pub http: String,
}

/// How a process ended.
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `trailkeeper` with these arguments and nothing of this process's environment but what it takes to run.
pub fn trailkeeper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trailkeeper"));
    command.args(args).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `trailkeeper` with these arguments, configured for this AWS and this Slack.
pub fn configured(aws: &Aws, slack: &Slack, args: &[&str]) -> Command {
    let mut command = trailkeeper(args);
    command
        .env("AWS_REGION", REGION)
        .env("AWS_ENDPOINT_URL", aws.endpoint())
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "example")
        .env("TRAILKEEPER_QUEUE_URL", aws.queue_url("events"))
        // What the sweep does has tests of its own.
        .env("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "0")
        .env("TRAILKEEPER_SLACK_WEBHOOK_URL", slack.webhook());
    command
}

/// The longest that a command takes: below the minute for which tests let calls hang.
const LONGEST: Duration = Duration::from_secs(50);

/// Runs a command to its end.
pub async fn ended(mut command: Command) -> Ended {
    let output = tokio::time::timeout(LONGEST, command.output()).await;
    let output = output.expect("an end").expect("it runs");
    Ended {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

impl Process {
    /// Starts a worker with short waits, and these variables beside.
    pub fn start(aws: &Aws, slack: &Slack, variables: &[(&str, &str)]) -> Self {
        let http = free_address();
        let mut command = configured(aws, slack, &["run"]);
        command
            .env("TRAILKEEPER_HTTP_ADDR", &http)
            .env("TRAILKEEPER_WAIT_SECONDS", "1")
            .env("TRAILKEEPER_RETRY_MAX_SECONDS", "1")
            .envs(variables.iter().copied());
        Self { child: command.spawn().expect("it starts"), http }
    }

    /// Sends SIGTERM.
    pub async fn terminate(&self) {
        self.signal("-TERM").await;
    }

    /// Sends a signal, as `kill` names it.
    pub async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("running").to_string();
        let status = Command::new("kill").args([signal, &id]).status().await.expect("kill runs");
        assert!(status.success());
    }

    /// Asks the worker's HTTP server; the status and the body.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = reqwest::get(format!("http://{}{path}", self.http)).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let (mut out, mut err) =
            (self.child.stdout.take().expect("piped"), self.child.stderr.take().expect("piped"));
        let all = async {
            tokio::join!(out.read_to_string(&mut stdout), err.read_to_string(&mut stderr), self.child.wait())
        };
        let (_, _, status) = tokio::time::timeout(Duration::from_mins(1), all).await.expect("an end");
        Ended { status: status.expect("a status").code(), stdout, stderr }
    }
}

/// A port that nobody has, and that the system gives nobody else before the program takes it: it hands out those above
/// 32,767 by itself, and many at a time while many tests run.
pub fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Two runs of the tests begin at different ones.
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = format!("127.0.0.1:{}", 10_000 + number % 20_000);
        if std::net::TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}
