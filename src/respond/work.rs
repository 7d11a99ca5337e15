//! One claimed event: restart first, notify people, and write down each as it is done.

use std::time::Duration;

use super::verdict::Verdict;
use crate::clock;
use crate::cloudtrail::trails::{Refusal, Trails};
use crate::cloudtrail::{Earlier, RestartError};
use crate::event::{Event, Kind, TrailArn};
use crate::incident::{Restoration, Restored};
use crate::outcome::{Outcome, Reason};
use crate::policy::{Action, Judgement, Seen, conclude, refusal};
use crate::retry::RetryPolicy;
use crate::state::{Lost, Notice, Session, Step, Store};
use crate::telemetry;
use crate::tell::{Channel, ShowError, View};

/// How long people wait to hear of a stopped trail while its restart is under way. Most restarts take less
/// than a second; after this they are notified that it takes longer, and once more how it ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the work is done with, whatever the event.
pub struct Hands {
    pub trails: Trails,
    pub channel: Box<dyn Channel>,
    /// Between attempts of one event, and how many there are.
    pub retry: RetryPolicy,
}

/// One execution of the work on one event.
pub(super) struct Work<'w, S> {
    pub(super) hands: &'w Hands,
    pub(super) event: &'w Event,
    pub(super) judgement: &'w Judgement,
    pub(super) session: &'w Session<'w, S>,
}

