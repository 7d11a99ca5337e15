//! One message: read, claimed, worked on, and its end written down.

use std::time::Duration;

use tokio::time::Instant;

use super::preview::would;
use super::slack::Notifier;
use super::work::{Finished, Means, Work};
use crate::consumer::disposition::decide;
use crate::consumer::{Delivery, Disposition, Handler, Hold, Reason, RetryPolicy};
use crate::event::{self, Event, Kind, Malformed};
use crate::state::{Attempt, Claim, Claimed, Ending, Lease, Store, StoreError};
use crate::telemetry::Outcome;

/// On top of another worker's lease, before its event is looked at again.
const HELD_MARGIN: Duration = Duration::from_secs(1);

/// Works on events.
#[derive(Debug)]
pub struct Responder<S, N> {
    store: S,
    means: Means<N>,
    retry: RetryPolicy,
    lease: Duration,
}

/// What was decided about a message.
struct Decided {
    disposition: Disposition,
    outcome: Outcome,
    attempt: u32,
    /// What failed for now.
    failure: Option<String>,
}

impl Decided {
    fn new(disposition: Disposition, outcome: Outcome, attempt: u32) -> Self {
        Self { disposition, outcome, attempt, failure: None }
    }
}

impl<S: Store, N: Notifier> Responder<S, N> {
    /// `lease` is how long a claim lasts between two heartbeats: the visibility timeout.
    #[must_use]
    pub fn new(store: S, means: Means<N>, retry: RetryPolicy, lease: Duration) -> Self {
        Self { store, means, retry, lease }
    }

    async fn respond(&self, event: &Event, delivery: &Delivery, hold: &Hold) -> Decided {
        let slack = match (&self.means, event.kind) {
            (_, Kind::Other) | (Means::DryRun, _) => {
                return Decided::new(Disposition::Delete, Outcome::Ignored, 0);
            }
            (Means::Restore(_, slack) | Means::Notify(slack), _) => slack,
        };
        let asked_at = Instant::now();
        let redriven = delivery.label.as_ref().map(|_| delivery.message_id.as_str());
        let claim = match self.store.claim(&event.id, self.lease, redriven).await {
            Ok(Claimed::Yours(claim)) => claim,
            Ok(Claimed::Held { ends_in }) => {
                let after = ends_in + HELD_MARGIN;
                return Decided::new(Disposition::Retry { after }, Outcome::Released, 0);
            }
            Ok(Claimed::Ended { ending: Ending::Done, attempts }) => {
                return Decided::new(Disposition::Delete, Outcome::Duplicate, attempts);
            }
            Ok(Claimed::Ended { ending: Ending::Dead { reason, detail }, attempts }) => {
                hold.began(attempts);
                let dead = Disposition::DeadLetter { reason, detail };
                return Decided::new(dead, Outcome::DeadLettered, attempts);
            }
            // A trail is not left stopped because the state is not available: restarting twice does no harm.
            Err(error) => {
                tracing::warn!(%error, event_id = %event.id, "worked on without a claim: it may be done twice");
                // Receives are not executions: they space the attempts, and never make one the last.
                let attempts = delivery.receive_count.min(self.retry.max_attempts.saturating_sub(1)).max(1);
                Claim::unclaimed(event.id.clone(), attempts)
            }
        };
        let attempts = claim.attempts;
        hold.began(attempts);
        // Without a claim there is no lease that could run out while the table was waited for.
        let leased_at = if claim.is_unclaimed() { Instant::now() } else { asked_at };
        let lease = Lease::new(leased_at, self.lease);
        let mut work = Work::new(&self.store, &self.retry, event, slack, &lease, claim);
        let finished = self.hold_claim(&mut work, hold).await;
        let failure = match finished.verdict.failure() {
            Some((kind, detail)) => {
                hold.failed(kind, detail);
                Some(detail.to_owned())
            }
            None => None,
        };
        let disposition = decide(finished.verdict, attempts, &self.retry, fastrand::f64());
        let (disposition, outcome) =
            self.close(work.claim(), disposition, finished.outcome, finished.attempt).await;
        Decided { failure, ..Decided::new(disposition, outcome, attempts) }
    }

