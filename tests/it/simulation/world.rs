//! What all sides share: the seed's randomness, how bad the weather is, and the processes that the workers are.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use trailkeeper::consumer::PoolConfig;
use trailkeeper::retry::RetryPolicy;

use super::book::Book;
use super::cloud::Trail;
use super::lost::Stop;
use super::queue::Messages;
use super::table::MAX_SKEW_MS;
use crate::support::aws::DynamoDb;

/// Faults happen for this long; after that everything works, and what is left must come to its end.
pub(super) const STORM: Duration = Duration::from_mins(4);

pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sides that can be down as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Queue,
    Store,
    CloudTrail,
    Slack,
}

/// How often each thing goes wrong, from 0 to 1. Each seed has a mixture of its own: most things go well in
/// it, and some go badly, so that their consequences are seen apart.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// At each call, before it takes effect and after.
    pub(super) crash: f64,
    /// Likewise: stands still there, often for longer than a lease.
    pub(super) stall: f64,
    pub(super) slow: f64,
    pub(super) receive_fails: f64,
    pub(super) late_answer: f64,
    pub(super) request_fails: f64,
    pub(super) entry_fails: f64,
    pub(super) delivered_twice: f64,
    pub(super) back_from_the_dead: f64,
    pub(super) throttled: f64,
    pub(super) unheard: f64,
    pub(super) trail_fails: f64,
    pub(super) post_fails: f64,
    pub(super) rate_limited: f64,
    pub(super) post_refused: f64,
}

impl Rates {
    fn draw(chance: &mut fastrand::Rng) -> Self {
        let mut rate = |rates: [f64; 4]| rates[chance.usize(..rates.len())];
        Self {
            crash: rate([0.0, 0.0, 0.01, 0.03]),
            stall: rate([0.0, 0.0, 0.005, 0.02]),
            slow: rate([0.0, 0.0, 0.02, 0.1]),
            receive_fails: rate([0.0, 0.0, 0.05, 0.3]),
            late_answer: rate([0.0, 0.0, 0.05, 0.3]),
            request_fails: rate([0.0, 0.0, 0.05, 0.3]),
            entry_fails: rate([0.0, 0.0, 0.05, 0.3]),
            delivered_twice: rate([0.0, 0.0, 0.02, 0.1]),
            back_from_the_dead: rate([0.0, 0.0, 0.05, 0.3]),
            throttled: rate([0.0, 0.0, 0.05, 0.4]),
            unheard: rate([0.0, 0.0, 0.05, 0.3]),
            trail_fails: rate([0.0, 0.0, 0.1, 0.5]),
            post_fails: rate([0.0, 0.0, 0.1, 0.5]),
            rate_limited: rate([0.0, 0.0, 0.1, 0.4]),
            post_refused: rate([0.0, 0.0, 0.0, 0.05]),
        }
    }
}