impl<S: Store> Work<'_, S> {
    /// Does what is left to be done. May be dropped at any await.
    pub(super) async fn run(&self) -> Result<Verdict, Lost> {
        // Workers began and never ended: the event itself may be what kills them.
        let kills = self.session.attempts() > self.hands.retry.max_attempts;
        let detail = || "no attempt came to an end: the worker crashed or was lost each time".to_owned();
        match &self.judgement.action {
            Action::Restart(_) | Action::Refuse(_) if kills => self.give_up(detail()).await,
            // All there was to do was to notify.
            _ if kills => Ok(Verdict::Poison(Reason::AttemptsExhausted, detail())),
            Action::Restart(trail) => self.restart(trail).await,
            Action::Refuse(why) => {
                Ok(refused(self.notify(Seen::Nothing, Outcome::Notified).await?, refusal(*why)))
            }
            Action::Notify | Action::Ignore => {
                let failed = self.event.kind == Kind::FailedCall;
                let outcome = if failed { Outcome::FailedCall } else { Outcome::Notified };
                self.notify(Seen::Nothing, outcome).await
            }
        }
    }

    async fn restart(&self, trail: &TrailArn) -> Result<Verdict, Lost> {
        let restored = match self.session.steps().restored {
            Some(restored) => restored,
            None => match self.see_to(trail).await? {
                Ok(restored) => {
                    self.session.record(Step::Restored(restored.clone())).await?;
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
        let notified = self.notify(Seen::Ended(&restored), outcome).await?;
        Ok(match restored.outcome {
            Restoration::Refused { detail } => refused(notified, detail),
            Restoration::Unverified { detail } => refused(
                notified,
                format!(
                    "StartLogging was accepted, and trailkeeper could not confirm that logging is on: {detail}"
                ),
            ),
            _ => notified,
        })
    }

    /// Sees to it that the trail logs; the inner error is a failure for now, with people notified if it takes long.
    async fn see_to(&self, trail: &TrailArn) -> Result<Result<Restored, Verdict>, Lost> {
        let earlier = match (self.session.steps().started, self.session.is_first()) {
            (true, _) => Earlier::Started,
            (false, true) => Earlier::Nothing,
            (false, false) => Earlier::Perhaps,
        };
        let still_ours = || self.session.still_ours().is_ok();
        let mut restarting = std::pin::pin!(self.hands.trails.restart(trail, earlier, still_ours));
        let result = match tokio::time::timeout(PATIENCE, &mut restarting).await {
            Ok(result) => result,
            Err(_elapsed) => {
                // Both go on at once: neither waits for the other.
                let (result, announced) =
                    tokio::join!(restarting, self.announce("CloudTrail is slow to answer"));
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
            Err(RestartError::NotOurs) => Err(Lost),
            Err(RestartError::Refused { refusal, started }) => self.not_yet(refusal, started).await.map(Err),
        }
    }

    /// The restart failed for now: give up if this was the last attempt, and notify people if it takes long.
    async fn not_yet(&self, refusal: Refusal, started: bool) -> Result<Verdict, Lost> {
        let detail = refusal.detail;
        if started && !self.session.steps().started {
            self.session.record(Step::Started).await?;
        }
        let (attempts, retry) = (self.session.attempts(), &self.hands.retry);
        if retry.is_last(attempts) {
            return self.give_up(detail).await;
        }
        // If the next execution may come too late to begin notifying people, they are notified now.
        let waited = clock::since(self.session.first_claimed_at());
        if waited + retry.ceiling(attempts) >= PATIENCE {
            self.announce(&detail).await?;
        }
        Ok(Verdict::Failed(detail))
    }

    /// Notifies people that nothing more will be tried. The message is poison whether or not they could be notified,
    /// unless it is only a matter of waiting for our turn.
    async fn give_up(&self, detail: String) -> Result<Verdict, Lost> {
        let attempts = self.session.attempts().min(self.hands.retry.max_attempts);
        let notified = self.notify(Seen::GaveUp { detail: &detail, attempts }, Outcome::DeadLettered).await?;
        if matches!(notified, Verdict::Deferred(..)) {
            return Ok(notified);
        }
        Ok(Verdict::Poison(Reason::AttemptsExhausted, detail))
    }

    /// Notifies people once that the restart takes longer. If that fails it is not worth waiting for: how it ends
    /// will be said in any case.
    async fn announce(&self, detail: &str) -> Result<(), Lost> {
        if self.session.steps().announced.is_some() {
            return Ok(());
        }
        self.session.still_ours()?;
        let view = self.view(Seen::Delayed { detail });
        match self.hands.channel.show(&view).await {
            Ok(()) => self.session.record(Step::Announced(notice(&view))).await,
            Err(error) => {
                let event_id = &self.event.id;
                tracing::warn!(%error, %event_id, "the channel did not take the report that the restart takes longer");
                Ok(())
            }
        }
    }

    /// Notifies people how it ended, unless an earlier execution did.
    async fn notify(&self, seen: Seen<'_>, outcome: Outcome) -> Result<Verdict, Lost> {
        if self.session.steps().notified.is_some() {
            return Ok(Verdict::Done(outcome));
        }
        self.session.still_ours()?;
        let view = self.view(seen);
        Ok(match self.hands.channel.show(&view).await {
            Ok(()) => {
                self.session.record(Step::Notified(notice(&view))).await?;
                Verdict::Done(outcome)
            }
            Err(ShowError::NotOurTurn { after }) => Verdict::Deferred(after, Outcome::Retried),
            Err(ShowError::Failed(detail)) => Verdict::Failed(detail),
            Err(ShowError::Refused(detail)) => Verdict::Poison(Reason::NotifyRefused, detail),
        })
    }

    fn view(&self, seen: Seen) -> View {
        View::new(self.event, conclude(self.event, self.judgement, seen), self.session.may_repeat())
    }
}

/// People were notified of a restart that was refused: that the trail is off weighs more than that nobody was.
fn refused(notified: Verdict, detail: String) -> Verdict {
    match notified {
        Verdict::Done(_) => Verdict::Poison(Reason::RestoreRefused, detail),
        Verdict::Poison(_, untold) => {
            Verdict::Poison(Reason::RestoreRefused, format!("{detail}; and the report was refused: {untold}"))
        }
        other => other,
    }
}

fn notice(view: &View) -> Notice {
    Notice { at: clock::now(), text: view.text() }
}
