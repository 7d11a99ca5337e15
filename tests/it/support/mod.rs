//! What the tests share: an AWS that answers over HTTP, a Slack, events, and a worker between them.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

pub mod aws;
pub mod chaos;
pub mod cloudtrail;
pub mod events;
pub mod organization;
pub mod process;
pub mod slack;
pub mod source;
pub mod terminal;
pub mod worker;

use std::time::Duration;

/// The longest that any test waits for what it expects; far above what it takes, so that a slow machine fails
/// nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"))
}