    /// Works while the claim is kept alive, and stops when the message is lost or goes back.
    async fn hold_claim(&self, work: &mut Work<'_, S, N>, hold: &Hold) -> Finished {
        let (ours, lease) = (work.claim().clone(), work.lease());
        let mut beats = hold.beats();
        let keep = async {
            // The sender lives in the hold, which outlives this.
            while beats.changed().await.is_ok() {
                let asked_at = Instant::now();
                match self.extend(&ours).await {
                    Ok(()) => lease.extended(asked_at, self.lease),
                    Err(StoreError::Lost) => return,
                    Err(error) => tracing::warn!(%error, "the lease could not be extended"),
                }
            }
        };
        tokio::select! {
            biased;
            () = hold.cancelled() => Finished::RELEASED,
            () = keep => Finished::RELEASED,
            result = work.run(&self.means) => result.unwrap_or_else(|error| {
                tracing::warn!(%error, event_id = %ours.event, "the work stops");
                Finished::RELEASED
            }),
        }
    }

    async fn extend(&self, claim: &Claim) -> Result<(), StoreError> {
        if claim.is_unclaimed() { Ok(()) } else { self.store.extend(claim, self.lease).await }
    }

    /// Writes down how the execution ended, before the message is settled: whoever receives it next must not
    /// do it again.
    async fn close(
        &self,
        claim: &Claim,
        disposition: Disposition,
        outcome: Outcome,
        attempt: Attempt,
    ) -> (Disposition, Outcome) {
        let dead = matches!(disposition, Disposition::DeadLetter { .. });
        let outcome = if dead { Outcome::DeadLettered } else { outcome };
        if claim.is_unclaimed() {
            return (disposition, outcome);
        }
        let written = match &disposition {
            Disposition::Delete => self.store.complete(claim, Ending::Done).await,
            Disposition::Retry { .. } => self.store.release(claim, attempt).await,
            Disposition::DeadLetter { reason, detail } => {
                let ending = Ending::Dead { reason: *reason, detail: detail.clone() };
                self.store.complete(claim, ending).await
            }
        };
        match written {
            Ok(()) => (disposition, outcome),
            // Everything was done; what was not written is that it was. A duplicate finds the steps, or at
            // worst does it again.
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(%error, event_id = %claim.event, "the end of the work could not be written down");
                (disposition, outcome)
            }
            // Somebody else has the event: whatever they decide stands, and this message finds out later.
            Err(error @ StoreError::Lost) => {
                tracing::warn!(%error, event_id = %claim.event, "the work was somebody else's by its end");
                (Disposition::Retry { after: self.lease }, Outcome::Released)
            }
        }
    }
}

impl<S: Store, N: Notifier> Handler for Responder<S, N> {
    async fn handle(&self, delivery: &Delivery, hold: &Hold) -> Disposition {
        let started_at = Instant::now();
        let event = match event::parse(&delivery.body) {
            Ok(event) => event,
            Err(malformed) => return bury(delivery, &malformed, hold),
        };
        hold.names(event.id.as_str());
        let Decided { disposition, outcome, attempt, failure } = self.respond(&event, delivery, hold).await;
        hold.became(outcome);
        let (reason, detail) = match &disposition {
            Disposition::DeadLetter { reason, detail } => (Some(reason.as_str()), Some(detail.as_str())),
            Disposition::Delete | Disposition::Retry { .. } => (None, failure.as_deref()),
        };
        tracing::info!(
            event_id = %event.id,
            event_name = event.name,
            trail = event.resource,
            account = event.account.as_ref().map(tracing::field::display),
            region = event.region.as_ref().map(tracing::field::display),
            outcome = outcome.as_str(),
            attempt,
            ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason,
            detail,
            would = matches!(self.means, Means::DryRun).then(|| would(event.kind)),
            "decided"
        );
        disposition
    }
}

/// A body that is no CloudTrail event becomes a dead letter at once: no attempt could make it one.
fn bury(delivery: &Delivery, malformed: &Malformed, hold: &Hold) -> Disposition {
    if let Malformed::NoName(id) = malformed {
        hold.names(id.as_str());
    }
    let reason = if *malformed == Malformed::AnotherKind { Reason::Unsupported } else { Reason::Malformed };
    let outcome = Outcome::DeadLettered;
    hold.became(outcome);
    let message_id = &delivery.message_id;
    tracing::warn!(%message_id, outcome = outcome.as_str(), reason = reason.as_str(), detail = %malformed, "decided");
    let detail = malformed.to_string();
    hold.failed(reason.as_str(), &detail);
    Disposition::DeadLetter { reason, detail }
}
