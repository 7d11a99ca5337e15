//! Polls and permits: how many messages are asked for, and when.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use super::delivery::{Deliverer, Handler, LET_GO};
use super::health::Health;
use super::ledger::Ledger;
use super::queue::{BATCH, Delivery, Queue};
use super::settle::{self, Settler};
use super::shutdown::{Drained, Shutdown};
use crate::retry::{Failure, RetryPolicy};
use crate::spans;
use crate::telemetry;

/// How long the only poll waits for a whole batch of permits before it asks for fewer messages: long enough
/// for the batch that is being deleted, far below what anybody notices.
const PERMIT_LINGER: Duration = Duration::from_millis(10);
/// Between receives that fail. The maximum stays below a health check's patience (three waits, at the default wait), so
/// that the worker is back as soon as the queue is.
const RECEIVE_RETRY: RetryPolicy =
    RetryPolicy { max_attempts: u32::MAX, base: Duration::from_millis(250), max: Duration::from_secs(10) };
/// The least time between a poll and the next when the first brought nothing. A long poll takes longer by
/// itself; this is for short polls, and for a queue that answers at once.
const EMPTY_REST: Duration = Duration::from_secs(1);
/// How long the last answers to the queue may take once the grace is over.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// How much at once, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct PoolConfig {
    /// Messages worked on at once.
    pub concurrency: NonZeroUsize,
    /// Concurrent long polls at most; one when idle.
    pub max_pollers: NonZeroUsize,
    /// What every receive and every beat hides a message for.
    pub visibility: Duration,
    /// From the signal until everything is given back.
    pub grace: Duration,
}

/// A poll that has ended.
struct Polled {
    result: Result<Vec<Delivery>, Failure>,
    permits: OwnedSemaphorePermit,
    started_at: Instant,
    span: Span,
}

/// Consumes until told to shut down, then drains. Returns how many messages went back to the queue unfinished.
pub async fn run<Q: Queue, H: Handler>(
    queue: Arc<Q>,
    handler: Arc<H>,
    config: PoolConfig,
    health: Arc<Health>,
    shutdown: Shutdown,
) -> u64 {
    let ledger = Ledger::new(config.visibility, Arc::clone(&health));
    let (settler, answers) = Settler::new();
    let settling = tokio::spawn(settle::run(Arc::clone(&queue), answers));
    let beating = tokio::spawn({
        let (ledger, queue) = (Arc::clone(&ledger), Arc::clone(&queue));
        async move { ledger.beat(&*queue).await }
    });
    let deliverer = Arc::new(Deliverer { handler, settler });
    let mut pool = Pool {
        queue,
        ledger,
        deliverer,
        health,
        permits: Arc::new(Semaphore::new(config.concurrency.get())),
        batch: BATCH.min(config.concurrency.get()),
        polls: JoinSet::new(),
        max_polls: config.max_pollers.get(),
        wanted: 1,
        failures: 0,
        deliveries: TaskTracker::new(),
        drained: Arc::default(),
    };
    // Here and below in a fixed order, so that a simulation of many workers can be replayed.
    tokio::select! {
        biased;
        () = shutdown.drain.cancelled() => {}
        () = pool.consume() => {}
    }
    let drained = Arc::clone(&pool.drained);
    pool.drain(config.grace, &shutdown).await;
    // The last settler goes with the pool: the settling task then makes its final flush and ends.
    if tokio::time::timeout(LAST_FLUSH, settling).await.is_err() {
        tracing::warn!("the queue did not answer the last settlements: those messages will come again");
    }
    beating.abort();
    drained.given_back()
}

struct Pool<Q, H> {
    queue: Arc<Q>,
    /// Every message is entered here before anything else is done with it, so that none becomes visible unnoticed.
    ledger: Arc<Ledger>,
    /// Its last copy goes with the pool and the deliveries: that is how the settling task knows that it may end.
    deliverer: Arc<Deliverer<H>>,
    health: Arc<Health>,
    /// One for each message that may be in flight: asked for before a poll, given back when a message is settled.
    permits: Arc<Semaphore>,
    /// The most messages in one receive: SQS's ten, or all the permits there are.
    batch: usize,
    /// A poll belongs to the pool, and is never dropped: SQS may have given it messages already.
    polls: JoinSet<Polled>,
    max_polls: usize,
    /// Polls that should be under way; one more after each full receive, and one again after an empty one.
    wanted: usize,
    /// Receives that failed in a row: they decide how long the next waits.
    failures: u32,
    /// What a drain waits for.
    deliveries: TaskTracker,
    drained: Arc<Drained>,
}

impl<Q: Queue, H: Handler> Pool<Q, H> {
    /// Polls for ever. Dropping this future drops no poll: those belong to the pool.
    async fn consume(&mut self) {
        let mut rest_until = Instant::now();
        loop {
            let poll_wanted = self.polls.len() < self.wanted;
            let alone = self.polls.is_empty();
            self.health.set_full(alone && self.permits.available_permits() == 0);
            tokio::select! {
                biased;
                Some(polled) = self.polls.join_next() => {
                    rest_until = match polled {
                        Ok(polled) => self.take_in(polled),
                        Err(_panic) => {
                            tracing::error!("a poll panicked");
                            self.failed()
                        }
                    };
                }
                permits = permits_after(&self.permits, rest_until, self.batch, alone), if poll_wanted => {
                    self.poll(permits);
                }
            }
        }
    }

