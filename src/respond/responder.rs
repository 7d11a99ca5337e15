//! One event from claim to completion: restart first, tell people, remember both.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Message, Report};
use super::restore::Restorer;
use super::slack::{PostError, Slack};
use crate::clock;
use crate::consumer::disposition::{Verdict, decide};
use crate::consumer::{Delivery, Disposition, Handler, Hold, Reason, RetryPolicy};
use crate::event::{self, Event, Kind, Malformed};
use crate::state::{Attempt, Claim, Claimed, Ending, Restoration, Restored, Store, StoreError};
use crate::telemetry::{self, Outcome};

/// How long people wait to hear of a stopped trail while its restart is under way. Most restarts take less
/// than a second; after this they are told that it takes longer, and told again how it ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// On top of another worker's lease, before its event is looked at again.
const HELD_MARGIN: Duration = Duration::from_secs(1);

/// What the worker may do. Each mode holds what it needs for it, and nothing else.
#[derive(Debug)]
pub enum Means {
    /// Restart and tell.
    Restore(Box<Restorer>, Slack),
    /// Tell.
    Notify(Slack),
    /// Neither: log what would be done.
    DryRun,
}

/// Works on events.
#[derive(Debug)]
pub struct Responder<S> {
    store: Arc<S>,
    means: Means,
    retry: RetryPolicy,
    lease: Duration,
}

/// How work on a claimed event ended: what becomes of the message, and what to call it.
struct Finished {
    verdict: Verdict,
    outcome: Outcome,
    /// Whether the execution counts against the limit.
    attempt: Attempt,
}

impl<S: Store> Responder<S> {
    /// `lease` is how long a claim lasts between two heartbeats: the visibility timeout.
    #[must_use]
    pub fn new(store: Arc<S>, means: Means, retry: RetryPolicy, lease: Duration) -> Self {
        Self { store, means, retry, lease }
    }

    async fn respond(&self, event: &Event, delivery: &Delivery, hold: &Hold) -> (Disposition, Outcome, u32) {
        let slack = match (&self.means, event.kind) {
            (_, Kind::Other) | (Means::DryRun, _) => {
                return (Disposition::Delete, Outcome::Ignored, 0);
            }
            (Means::Restore(_, slack) | Means::Notify(slack), _) => slack,
        };
        let mut claim = match self.store.claim(&event.id, self.lease, delivery.redriven).await {
            Ok(Claimed::Yours(claim)) => claim,
            Ok(Claimed::Held { ends_in }) => {
                let after = ends_in + HELD_MARGIN;
                return (Disposition::Retry { after }, Outcome::Released, 0);
            }
            Ok(Claimed::Ended { ending: Ending::Done, attempts }) => {
                return (Disposition::Delete, Outcome::Duplicate, attempts);
            }
            Ok(Claimed::Ended { ending: Ending::Dead { reason, detail }, attempts }) => {
                return (Disposition::DeadLetter { reason, detail }, Outcome::DeadLettered, attempts);
            }
            Err(error) => {
                let after = self.retry.wait(delivery.receive_count, fastrand::f64());
                tracing::warn!(%error, "the event could not be claimed");
                return (Disposition::Retry { after }, Outcome::Retried, 0);
            }
        };
        let attempts = claim.attempts;
        hold.began(attempts);
        let finished = self.hold_claim(event, &mut claim, slack, hold).await;
        let disposition = decide(finished.verdict, attempts, &self.retry, fastrand::f64());
        let (disposition, outcome) =
            self.close(&claim, disposition, finished.outcome, finished.attempt).await;
        (disposition, outcome, attempts)
    }

