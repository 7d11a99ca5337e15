//! The real binary on a terminal, where it asks and shows its progress.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use rexpect::session::{PtySession, spawn_command};

use super::aws::Aws;
use super::process::configured;
use super::slack::Slack;

/// The longest wait for anything on a terminal, in milliseconds.
const PATIENCE_MS: u64 = 30_000;

/// Runs `trailkeeper` with these arguments on a terminal of its own, as narrow as any, and `play`s with it.
pub async fn on_a_terminal(
    aws: &Aws,
    slack: &Slack,
    args: &[&str],
    play: impl FnOnce(&mut PtySession) -> Result<(), rexpect::error::Error> + Send + 'static,
) {
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "stty rows 24 cols 80 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_trailkeeper")]);
    let configured = configured(aws, slack, args);
    let variables = configured.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    command
        .args(args)
        .env_clear()
        .envs(variables)
        .env("TERM", "xterm")
        .env("TRAILKEEPER_STATE_TABLE", "state");
    let played = tokio::task::spawn_blocking(move || {
        let mut terminal = spawn_command(command, Some(PATIENCE_MS))?;
        play(&mut terminal)
    });
    played.await.expect("no panic").expect("played to its end");
}
