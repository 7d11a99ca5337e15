//! Several workers, in a storm.
//!
//! The real pool and the real responder, several times over, on a queue, a store, a CloudTrail and a Slack in
//! memory that fail in every way the real ones do, with workers that crash, stand still and are replaced. One
//! number, the seed, decides all that happens, and the clock is paused: minutes take milliseconds, and a seed
//! that fails can be replayed:
//!
//! ```text
//! TRAILKEEPER_SEED=1234 cargo test --test it simulation
//! TRAILKEEPER_SEEDS=0..20000 cargo test --test it simulation
//! ```

mod book;
mod channel;
mod cloud;
mod lost;
mod queue;
mod table;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trailkeeper::args;
use trailkeeper::clock;
use trailkeeper::cloudtrail::accounts::Accounts;
use trailkeeper::cloudtrail::trails::Trails;
use trailkeeper::consumer::sqs::Outbox;
use trailkeeper::consumer::{self, Health, PoolConfig, Shutdown};
use trailkeeper::event::EventId;
use trailkeeper::outcome::Reason;
use trailkeeper::policy::{Mode, Policy};
use trailkeeper::respond::{Hands, Membership, Responder, Sweeping};
use trailkeeper::state::{Asking, Claimed, Claims, Counts, Key, MemoryStore, Records, Store};

use self::book::Sent;
use self::cloud::{FINAL, Nature, Trail};
use self::queue::WAIT;
use self::table::{REMEMBER, TABLE, Watched};
use self::world::{Process, Rates, STORM, Side, State, World, locked};
use crate::support::events::stop;
use crate::{queue_promises, store as store_promises};

