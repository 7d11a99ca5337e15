//! Claims in the memory of one worker: duplicates that reach another worker are not known here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Asking, Claim, Claimed, Counts, Ending, Key, Step, Steps, Store, StoreError};
use crate::clock;
use crate::retry::Failure;

/// Events remembered at most, some 250 bytes each: beyond that those that have ended are forgotten, the oldest first.
/// StopLogging is rare; it is duplicates and storms that this holds against.
const MAX_REMEMBERED: usize = 16_384;
/// Beyond this, so are those that were given back and have not come again: SQS gives up so many that wait.
const MAX_RECORDS: usize = 32_768;
/// Records looked at by each claim. A claim makes one at most, so two looks take away more than that.
const LOOKS: usize = 2;

/// [`Store`] in a map.
#[derive(Debug)]
pub struct MemoryStore {
    remember: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<Key, Record>,
    /// Every record's key once, the one to be looked at next first.
    order: VecDeque<Key>,
}

#[derive(Debug)]
struct Record {
    fence: u64,
    attempts: u32,
    first_claimed_at: OffsetDateTime,
    /// Gone once the event has ended: nobody goes on with it, and there may be thousands.
    steps: Option<Box<Steps>>,
    /// In which life of the event in the shared store, by when that was first claimed; none if that is not known.
    life: Option<OffsetDateTime>,
    status: Status,
    /// An event that never ends, since its message was given up elsewhere, is forgotten too.
    forget_at: Instant,
    /// The messages that were put back from the dead letters and took the event up anew.
    reopened_by: Vec<String>,
}

#[derive(Debug)]
enum Status {
    Held { until: Instant },
    Free,
    Ended(Ending),
}

impl Record {
    fn new(forget_at: Instant) -> Self {
        Self {
            fence: 0,
            attempts: 0,
            first_claimed_at: clock::now(),
            steps: None,
            life: None,
            status: Status::Free,
            forget_at,
            reopened_by: Vec::new(),
        }
    }

    /// Whether it is worth nothing any more, beside so many records.
    fn is_over(&self, now: Instant, records: usize) -> bool {
        let most = match &self.status {
            Status::Held { until } if *until > now => return false,
            Status::Held { .. } | Status::Free => MAX_RECORDS,
            Status::Ended(_) => MAX_REMEMBERED,
        };
        self.forget_at <= now || records > most
    }

    /// Claimed until then.
    fn held(&mut self, key: &Key, until: Instant) -> Claim {
        self.fence += 1;
        self.attempts += 1;
        self.status = Status::Held { until };
        Claim {
            key: key.clone(),
            fence: self.fence,
            attempts: self.attempts,
            first_claimed_at: self.first_claimed_at,
            steps: self.steps.as_deref().cloned().unwrap_or_default(),
        }
    }

    fn add(&mut self, steps: &[Step]) {
        for step in steps {
            self.steps.get_or_insert_default().add(step.clone());
        }
    }

    /// This message has taken the event up: it does not do so again, also if the record was new to it.
    fn note(&mut self, message: Option<&str>) {
        if self.reopens(message) {
            self.reopened_by.extend(message.map(str::to_owned));
        }
    }

    /// Whether this message may take the event up anew: none may do so twice.
    fn reopens(&self, message: Option<&str>) -> bool {
        message.is_some_and(|message| !self.reopened_by.iter().any(|before| before == message))
    }
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
        let record = inner.records.get_mut(&claim.key).ok_or(StoreError::Lost)?;
        if record.fence != claim.fence || !matches!(record.status, Status::Held { .. }) {
            return Err(StoreError::Lost);
        }
        record.forget_at = Instant::now() + self.remember;
        change(record);
        Ok(())
    }
}