    fn poll(&mut self, permits: OwnedSemaphorePermit) {
        let queue = Arc::clone(&self.queue);
        let span = spans::receive(queue.names().queue);
        self.polls.spawn(async move {
            let started_at = Instant::now();
            let result = queue.receive(permits.num_permits()).instrument(span.clone()).await;
            Polled { result, permits, started_at, span }
        });
        telemetry::pollers(self.polls.len());
    }

    /// Starts what a poll brought, adapts how many polls are wanted, and says when the next may begin.
    fn take_in(&mut self, Polled { result, mut permits, started_at, span }: Polled) -> Instant {
        telemetry::pollers(self.polls.len());
        let deliveries = match result {
            Ok(deliveries) => deliveries,
            Err(failure) => {
                spans::failed(&span, failure.kind(), &failure.to_string());
                tracing::warn!(%failure, "receiving failed, trying again");
                return self.failed();
            }
        };
        self.failures = 0;
        self.health.poll_answered();
        telemetry::messages_received(deliveries.len());
        spans::received(&span, deliveries.len());
        let rest_until = if deliveries.is_empty() { started_at + EMPTY_REST } else { started_at };
        self.wanted = match deliveries.len() {
            0 => 1,
            received if received >= permits.num_permits() => (self.wanted + 1).min(self.max_polls),
            _ => self.wanted,
        };
        for delivery in deliveries {
            let Some(permit) = permits.split(1) else {
                // More than was asked for: the surplus stays hidden and comes again.
                tracing::error!("the queue gave more messages than were asked for");
                break;
            };
            let (deliverer, drained) = (Arc::clone(&self.deliverer), Arc::clone(&self.drained));
            if self.health.is_draining() {
                let message = self.ledger.enter(delivery, permit, Span::none());
                self.deliveries.spawn(async move {
                    drained.count();
                    deliverer.give_back(message).await;
                });
                continue;
            }
            let (queue, Delivery { message_id, receive_count, .. }) = (self.queue.names().queue, &delivery);
            let work = spans::process(queue, message_id, *receive_count, &span);
            let message = self.ledger.enter(delivery, permit, work.clone());
            let deliver = async move { deliverer.deliver(message, &drained).await };
            self.deliveries.spawn(deliver.instrument(work));
        }
        rest_until
    }

    /// A poll failed: one poll is enough, and when it may begin.
    fn failed(&mut self) -> Instant {
        self.wanted = 1;
        self.failures = self.failures.saturating_add(1);
        Instant::now() + RECEIVE_RETRY.wait(self.failures, fastrand::f64())
    }

    /// Lets polls in flight end, gives back what they bring, and finishes what has begun; when the grace is
    /// over, or at once if told so, gives back that too.
    async fn drain(mut self, grace: Duration, shutdown: &Shutdown) {
        self.health.start_draining();
        let in_flight = self.deliveries.len();
        tracing::info!(polls = self.polls.len(), in_flight, "draining");
        let finished = async {
            while let Some(polled) = self.polls.join_next().await {
                if let Ok(polled) = polled {
                    self.take_in(polled);
                }
            }
            self.deliveries.close();
            self.deliveries.wait().await;
        };
        tokio::select! {
            biased;
            () = finished => return,
            () = tokio::time::sleep(grace) => tracing::warn!("the grace is over: everything is given back"),
            () = shutdown.give_up.cancelled() => tracing::warn!("a second signal: everything is given back"),
        }
        if !self.polls.is_empty() {
            // What SQS has given them by now stays hidden until its visibility timeout.
            tracing::warn!(
                polls = self.polls.len(),
                "the worker ends before these polls were answered: what they bring comes again"
            );
        }
        self.ledger.give_back_all();
        self.deliveries.close();
        // Each handler has LET_GO to stop, and then a moment to hand its message to the settler.
        if tokio::time::timeout(LET_GO * 2, self.deliveries.wait()).await.is_err() {
            tracing::error!("a handler did not let go: its message will come again");
        }
    }
}

/// Permits for one poll. Beside other polls only a whole batch is worth a request; the only poll goes with
/// what there is.
async fn permits_after(
    permits: &Arc<Semaphore>,
    rest_until: Instant,
    batch: usize,
    alone: bool,
) -> OwnedSemaphorePermit {
    tokio::time::sleep_until(rest_until).await;
    let many = |count: usize| {
        let permits = Arc::clone(permits);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        async move { permits.acquire_many_owned(count).await.expect("the pool never closes its semaphore") }
    };
    if !alone {
        return many(batch).await;
    }
    if let Ok(whole) = tokio::time::timeout(PERMIT_LINGER, many(batch)).await {
        return whole;
    }
    let mut some = many(1).await;
    let more = permits.available_permits().min(batch - 1);
    if let Ok(rest) = Arc::clone(permits).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
        some.merge(rest);
    }
    some
}
