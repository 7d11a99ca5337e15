//! The one ledger of what is in flight, and the heartbeat that keeps it hidden.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex as Lock, OwnedMutexGuard, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::health::Health;
use super::queue::{self, BATCH, Delivery, Queue, ReceiptHandle, SettleError};
use crate::retry::Failure;
use crate::spans;
use crate::telemetry;

/// Why a handler is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// The message is no longer ours: no further effect, no delete.
    Lost,
    /// The worker is going away: the message goes back to the queue.
    GivenBack,
}

/// A handler's grip on its message. What the handler says through it outlives a panic; all else it returns.
#[derive(Debug)]
pub struct Hold {
    /// Wakes whoever waits in [`Hold::cancelled`].
    token: CancellationToken,
    /// Why; set before the token is, and once.
    cancelled: OnceLock<Cancelled>,
    /// Which execution this is: a panic counts as that one. 0 until the handler knows.
    attempt: AtomicU32,
    /// What the message is about: its dead letter says so, also after a panic.
    subject: OnceLock<String>,
    /// Answers and heartbeats link to it, long after the handler has gone.
    span: Span,
}

impl Hold {
    fn new(span: Span) -> Self {
        Self {
            token: CancellationToken::new(),
            cancelled: OnceLock::new(),
            attempt: AtomicU32::new(0),
            subject: OnceLock::new(),
            span,
        }
    }

    /// For work that no message asked for.
    #[must_use]
    pub fn of_no_message() -> Self {
        Self::new(Span::none())
    }

    /// Ends when the work must stop. A handler that does not look is dropped soon after.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    pub(super) fn cancellation(&self) -> Option<Cancelled> {
        self.cancelled.get().copied()
    }

    /// The handler says which execution this is, so that a panic is counted as that one.
    pub fn began(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
        spans::began(&self.span, attempt);
    }

    /// The handler says what the message is about.
    pub fn names(&self, subject: &str) {
        // A second name is the same name: one message is about one thing.
        if self.subject.set(subject.to_owned()).is_ok() {
            spans::names(&self.span, subject);
        }
    }

    /// The execution that [`Hold::began`] named, if it did.
    fn attempt(&self) -> Option<u32> {
        Some(self.attempt.load(Ordering::Relaxed)).filter(|attempt| *attempt > 0)
    }

    pub(super) fn subject(&self) -> Option<&str> {
        self.subject.get().map(String::as_str)
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    fn cancel(&self, why: Cancelled) {
        // The first reason stands: a message that is lost cannot be given back.
        let _ = self.cancelled.set(why);
        self.token.cancel();
    }
}

#[derive(Debug)]
struct Entry {
    receipt: ReceiptHandle,
    /// From before the request that hid it: the message is ours until then at least.
    hidden_until: Instant,
    /// Told when the message is lost or goes back.
    hold: Arc<Hold>,
    /// Locked while a heartbeat is on its way.
    beating: Arc<Lock<()>>,
}

/// A message that is hidden anew.
struct Due {
    key: u64,
    receipt: ReceiptHandle,
    hold: Arc<Hold>,
    /// Until it is answered, or given up.
    _on_its_way: OwnedMutexGuard<()>,
}

/// Every message that is being worked on or settled.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What every receive and every beat hides a message for.
    visibility: Duration,
    /// Told how many lines there are, at each change.
    health: Arc<Health>,
    /// A message may be received twice at once, so its id names no line.
    next_key: AtomicU64,
    /// Oldest first.
    entries: Mutex<BTreeMap<u64, Entry>>,
}

/// A message that is being worked on or settled, with its permit and its line in the ledger. Dropping it gives
/// back the one and strikes out the other.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) delivery: Delivery,
    ledger: Arc<Ledger>,
    /// Its line in the ledger.
    key: u64,
    hold: Arc<Hold>,
    beating: Arc<Lock<()>>,
    /// Back to the pool when the message is settled, and not before.
    _permit: OwnedSemaphorePermit,
}

impl InFlight {
    /// The execution that the handler named, or else as many as there were receives.
    pub(super) fn attempts(&self) -> u32 {
        self.hold.attempt().unwrap_or(self.delivery.receive_count)
    }

    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Strikes the line out, and lets a heartbeat that is on its way arrive: how long the message stays hidden is decided
    /// otherwise from here on, and one that arrived after that would hide it for longer.
    pub(super) async fn stop_beating(&self) {
        self.strike_out();
        // No longer than the beat itself waits.
        let _ = tokio::time::timeout(self.ledger.tick(), self.beating.lock()).await;
    }