/// Without a word from the environment: enough to notice, quick enough to be run always.
const SEEDS: u64 = 50;
/// From the end of the storm until the queue must be empty.
const AFTERMATH: Duration = Duration::from_mins(30);
/// For an event that comes when nothing is wrong: a long poll, and a moment.
const AT_ONCE: Duration = Duration::from_secs(30);
/// On top of the grace, for the last answers, for what a drain lets go of, and for what is written down last.
const DRAIN_MARGIN: Duration = Duration::from_secs(15);
/// What ARCHITECTURE says, and the second that this queue takes to look, twice.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(45 + 2);
/// For what is owed to the table when a worker ends.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What a seed came to.
struct Ending {
    faults: Vec<String>,
    trace: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

fn run(seed: u64) -> Ending {
    in_its_own_time(seed, simulate)
}

/// What comes of a seed, with a clock of its own.
fn in_its_own_time<F: Future<Output = Arc<World>>>(seed: u64, simulate: impl FnOnce(u64) -> F) -> Ending {
    clock::follow_tokio();
    fastrand::seed(seed);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let world = runtime.block_on(simulate(seed));
    drop(runtime);
    let mut book = world.book();
    let (faults, trace) = (std::mem::take(&mut book.faults), std::mem::take(&mut book.trace));
    Ending { faults, trace, counts: std::mem::take(&mut book.counts) }
}

async fn simulate(seed: u64) -> Arc<World> {
    let world = World::new(seed);
    world.table.create_table(TABLE).await;
    let beside = (world.other_visibility, world.two_versions);
    world.book().note(&format!("seed {seed}: {:?} {:?} {beside:?}", world.rates, world.pool));
    let started_at = Instant::now();
    let names = Arc::new(AtomicU64::new(0));
    let closing = CancellationToken::new();
    let sending = tokio::spawn(send(Arc::clone(&world)));
    let redriving = tokio::spawn(redrive(Arc::clone(&world)));
    let workers = world.chance().usize(1..=4);
    let slots: Vec<_> = (0..workers)
        .map(|_| tokio::spawn(keep_a_worker(Arc::clone(&world), Arc::clone(&names), closing.clone())))
        .collect();
    sending.await.expect("no panic");
    redriving.await.expect("no panic");
    tokio::time::sleep_until(started_at + STORM).await;
    world.calm_down();
    empties(&world, AFTERMATH).await;
    // Whoever stood still when the storm ended has woken up by now: what is new is taken up at once.
    tokio::time::sleep(STORM).await;
    let (body, sent) = stop_of(&world, "e-last", "t-last", Nature::Plain);
    put(&world, body, sent, false);
    empties(&world, AT_ONCE).await;
    world.book().check_written_down();
    closing.cancel();
    for slot in slots {
        slot.await.expect("no panic");
    }
    world.book().check_end(|trail| world.is_logging(trail));
    world
}

/// Waits until nothing is in the queue any more.
async fn empties(world: &World, bound: Duration) {
    let deadline = Instant::now() + bound;
    while !locked(&world.messages).is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let left = locked(&world.messages).left();
    if !left.is_empty() {
        world.book().fault(format!("{left:?} are in the queue after {bound:?} of calm"));
    }
}

fn put(world: &World, body: String, sent: Sent, redriven: bool) {
    let kind = matches!(sent, Sent::Later).then_some("show-incident");
    let message = locked(&world.messages).send(body, redriven, kind);
    world.book().sent(message, sent);
}

/// Somebody puts dead letters back into the queue, now and then.
async fn redrive(world: Arc<World>) {
    let count = world.chance().usize(..3);
    for _ in 0..count {
        let after = world.millis(0..=STORM.as_secs() * 500);
        tokio::time::sleep(after).await;
        let which = world.chance().usize(..);
        let letter = world.book().dead_letter(which);
        if let Some((body, sent)) = letter {
            world.book().redriven(&sent);
            put(&world, body, sent, true);
        }
    }
}

/// Sends events, duplicates of them, and poison, over the first half of the storm.
async fn send(world: Arc<World>) {
    let count = world.chance().u64(2..=12);
    let mut sending = Vec::new();
    for number in 0..count {
        let (body, sent) = draw(&world, number);
        let copies = 1 + u64::from(world.chance().u8(..5) == 0);
        for _ in 0..copies {
            let after = world.millis(0..=STORM.as_secs() * 500);
            sending.push((after, body.clone(), sent.clone()));
        }
    }
    sending.sort_by_key(|(after, ..)| *after);
    let started_at = Instant::now();
    for (after, body, sent) in sending {
        tokio::time::sleep_until(started_at + after).await;
        put(&world, body, sent, false);
    }
}

fn draw(world: &World, number: u64) -> (String, Sent) {
    let event = format!("e-{number}");
    let mut body = stopped().clone();
    body["detail"]["eventID"] = json!(event);
    let kind = world.chance().u8(..20);
    match kind {
        0 => return ("not JSON".to_owned(), Sent::Poison(Reason::Malformed)),
        1 => {
            let body = json!({ "detail-type": "Scheduled Event", "detail": {} });
            return (body.to_string(), Sent::Poison(Reason::Unsupported));
        }
        2 => {
            body["detail"]["eventName"] = json!("DescribeTrails");
            return (body.to_string(), Sent::Ignored);
        }
        7 => return ("{}".to_owned(), Sent::Later),
        3 => body["detail"]["eventName"] = json!("DeleteTrail"),
        6 => body["detail"]["errorCode"] = json!("AccessDenied"),
        // The trail of the event before, stopped again.
        4 | 5 if number > 0 => {
            let trail = format!("t-{}", number - 1);
            let nature = locked(&world.trails).get(&trail).map(|trail| trail.nature);
            return stop_of(world, &event, &trail, nature.unwrap_or(Nature::Plain));
        }
        _ => return stop_of(world, &event, &format!("t-{number}"), nature(world)),
    }
    (body.to_string(), Sent::Event(event, None))
}

/// A trail of this nature was stopped.
fn stop_of(world: &World, event: &str, trail: &str, nature: Nature) -> (String, Sent) {
    let (stale_for, start_moves_time) = (world.millis(0..=60_000), world.coin());
    locked(&world.trails).insert(trail.to_owned(), Trail::stopped(nature, stale_for, start_moves_time));
    let mut body = stopped().clone();
    body["detail"]["eventID"] = json!(event);
    body["detail"]["requestParameters"] =
        if nature == Nature::Nameless { json!(null) } else { json!({ "name": trail }) };
    (body.to_string(), Sent::Event(event.to_owned(), Some((trail.to_owned(), nature))))
}

/// The fixture, read once.
fn stopped() -> &'static Value {
    static STOPPED: OnceLock<Value> = OnceLock::new();
    STOPPED.get_or_init(|| stop("e", "t"))
}

fn nature(world: &World) -> Nature {
    let mut chance = world.chance();
    match chance.u8(..15) {
        0 => Nature::On,
        1 => Nature::Deleted,
        2 => Nature::Guarded(FINAL[chance.usize(..FINAL.len())]),
        3 => Nature::Unseen,
        4 => Nature::Abroad,
        5 | 6 => Nature::Stale,
        7 => Nature::Nameless,
        _ => Nature::Plain,
    }
}

