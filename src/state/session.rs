//! One worker's work on one key: the store, the claim and the lease as one thing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Asking, Claim, Claimed, Counts, Ending, Key, Step, Steps, Store, StoreError};
use crate::clock;

/// The work is somebody else's now: stop, and start no further effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claim is lost: another worker has the event now")]
pub struct Lost;

/// Work on one key, from its claim to its end.
///
/// While the store is not available the work goes on without a claim: a trail is not left stopped because of that, and
/// restarting twice does no harm. Nothing is then written down.
#[derive(Debug)]
pub struct Session<'s, S> {
    store: &'s S,
    /// For the log: a session without a claim has a key too.
    key: Key,
    /// Names this execution in every write; `None` while the store was not available.
    claim: Option<Claim>,
    /// The count that decides whether this is the last execution; a guess without a claim.
    attempts: u32,
    first_claimed_at: OffsetDateTime,
    /// What is asked for at the claim and at each extension.
    lease: Duration,
    /// Until when the claim is certainly ours, by our own monotonic clock and from before it was asked for: the clock of
    /// the worker that would take over is another.
    ours_until: Mutex<Instant>,
    progress: Mutex<Progress>,
}

/// Locked for a moment only, so that the work and its heartbeat can share a session.
#[derive(Debug)]
struct Progress {
    steps: Steps,
    /// Steps that are done and that the store has not taken: the next that is recorded takes them along.
    unwritten: Vec<Step>,
    /// The store did not take something, so that what people are shown may be shown again.
    may_repeat: bool,
}

/// What a worker that asks for a key gets.
#[derive(Debug)]
pub enum Opened<'s, S> {
    Yours(Box<Session<'s, S>>),
    /// Somebody else works on it; their lease ends after this long.
    Held(Duration),
    Ended {
        ending: Ending,
        attempts: u32,
    },
}

impl<'s, S: Store> Session<'s, S> {
    /// Asks for `key`. Without an answer the work is begun without a claim, as execution number `guess`.
    pub async fn open(
        store: &'s S,
        key: Key,
        lease: Duration,
        asking: Asking<'_>,
        guess: u32,
    ) -> Opened<'s, S> {
        let asked_at = Instant::now();
        let claim = match store.claim(&key, lease, asking).await {
            Ok(Claimed::Yours(claim)) => Some(claim),
            Ok(Claimed::Held { ends_in }) => return Opened::Held(ends_in),
            Ok(Claimed::Ended { ending, attempts }) => return Opened::Ended { ending, attempts },
            Err(error) => {
                tracing::warn!(%error, %key, "working without a claim: the work may be done twice");
                None
            }
        };
        let progress = Progress {
            steps: claim.as_ref().map(|claim| claim.steps.clone()).unwrap_or_default(),
            unwritten: Vec::new(),
            may_repeat: claim.is_none(),
        };
        // Without a claim there is no lease that could have run out while the table was waited for.
        let leased_at = if claim.is_some() { asked_at } else { Instant::now() };
        Opened::Yours(Box::new(Self {
            store,
            key,
            attempts: claim.as_ref().map_or(guess, |claim| claim.attempts),
            first_claimed_at: claim.as_ref().map_or_else(clock::now, |claim| claim.first_claimed_at),
            claim,
            lease,
            ours_until: Mutex::new(leased_at + lease),
            progress: Mutex::new(progress),
        }))
    }

    /// Executions so far, this one included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether nobody can have worked on it before.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.fence == 1)
    }

    #[must_use]
    pub fn first_claimed_at(&self) -> OffsetDateTime {
        self.first_claimed_at
    }

    /// What is done, by this execution or an earlier one.
    #[must_use]
    pub fn steps(&self) -> Steps {
        self.progress().steps.clone()
    }

    /// Whether what people are shown may be shown again, since it could not be written down.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        self.progress().may_repeat
    }

    /// Asked just before each effect.
    ///
    /// # Errors
    /// When the lease may have run out, and somebody else may have taken over.
    pub fn still_ours(&self) -> Result<(), Lost> {
        if Instant::now() < self.ours_until() { Ok(()) } else { Err(Lost) }
    }

    /// Writes down what has been done. A store that is not available stops nothing: what is done is done, and the trail
    /// is waiting.
    ///
    /// # Errors
    /// When somebody else has taken over.
    pub async fn record(&self, step: Step) -> Result<(), Lost> {
        self.remember(step);
        let unwritten = self.progress().unwritten.clone();
        let Some(claim) = &self.claim else { return Ok(()) };
        match self.store.record(claim, &unwritten).await {
            Ok(()) => {
                self.progress().unwritten.drain(..unwritten.len());
                Ok(())
            }
            Err(StoreError::Lost) => Err(Lost),
            Err(error @ StoreError::Unavailable(_)) => {
                self.progress().may_repeat = true;
                tracing::warn!(%error, key = %self.key, "a step could not be written down");
                Ok(())
            }
        }
    }

    /// Keeps in mind what has been done, for the write that ends the work: nothing else is left to be done.
    pub fn remember(&self, step: Step) {
        let mut progress = self.progress();
        progress.steps.add(step.clone());
        progress.unwritten.push(step);
    }

    /// Extends the lease when half of it is left, and again at each tick if that fails: six times as often as it would run
    /// out. Ends when the claim is lost.
    pub async fn keep(&self) {
        let tick = self.lease / 6;
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let asked_at = Instant::now();
            if self.ours_until() > asked_at + self.lease / 2 {
                continue;
            }
            let extended = match &self.claim {
                // One that hangs must not hold up the next.
                Some(claim) => tokio::time::timeout(tick, self.store.extend(claim, self.lease)).await,
                None => Ok(Ok(())),
            };
            match extended {
                Ok(Ok(())) => {
                    *self.ours_until.lock().unwrap_or_else(PoisonError::into_inner) = asked_at + self.lease;
                }
                Ok(Err(StoreError::Lost)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, key = %self.key, "the lease could not be extended, trying again");
                }
                Err(_elapsed) => {
                    let error = "no answer before the next try";
                    tracing::warn!(error, key = %self.key, "the lease could not be extended, trying again");
                }
            }
        }
    }

    fn ours_until(&self) -> Instant {
        *self.ours_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that the work has ended for good. Without a claim there is nothing to end.
    ///
    /// # Errors
    /// As [`Store::complete`].
    pub async fn complete(&self, ending: Ending) -> Result<(), StoreError> {
        match &self.claim {
            Some(claim) => {
                let unwritten = self.progress().unwritten.clone();
                self.store.complete(claim, ending, &unwritten).await
            }
            None => Ok(()),
        }
    }

    /// Gives the work back. Without a claim there is nothing to give.
    ///
    /// # Errors
    /// As [`Store::release`].
    pub async fn release(&self, counts: Counts) -> Result<(), StoreError> {
        match &self.claim {
            Some(claim) => self.store.release(claim, counts).await,
            None => Ok(()),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
