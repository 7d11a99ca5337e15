//! The pool on a queue in memory, with the clock paused: what takes minutes takes none.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use trailkeeper::consumer::queue::{DeadLetter, SettleError};
use trailkeeper::consumer::{
    self, Delivery, Disposition, Handled, Handler, Health, Hold, PoolConfig, Queue, ReceiptHandle, Shutdown,
};
use trailkeeper::respond::Rehearsal;
use trailkeeper::retry::{Failure, RetryPolicy};

const WAIT: Duration = Duration::from_secs(20);
/// How late a change of visibility may be made.
const SLOW: Duration = Duration::from_secs(1);

/// A queue that gives what it holds at once, and otherwise waits.
#[derive(Default)]
struct MemoryQueue {
    messages: Mutex<VecDeque<Delivery>>,
    receives: Mutex<Vec<(Instant, usize)>>,
    polling: AtomicUsize,
    most_polling: AtomicUsize,
    deleted: AtomicUsize,
    hidden: Mutex<Vec<Duration>>,
    failing: AtomicUsize,
    /// The next receives that panic.
    panicking: AtomicUsize,
    /// The next changes of visibility that are never answered.
    hanging: AtomicUsize,
    /// The next changes of visibility that are made late.
    slow: AtomicUsize,
}

impl MemoryQueue {
    fn with(count: usize) -> Arc<Self> {
        let queue = Self::default();
        let message = |number: usize| Delivery {
            message_id: number.to_string(),
            receipt: ReceiptHandle(number.to_string()),
            body: String::new(),
            sent_at: None,
            receive_count: 1,
            label: None,
            kind: None,
            asked_at: Instant::now(),
        };
        queue.messages.lock().expect("whole").extend((0..count).map(message));
        Arc::new(queue)
    }

    fn receives(&self) -> Vec<(Instant, usize)> {
        self.receives.lock().expect("whole").clone()
    }
}

