//! Claims in the memory of one worker: duplicates that reach another worker are not known here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Attempt, Claim, Claimed, Ending, Steps, Store, StoreError};
use crate::clock;
use crate::event::EventId;

/// Ended events remembered at most, some 250 bytes each: the oldest are forgotten first. StopLogging is rare;
/// it is duplicates and storms that this holds against.
const MAX_REMEMBERED: usize = 16_384;

/// [`Store`] in a map.
#[derive(Debug)]
pub struct MemoryStore {
    remember: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<EventId, Record>,
    /// Ended events with the time to forget them, oldest first.
    ended: VecDeque<(Instant, EventId)>,
}

#[derive(Debug)]
struct Record {
    fence: u64,
    attempts: u32,
    first_claimed_at: OffsetDateTime,
    steps: Steps,
    status: Status,
}

#[derive(Debug)]
enum Status {
    Held { until: Instant },
    Free,
    Ended(Ending),
}

impl MemoryStore {
    /// Remembers an ended event for `remember`.
    #[must_use]
    pub fn new(remember: Duration) -> Self {
        Self { remember, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record that `claim` holds.
    fn write(&self, claim: &Claim, change: impl FnOnce(&mut Record)) -> Result<(), StoreError> {
        let mut inner = self.inner();
        let record = inner.records.get_mut(&claim.event).ok_or(StoreError::Lost)?;
        if record.fence != claim.fence || !matches!(record.status, Status::Held { .. }) {
            return Err(StoreError::Lost);
        }
        change(record);
        Ok(())
    }
}

impl Inner {
    fn forget_old(&mut self, now: Instant) {
        while let Some((forget_at, _)) = self.ended.front() {
            if *forget_at > now && self.ended.len() <= MAX_REMEMBERED {
                return;
            }
            if let Some((_, event)) = self.ended.pop_front()
                && self.records.get(&event).is_some_and(|record| matches!(record.status, Status::Ended(_)))
            {
                self.records.remove(&event);
            }
        }
    }
}

impl Store for MemoryStore {
    async fn claim(&self, event: &EventId, lease: Duration, reopen: bool) -> Result<Claimed, StoreError> {
        let now = Instant::now();
        let mut inner = self.inner();
        inner.forget_old(now);
        let record = inner.records.entry(event.clone()).or_insert_with(|| Record {
            fence: 0,
            attempts: 0,
            first_claimed_at: clock::now(),
            steps: Steps::default(),
            status: Status::Free,
        });
        match &record.status {
            Status::Held { until } if *until > now => return Ok(Claimed::Held { ends_in: *until - now }),
            Status::Ended(Ending::Dead { .. }) if reopen => {
                record.attempts = 0;
                record.steps = Steps::default();
                record.first_claimed_at = clock::now();
            }
            Status::Ended(ending) => {
                return Ok(Claimed::Ended { ending: ending.clone(), attempts: record.attempts });
            }
            Status::Held { .. } | Status::Free => {}
        }
        record.fence += 1;
        record.attempts += 1;
        record.status = Status::Held { until: now + lease };
        Ok(Claimed::Yours(Claim {
            event: event.clone(),
            fence: record.fence,
            attempts: record.attempts,
            first_claimed_at: record.first_claimed_at,
            steps: record.steps.clone(),
        }))
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.write(claim, |record| record.status = Status::Held { until: Instant::now() + lease })
    }

    async fn record(&self, claim: &Claim) -> Result<(), StoreError> {
        self.write(claim, |record| record.steps = claim.steps.clone())
    }

    async fn release(&self, claim: &Claim, attempt: Attempt) -> Result<(), StoreError> {
        self.write(claim, |record| {
            record.status = Status::Free;
            if attempt == Attempt::DoesNotCount {
                record.attempts -= 1;
            }
        })
    }

    async fn complete(&self, claim: &Claim, ending: Ending) -> Result<(), StoreError> {
        self.write(claim, |record| record.status = Status::Ended(ending))?;
        let forget_at = Instant::now() + self.remember;
        self.inner().ended.push_back((forget_at, claim.event.clone()));
        Ok(())
    }
}
