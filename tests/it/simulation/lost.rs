//! Events that never arrive: trails are stopped, half of the time nobody tells, and the workers sweep.
//!
//! The promises: every trail that was stopped is on again within two sweeps of calm, or an hour after it was given up, the last stop of each
//! is reported, and no stop is reported twice by its event and by a sweep, unless something fell between a report and the record of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trailkeeper::text::stamp;

use super::book::Sent;
use super::cloud::{Nature, Trail};
use super::table::TABLE;
use super::world::{Rates, STORM, Side, World, locked};
use super::{
    AFTERMATH, Ending, Worker, empties, in_its_own_time, keep_a_worker, put, run_all, seeds, stopped, told,
};

/// Between two sweeps.
const EVERY: Duration = Duration::from_mins(1);
/// A stop is left to its event for so long.
const EVENT_FIRST: Duration = Duration::from_mins(1);
/// A worker's first look at whether a sweep is due, and the sweep.
const FIRST_LOOK: Duration = Duration::from_secs(20);
/// A worker looks whether a sweep is due, a look waits for its turn, a message for its poll.
const MARGIN: Duration = Duration::from_secs(45);
/// What was given up is tried again after this long.
const TRIED_AGAIN: Duration = Duration::from_hours(1);
/// Two stops this close may be taken for one.
const SAME_STOP: Duration = Duration::from_mins(1);
/// Between two stops of a trail: CloudTrail shows its times in seconds.
const APART: Duration = Duration::from_secs(2);

/// A call of `StopLogging`.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) trail: String,
    pub(super) event: String,
    pub(super) at: OffsetDateTime,
}

impl Stop {
    /// What CloudTrail records of it.
    pub(super) fn record(&self) -> Value {
        let mut event = stopped().clone();
        event["detail"]["eventID"] = json!(self.event);
        event["detail"]["eventTime"] = json!(stamp(self.at));
        event["detail"]["requestParameters"] = json!({ "name": self.trail });
        event
    }
}

fn world(seed: u64) -> Arc<World> {
    let mut world = World::new(seed);
    let ours = Arc::get_mut(&mut world).expect("ours alone");
    ours.sweep = Some(EVERY);
    (ours.wrong_clocks, ours.two_versions, ours.other_visibility) = (false, false, None);
    // A Slack that has had enough of us makes dead letters of everything.
    ours.rates.post_refused = 0.0;
    if seed.is_multiple_of(2) {
        // Nothing falls between a report and the record of it.
        ours.is_orderly = true;
        let Rates { crash, stall, slow, unheard, throttled, post_fails, .. } = &mut ours.rates;
        for rate in [crash, stall, slow, unheard, throttled, post_fails] {
            *rate = 0.0;
        }
        ours.outages.retain(|(side, ..)| matches!(side, Side::Queue | Side::CloudTrail));
    }
    world
}

async fn simulate(seed: u64) -> Arc<World> {
    let world = world(seed);
    world.table.create_table(TABLE).await;
    world.book().sweeps = true;
    world.book().note(&format!("seed {seed}: {:?} {:?}", world.rates, world.pool));
    let trails: Vec<_> = (0..world.chance().usize(1..=4)).map(|number| format!("t-{number}")).collect();
    for trail in &trails {
        locked(&world.trails).insert(trail.clone(), Trail::kept());
    }
    // What is off at the first look stays so: it is made in peace.
    world.calm_down();
    let first = Worker::start(&world, 0).await;
    tokio::time::sleep(FIRST_LOOK).await;
    first.drain(&world).await;
    world.begin_storm();
    let started_at = Instant::now();
    let (names, closing) = (Arc::new(AtomicU64::new(1)), CancellationToken::new());
    let workers = world.chance().usize(1..=3);
    let slots: Vec<_> = (0..workers)
        .map(|_| tokio::spawn(keep_a_worker(Arc::clone(&world), Arc::clone(&names), closing.clone())))
        .collect();
    stop_now_and_then(&world, &trails).await;
    tokio::time::sleep_until(started_at + STORM).await;
    world.calm_down();
    // What a killed worker held, and what waits for its backoff.
    empties(&world, AFTERMATH).await;
    tokio::time::sleep(2 * EVERY + EVENT_FIRST + MARGIN).await;
    if world.book().has_letters() {
        // What could not be started in the storm is tried again.
        tokio::time::sleep(TRIED_AGAIN + 2 * EVERY).await;
    }
    empties(&world, AFTERMATH).await;
    check(&world, &trails);
    closing.cancel();
    for slot in slots {
        slot.await.expect("no panic");
    }
    world
}