impl Queue for MemoryQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, Failure> {
        self.receives.lock().expect("whole").push((Instant::now(), max));
        if self.failing.load(Ordering::SeqCst) > 0 {
            self.failing.fetch_sub(1, Ordering::SeqCst);
            return Err(Failure::transient("as the test asked for"));
        }
        if self.panicking.load(Ordering::SeqCst) > 0 {
            self.panicking.fetch_sub(1, Ordering::SeqCst);
            panic!("as the test asked for");
        }
        let polling = self.polling.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_polling.fetch_max(polling, Ordering::SeqCst);
        // Like a network: nothing is there at once.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut taken = self.take(max);
        if taken.is_empty() {
            tokio::time::sleep(WAIT).await;
            taken = self.take(max);
        }
        self.polling.fetch_sub(1, Ordering::SeqCst);
        Ok(taken)
    }

    async fn delete(&self, receipts: &[ReceiptHandle]) -> Vec<Result<(), SettleError>> {
        self.deleted.fetch_add(receipts.len(), Ordering::SeqCst);
        vec![Ok(()); receipts.len()]
    }

    async fn hide(&self, entries: &[(ReceiptHandle, Duration)]) -> Vec<Result<(), SettleError>> {
        if self.hanging.load(Ordering::SeqCst) > 0 {
            self.hanging.fetch_sub(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        if self.slow.load(Ordering::SeqCst) > 0 {
            self.slow.fetch_sub(1, Ordering::SeqCst);
            tokio::time::sleep(SLOW).await;
        }
        self.hidden.lock().expect("whole").extend(entries.iter().map(|(_, hidden)| *hidden));
        vec![Ok(()); entries.len()]
    }

    async fn copy_to_dead_letters(&self, _letter: &DeadLetter<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

impl MemoryQueue {
    fn take(&self, max: usize) -> Vec<Delivery> {
        let mut messages = self.messages.lock().expect("whole");
        let count = max.min(messages.len());
        messages.drain(..count).map(|message| Delivery { asked_at: Instant::now(), ..message }).collect()
    }
}

/// Takes its time, and keeps count of how many do so at once.
struct Work {
    takes: Duration,
    panics: bool,
    /// Gives the message back for this long.
    gives_back: Option<Duration>,
    retry: RetryPolicy,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Work {
    fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            takes,
            panics: false,
            gives_back: None,
            retry: RETRY,
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }
}

impl Handler for Work {
    async fn handle(&self, _delivery: &Delivery, _hold: &Hold) -> Handled {
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        assert!(!self.panics, "as the test asked for");
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let disposition = match self.gives_back {
            Some(after) => Disposition::Retry { after },
            None => Disposition::Delete,
        };
        Handled { disposition, outcome: "ignored", failure: None }
    }

    /// As the program's own handlers decide.
    fn panicked(&self, attempts: u32) -> Handled {
        let (_, policy) = watch::channel(Arc::default());
        Rehearsal { policy, retry: self.retry }.panicked(attempts)
    }
}

const CONFIG: PoolConfig = PoolConfig {
    concurrency: NonZeroUsize::new(32).expect("not zero"),
    max_pollers: NonZeroUsize::new(4).expect("not zero"),
    visibility: Duration::from_mins(2),
    grace: Duration::from_secs(100),
};
const RETRY: RetryPolicy =
    RetryPolicy { max_attempts: 10, base: Duration::from_secs(1), max: Duration::from_mins(5) };

/// Runs a pool for `running`, drains it, and says how many messages it gave back and how long the drain took.
async fn run<H: Handler>(
    queue: &Arc<MemoryQueue>,
    work: Arc<H>,
    config: PoolConfig,
    running: Duration,
) -> (u64, Duration) {
    let shutdown = Shutdown::default();
    let health = Arc::new(Health::new(WAIT));
    let pool = tokio::spawn(consumer::run(Arc::clone(queue), work, config, health, shutdown.clone()));
    tokio::time::sleep(running).await;
    let told_at = Instant::now();
    shutdown.drain.cancel();
    let given_back = pool.await.expect("no panic");
    (given_back, told_at.elapsed())
}

#[tokio::test(start_paused = true)]
async fn never_more_is_worked_on_than_there_are_permits_for() {
    let queue = MemoryQueue::with(500);
    let work = Work::taking(Duration::from_secs(1));
    run(&queue, Arc::clone(&work), CONFIG, Duration::from_mins(1)).await;
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 500);
    assert_eq!(work.most_at_once.load(Ordering::SeqCst), 32);
    assert!(queue.receives().iter().all(|(_, max)| (1..=10).contains(max)));
}

#[tokio::test(start_paused = true)]
async fn one_poll_when_idle_and_more_when_receives_come_back_full() {
    let queue = MemoryQueue::with(0);
    run(&queue, Work::taking(Duration::ZERO), CONFIG, Duration::from_mins(10)).await;
    assert_eq!(queue.most_polling.load(Ordering::SeqCst), 1);
    let polls = queue.receives().len();
    assert!((28..=31).contains(&polls), "{polls} in ten minutes");

    let queue = MemoryQueue::with(2_000);
    run(&queue, Work::taking(Duration::ZERO), CONFIG, Duration::from_mins(1)).await;
    let most = queue.most_polling.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} polls at once");
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 2_000);
}

/// The first twenty receives fail, and the next brings the message.
async fn backs_off(queue: Arc<MemoryQueue>) {
    run(&queue, Work::taking(Duration::ZERO), CONFIG, Duration::from_mins(10)).await;
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 1);
    let receives = queue.receives();
    let failing = receives[20].0 - receives[0].0;
    assert!(failing > Duration::from_secs(10), "twenty failures took {failing:?}");
    assert!(failing < Duration::from_secs(200), "twenty failures took {failing:?}");
}

#[tokio::test(start_paused = true)]
async fn receives_that_fail_back_off_and_do_not_spin() {
    let queue = MemoryQueue::with(1);
    queue.failing.store(20, Ordering::SeqCst);
    backs_off(queue).await;
}

#[tokio::test(start_paused = true)]
async fn polls_that_panic_back_off_too() {
    let queue = MemoryQueue::with(1);
    queue.panicking.store(20, Ordering::SeqCst);
    backs_off(queue).await;
}

/// The last attempt is tried again, so that somebody gives up loudly; a panic while giving up is a dead letter.
#[test]
fn a_panic_while_giving_up_counts_as_a_dead_letter() {
    let counted = counted_of_a_panic(1);
    assert!(counted.contains("trailkeeper_messages_total{outcome=\"retried\"} 1"), "{counted}");
    assert!(!counted.contains("dead_lettered"), "{counted}");
    let counted = counted_of_a_panic(2);
    assert!(counted.contains("trailkeeper_messages_total{outcome=\"dead_lettered\"} 1"), "{counted}");
    assert!(!counted.contains("retried"), "{counted}");
}

