//! One claimed event: restart first, tell people, and write down each as it is done.

use std::time::Duration;

use super::message::{Message, Report};
use super::preview::untargeted;
use super::restore::{NotYet, Unrestored};
use super::slack::{Notifier, PostError};
use super::trails::Trails;
use crate::clock;
use crate::consumer::disposition::Verdict;
use crate::consumer::{Reason, RetryPolicy};
use crate::event::{Event, Kind};
use crate::state::{Attempt, Claim, Lease, Restoration, Restored, Store, StoreError, Told};
use crate::telemetry::{self, Outcome};

/// How long people wait to hear of a stopped trail while its restart is under way. Most restarts take less
/// than a second; after this they are told that it takes longer, and told again how it ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the worker may do. Each mode holds what it needs for it, and nothing else.
#[derive(Debug)]
pub enum Means<N> {
    /// Restart and tell.
    Restore(Box<Trails>, N),
    /// Tell.
    Notify(N),
    /// Neither: log what would be done.
    DryRun,
}

/// How an execution ended: what becomes of the message, and what to call it.
pub(super) struct Finished {
    pub(super) verdict: Verdict,
    pub(super) outcome: Outcome,
    /// Whether the execution counts against the limit.
    pub(super) attempt: Attempt,
}

impl Finished {
    /// Nothing came of it, through no fault of the event's.
    pub(super) const RELEASED: Self = Self {
        verdict: Verdict::Deferred { after: Duration::ZERO },
        outcome: Outcome::Released,
        attempt: Attempt::DoesNotCount,
    };

    fn done(outcome: Outcome) -> Self {
        Self { verdict: Verdict::Done, outcome, attempt: Attempt::Counts }
    }

    fn poison(reason: Reason, detail: String) -> Self {
        let verdict = Verdict::Poison { reason, detail };
        Self { verdict, outcome: Outcome::DeadLettered, attempt: Attempt::Counts }
    }

    fn failed(detail: String) -> Self {
        let verdict = Verdict::Failed { after: None, detail };
        Self { verdict, outcome: Outcome::Retried, attempt: Attempt::Counts }
    }
}

/// One execution of the work on one event.
pub(super) struct Work<'a, S, N> {
    store: &'a S,
    retry: &'a RetryPolicy,
    event: &'a Event,
    slack: &'a N,
    lease: &'a Lease,
    claim: Claim,
    /// The store did not take something that was written: what is told may be told again.
    uncertain: bool,
}

impl<'a, S: Store, N: Notifier> Work<'a, S, N> {
    pub(super) fn new(
        store: &'a S,
        retry: &'a RetryPolicy,
        event: &'a Event,
        slack: &'a N,
        lease: &'a Lease,
        claim: Claim,
    ) -> Self {
        let uncertain = claim.is_unclaimed();
        Self { store, retry, event, slack, lease, claim, uncertain }
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(super) fn lease(&self) -> &'a Lease {
        self.lease
    }

    /// Does what is left to be done. May be dropped at any await.
    pub(super) async fn run(&mut self, means: &Means<N>) -> Result<Finished, StoreError> {
        // Workers began and never ended: the event itself may be what kills them.
        let kills = self.claim.attempts > self.retry.max_attempts;
        let detail = || "no attempt came to an end: the worker crashed or was lost each time".to_owned();
        let trails = match (means, self.event.kind) {
            (Means::Restore(..), Kind::Stopped) if kills => return self.give_up(detail()).await,
            (Means::Restore(trails, _), Kind::Stopped) => trails,
            // All there was to do was to tell.
            _ if kills => return Ok(Finished::poison(Reason::AttemptsExhausted, detail())),
            (_, Kind::Stopped) => return self.tell(Report::Untouched, Outcome::Notified).await,
            (_, Kind::Attempted) => return self.tell(Report::Seen, Outcome::Attempt).await,
            (_, _) => return self.tell(Report::Seen, Outcome::Notified).await,
        };
        let restored = match self.claim.steps.restored.clone() {
            Some(restored) => restored,
            None => match self.restore(trails).await? {
                Ok(restored) => {
                    self.claim.steps.restored = Some(restored.clone());
                    self.record().await?;
                    restored
                }
                Err(failed) => return Ok(failed),
            },
        };
        let outcome = match restored.outcome {
            Restoration::Restarted => Outcome::Restored,
            Restoration::AlreadyLogging { .. } => Outcome::AlreadyLogging,
            Restoration::Gone | Restoration::Unverified { .. } | Restoration::Refused { .. } => {
                Outcome::Notified
            }
        };
        let told = self.tell(Report::Ended(&restored), outcome).await?;
        let detail = match restored.outcome {
            Restoration::Refused { detail } => detail,
            Restoration::Unverified { detail } => {
                format!("StartLogging was accepted and cannot be verified: {detail}")
            }
            _ => return Ok(told),
        };
        Ok(match &told.verdict {
            Verdict::Done => Finished::poison(Reason::RestoreRefused, detail),
            // That the trail is off weighs more than that nobody was told.
            Verdict::Poison { detail: untold, .. } => {
                Finished::poison(Reason::RestoreRefused, format!("{detail}; and nobody was told: {untold}"))
            }
            _ => told,
        })
    }

