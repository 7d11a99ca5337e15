//! Claims as a worker makes them: in its own memory, and in the store that workers share.
//!
//! The memory knows what this worker has at hand and what it has done, so that of two copies that reach it one is worked on, whether
//! or not the shared store answers. While that one does not, the memory's claim is all there is. What was done meanwhile is owed to
//! the shared store, and written down once it answers again, never over somebody's live claim.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Asking, Claim, Claimed, Counts, Ending, Key, MemoryStore, Step, Store, StoreError};
use crate::retry::Failure;
use crate::telemetry;

/// Between two looks at whether something is owed: most outages of a table last seconds, and what a worker owes dies with it.
const PACE: Duration = Duration::from_secs(2);
/// A store that nobody has asked for this long is asked whether it answers: events are rare, and a table that is gone is
/// better found before the next.
const UNASKED: Duration = Duration::from_mins(5);
/// Keys that are owed at most, some KiB each; beyond that the oldest is dropped, and a copy of it may be reported again.
const MAX_OWED: usize = 1_024;
/// Looks at a key that somebody else holds, or that is refused, before what is owed of it is dropped: whoever is at work for longer
/// than leases last stands for us.
const MAX_LOOKS: u32 = 100;
/// For the claim of what is written down: two writes of a few seconds each.
const LEASE: Duration = Duration::from_secs(30);
/// A store that has answered nobody for this long hangs: as long as one write is tried.
const HANGS: Duration = Duration::from_secs(8);
/// For one answer of a store that hangs: it is tried for longer otherwise, and each stopped trail would wait for that anew.
const BRIEFLY: Duration = Duration::from_secs(2);

/// Claims in a store that workers share, and in this worker's memory.
#[derive(Debug)]
pub struct Claims<S> {
    pub(super) shared: S,
    pub(super) own: MemoryStore,
    /// The oldest first, and each key once.
    owed: Mutex<VecDeque<Arc<Owed>>>,
    answers: Arc<Answers>,
}

/// What was done and the shared store does not know.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) key: Key,
    /// The message that it was done for, and whether that came from the dead letters.
    pub(super) message: (String, bool),
    /// The claim under which it was done, if the shared store gave one.
    pub(super) claim: Option<Claim>,
    pub(super) end: End,
    pub(super) steps: Vec<Step>,
    /// How often it could not be written down, though the store answers.
    pub(super) looks: AtomicU32,
}

/// How an execution left a key.
#[derive(Debug, Clone)]
pub(super) enum End {
    Ended(Ending),
    Released(Counts),
}

/// Whether the shared store answers, as far as this worker has seen.
#[derive(Debug)]
pub struct Answers {
    /// Since when it has said nothing; and whether it did what it was asked for last.
    heard: Mutex<(Instant, bool)>,
}

impl Answers {
    fn new() -> Self {
        Self { heard: Mutex::new((Instant::now(), false)) }
    }

    fn heard(&self) -> (Instant, bool) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store did what it was asked for last.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.heard().1
    }

    /// For how long it has done nothing that it was asked for; since the start, if it never has.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.heard().0.elapsed()
    }

    fn note(&self, answered: bool) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if answered { Instant::now() } else { heard.0 };
        *heard = (since, answered);
        telemetry::state_available(answered);
    }
}

impl<S: Store> Claims<S> {
    /// `own` remembers for as long as the shared store would, or not at all where that is in memory too.
    #[must_use]
    pub fn new(shared: S, own: MemoryStore) -> Self {
        Self { shared, own, owed: Mutex::default(), answers: Arc::new(Answers::new()) }
    }

    /// For whoever must know whether the shared store answers.
    #[must_use]
    pub fn answers(&self) -> Arc<Answers> {
        Arc::clone(&self.answers)
    }

    /// Waits for the shared store: as long as a write is tried, or only briefly while it hangs.
    pub(super) async fn ask<T>(
        &self,
        asking: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.answers.is_available() || self.answers.silence() < HANGS {
            return self.heard(asking.await);
        }
        let hangs = || StoreError::Silent("no answer in time, nor to what was asked before".to_owned());
        self.heard(tokio::time::timeout(BRIEFLY, asking).await.unwrap_or_else(|_elapsed| Err(hangs())))
    }