impl Inner {
    fn forget_old(&mut self, now: Instant) {
        for _look in 0..LOOKS {
            let count = self.records.len();
            let Some(key) = self.order.pop_front() else { return };
            if self.records.get(&key).is_some_and(|record| !record.is_over(now, count)) {
                self.order.push_back(key);
            } else {
                self.records.remove(&key);
            }
        }
    }
}

/// As [`Store`]'s, at once: what is in memory is not waited for.
impl MemoryStore {
    pub(super) fn claim_now(&self, key: &Key, lease: Duration, asking: Asking<'_>) -> Claimed {
        let reopen = asking.redriven.then_some(asking.message);
        let now = Instant::now();
        let mut inner = self.inner();
        inner.forget_old(now);
        let forget_at = now + self.remember;
        let Inner { records, order } = &mut *inner;
        let record = records.entry(key.clone()).or_insert_with(|| {
            order.push_back(key.clone());
            Record::new(forget_at)
        });
        // Its time is over, and nobody has looked at it since.
        if record.is_over(now, 0) {
            *record = Record::new(forget_at);
        }
        match &record.status {
            Status::Held { until } if *until > now => return Claimed::Held { ends_in: *until - now },
            Status::Ended(Ending::Dead { .. }) if record.reopens(reopen) => {
                record.attempts = 0;
                record.first_claimed_at = clock::now();
            }
            Status::Ended(ending) => {
                return Claimed::Ended { ending: ending.clone(), attempts: record.attempts };
            }
            Status::Held { .. } | Status::Free => {}
        }
        record.forget_at = forget_at;
        record.note(reopen);
        Claimed::Yours(record.held(key, now + lease))
    }

    /// What was done here in the life of an event that the shared store says was first claimed at this time. An event that was
    /// dead and is taken up anew has another, in which nothing is done.
    pub(super) fn steps_since(&self, claim: &Claim, first_claimed_at: OffsetDateTime) -> Steps {
        let mut steps = Steps::default();
        let _ = self.write(claim, |record| {
            if record.life.replace(first_claimed_at).is_some_and(|before| before != first_claimed_at) {
                record.steps = None;
            }
            steps = record.steps.as_deref().cloned().unwrap_or_default();
        });
        steps
    }

    /// Claims what has ended here, since somebody else has taken it up anew.
    pub(super) fn claim_anew(&self, key: &Key, lease: Duration, asking: Asking<'_>) -> Claim {
        let now = Instant::now();
        let mut inner = self.inner();
        let Inner { records, order } = &mut *inner;
        let record = records.entry(key.clone()).or_insert_with(|| {
            order.push_back(key.clone());
            Record::new(now)
        });
        *record = Record { fence: record.fence, ..Record::new(now + self.remember) };
        record.note(asking.redriven.then_some(asking.message));
        record.held(key, now + lease)
    }

    pub(super) fn extend_now(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.write(claim, |record| record.status = Status::Held { until: Instant::now() + lease })
    }

    pub(super) fn record_now(&self, claim: &Claim, steps: &[Step]) -> Result<(), StoreError> {
        self.write(claim, |record| record.add(steps))
    }

    pub(super) fn release_now(
        &self,
        claim: &Claim,
        counts: Counts,
        steps: &[Step],
    ) -> Result<(), StoreError> {
        self.write(claim, |record| {
            record.add(steps);
            record.status = Status::Free;
            if counts == Counts::No {
                record.attempts -= 1;
            }
        })
    }

    pub(super) fn complete_now(&self, claim: &Claim, ending: Ending) -> Result<(), StoreError> {
        self.write(claim, |record| {
            record.steps = None;
            record.status = Status::Ended(ending);
        })
    }
}

impl Store for MemoryStore {
    async fn claim(&self, key: &Key, lease: Duration, asking: Asking<'_>) -> Result<Claimed, StoreError> {
        Ok(self.claim_now(key, lease, asking))
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.extend_now(claim, lease)
    }

    async fn record(&self, claim: &Claim, steps: &[Step]) -> Result<(), StoreError> {
        self.record_now(claim, steps)
    }