/// Stops trails that are on, in the storm, and sends the events of some of these calls.
async fn stop_now_and_then(world: &Arc<World>, trails: &[String]) {
    let mut stopped_at = BTreeMap::<&str, Instant>::new();
    let count = world.chance().usize(1..=8);
    for number in 0..count {
        let wait = world.millis(0..=40_000);
        tokio::time::sleep(wait).await;
        let trail = trails[world.chance().usize(..trails.len())].as_str();
        if stopped_at.get(trail).is_some_and(|at| at.elapsed() < APART) {
            continue;
        }
        let Some(at) = world.stop(trail) else { continue };
        stopped_at.insert(trail, Instant::now());
        let (trail, event) = (trail.to_owned(), format!("e-{number}"));
        world.book().note(&format!("{trail} is stopped: {event}"));
        let stop = Stop { trail, event, at };
        let arrives = world.coin();
        if arrives {
            let (body, late) = (stop.record().to_string(), world.millis(0..=90_000));
            let sent = Sent::Event(stop.event.clone(), Some((stop.trail.clone(), Nature::Kept)));
            let world = Arc::clone(world);
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                put(&world, body, sent, false);
            });
        }
        locked(&world.stops).push(stop);
    }
}

fn check(world: &World, trails: &[String]) {
    let (reports, stops) = (world.book().reports.clone(), locked(&world.stops));
    let is_close = |one: &Stop, other: &Stop| {
        one.trail == other.trail && (one.at - other.at).unsigned_abs() <= SAME_STOP
    };
    let mut faults = Vec::new();
    for trail in trails {
        if !world.is_logging(trail) {
            faults.push(format!("{trail} is still off"));
        }
        let Some(last) = stops.iter().rev().find(|stop| stop.trail == *trail) else { continue };
        // What was stopped twice within a minute may be one to whoever comes after both.
        let is_said =
            |stop: &Stop| world.book().is_buried(stop) || reports.iter().any(|report| report.is_of(stop));
        if !stops.iter().filter(|stop| is_close(stop, last)).any(is_said) {
            faults.push(format!("the last stop of {trail}, {}, was not reported", last.event));
        }
    }
    let is_alone = |stop: &&Stop| stops.iter().filter(|other| is_close(stop, other)).count() == 1;
    for stop in stops.iter().filter(|_| world.is_orderly).filter(is_alone) {
        let reports: Vec<_> =
            reports.iter().filter(|report| report.is_of(stop) && !report.adds_who).collect();
        let on = reports.iter().filter(|report| report.says_on).count();
        if on > 1 || reports.len() - on > 1 {
            faults.push(format!("{} of {} was reported {} times", stop.event, stop.trail, reports.len()));
        }
    }
    for fault in faults {
        world.book().fault(fault);
    }
}

fn run(seed: u64) -> Ending {
    in_its_own_time(seed, simulate)
}

#[test]
fn every_stopped_trail_ends_restarted_and_reported_whether_or_not_its_event_arrives() {
    if let Ok(seed) = std::env::var("TRAILKEEPER_SEED") {
        let seed = seed.parse().expect("TRAILKEEPER_SEED: a number");
        let ending = run(seed);
        println!("{}", told(seed, &ending));
        assert!(ending.faults.is_empty(), "seed {seed} breaks a promise");
        return;
    }
    // Each costs as much as several of those without sweeps.
    let seeds = seeds();
    let some = seeds.start..seeds.start + (seeds.end - seeds.start).div_ceil(5);
    let (counts, failed) = run_all(some, run);
    println!("{counts:?}");
    if let Some((seed, ending)) = failed.first() {
        let all: Vec<_> = failed.iter().map(|(seed, ending)| (*seed, &ending.faults[0])).take(20).collect();
        panic!("{}\n{} seeds fail: {all:#?}", told(*seed, ending), failed.len());
    }
}