    /// Takes notice of whether the shared store has answered.
    pub(super) fn heard<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.answers.note(matches!(answer, Ok(_) | Err(StoreError::Lost)));
        answer
    }

    /// Whether the shared store answers, and may be written to.
    ///
    /// # Errors
    /// As [`Store::probe`].
    pub async fn probe(&self) -> Result<(), Failure> {
        let probed = self.shared.probe().await;
        self.answers.note(probed.is_ok());
        probed
    }

    /// Looks now and then whether the shared store answers, and writes down what is owed to it. Ends when dropped.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(PACE).await;
            self.catch_up().await;
        }
    }

    /// Writes down what is owed, if the shared store answers.
    pub async fn catch_up(&self) {
        let is_due = self.answers.silence() >= UNASKED || !self.answers.is_available();
        if is_due && let Err(failure) = self.probe().await {
            tracing::debug!(%failure, "the state table is still not available");
            return;
        }
        let all: Vec<_> = self.owed().iter().cloned().collect();
        let mut written = 0;
        for owed in all {
            match self.write_down(&owed).await {
                Ok(true) => {
                    written += 1;
                    self.settle(&owed);
                }
                Err(error @ StoreError::Silent(_)) => {
                    tracing::debug!(%error, key = %owed.key, "what is owed to the state table could not be written down");
                    break;
                }
                // It is held, or this item alone is refused, which must not keep the others.
                _ if owed.looks.fetch_add(1, Ordering::Relaxed) + 1 < MAX_LOOKS => {}
                _ => self.settle(&owed),
            }
        }
        if written > 0 {
            let left = self.owed().len();
            tracing::info!(
                written,
                left,
                "written down what was done while the state table was not available"
            );
        }
    }

    /// How many events are owed: of a worker that ends now, nobody will write them down.
    #[must_use]
    pub fn owed_count(&self) -> usize {
        self.owed().len()
    }

    /// Whether it is written down, or somebody else has written what stands. If not, somebody else holds the key.
    async fn write_down(&self, owed: &Owed) -> Result<bool, StoreError> {
        if let Some(claim) = &owed.claim {
            match self.write_as(claim, owed).await {
                // Somebody else has taken it over, and may have given it back: it has ended all the same.
                Err(StoreError::Lost) if matches!(owed.end, End::Ended(_)) => {}
                written => return Self::stands(written),
            }
        }
        let asking = Asking { message: &owed.message.0, redriven: owed.message.1 };
        match self.ask(self.shared.claim(&owed.key, LEASE, asking)).await? {
            Claimed::Yours(claim) => Self::stands(self.write_as(&claim, owed).await),
            Claimed::Held { .. } => Ok(false),
            Claimed::Ended { .. } => Ok(true),
        }
    }

    async fn write_as(&self, claim: &Claim, owed: &Owed) -> Result<(), StoreError> {
        match &owed.end {
            End::Ended(ending) => self.ask(self.shared.complete(claim, ending.clone(), &owed.steps)).await,
            End::Released(counts) => self.ask(self.shared.release(claim, *counts, &owed.steps)).await,
        }
    }

    /// Whoever has taken the key over decides.
    fn stands(written: Result<(), StoreError>) -> Result<bool, StoreError> {
        match written {
            Ok(()) | Err(StoreError::Lost) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Remembers what the shared store does not know, in place of what was owed of the same key before.
    pub(super) fn owe(&self, owed: Owed) {
        self.no_longer_owed(&owed.key);
        let mut all = self.owed();
        if all.len() >= MAX_OWED {
            let dropped = all.pop_front().map(|one| one.key.to_string());
            tracing::warn!(
                dropped,
                "too much is owed to the state table: a copy of this may be reported again"
            );
        }
        all.push_back(Arc::new(owed));
    }

    pub(super) fn is_owed(&self, key: &Key) -> bool {
        self.owed().iter().any(|one| one.key == *key)
    }

    pub(super) fn no_longer_owed(&self, key: &Key) {
        self.owed().retain(|one| one.key != *key);
    }

    /// What has been done since stays owed.
    fn settle(&self, owed: &Arc<Owed>) {
        self.owed().retain(|one| !Arc::ptr_eq(one, owed));
    }

    fn owed(&self) -> MutexGuard<'_, VecDeque<Arc<Owed>>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
