//! That the policy has changed is reported, with the difference: whoever can change it can have trails left off.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock;
use crate::policy::{Policy, difference};
use crate::state::{Kept, Looked, StoreError};
use crate::tell::{Channel, ShowError, View};

/// Between two tries, while the table or the channel does not answer, or somebody else reports it.
const AGAIN: Duration = Duration::from_secs(30);

/// Reports each change of the policy once over all workers. Ends when dropped.
pub(super) async fn keep(kept: &Kept, policy: &watch::Receiver<Arc<Policy>>, channel: &dyn Channel) {
    let mut policy = policy.clone();
    loop {
        let now = Arc::clone(&policy.borrow_and_update());
        let wait = report(kept, &now, channel).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known whether the policy has changed: the state table is asked again");
            Some(AGAIN)
        });
        match wait {
            Some(wait) => another_within(&mut policy, wait).await,
            None => another(&mut policy).await,
        }
    }
}

/// Waits for another policy, no longer than this.
pub(super) async fn another_within(policy: &mut watch::Receiver<Arc<Policy>>, longest: Duration) {
    // Whichever ends it, it is looked again.
    let _ = tokio::time::timeout(longest, another(policy)).await;
}

/// Waits for another policy; for ever once nobody reads one.
async fn another(policy: &mut watch::Receiver<Arc<Policy>>) {
    if policy.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How long to wait before it is looked at again; nothing once the policy is the one that is kept.
async fn report(kept: &Kept, policy: &Policy, channel: &dyn Channel) -> Result<Option<Duration>, StoreError> {
    let (before, digest) = match kept.look(policy.text()).await? {
        Looked::Same => return Ok(None),
        Looked::TakenUp => return Ok(Some(AGAIN)),
        Looked::Changed { before, digest } => (before, digest),
    };
    let lines = before.map(|before| difference(&before, policy.text()));
    match channel.show(&View::of_a_policy(lines, clock::now())).await {
        Ok(()) => {
            tracing::info!("the policy has changed, and that was reported");
            kept.replace(digest, policy.text()).await?;
            Ok(None)
        }
        Err(error) => {
            tracing::warn!(%error, "the channel did not take the report that the policy has changed");
            let after = if let ShowError::NotOurTurn { after } = error { after } else { AGAIN };
            Ok(Some(after.max(AGAIN)))
        }
    }
}