    /// Restarts the trail; the inner error is a failure for now, with people told if it takes long.
    async fn restore(&mut self, trails: &Trails) -> Result<Result<Restored, Finished>, StoreError> {
        let trail = match self.event.target() {
            Ok(trail) => trail,
            Err(why) => return Ok(Ok(Restored::new(untargeted(why), clock::now()))),
        };
        let claim = self.claim.clone();
        let mut restoring = std::pin::pin!(trails.restore(&trail, &claim, self.lease));
        let result = match tokio::time::timeout(PATIENCE, &mut restoring).await {
            Ok(result) => result,
            Err(_elapsed) => {
                // Both go on at once: neither waits for the other.
                let (result, announced) =
                    tokio::join!(restoring, self.announce("CloudTrail is slow to answer"));
                announced?;
                result
            }
        };
        match result {
            Ok(restored) => {
                if let (Restoration::Restarted, Some(time)) = (&restored.outcome, self.event.time) {
                    telemetry::time_to_restore(clock::since(time));
                }
                Ok(Ok(restored))
            }
            Err(Unrestored::Lost(lost)) => Err(lost),
            Err(Unrestored::NotYet(not_yet)) => self.not_yet(not_yet).await.map(Err),
        }
    }

    /// The restart failed for now: give up if this was the last attempt, and tell people if it takes long.
    async fn not_yet(&mut self, NotYet { started, detail }: NotYet) -> Result<Finished, StoreError> {
        if started && !self.claim.steps.started {
            self.claim.steps.started = true;
            self.record().await?;
        }
        if self.retry.is_last(self.claim.attempts) {
            return self.give_up(detail).await;
        }
        // If the next execution may come too late to begin telling people, they are told now.
        let waited = clock::since(self.claim.first_claimed_at);
        if waited + self.retry.ceiling(self.claim.attempts) >= PATIENCE {
            self.announce(&detail).await?;
        }
        Ok(Finished::failed(detail))
    }

    /// Tells people that nothing more will be tried. The message is poison whether or not they could be told,
    /// unless it is only a matter of waiting for our turn.
    async fn give_up(&mut self, detail: String) -> Result<Finished, StoreError> {
        let attempts = self.claim.attempts.min(self.retry.max_attempts);
        let told = self.tell(Report::GaveUp { detail: &detail, attempts }, Outcome::DeadLettered).await?;
        if matches!(told.verdict, Verdict::Deferred { .. }) {
            return Ok(told);
        }
        Ok(Finished::poison(Reason::AttemptsExhausted, detail))
    }

    /// Tells people once that the restart takes longer. If that fails it is not worth waiting for: how it ends
    /// will be told in any case.
    async fn announce(&mut self, detail: &str) -> Result<(), StoreError> {
        if self.claim.steps.announced.is_some() {
            return Ok(());
        }
        self.lease.check()?;
        let message = self.message(Report::Delayed { detail });
        match self.slack.post(&message).await {
            Ok(()) => {
                self.claim.steps.announced = Some(Told { at: clock::now(), text: message.text });
                self.record().await
            }
            Err(error) => {
                let event_id = &self.event.id;
                tracing::warn!(%error, %event_id, "people could not be told that the restart takes longer");
                Ok(())
            }
        }
    }

    /// Tells people how it ended, unless an earlier execution did.
    async fn tell(&mut self, report: Report<'_>, outcome: Outcome) -> Result<Finished, StoreError> {
        if self.claim.steps.notified.is_some() {
            return Ok(Finished::done(outcome));
        }
        self.lease.check()?;
        let message = self.message(report);
        Ok(match self.slack.post(&message).await {
            Ok(()) => {
                self.claim.steps.notified = Some(Told { at: clock::now(), text: message.text });
                self.record().await?;
                Finished::done(outcome)
            }
            Err(PostError::NotOurTurn { after }) => Finished {
                verdict: Verdict::Deferred { after },
                outcome: Outcome::Retried,
                attempt: Attempt::DoesNotCount,
            },
            Err(PostError::Failed(detail)) => Finished::failed(detail),
            Err(PostError::Refused(detail)) => Finished::poison(Reason::NotifyRefused, detail),
        })
    }

    fn message(&self, report: Report) -> Message {
        Message::new(self.event, report, self.uncertain)
    }

    /// Writes the steps down. A store that is not available stops nothing: what is done is done, and the
    /// trail is waiting.
    async fn record(&mut self) -> Result<(), StoreError> {
        if self.claim.is_unclaimed() {
            return Ok(());
        }
        match self.store.record(&self.claim).await {
            Err(error @ StoreError::Unavailable(_)) => {
                self.uncertain = true;
                tracing::warn!(%error, event_id = %self.event.id, "a step could not be written down");
                Ok(())
            }
            written => written,
        }
    }
}