    /// Works while the claim is kept alive, and stops when the message is lost or goes back.
    async fn hold_claim(&self, event: &Event, claim: &mut Claim, slack: &Slack, hold: &Hold) -> Finished {
        let ours = claim.clone();
        let mut beats = hold.beats();
        let keep = async {
            // The sender lives in the hold, which outlives this.
            while beats.changed().await.is_ok() {
                match self.store.extend(&ours, self.lease).await {
                    Ok(()) => {}
                    Err(StoreError::Lost) => return,
                    Err(error) => tracing::warn!(%error, "the lease could not be extended"),
                }
            }
        };
        let released = || Finished {
            verdict: Verdict::Deferred { after: Duration::ZERO },
            outcome: Outcome::Released,
            attempt: Attempt::DoesNotCount,
        };
        tokio::select! {
            biased;
            () = hold.cancelled() => released(),
            () = keep => released(),
            result = self.work(event, claim, slack) => result.unwrap_or_else(|error| {
                tracing::warn!(%error, "the work stops");
                released()
            }),
        }
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
        let (outcome, written) = match &disposition {
            Disposition::Delete => (outcome, self.store.complete(claim, Ending::Done).await),
            Disposition::Retry { .. } => (outcome, self.store.release(claim, attempt).await),
            Disposition::DeadLetter { reason, detail } => {
                let ending = Ending::Dead { reason: *reason, detail: detail.clone() };
                (Outcome::DeadLettered, self.store.complete(claim, ending).await)
            }
        };
        match written {
            Ok(()) => (disposition, outcome),
            // Somebody else has the event: whatever they decide stands, and this message finds out later.
            Err(error) => {
                tracing::warn!(%error, "the end of the work could not be written down");
                (Disposition::Retry { after: self.lease }, Outcome::Released)
            }
        }
    }

    async fn work(&self, event: &Event, claim: &mut Claim, slack: &Slack) -> Result<Finished, StoreError> {
        let trails = match (&self.means, event.kind) {
            (Means::Restore(trails, _), Kind::Stopped) => trails,
            (_, Kind::Stopped) => {
                return self.tell(event, claim, slack, Report::Untouched, Outcome::Notified).await;
            }
            (_, Kind::Attempted) => {
                return self.tell(event, claim, slack, Report::Seen, Outcome::Attempt).await;
            }
            (_, _) => return self.tell(event, claim, slack, Report::Seen, Outcome::Notified).await,
        };
        if claim.attempts > self.retry.max_attempts {
            // Workers began and never ended: the event itself may be what kills them.
            let detail = "no attempt came to an end: the worker crashed or was lost each time".to_owned();
            return self.give_up(event, claim, slack, detail).await;
        }
        let restored = match claim.steps.restored.clone() {
            Some(restored) => restored,
            None => match self.restore(event, claim, trails, slack).await? {
                Ok(restored) => {
                    claim.steps.restored = Some(restored.clone());
                    self.store.record(claim).await?;
                    restored
                }
                Err(failed) => return Ok(failed),
            },
        };
        let outcome = match restored.outcome {
            Restoration::Restarted => Outcome::Restored,
            Restoration::AlreadyLogging => Outcome::AlreadyLogging,
            Restoration::Gone | Restoration::Refused { .. } => Outcome::Notified,
        };
        let told = self.tell(event, claim, slack, Report::Ended(&restored), outcome).await?;
        Ok(match (&restored.outcome, &told.verdict) {
            (Restoration::Refused { detail }, Verdict::Done) => Finished {
                verdict: Verdict::Poison { reason: Reason::RestoreRefused, detail: detail.clone() },
                ..told
            },
            _ => told,
        })
    }

    /// Restarts the trail; the inner error is a failure for now, with people told if it takes long.
    async fn restore(
        &self,
        event: &Event,
        claim: &mut Claim,
        trails: &Restorer,
        slack: &Slack,
    ) -> Result<Result<Restored, Finished>, StoreError> {
        let target = match event.target() {
            Ok(target) => target,
            Err(why) => {
                let detail = format!("{why}: restart it by hand");
                let outcome = Restoration::Refused { detail };
                let refused = Restored { outcome, at: clock::now(), stopped_at: None, delivery_error: None };
                return Ok(Ok(refused));
            }
        };
        let mut restoring = std::pin::pin!(trails.restore(target.arn(), claim.steps.started));
        let result = match tokio::time::timeout(PATIENCE, &mut restoring).await {
            Ok(result) => result,
            Err(_elapsed) => {
                // Both go on at once: neither waits for the other.
                let (result, announced) = tokio::join!(
                    restoring,
                    self.announce(event, claim, slack, "CloudTrail is slow to answer")
                );
                announced?;
                result
            }
        };
        let not_yet = match result {
            Ok(restored) => {
                if let (Restoration::Restarted, Some(time)) = (&restored.outcome, event.time) {
                    telemetry::time_to_restore(clock::since(time));
                }
                return Ok(Ok(restored));
            }
            Err(not_yet) => not_yet,
        };
        if not_yet.started && !claim.steps.started {
            claim.steps.started = true;
            self.store.record(claim).await?;
        }
        let detail = not_yet.detail;
        if self.retry.is_last(claim.attempts) {
            return self.give_up(event, claim, slack, detail).await.map(Err);
        }
        // If the next execution may come too late to begin telling people, they are told now.
        let waited = clock::since(claim.first_claimed_at);
        if waited + self.retry.ceiling(claim.attempts) >= PATIENCE {
            self.announce(event, claim, slack, &detail).await?;
        }
        Ok(Err(Finished {
            verdict: Verdict::Failed { after: None, detail },
            outcome: Outcome::Retried,
            attempt: Attempt::Counts,
        }))
    }

