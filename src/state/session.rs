//! One worker's work on one key: its claims, the lease and the steps as one thing.

use std::sync::atomic::AtomicU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior};

use super::claims::{End, Owed};
use super::{Asking, Claim, Claimed, Claims, Counts, Ending, Key, Step, Steps, Store, StoreError};

/// The work is somebody else's now: stop, and start no further effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claim is lost: another worker has the event now")]
pub struct Lost;

/// Work on one key, from its claim to its end.
///
/// While the shared store is not available the work goes on with a claim in this worker's memory: a trail is not left stopped
/// because of that, and restarting twice does no harm. What is done is written down later.
#[derive(Debug)]
pub struct Session<'s, S> {
    claims: &'s Claims<S>,
    /// In this worker's memory.
    own: Claim,
    /// In the shared store; it names this execution in every write. Or why that has no part in the work.
    shared: Result<Claim, StoreError>,
    /// The message that the work is done for, and whether it came from the dead letters.
    message: (String, bool),
    /// The count that decides whether this is the last execution; a guess without a shared claim.
    attempts: u32,
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
    /// Steps that are done and that the shared store has not taken: the next write takes them along.
    unwritten: Vec<Step>,
    /// The shared store did not take something, so that what people are shown may be shown again.
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
    /// Asks for `key`. Without an answer the work is begun with a claim of this worker's alone, as execution number `guess`.
    pub async fn open(
        claims: &'s Claims<S>,
        key: Key,
        lease: Duration,
        asking: Asking<'_>,
        guess: u32,
    ) -> Opened<'s, S> {
        let own = match claims.own.claim_now(&key, lease, asking) {
            Claimed::Yours(own) => Ok(own),
            Claimed::Held { ends_in } => return Opened::Held(ends_in),
            Claimed::Ended { ending, attempts } if ending == Ending::Done || claims.is_owed(&key) => {
                return Opened::Ended { ending, attempts };
            }
            // Whether somebody has taken it up anew since, only the shared store knows.
            Claimed::Ended { ending, attempts } => Err(Opened::Ended { ending, attempts }),
        };
        let asked_at = Instant::now();
        let shared = match claims.ask(claims.shared.claim(&key, lease, asking)).await {
            Ok(Claimed::Yours(claim)) => Ok(claim),
            Ok(Claimed::Held { ends_in }) => {
                let _ = own.map(|own| claims.own.release_now(&own, Counts::No, &[]));
                return Opened::Held(ends_in);
            }
            Ok(Claimed::Ended { ending, attempts }) => {
                let _ = own.map(|own| claims.own.complete_now(&own, ending.clone()));
                return Opened::Ended { ending, attempts };
            }
            Err(error) => Err(error),
        };
        let own = match own {
            Ok(own) => own,
            Err(_) if shared.is_ok() => claims.own.claim_anew(&key, lease, asking),
            Err(ended) => return ended,
        };
        if let Err(error) = &shared {
            tracing::warn!(%error, %key, "working without a claim: the work may be done twice");
        }
        // What is owed goes along with this session's writes.
        claims.no_longer_owed(&key);
        let mut steps = shared.as_ref().map(|claim| claim.steps.clone()).unwrap_or_default();
        let done_here = match &shared {
            Ok(claim) => claims.own.steps_since(&own, claim.first_claimed_at),
            // Everything is done again.
            Err(_) if asking.redriven => Steps::default(),
            Err(_) => own.steps.clone(),
        };
        let unwritten = done_here.beside(&steps);
        // What others have done, this worker knows from here on.
        let _ = claims.own.record_now(&own, &steps.beside(&done_here));
        unwritten.iter().cloned().for_each(|step| steps.add(step));
        // Without a shared claim there is no lease that could have run out while the store was waited for.
        let leased_at = if shared.is_ok() { asked_at } else { Instant::now() };
        Opened::Yours(Box::new(Self {
            claims,
            own,
            message: (asking.message.to_owned(), asking.redriven),
            attempts: shared.as_ref().map_or(guess, |claim| claim.attempts),
            lease,
            ours_until: Mutex::new(leased_at + lease),
            progress: Mutex::new(Progress { steps, unwritten, may_repeat: shared.is_err() }),
            shared,
        }))
    }

    /// Executions so far, this one included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether nobody can have worked on it before with a claim.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.shared.as_ref().is_ok_and(|claim| claim.fence == 1)
    }

    #[must_use]
    pub fn first_claimed_at(&self) -> OffsetDateTime {
        self.shared.as_ref().map_or(self.own.first_claimed_at, |claim| claim.first_claimed_at)
    }

    /// For how long the shared store has not answered, if that is why it has no part in this.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        matches!(self.shared, Err(StoreError::Silent(_))).then(|| self.claims.answers().silence())
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
        let Ok(claim) = &self.shared else { return Ok(()) };
        match self.claims.ask(self.claims.shared.record(claim, &unwritten)).await {
            Ok(()) => {
                self.progress().unwritten.drain(..unwritten.len());
                Ok(())
            }
            Err(StoreError::Lost) => Err(Lost),
            Err(error) => {
                self.progress().may_repeat = true;
                tracing::warn!(%error, key = %self.own.key, "a step could not be written down");
                Ok(())
            }
        }
    }

    /// Keeps in mind what has been done, for the write that ends the work: nothing else is left to be done.
    pub fn remember(&self, step: Step) {
        // So that this worker at least does not repeat it, whatever comes of the write.
        let _ = self.claims.own.record_now(&self.own, std::slice::from_ref(&step));
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
            let extended = match &self.shared {
                Ok(claim) => {
                    let extending = self.claims.shared.extend(claim, self.lease);
                    // One that hangs must not hold up the next.
                    let extended = tokio::time::timeout(tick, extending).await;
                    let hangs = || Err(StoreError::Silent("no answer before the next try".to_owned()));
                    self.claims.heard(extended.unwrap_or_else(|_elapsed| hangs()))
                }
                Err(_) => Ok(()),
            };
            match extended.and_then(|()| self.claims.own.extend_now(&self.own, self.lease)) {
                Ok(()) => {
                    *self.ours_until.lock().unwrap_or_else(PoisonError::into_inner) = asked_at + self.lease;
                }
                Err(StoreError::Lost) => return,
                Err(error) => {
                    tracing::warn!(%error, key = %self.own.key, "the lease could not be extended, trying again");
                }
            }
        }
    }

    fn ours_until(&self) -> Instant {
        *self.ours_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that the work has ended for good. What the shared store does not take is written down later.
    ///
    /// # Errors
    /// As [`Store::complete`].
    pub async fn complete(&self, ending: Ending) -> Result<(), StoreError> {
        let steps = self.progress().unwritten.clone();
        let written = match &self.shared {
            Ok(claim) => self.claims.ask(self.claims.shared.complete(claim, ending.clone(), &steps)).await,
            Err(_) => Ok(()),
        };
        if written == Err(StoreError::Lost) {
            let _ = self.claims.own.release_now(&self.own, Counts::No, &[]);
            return written;
        }
        let _ = self.claims.own.complete_now(&self.own, ending.clone());
        if self.shared.is_err() || written.is_err() {
            self.owe(End::Ended(ending), steps);
        }
        written
    }

    /// Gives the work back. What the shared store does not take is written down later.
    ///
    /// # Errors
    /// As [`Store::release`].
    pub async fn release(&self, counts: Counts) -> Result<(), StoreError> {
        let steps = self.progress().unwritten.clone();
        let written = match &self.shared {
            Ok(claim) => self.claims.ask(self.claims.shared.release(claim, counts, &steps)).await,
            Err(_) => Ok(()),
        };
        let _ = self.claims.own.release_now(&self.own, counts, &[]);
        let is_owed = match &self.shared {
            Ok(_) => matches!(written, Err(StoreError::Silent(_) | StoreError::Refused(_))),
            Err(_) => !steps.is_empty(),
        };
        if is_owed {
            self.owe(End::Released(counts), steps);
        }
        written
    }

    fn owe(&self, end: End, steps: Vec<Step>) {
        let (key, message) = (self.own.key.clone(), self.message.clone());
        let claim = self.shared.as_ref().ok().cloned();
        self.claims.owe(Owed { key, message, claim, end, steps, looks: AtomicU32::new(0) });
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