/// Everything outside of the workers.
pub(super) struct World {
    chance: Mutex<fastrand::Rng>,
    calm: AtomicBool,
    started_at: Instant,
    pub(super) outages: Vec<(Side, Duration, Duration)>,
    pub(super) rates: Rates,
    /// Clocks are off by minutes or a day. The queue then gives no message to two workers, nobody stands still with one, and no
    /// claim arrives after its worker has given it up: a worker whose clock is wrong can tell only by that whose turn it is.
    pub(super) wrong_clocks: bool,
    pub(super) pool: PoolConfig,
    /// As while a deploy takes: some workers have this visibility timeout, and some write as 0.1.0 does.
    pub(super) other_visibility: Option<Duration>,
    pub(super) two_versions: bool,
    pub(super) retry: RetryPolicy,
    /// Workers look at every trail this often.
    pub(super) sweep: Option<Duration>,
    /// No worker is killed or stands still.
    pub(super) is_orderly: bool,
    /// Calls of `StopLogging` where workers sweep: what the event history has.
    pub(super) stops: Mutex<Vec<Stop>>,
    /// The longest that a worker is left alone.
    pub(super) quiet: Duration,
    pub(super) book: Mutex<Book>,
    pub(super) messages: Mutex<Messages>,
    pub(super) trails: Mutex<BTreeMap<String, Trail>>,
    pub(super) table: DynamoDb,
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut rates = Rates::draw(&mut chance);
        let mut outages: Vec<_> = (0..chance.usize(..3)).map(|_| outage(&mut chance)).collect();
        let wrong_clocks = chance.u8(..8) == 0;
        if wrong_clocks {
            rates = Rates {
                stall: 0.0,
                slow: 0.0,
                unheard: 0.0,
                receive_fails: 0.0,
                late_answer: 0.0,
                request_fails: 0.0,
                entry_fails: 0.0,
                delivered_twice: 0.0,
                ..rates
            };
            outages.retain(|(side, ..)| *side != Side::Queue);
        }
        let visibility = Duration::from_secs([15, 40, 60, 120][chance.usize(..4)]);
        let pool = PoolConfig {
            concurrency: NonZeroUsize::new(chance.usize(1..=6)).expect("not zero"),
            max_pollers: NonZeroUsize::new(chance.usize(1..=2)).expect("not zero"),
            visibility,
            grace: Duration::from_secs(chance.u64(1..=40)),
        };
        let other_visibility = [None, None, None, Some(Duration::from_secs(30))][chance.usize(..4)];
        // 0.1.0 believes every clock.
        let two_versions = !wrong_clocks && chance.u8(..4) == 0;
        let retry = RetryPolicy {
            max_attempts: chance.u32(2..=8),
            base: Duration::from_secs(1),
            max: Duration::from_secs(30),
        };
        let quiet = Duration::from_secs([30, 100, 240][chance.usize(..3)]);
        let started_at = Instant::now();
        let book = Book::new(started_at, retry.max_attempts, wrong_clocks);
        Arc::new(Self {
            chance: Mutex::new(chance),
            calm: AtomicBool::new(false),
            started_at,
            outages,
            rates,
            wrong_clocks,
            pool,
            other_visibility,
            two_versions,
            retry,
            sweep: None,
            is_orderly: false,
            stops: Mutex::default(),
            quiet,
            book: Mutex::new(book),
            messages: Mutex::default(),
            trails: Mutex::default(),
            table: DynamoDb::default(),
        })
    }

    pub(super) fn chance(&self) -> MutexGuard<'_, fastrand::Rng> {
        locked(&self.chance)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }

    /// From here on nothing goes wrong any more.
    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::SeqCst);
        self.book().note("the storm is over");
    }

    /// Until now all was well.
    pub(super) fn begin_storm(&self) {
        self.calm.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    /// Whether something that goes wrong this often does so now.
    pub(super) fn fails(&self, rate: f64) -> bool {
        !self.is_calm() && rate > 0.0 && self.chance().f64() < rate
    }

    pub(super) fn coin(&self) -> bool {
        self.chance().bool()
    }

    pub(super) fn millis(&self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.chance().u64(range))
    }

    pub(super) fn is_down(&self, side: Side) -> bool {
        let now = self.started_at.elapsed();
        let down = |(other, from, until): &(Side, Duration, Duration)| {
            *other == side && (*from..*until).contains(&now)
        };
        !self.is_calm() && self.outages.iter().any(down)
    }

    pub(super) fn storm_is_over(&self) -> bool {
        self.started_at.elapsed() >= STORM
    }
}