    fn strike_out(&self) {
        let in_flight = {
            let mut entries = self.ledger.entries();
            entries.remove(&self.key);
            entries.len()
        };
        self.ledger.health.set_in_flight(in_flight);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.strike_out();
    }
}

impl Ledger {
    #[must_use]
    pub(super) fn new(visibility: Duration, health: Arc<Health>) -> Arc<Self> {
        Arc::new(Self { visibility, health, next_key: AtomicU64::new(0), entries: Mutex::default() })
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a message down: from here on it is kept hidden. `span` is that of the work on it.
    pub(super) fn enter(
        self: &Arc<Self>,
        delivery: Delivery,
        permit: OwnedSemaphorePermit,
        span: Span,
    ) -> InFlight {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let hold = Arc::new(Hold::new(span));
        let receipt = delivery.receipt.clone();
        let hidden_until = delivery.asked_at + self.visibility;
        let beating = Arc::<Lock<()>>::default();
        let in_flight = {
            let (hold, beating) = (Arc::clone(&hold), Arc::clone(&beating));
            let mut entries = self.entries();
            entries.insert(key, Entry { receipt, hidden_until, hold, beating });
            entries.len()
        };
        self.health.set_in_flight(in_flight);
        InFlight { delivery, ledger: Arc::clone(self), key, hold, beating, _permit: permit }
    }

    /// Tells every handler that its message goes back.
    pub(super) fn give_back_all(&self) {
        for entry in self.entries().values() {
            entry.hold.cancel(Cancelled::GivenBack);
        }
    }

    /// Keeps every line hidden until dropped: extends what has half of its visibility left, six times as often
    /// as it would run out, so that no message is left with less than a third while the queue answers.
    pub(super) async fn beat<Q: Queue>(&self, queue: &Q) {
        let mut ticks = tokio::time::interval(self.tick());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.extend_due(queue).await;
        }
    }

    /// Between two beats.
    fn tick(&self) -> Duration {
        self.visibility / 6
    }

    async fn extend_due<Q: Queue>(&self, queue: &Q) {
        let now = Instant::now();
        let due: Vec<Due> = self
            .entries()
            .iter()
            .filter(|(_, entry)| entry.hidden_until <= now + self.visibility / 2)
            .filter_map(|(key, entry)| {
                let on_its_way = Arc::clone(&entry.beating).try_lock_owned().ok()?;
                let (receipt, hold) = (entry.receipt.clone(), Arc::clone(&entry.hold));
                Some(Due { key: *key, receipt, hold, _on_its_way: on_its_way })
            })
            .collect();
        join_all(due.chunks(BATCH).map(|batch| async move {
            let requests: Vec<_> = batch.iter().map(|due| (due.receipt.clone(), self.visibility)).collect();
            let beaten = batch.iter().map(|due| due.hold.span());
            let span = spans::extend(queue.names().queue, batch.len(), beaten);
            let hiding = queue.hide(&requests).instrument(span.clone());
            // One that hangs must not hold up the next, or everything becomes visible meanwhile.
            let answers = tokio::time::timeout(self.tick(), hiding).await.unwrap_or_else(|_elapsed| {
                vec![Err(Failure::transient("no answer before the next heartbeat").into()); batch.len()]
            });
            queue::record_failure(&span, &answers);
            let mut entries = self.entries();
            for (due, answer) in batch.iter().zip(answers) {
                if let Some(entry) = entries.get_mut(&due.key) {
                    entry.beaten(answer, now + self.visibility);
                }
            }
        }))
        .await;
    }
}

impl Entry {
    /// A beat that failed for now is tried again on the next tick, while the message is still hidden.
    fn beaten(&mut self, answer: Result<(), SettleError>, hidden_until: Instant) {
        match answer {
            Ok(()) => self.hidden_until = hidden_until,
            Err(SettleError::Failed(failure)) if Instant::now() < self.hidden_until => {
                tracing::warn!(%failure, "heartbeat failed, trying again");
            }
            Err(error) => {
                if self.hold.cancellation().is_none() {
                    tracing::warn!(%error, "the message could not be kept hidden: another worker may receive it now");
                    telemetry::lease_lost();
                }
                self.hold.cancel(Cancelled::Lost);
            }
        }
    }
}