/// One worker's process, and the task that runs it.
struct Worker {
    process: Process,
    shutdown: Shutdown,
    running: JoinHandle<()>,
}

impl Worker {
    async fn start(world: &Arc<World>, name: usize) -> Self {
        let process = Process::new(world, name);
        let version = if process.is_of_0_1_0 { " as 0.1.0" } else { "" };
        world.book().note(&format!("{process:?} starts{version}"));
        let sdk = process.sdk_config();
        let accounts = Accounts::discover(&sdk, None).await;
        let channel = Box::new(process.clone());
        let records = world.sweep.map(|_| Records::in_table(&sdk, TABLE.to_owned()));
        let hands = Hands { trails: Trails::new(accounts), records, channel, retry: world.retry };
        let pool = PoolConfig { visibility: process.visibility, ..world.pool };
        let claims = Arc::new(Claims::new(Watched::new(&process), MemoryStore::new(REMEMBER)));
        let (_, policy) = watch::channel(Arc::new(Policy::default()));
        let lease = pool.visibility;
        let (_, max_receive_count) = watch::channel(None);
        let members = Arc::new(Membership::new(max_receive_count));
        let queue = Outbox::new(aws_sdk_sqs::Client::new(&sdk), "https://queue".to_owned());
        let sweeping = world.sweep.map(|every| Sweeping { every, queue });
        let responder = Responder::new(Mode::Restore, policy, members, Arc::clone(&claims), hands, lease);
        let responder = Arc::new(responder.sweeping(sweeping));
        let (health, shutdown) = (Arc::new(Health::new(WAIT)), Shutdown::default());
        let queue = Arc::new(process.clone());
        let consuming = consumer::run(queue, Arc::clone(&responder), pool, health, shutdown.clone());
        let running = tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = consuming => {}
                () = claims.keep() => {}
                () = responder.keep() => {}
            }
            // As the program does.
            let _ = tokio::time::timeout(LAST_WRITES, Box::pin(claims.catch_up())).await;
        });
        Self { process, shutdown, running }
    }

    /// Ends as on SIGTERM, which takes no longer than the grace and a little.
    async fn drain(mut self, world: &World) {
        world.book().note(&format!("{:?} is told to drain", self.process));
        self.shutdown.drain.cancel();
        let bound = world.pool.grace + DRAIN_MARGIN;
        tokio::select! {
            biased;
            () = self.process.gone() => {}
            ended = tokio::time::timeout(bound, &mut self.running) => match ended {
                Ok(ended) => ended.expect("no panic"),
                Err(_) => world.book().fault(format!("{:?} does not end its drain", self.process)),
            },
        }
        self.crash();
    }

    fn crash(self) {
        self.process.become_(State::Gone);
        self.running.abort();
    }
}

/// What is done to a worker by those around it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Crashes,
    StandsStill,
    Drains,
}

/// Starts a worker whenever there is none, and does to it what the seed wants, until told to close.
async fn keep_a_worker(world: Arc<World>, names: Arc<AtomicU64>, closing: CancellationToken) {
    loop {
        let name = usize::try_from(names.fetch_add(1, Ordering::SeqCst)).expect("few");
        let worker = Worker::start(&world, name).await;
        match live(&world, &worker, &closing).await {
            Some(Fate::Drains) => worker.drain(&world).await,
            Some(_) => {
                world.book().count("crashes");
                worker.crash();
            }
            None => return worker.drain(&world).await,
        }
        tokio::time::sleep(world.millis(0..=20_000)).await;
    }
}

/// Ends with how the worker is to end; `None` when all is over.
async fn live(world: &World, worker: &Worker, closing: &CancellationToken) -> Option<Fate> {
    loop {
        let (after, fate) = {
            let mut chance = world.chance();
            let fate = [Fate::Crashes, Fate::StandsStill, Fate::Drains][chance.usize(..3)];
            (Duration::from_secs(chance.u64(5..=world.quiet.as_secs())), fate)
        };
        let long = if world.is_calm() { AFTERMATH * 2 } else { after };
        tokio::select! {
            biased;
            () = closing.cancelled() => return None,
            () = worker.process.gone() => return Some(Fate::Crashes),
            () = tokio::time::sleep(long) => {}
        }
        if world.is_calm() || world.storm_is_over() {
            continue;
        }
        if world.wrong_clocks && matches!(fate, Fate::StandsStill)
            || world.is_orderly && !matches!(fate, Fate::Drains)
        {
            continue;
        }
        if !matches!(fate, Fate::StandsStill) {
            return Some(fate);
        }
        worker.process.stand_still().await;
    }
}