fn outage(chance: &mut fastrand::Rng) -> (Side, Duration, Duration) {
    let side = [Side::Queue, Side::Store, Side::CloudTrail, Side::Slack][chance.usize(..4)];
    let from = Duration::from_secs(chance.u64(..STORM.as_secs()));
    (side, from, from + Duration::from_secs(chance.u64(1..=150)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// Stands still, as a process whose machine is frozen: no call leaves it and no answer reaches it.
    Paused,
    /// Is no more: nothing of it ever reaches anybody again.
    Gone,
}

/// One life of one worker, as everybody outside sees it: its end of each call. What the worker's own tasks do
/// once it is gone cannot be seen, since none of their calls ever leaves or returns.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) world: Arc<World>,
    pub(super) name: usize,
    /// How far its clock is ahead.
    pub(super) skew_ms: i64,
    pub(super) visibility: Duration,
    /// It writes as 0.1.0 does.
    pub(super) is_of_0_1_0: bool,
    /// The state, and whoever waits for it to change; those are woken in order, so that a seed replays.
    state: Arc<(Mutex<State>, Notify)>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "w{}", self.name)
    }
}

impl Process {
    pub(super) fn new(world: &Arc<World>, name: usize) -> Self {
        let state = Arc::new((Mutex::new(State::Running), Notify::new()));
        let mut skew_ms = world.chance().u64(..=2 * MAX_SKEW_MS).cast_signed() - MAX_SKEW_MS.cast_signed();
        if world.wrong_clocks {
            let off = [0, 10 * 60, -10 * 60, 86_400, -86_400];
            skew_ms += off[world.chance().usize(..off.len())] * 1_000;
        }
        let other = world.other_visibility.filter(|_| world.coin());
        let visibility = other.unwrap_or(world.pool.visibility);
        let is_of_0_1_0 = world.two_versions && world.coin();
        Self { world: Arc::clone(world), name, skew_ms, visibility, is_of_0_1_0, state }
    }

    /// A process that is gone stays gone.
    pub(super) fn become_(&self, state: State) {
        let now = std::mem::replace(&mut *locked(&self.state.0), state);
        if now == State::Gone || now == state {
            *locked(&self.state.0) = now;
            return;
        }
        let mut book = self.world.book();
        book.note(&format!("{self:?} is {state:?}"));
        if state == State::Gone {
            book.gone(self.name);
        }
        drop(book);
        self.state.1.notify_waiters();
    }

    pub(super) fn is_gone(&self) -> bool {
        *locked(&self.state.0) == State::Gone
    }

    pub(super) async fn gone(&self) {
        self.reaches(State::Gone).await;
    }

    async fn reaches(&self, wanted: State) {
        loop {
            let changed = self.state.1.notified();
            if *locked(&self.state.0) == wanted {
                return;
            }
            changed.await;
        }
    }

    /// Crashes or stands still if it is time to.
    fn risk(&self) {
        if self.world.fails(self.world.rates.crash) {
            self.become_(State::Gone);
        } else if self.world.fails(self.world.rates.stall) {
            let stalled = self.clone();
            tokio::spawn(async move { stalled.stand_still().await });
        }
    }

    /// A machine that is frozen for up to one and a half visibility timeouts.
    pub(super) async fn stand_still(&self) {
        self.world.book().count("pauses");
        self.become_(State::Paused);
        let visibility = u64::try_from(self.world.pool.visibility.as_millis()).expect("short");
        tokio::time::sleep(self.world.millis(1_000..=visibility * 3 / 2)).await;
        self.become_(State::Running);
    }

    /// The way from the worker to where its call takes effect.
    pub(super) async fn outward(&self) {
        self.leave().await;
        tokio::time::sleep(self.latency()).await;
        self.alive().await;
    }

    /// The first step of that way: the last at which the worker can be gone before its call is out.
    pub(super) async fn leave(&self) {
        self.reaches(State::Running).await;
        self.risk();
        self.alive().await;
    }

    /// The way of the answer back to the worker.
    pub(super) async fn homeward(&self) {
        self.risk();
        self.alive().await;
        tokio::time::sleep(self.latency()).await;
        self.reaches(State::Running).await;
    }

    /// Never ends once the process is gone.
    pub(super) async fn alive(&self) {
        if self.is_gone() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn latency(&self) -> Duration {
        if self.world.fails(self.world.rates.slow) {
            return self.world.millis(100..=9_000);
        }
        self.world.millis(1..=30)
    }
}