/// The metrics of a panic in this execution, where one attempt is allowed.
fn counted_of_a_panic(execution: u32) -> String {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let once = RetryPolicy { max_attempts: 1, ..RETRY };
    metrics::with_local_recorder(&recorder, || {
        runtime.expect("a runtime").block_on(async {
            let queue = MemoryQueue::with(1);
            queue.messages.lock().expect("whole")[0].receive_count = execution;
            let work = Arc::into_inner(Work::taking(Duration::ZERO)).expect("one");
            let work = Work { panics: true, retry: once, ..work };
            run(&queue, Arc::new(work), CONFIG, Duration::from_mins(1)).await;
        });
    });
    recorder.handle().render()
}

#[tokio::test(start_paused = true)]
async fn a_panic_takes_nothing_with_it() {
    let queue = MemoryQueue::with(40);
    let work = Arc::new(Work { panics: true, ..Arc::into_inner(Work::taking(Duration::ZERO)).expect("one") });
    run(&queue, work, CONFIG, Duration::from_mins(1)).await;
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 0);
    let hidden = queue.hidden.lock().expect("whole").clone();
    assert_eq!(hidden.len(), 40, "each is hidden for its backoff");
    assert!(hidden.iter().all(|hidden| *hidden <= Duration::from_secs(1)), "{hidden:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_has_begun_and_lets_the_poll_end() {
    let queue = MemoryQueue::with(3);
    let (given_back, took) =
        run(&queue, Work::taking(Duration::from_secs(50)), CONFIG, Duration::from_secs(5)).await;
    assert_eq!(given_back, 0);
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 3);
    assert_eq!(queue.polling.load(Ordering::SeqCst), 0, "no poll was dropped");
    assert!(took < Duration::from_mins(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_poll_brings_during_the_drain_is_given_back() {
    let queue = MemoryQueue::with(0);
    let late = Arc::clone(&queue);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        late.messages.lock().expect("whole").extend(MemoryQueue::with(4).take(4));
    });
    let (given_back, _) = run(&queue, Work::taking(Duration::ZERO), CONFIG, Duration::from_secs(5)).await;
    assert_eq!(given_back, 4);
    assert_eq!(*queue.hidden.lock().expect("whole"), [Duration::ZERO; 4]);
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn past_the_grace_everything_is_given_back() {
    let queue = MemoryQueue::with(7);
    let (given_back, took) =
        run(&queue, Work::taking(Duration::from_hours(1)), CONFIG, Duration::from_secs(5)).await;
    assert_eq!(given_back, 7);
    let zeros = queue.hidden.lock().expect("whole").iter().filter(|hidden| hidden.is_zero()).count();
    assert_eq!(zeros, 7);
    assert!((100..115).contains(&took.as_secs()), "{took:?}");
}

/// A request that hangs holds up no other, and the message is kept by the next.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_not_answered_is_followed_by_the_next() {
    let queue = MemoryQueue::with(1);
    queue.hanging.store(1, Ordering::SeqCst);
    let config = PoolConfig { visibility: Duration::from_secs(12), ..CONFIG };
    run(&queue, Work::taking(Duration::from_mins(1)), config, Duration::from_mins(2)).await;
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 1);
    let beats = queue.hidden.lock().expect("whole").len();
    assert!((8..=13).contains(&beats), "{beats} beats in a minute at a visibility of twelve seconds");
}

#[tokio::test(start_paused = true)]
async fn long_work_is_kept_hidden_before_a_third_is_left() {
    let queue = MemoryQueue::with(1);
    run(
        &queue,
        Work::taking(Duration::from_mins(10)),
        PoolConfig { grace: Duration::from_hours(1), ..CONFIG },
        Duration::from_mins(11),
    )
    .await;
    assert_eq!(queue.deleted.load(Ordering::SeqCst), 1);
    let beats = queue.hidden.lock().expect("whole").len();
    assert!((8..=13).contains(&beats), "{beats} beats in ten minutes at a visibility of two");
}

/// A heartbeat that is on its way when the message is given back arrives first, and does not hide it for longer.
#[tokio::test(start_paused = true)]
async fn a_late_heartbeat_hides_nothing_that_was_given_back() {
    let queue = MemoryQueue::with(1);
    queue.slow.store(1, Ordering::SeqCst);
    let config = PoolConfig { visibility: Duration::from_secs(12), ..CONFIG };
    // The first beat begins after eight seconds and takes one.
    let after = Duration::from_secs(2);
    let work = Arc::into_inner(Work::taking(Duration::from_millis(8_500))).expect("one");
    let work = Work { gives_back: Some(after), ..work };
    run(&queue, Arc::new(work), config, Duration::from_secs(15)).await;
    assert_eq!(*queue.hidden.lock().expect("whole"), [config.visibility, after]);
}