/// The seeds that the environment asks for: how many, or from one to another.
fn seeds() -> Range<u64> {
    let Ok(asked) = std::env::var("TRAILKEEPER_SEEDS") else { return 0..SEEDS };
    let (first, end) = asked.split_once("..").unwrap_or(("0", &asked));
    let number = |text: &str| text.parse().expect("TRAILKEEPER_SEEDS: a number, or two with .. between");
    number(first)..number(end)
}

fn told(seed: u64, ending: &Ending) -> String {
    let (trace, faults) = (ending.trace.join("\n"), ending.faults.join("\n  "));
    format!(
        "{trace}\n\nseed {seed}:\n  {faults}\n\nagain: TRAILKEEPER_SEED={seed} cargo test --test it simulation\n"
    )
}

/// Every seed of a range, on every core.
fn run_all(seeds: Range<u64>, run: fn(u64) -> Ending) -> (BTreeMap<&'static str, u64>, Vec<(u64, Ending)>) {
    let next = AtomicU64::new(seeds.start);
    let results = Mutex::new((BTreeMap::new(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let ending = run(seed);
                    let mut results = locked(&results);
                    for (what, count) in &ending.counts {
                        *results.0.entry(*what).or_default() += count;
                    }
                    if !ending.faults.is_empty() {
                        results.1.push((seed, ending));
                    }
                }
            });
        }
    });
    let (counts, mut failed) = results.into_inner().expect("no panic");
    failed.sort_by_key(|(seed, _)| *seed);
    (counts, failed)
}

#[test]
fn no_storm_breaks_a_promise() {
    if let Ok(seed) = std::env::var("TRAILKEEPER_SEED") {
        let seed = seed.parse().expect("TRAILKEEPER_SEED: a number");
        let ending = run(seed);
        println!("{}", told(seed, &ending));
        assert!(ending.faults.is_empty(), "seed {seed} breaks a promise");
        return;
    }
    let seeds = seeds();
    let (counts, failed) = run_all(seeds.clone(), run);
    println!("seeds {seeds:?}: {counts:?}");
    if let Some((seed, ending)) = failed.first() {
        let others: Vec<_> =
            failed.iter().map(|(seed, ending)| (*seed, &ending.faults[0])).take(20).collect();
        panic!("{}\n{} of {} seeds fail: {others:#?}", told(*seed, ending), failed.len(), seeds.count());
    }
}

#[test]
fn a_seed_replays_to_the_letter() {
    for seed in seeds().step_by(10) {
        let (one, other) = (run(seed), run(seed));
        for (line, (one, other)) in one.trace.iter().zip(&other.trace).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(one.trace.len(), other.trace.len());
    }
}

/// Two workers' ends of a store and a queue, in good weather, their clocks right.
async fn two_workers() -> (Arc<World>, Process, Process) {
    clock::follow_tokio();
    let mut world = World::new(0);
    let ours = Arc::get_mut(&mut world).expect("ours alone");
    // Longer than the long poll.
    ours.pool.visibility = Duration::from_mins(1);
    (ours.other_visibility, ours.two_versions) = (None, false);
    world.calm_down();
    world.table.create_table(TABLE).await;
    let (mut one, mut other) = (Process::new(&world, 0), Process::new(&world, 1));
    (one.skew_ms, other.skew_ms) = (0, 0);
    (world, one, other)
}

#[tokio::test(start_paused = true)]
async fn the_simulated_table_keeps_the_promises_of_a_store() {
    let (_world, one, other) = two_workers().await;
    store_promises::promises(&Watched::new(&one), &Watched::new(&other)).await;
}

#[tokio::test(start_paused = true)]
async fn the_simulated_queue_keeps_the_promises_of_a_queue() {
    let (world, one, _) = two_workers().await;
    let send = async |body: &str| {
        locked(&world.messages).send(body.to_owned(), false, None);
    };
    let buried = async || world.book().bodies.iter().map(|(_, body)| body.clone()).collect();
    queue_promises::promises_of_batches(&one, send).await;
    queue_promises::promises(&one, send, buried).await;
}

/// A world in which nothing goes wrong but what the test wants, at the default visibility timeout.
async fn quiet_world(seed: u64, rates: Rates, outage: (Side, Duration)) -> Arc<World> {
    clock::follow_tokio();
    let mut world = World::new(seed);
    let ours = Arc::get_mut(&mut world).expect("ours alone");
    (ours.rates, ours.outages) = (rates, vec![(outage.0, Duration::ZERO, outage.1)]);
    ours.wrong_clocks = false;
    ours.retry.max_attempts = 50;
    ours.pool.visibility = Duration::from_secs(args::VISIBILITY_TIMEOUT_SECONDS.kind.default);
    (ours.other_visibility, ours.two_versions) = (None, false);
    world.table.create_table(TABLE).await;
    world
}