    async fn release(&self, claim: &Claim, counts: Counts, steps: &[Step]) -> Result<(), StoreError> {
        self.release_now(claim, counts, steps)
    }

    async fn complete(&self, claim: &Claim, ending: Ending, _steps: &[Step]) -> Result<(), StoreError> {
        self.complete_now(claim, ending)
    }

    async fn probe(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;

    const FIRST: Asking<'static> = Asking { message: "m-0", redriven: false };
    const LEASE: Duration = Duration::from_mins(2);

    fn key(text: &str) -> Key {
        Key::Event(EventId::parse(text).expect("an id"))
    }

    async fn claim(store: &MemoryStore, event: &str) -> Claim {
        match store.claim(&key(event), LEASE, FIRST).await {
            Ok(Claimed::Yours(claim)) => claim,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_held_until_its_lease_ends() {
        let store = MemoryStore::new(Duration::from_hours(1));
        let first = claim(&store, "e").await;
        assert_eq!(store.claim(&key("e"), LEASE, FIRST).await, Ok(Claimed::Held { ends_in: LEASE }));
        tokio::time::advance(Duration::from_secs(100)).await;
        store.extend(&first, LEASE).await.expect("ours");
        tokio::time::advance(Duration::from_secs(119)).await;
        assert!(matches!(store.claim(&key("e"), LEASE, FIRST).await, Ok(Claimed::Held { .. })));
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = claim(&store, "e").await;
        assert_eq!((second.attempts, second.fence), (2, first.fence + 1));
        // Whoever comes back late can write nothing.
        assert_eq!(store.extend(&first, LEASE).await, Err(StoreError::Lost));
        assert_eq!(store.record(&first, &[Step::Started]).await, Err(StoreError::Lost));
        assert_eq!(store.release(&first, Counts::Yes, &[]).await, Err(StoreError::Lost));
        assert_eq!(store.complete(&first, Ending::Done, &[]).await, Err(StoreError::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_event_is_remembered_for_its_time_and_no_longer() {
        let store = MemoryStore::new(Duration::from_hours(1));
        let done = claim(&store, "e").await;
        store.complete(&done, Ending::Done, &[]).await.expect("ours");
        let ended = Claimed::Ended { ending: Ending::Done, attempts: 1 };
        assert_eq!(
            store.claim(&key("e"), LEASE, Asking { message: "m-1", redriven: true }).await,
            Ok(ended),
            "done is done, redriven or not"
        );
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(claim(&store, "e").await.attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let store = MemoryStore::new(Duration::from_hours(1));
        for number in 0..MAX_REMEMBERED + 100 {
            let claim = claim(&store, &number.to_string()).await;
            store.complete(&claim, Ending::Done, &[]).await.expect("ours");
        }
        assert!(store.inner().records.len() <= MAX_REMEMBERED + 1);
        assert!(matches!(store.claim(&key("16483"), LEASE, FIRST).await, Ok(Claimed::Ended { .. })));
    }

    /// SQS gave its message up, or somebody purged the queue.
    #[tokio::test(start_paused = true)]
    async fn an_event_that_never_ends_is_forgotten_too() {
        let store = MemoryStore::new(Duration::from_hours(1));
        for number in 0..1_000 {
            let claim = claim(&store, &number.to_string()).await;
            store.release(&claim, Counts::Yes, &[]).await.expect("ours");
        }
        tokio::time::advance(Duration::from_mins(59)).await;
        assert_eq!(claim(&store, "999").await.attempts, 2, "it goes on where it stopped");
        tokio::time::advance(Duration::from_mins(2)).await;
        for number in 1_000..2_000 {
            let claim = claim(&store, &number.to_string()).await;
            store.complete(&claim, Ending::Done, &[]).await.expect("ours");
        }
        assert_eq!(store.inner().records.len(), 1_001);
    }
}