    /// Tells people that nothing more will be tried. The message is poison whether or not they could be told,
    /// unless it is only a matter of waiting for our turn.
    async fn give_up(
        &self,
        event: &Event,
        claim: &mut Claim,
        slack: &Slack,
        detail: String,
    ) -> Result<Finished, StoreError> {
        let report =
            Report::GaveUp { detail: &detail, attempts: claim.attempts.min(self.retry.max_attempts) };
        let told = self.tell(event, claim, slack, report, Outcome::DeadLettered).await?;
        if matches!(told.verdict, Verdict::Deferred { .. }) {
            return Ok(told);
        }
        let verdict = Verdict::Poison { reason: Reason::AttemptsExhausted, detail };
        Ok(Finished { verdict, ..told })
    }

    /// Tells people once that the restart takes longer. If that fails it is not worth waiting for: how it ends
    /// will be told in any case.
    async fn announce(
        &self,
        event: &Event,
        claim: &mut Claim,
        slack: &Slack,
        detail: &str,
    ) -> Result<(), StoreError> {
        if claim.steps.announced {
            return Ok(());
        }
        match slack.post(&Message::new(event, Report::Delayed { detail })).await {
            Ok(()) => {
                claim.steps.announced = true;
                self.store.record(claim).await
            }
            Err(error) => {
                tracing::warn!(%error, event_id = %event.id, "people could not be told that the restart takes longer");
                Ok(())
            }
        }
    }

    /// Tells people how it ended, unless an earlier execution did.
    async fn tell(
        &self,
        event: &Event,
        claim: &mut Claim,
        slack: &Slack,
        report: Report<'_>,
        outcome: Outcome,
    ) -> Result<Finished, StoreError> {
        let done = Finished { verdict: Verdict::Done, outcome, attempt: Attempt::Counts };
        if claim.steps.notified {
            return Ok(done);
        }
        Ok(match slack.post(&Message::new(event, report)).await {
            Ok(()) => {
                claim.steps.notified = true;
                self.store.record(claim).await?;
                done
            }
            Err(PostError::NotOurTurn { after }) => Finished {
                verdict: Verdict::Deferred { after },
                outcome: Outcome::Retried,
                attempt: Attempt::DoesNotCount,
            },
            Err(PostError::Failed(detail)) => Finished {
                verdict: Verdict::Failed { after: None, detail },
                outcome: Outcome::Retried,
                attempt: Attempt::Counts,
            },
            Err(PostError::Refused(detail)) => Finished {
                verdict: Verdict::Poison { reason: Reason::NotifyRefused, detail },
                outcome: Outcome::DeadLettered,
                attempt: Attempt::Counts,
            },
        })
    }
}

impl<S: Store> Handler for Responder<S> {
    async fn handle(&self, delivery: &Delivery, hold: &Hold) -> Disposition {
        let started_at = Instant::now();
        let event = match event::parse(&delivery.body) {
            Ok(event) => event,
            Err(malformed) => return bury(delivery, &malformed, hold),
        };
        hold.names(event.id.as_str());
        let (disposition, outcome, attempt) = self.respond(&event, delivery, hold).await;
        telemetry::message(outcome);
        let (reason, detail) = match &disposition {
            Disposition::DeadLetter { reason, detail } => (Some(reason.as_str()), Some(detail.as_str())),
            Disposition::Delete | Disposition::Retry { .. } => (None, None),
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
    telemetry::message(outcome);
    let message_id = &delivery.message_id;
    tracing::warn!(%message_id, outcome = outcome.as_str(), reason = reason.as_str(), detail = %malformed, "decided");
    Disposition::DeadLetter { reason, detail: malformed.to_string() }
}

/// What a dry run would do.
fn would(kind: Kind) -> &'static str {
    match kind {
        Kind::Stopped => "restart the trail and tell",
        Kind::Weakened | Kind::Attempted => "tell",
        Kind::Other => "ignore",
    }
}