/// From the start until then the state table answers nobody.
async fn without_a_table(until: Duration) -> Arc<World> {
    quiet_world(0, Rates::default(), (Side::Store, until)).await
}

/// A worker dies with a message in its hands, whenever that is, and however starved of CPU it was: another has restarted the trail
/// in time.
#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_held_is_taken_over_in_time() {
    for (seconds, slow) in (1..=60).flat_map(|seconds| [(seconds, 0.0), (seconds, 1.0)]) {
        let rates = Rates { slow, ..Rates::default() };
        // Work takes long.
        let world = quiet_world(seconds, rates, (Side::CloudTrail, Duration::from_hours(1))).await;
        let dies = Worker::start(&world, 1).await;
        let (body, sent) = stop_of(&world, "e-1", "t-1", Nature::Plain);
        put(&world, body, sent, false);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        dies.crash();
        world.calm_down();
        let died_at = Instant::now();
        let other = Worker::start(&world, 2).await;
        while !world.is_logging("t-1") {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let took = died_at.elapsed();
            assert!(
                took <= TAKEN_OVER_WITHIN,
                "killed after {seconds} s, slow: {slow}: still off after {took:?}"
            );
        }
        other.crash();
    }
}

/// What is off is restarted and reported at once; what is on may be another's already, and is reported after three minutes. What one
/// worker has reported it knows, and so do all once the table is back.
#[tokio::test(start_paused = true)]
async fn without_the_table_what_is_off_is_told_at_once_and_what_is_on_later() {
    let minutes = Duration::from_mins;
    let world = without_a_table(minutes(10)).await;
    let one = Worker::start(&world, 1).await;
    let stops = [("e-off", "t-off", Nature::Plain), ("e-on", "t-on", Nature::On)];
    let stops = stops.map(|(event, trail, nature)| stop_of(&world, event, trail, nature));
    let send = || stops.iter().for_each(|(body, sent)| put(&world, body.clone(), sent.clone(), false));
    send();
    tokio::time::sleep(minutes(2)).await;
    let told = |event| world.book().told_after(event);
    assert_eq!((told("e-off").len(), told("e-on").len()), (1, 0));
    assert!(told("e-off")[0] < Duration::from_secs(30), "{:?}", told("e-off"));
    tokio::time::sleep(minutes(3)).await;
    assert_eq!(told("e-on").len(), 1);
    assert!(told("e-on")[0] > minutes(3) && told("e-on")[0] < minutes(4), "{:?}", told("e-on"));
    for worker in 2..4 {
        send();
        empties(&world, minutes(1)).await;
        // The second time the table is back, and it is another worker that has the copies.
        tokio::time::sleep(minutes(10)).await;
        if worker == 2 {
            world.book().check_written_down();
            let other = Worker::start(&world, worker).await;
            one.process.become_(State::Gone);
            tokio::spawn(other.running);
        }
    }
    assert_eq!((told("e-off").len(), told("e-on").len()), (1, 1));
    assert_eq!(world.book().faults, Vec::<String>::new());
}

/// The table is back before the three minutes are over: the report has its claim.
#[tokio::test(start_paused = true)]
async fn a_report_that_waits_for_the_table_has_its_claim_once_that_answers() {
    let world = without_a_table(Duration::from_secs(100)).await;
    let _worker = Worker::start(&world, 1).await;
    let (body, sent) = stop_of(&world, "e-on", "t-on", Nature::On);
    put(&world, body, sent, false);
    empties(&world, Duration::from_mins(5)).await;
    let told = world.book().told_after("e-on");
    assert!(told.len() == 1 && told[0] > Duration::from_secs(100), "{told:?}");
    world.book().check_written_down();
    assert_eq!(world.book().faults, Vec::<String>::new());
}

/// Takes the event as soon as the store lets it, asking as a worker does, and says how long that took.
async fn takes_over(store: &Watched, lease: Duration, asking: Asking<'_>) -> Duration {
    let started_at = Instant::now();
    loop {
        match store.claim(&claimed_event(), lease, asking).await.expect("good weather") {
            Claimed::Yours(_) => return started_at.elapsed(),
            Claimed::Held { ends_in } => {
                assert!(ends_in <= LONGEST_LEASE, "{ends_in:?} is longer than any lease");
                tokio::time::sleep(ends_in.min(Duration::from_secs(10)) + Duration::from_secs(1)).await;
            }
            ended @ Claimed::Ended { .. } => panic!("{ended:?}"),
        }
    }
}

fn claimed_event() -> Key {
    Key::Event(EventId::parse("e-1").expect("an id"))
}

fn by(message: &str) -> Asking<'_> {
    Asking { message, redriven: false }
}

const LONGEST_LEASE: Duration = Duration::from_mins(2);
/// Clocks that are behind, right and ahead: by minutes, and by a day.
const OFFSETS: [i64; 5] = [-86_400, -600, 0, 600, 86_400];

/// Whatever clock has written the lease of a worker that is gone, and whatever clock reads it: it is taken over once it has been
/// watched for as long as it lasts, by the same message and by another. A reader may have leases of another length.
#[tokio::test(start_paused = true)]
async fn a_lease_by_a_wrong_clock_blocks_an_event_no_longer_than_it_lasts() {
    for (written, read) in OFFSETS.into_iter().flat_map(|one| OFFSETS.map(|other| (one, other))) {
        for (asking, lease) in
            [("m-1", LONGEST_LEASE), ("m-2", LONGEST_LEASE), ("m-2", Duration::from_secs(15))]
        {
            let (_world, mut one, mut other) = two_workers().await;
            (one.skew_ms, other.skew_ms) = (written * 1_000, read * 1_000);
            let claimed = Watched::new(&one).claim(&claimed_event(), LONGEST_LEASE, by("m-1")).await;
            assert!(matches!(claimed, Ok(Claimed::Yours(_))));
            let took = takes_over(&Watched::new(&other), lease, by(asking)).await;
            let offsets = format!("written {written} s, read {read} s, by {asking}");
            assert!(took <= LONGEST_LEASE + Duration::from_secs(15), "{offsets}: {took:?}");
            // Its own message came back: SQS says that its owner is gone.
            let at_once = asking == "m-1" && read > written;
            assert_eq!(took < LONGEST_LEASE / 2, at_once, "{offsets}: {took:?}");
        }
    }
}

/// A worker of 0.1.0 leaves the length of an earlier claim as it was: a copy that watched for only so long would take its live claim.
#[tokio::test(start_paused = true)]
async fn the_length_of_an_earlier_claim_is_not_that_of_a_claim_of_0_1_0() {
    let (_world, one, mut other) = two_workers().await;
    other.is_of_0_1_0 = true;
    let (reader, owner) = (Watched::new(&one), Watched::new(&other));
    let claimed = reader.claim(&claimed_event(), Duration::from_secs(15), by("m-1")).await;
    let Ok(Claimed::Yours(earlier)) = claimed else { panic!("{claimed:?}") };
    reader.release(&earlier, Counts::Yes, &[]).await.expect("ours");
    let claimed = owner.claim(&claimed_event(), LONGEST_LEASE, by("m-1")).await;
    assert!(matches!(claimed, Ok(Claimed::Yours(_))), "{claimed:?}");
    let took = takes_over(&reader, LONGEST_LEASE, by("m-2")).await;
    assert!(took >= LONGEST_LEASE, "{took:?}");
}

/// A claim that moves is alive, whatever its owner's clock says, and no copy of its event takes it.
#[tokio::test(start_paused = true)]
async fn a_claim_that_moves_is_not_taken_whatever_the_clocks_say() {
    for (written, read) in OFFSETS.into_iter().flat_map(|one| OFFSETS.map(|other| (one, other))) {
        let (_world, mut one, mut other) = two_workers().await;
        (one.skew_ms, other.skew_ms) = (written * 1_000, read * 1_000);
        let (owner, reader) = (Watched::new(&one), Watched::new(&other));
        let claimed = owner.claim(&claimed_event(), LONGEST_LEASE, by("m-1")).await;
        let Ok(Claimed::Yours(claim)) = claimed else { panic!("{claimed:?}") };
        let working = async {
            for _ in 0..10 {
                tokio::time::sleep(LONGEST_LEASE / 2).await;
                owner.extend(&claim, LONGEST_LEASE).await.expect("nobody has taken it");
            }
        };
        tokio::select! {
            took = takes_over(&reader, LONGEST_LEASE, by("m-2")) => panic!("written {written} s, read {read} s: taken after {took:?}"),
            () = working => {}
        }
    }
}
