//! Real workers that are killed and told to go while every service fails now and then, and a count of what came
//! of it.
//!
//! In reading order: [`run`] is the story, [`Stage`] is what the workers see of the world, [`Witness`] lets
//! calls go wrong and notes what really happened, [`Fleet`] starts and ends workers, and [`Tally`] is the sum.
//! What is drawn is drawn from the plan's seed; when processes run is up to the machine, so a seed repeats the
//! events and the odds, not the run.

#![allow(dead_code, unreachable_pub, reason = "shared with the example, and each uses a part")]

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode, header};
use axum::routing::post;
use fastrand::Rng;
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::aws::{self, Aws, Call, Fault, REGION, Watch};
use super::events;

/// Of all calls of workers, to AWS and to Slack alike.
const FAULT_SHARE: f64 = 0.05;
/// The longest that a call is held up. The state table is given up on after 2 s, so some are too late.
const LONGEST_DELAY: Duration = Duration::from_secs(3);
/// Events sent twice, and poison on top of the events, in hundredths of the events.
const DUPLICATES_PERCENT: usize = 20;
const POISON_PERCENT: usize = 2;
/// The longest between a duplicate and its event, for those that are to meet it while it is worked on.
const CLOSE: Duration = Duration::from_millis(300);
/// An answer of the state table that comes later is no answer to a worker, which has given up on it.
const TABLE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that a worker tries to claim before it goes on without: four tries and the waits between them.
const CLAIMING: Duration = Duration::from_secs(10);
/// What may be told again because the table answered nothing, in so many events.
const UNCLAIMED_OF: (usize, usize) = (5, 1_500);
/// Between two looks at how far the workers are.
const TICK: Duration = Duration::from_millis(100);
/// Ticks from kill to kill, and from SIGTERM to SIGTERM.
const KILL_EVERY: u64 = 10;
const TERM_EVERY: u64 = 33;
/// What the workers are given to drain, and how long we wait for their end beyond it.
const GRACE: Duration = Duration::from_secs(10);
const PAST_GRACE: Duration = Duration::from_secs(30);
/// The access key of each worker is this and its number.
const ACCESS_KEY: &str = "AKIAEXAMPLE";
/// The state table.
const TABLE: &str = "claims";

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Plan {
    pub events: usize,
    pub workers: usize,
    pub seed: u64,
    /// Over which the events are sent.
    pub sending: Duration,
    /// From the first event on, the longest that workers are killed and calls go wrong; over sooner if the
    /// queue is empty. What is left then is worked off in peace.
    pub trouble: Duration,
    /// From the first event on, the longest until the queue has to be empty.
    pub patience: Duration,
    /// The `trailkeeper` program.
    pub program: PathBuf,
    /// The workers' visibility timeout; the default if there is none. What a killed worker held waits that long.
    pub visibility: Option<Duration>,
    /// A folder for the logs of the workers, if they are wanted.
    pub logs: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    pub seed: u64,
    pub events: usize,
    pub duplicates: usize,
    pub poison: usize,
    pub kills: usize,
    pub terms: usize,
    pub faults: usize,
    pub calls: usize,
    pub wall: Duration,
    /// Events whose trail logs again.
    pub restored: usize,
    /// Messages that stand in the channel, whatever was answered to whoever posted them.
    pub slack_messages: usize,
    /// Of those, the ones that say only that a restart takes longer.
    pub interim: usize,
    pub repeated_messages: usize,
    /// Of those, by what came between the first post and its record.
    pub after_kill: usize,
    pub longest_to_kill: Duration,
    pub after_lost_answer: usize,
    /// Told, or told before, by a worker that the table answered nothing.
    pub without_table: usize,
    /// Neither, or the record had been written: nothing that at-least-once excuses.
    pub unexcused: usize,
    /// Accepted calls of `StartLogging` beyond the first of an event.
    pub repeated_restarts: usize,
    /// Poison in the dead-letter queue, each counted once.
    pub dead_letters: usize,
    pub repeated_dead_letters: usize,
    /// Anything else in the dead-letter queue.
    pub other_dead_letters: usize,
    /// Events whose trail is still off, or of which nobody was told how it ended.
    pub lost: usize,
    pub left_in_queue: usize,
    /// Workers that ended though nobody had told them to.
    pub crashes: usize,
    /// Workers that were told to go, and did not end well and in time.
    pub bad_exits: usize,
    /// What was unexcused, in words.
    pub remarks: Vec<String>,
}

impl Tally {
    /// The head of a Markdown table of tallies.
    pub const HEAD: &str = "\
| seed | events | duplicates sent | poison | kills | terms | faults injected | wall seconds | events restored \
| Slack messages | repeated Slack messages | repeated restarts | dead letters | lost |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// Whether all that is promised was kept.
    pub fn is_kept(&self) -> bool {
        let faults = [
            self.lost,
            self.left_in_queue,
            self.other_dead_letters,
            self.unexcused,
            self.crashes,
            self.bad_exits,
        ];
        let (most, of) = UNCLAIMED_OF;
        faults.iter().all(|count| *count == 0)
            && self.without_table * of <= most * self.events.max(of)
            && self.restored == self.events
            && self.dead_letters == self.poison
    }

    /// What the table has no column for.
    pub fn notes(&self) -> String {
        let Self { calls, interim, after_kill, after_lost_answer, without_table, unexcused, .. } = self;
        let mut notes = format!(
            "seed {}: {calls} calls of workers; {interim} messages say that a restart takes longer; repeated \
             messages: {after_kill} after a kill between post and record (at most {:.1} s after the post), \
             {after_lost_answer} after an answer of Slack's that was lost, {without_table} while the state table \
             answered nothing, {unexcused} after none of these; {} dead \
             letters copied again, {} others; {} left in the queue; {} workers crashed, {} did not drain well",
            self.seed,
            self.longest_to_kill.as_secs_f64(),
            self.repeated_dead_letters,
            self.other_dead_letters,
            self.left_in_queue,
            self.crashes,
            self.bad_exits,
        );
        for remark in &self.remarks {
            notes.push_str("\n  ");
            notes.push_str(remark);
        }
        notes
    }
}

/// A row of the table.
impl fmt::Display for Tally {
    fn fmt(&self, row: &mut fmt::Formatter) -> fmt::Result {
        let Self { seed, events, duplicates, poison, kills, terms, faults, .. } = self;
        let Self {
            restored, slack_messages, repeated_messages, repeated_restarts, dead_letters, lost, ..
        } = self;
        let wall = self.wall.as_secs_f64();
        write!(
            row,
            "| {seed} | {events} | {duplicates} | {poison} | {kills} | {terms} | {faults} | {wall:.0} \
             | {restored} | {slack_messages} | {repeated_messages} | {repeated_restarts} | {dead_letters} \
             | {lost} |"
        )
    }
}

/// Plays the plan to its end.
pub async fn run(plan: &Plan) -> Tally {
    let mut rng = Rng::with_seed(plan.seed);
    let stage = Stage::set(plan, &mut rng).await;
    let schedule = Schedule::draw(plan, &mut rng);
    let mut fleet = Fleet::start(plan, &stage);
    let started_at = Instant::now();
    stage.witness.trouble(true);
    let sent = AtomicBool::new(false);
    let is_done = || sent.load(Ordering::Relaxed) && stage.aws.depth("events") == 0;
    let sending = async {
        schedule.send(&stage.aws, started_at).await;
        sent.store(true, Ordering::Relaxed);
    };
    let playing = async {
        fleet.trouble(&mut rng, started_at + plan.trouble, is_done).await;
        stage.witness.trouble(false);
        while !is_done() && started_at.elapsed() < plan.patience {
            sleep(TICK).await;
        }
    };
    tokio::join!(sending, playing);
    let wall = started_at.elapsed();
    fleet.end().await;
    let letters = stage.aws.dead_letters().await;
    let mut tally = Tally {
        seed: plan.seed,
        events: plan.events,
        duplicates: schedule.duplicates,
        poison: schedule.poison.len(),
        wall,
        left_in_queue: stage.aws.depth("events"),
        kills: fleet.kills.len(),
        terms: fleet.terms,
        crashes: fleet.crashes,
        bad_exits: fleet.bad_exits,
        ..Tally::default()
    };
    tally.count_letters(&letters, &schedule.poison);
    let trails = stage.trails_that_log(plan.events).await;
    stage.witness.notes().sum_up(&trails, &fleet.kills, &mut tally);
    tally
}

impl Tally {
    fn count_letters(&mut self, letters: &[Message], poison: &BTreeSet<String>) {
        let bodies = letters.iter().map(|letter| letter.body().unwrap_or_default().to_owned());
        let (ours, others): (Vec<_>, Vec<_>) = bodies.partition(|body| poison.contains(body));
        self.other_dead_letters = others.len();
        let total = ours.len();
        self.dead_letters = ours.into_iter().collect::<BTreeSet<_>>().len();
        self.repeated_dead_letters = total - self.dead_letters;
        self.remarks.extend(others.iter().map(|body| format!("in the dead-letter queue: {body}")));
    }
}

/// The name of the trail of an event, and the event's id.
fn trail(event: usize) -> String {
    format!("trail-{event}")
}

fn id(event: usize) -> String {
    format!("event-{event}")
}

/// The number of the event that is spoken of in `text`.
fn event_in(text: &str) -> Option<usize> {
    let mut words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '-');
    words.find_map(|word| word.strip_prefix("event-")?.parse().ok())
}

/// What is sent when.
struct Schedule {
    sends: Vec<(Duration, String)>,
    duplicates: usize,
    poison: BTreeSet<String>,
}

impl Schedule {
    fn draw(plan: &Plan, rng: &mut Rng) -> Self {
        let within = |rng: &mut Rng, longest: Duration| longest.mul_f64(rng.f64());
        let mut sends = Vec::new();
        for event in 0..plan.events {
            let at = within(rng, plan.sending);
            sends.push((at, events::stop_of(event, &id(event), &trail(event)).to_string()));
        }
        let duplicates = plan.events * DUPLICATES_PERCENT / 100;
        for event in rng.choose_multiple(0..plan.events, duplicates) {
            let (at, body) = sends[event].clone();
            // Half of them while the event is worked on, half at any time after.
            let left = if rng.bool() { CLOSE } else { plan.sending.saturating_sub(at) };
            sends.push((at + within(rng, left), body));
        }
        let poison = (0..(plan.events * POISON_PERCENT / 100).max(1)).map(poison).collect::<BTreeSet<_>>();
        for body in &poison {
            sends.push((within(rng, plan.sending), body.clone()));
        }
        sends.sort();
        Self { sends, duplicates, poison }
    }

    async fn send(&self, aws: &Aws, started_at: Instant) {
        let (sqs, queue) = (aws.sqs(), aws.queue_url("events"));
        for (at, body) in &self.sends {
            sleep_until(started_at + *at).await;
            sqs.send_message().queue_url(&queue).message_body(body).send().await.expect("sent");
        }
    }
}

/// A body that nobody can read, and that no other is like.
fn poison(number: usize) -> String {
    match number % 3 {
        0 => format!("poison {number}, and no JSON"),
        1 => format!(r#"{{"poison": {number}, "detail": {{"eventName": "Sto"#),
        _ => format!(r#"["poison", {number}]"#),
    }
}

/// The world around the workers.
struct Stage {
    aws: Aws,
    witness: Arc<Witness>,
    webhooks: String,
    slack: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.slack.abort();
    }
}

impl Stage {
    /// A queue, a table, a Slack, and a stopped trail for each event.
    async fn set(plan: &Plan, rng: &mut Rng) -> Self {
        let aws = Aws::start().await;
        aws.create_table(TABLE).await;
        let cloudtrail = aws.cloudtrail(REGION);
        for name in (0..plan.events).map(trail) {
            cloudtrail.create_trail().name(&name).s3_bucket_name("logs").send().await.expect("a trail");
            cloudtrail.start_logging().name(&name).send().await.expect("started");
            cloudtrail.stop_logging().name(&name).send().await.expect("stopped");
        }
        let witness = Arc::new(Witness::new(plan.events, rng));
        aws.watch(Arc::<Witness>::clone(&witness));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let webhooks = format!("http://{}/services", listener.local_addr().expect("bound"));
        let router = Router::new()
            .route("/services/{worker}", post(posted))
            .with_state(Arc::<Witness>::clone(&witness));
        let slack = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { aws, witness, webhooks, slack }
    }

    /// For each event, whether its trail logs.
    async fn trails_that_log(&self, events: usize) -> Vec<bool> {
        let cloudtrail = self.aws.cloudtrail(REGION);
        let mut all = Vec::with_capacity(events);
        for name in (0..events).map(trail) {
            let status = cloudtrail.get_trail_status().name(name).send().await.expect("a status");
            all.push(status.is_logging() == Some(true));
        }
        all
    }
}

/// Lets calls go wrong, and notes what was done whatever the caller was told.
struct Witness {
    troubled: AtomicBool,
    odds: Mutex<Rng>,
    notes: Mutex<Notes>,
}

/// What was seen.
struct Notes {
    stories: Vec<Story>,
    calls: usize,
    faults: usize,
}

/// What was seen of one event.
#[derive(Clone, Default)]
struct Story {
    /// Calls of `StartLogging` that were carried out.
    starts: usize,
    /// When it was first written down that people were told.
    recorded_at: Option<Instant>,
    /// Requests to the table about it: of which worker, when, and whether that was an answer in time.
    asked: Vec<(usize, Instant, bool)>,
    posts: Vec<Post>,
}

/// A message in the channel.
#[derive(Clone, Copy)]
struct Post {
    at: Instant,
    worker: usize,
    /// It says only that the restart takes longer.
    interim: bool,
    /// Whoever posted it was never told so.
    answer_lost: bool,
    /// It says that the table did not answer.
    may_repeat: bool,
}

/// Why there is a second message about one outcome.
#[derive(Debug, PartialEq, Eq)]
enum Excuse {
    /// This long after the post.
    Killed(Duration),
    AnswerLost,
    /// The state table answered nothing to the worker that posted it, or to the one before.
    WithoutTable,
    None(&'static str),
}

/// A kind of trouble that any call may have.
#[derive(Clone, Copy)]
enum Trouble {
    Error,
    Throttled,
    Delayed(Duration),
    Late(Duration),
    AnswerLost,
}

impl Witness {
    fn new(events: usize, rng: &mut Rng) -> Self {
        let notes = Notes { stories: vec![Story::default(); events], calls: 0, faults: 0 };
        Self { troubled: AtomicBool::new(false), odds: Mutex::new(rng.fork()), notes: Mutex::new(notes) }
    }

    /// Begins or ends the trouble.
    fn trouble(&self, troubled: bool) {
        self.troubled.store(troubled, Ordering::Relaxed);
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and draws what is to go wrong with it.
    fn draw(&self) -> Option<Trouble> {
        let mut odds = self.odds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = self.notes();
        notes.calls += 1;
        if !self.troubled.load(Ordering::Relaxed) || odds.f64() >= FAULT_SHARE {
            return None;
        }
        notes.faults += 1;
        let delay = LONGEST_DELAY.mul_f64(odds.f64());
        Some(match odds.u8(..5) {
            0 => Trouble::Error,
            1 => Trouble::Throttled,
            2 => Trouble::Delayed(delay),
            3 => Trouble::Late(delay),
            _ => Trouble::AnswerLost,
        })
    }

    /// A request to the table, and an answer to one.
    fn saw_table(&self, call: &Call, answered: bool) {
        let event = call.body["Key"]["pk"]["S"].as_str().and_then(event_in);
        let worker = call.key.strip_prefix(ACCESS_KEY).and_then(|number| number.parse().ok());
        if let (Some(event), Some(worker)) = (event, worker)
            && let Some(story) = self.notes().stories.get_mut(event)
        {
            story.asked.push((worker, Instant::now(), answered));
        }
    }

    fn saw_post(&self, event: usize, post: Post) {
        if let Some(story) = self.notes().stories.get_mut(event) {
            story.posts.push(post);
        }
    }
}

impl Watch for Witness {
    fn fault(&self, call: &Call) -> Option<Fault> {
        // No worker sends to the queue itself: this is us.
        let queue = call.body["QueueUrl"].as_str().unwrap_or_default();
        if call.operation == "SendMessage" && queue.ends_with("/events") {
            return None;
        }
        self.saw_table(call, false);
        Some(match self.draw()? {
            Trouble::Error if call.operation.ends_with("Batch") => Fault::FailEntries(&[0], "InternalError"),
            Trouble::Error => Fault::Refuse(500, "InternalFailure"),
            Trouble::Throttled => Fault::Refuse(400, "ThrottlingException"),
            Trouble::Delayed(delay) => Fault::Delay(delay),
            Trouble::Late(delay) => Fault::Late(delay),
            Trouble::AnswerLost => Fault::Lose,
        })
    }

    fn answered(&self, call: &Call, after: Duration) {
        self.saw_table(call, after < TABLE_TIMEOUT);
    }

    fn carried_out(&self, call: &Call, status: u16) {
        if status != 200 {
            return;
        }
        let mut notes = self.notes();
        match call.operation.as_str() {
            "StartLogging" => {
                let name = call.body["Name"].as_str().unwrap_or_default();
                let event = name.rsplit("trail-").next().and_then(|number| number.parse::<usize>().ok());
                if let Some(story) = event.and_then(|event| notes.stories.get_mut(event)) {
                    story.starts += 1;
                }
            }
            "UpdateItem" => {
                let told = !call.body["ExpressionAttributeValues"][":notified"].is_null();
                let event = call.body["Key"]["pk"]["S"].as_str().and_then(event_in);
                if let Some(story) = event.filter(|_| told).and_then(|event| notes.stories.get_mut(event)) {
                    story.recorded_at.get_or_insert_with(Instant::now);
                }
            }
            _ => {}
        }
    }
}

/// Slack: each worker has a webhook of its own, so that it is known who posted.
async fn posted(
    State(witness): State<Arc<Witness>>,
    Path(worker): Path<usize>,
    body: Bytes,
) -> Response<Body> {
    let plain = |status: StatusCode, text: &'static str| {
        let answer = Response::builder().status(status).header(header::RETRY_AFTER, "1");
        answer.body(Body::from(text)).expect("an answer")
    };
    let trouble = witness.draw();
    match trouble {
        Some(Trouble::Error) => return plain(StatusCode::INTERNAL_SERVER_ERROR, "rollup_error"),
        Some(Trouble::Throttled) => return plain(StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
        Some(Trouble::Delayed(delay)) => sleep(delay).await,
        Some(Trouble::Late(_) | Trouble::AnswerLost) | None => {}
    }
    let text = String::from_utf8_lossy(&body);
    let Some(event) = event_in(&text) else { return plain(StatusCode::BAD_REQUEST, "invalid_payload") };
    let interim = text.contains("the restart is not done yet");
    let answer_lost = matches!(trouble, Some(Trouble::AnswerLost));
    let may_repeat = text.contains("this message may come twice");
    witness.saw_post(event, Post { at: Instant::now(), worker, interim, answer_lost, may_repeat });
    match trouble {
        Some(Trouble::Late(delay)) => sleep(delay).await,
        Some(Trouble::AnswerLost) => return aws::lost(),
        _ => {}
    }
    plain(StatusCode::OK, "ok")
}

impl Notes {
    /// `trails` says of each event whether its trail logs, and `kills` which worker was killed when.
    fn sum_up(&self, trails: &[bool], kills: &[(usize, Instant)], tally: &mut Tally) {
        (tally.calls, tally.faults) = (self.calls, self.faults);
        tally.restored = trails.iter().filter(|logs| **logs).count();
        for (event, (story, logs)) in self.stories.iter().zip(trails).enumerate() {
            tally.slack_messages += story.posts.len();
            tally.interim += story.posts.iter().filter(|post| post.interim).count();
            tally.repeated_restarts += story.starts.saturating_sub(1);
            let is_told = story.posts.iter().any(|post| !post.interim);
            if !is_told || !logs {
                tally.lost += 1;
                tally.remarks.push(format!("event {event}: told {is_told}, its trail logs {logs}"));
            }
            for excuse in story.excuses(kills) {
                tally.repeated_messages += 1;
                match excuse {
                    Excuse::Killed(after) => {
                        tally.after_kill += 1;
                        tally.longest_to_kill = tally.longest_to_kill.max(after);
                    }
                    Excuse::AnswerLost => tally.after_lost_answer += 1,
                    Excuse::WithoutTable => {
                        tally.without_table += 1;
                        tally
                            .remarks
                            .push(format!("event {event} was told again without the table: {story}"));
                    }
                    Excuse::None(why) => {
                        tally.unexcused += 1;
                        tally.remarks.push(format!("event {event} was told again: {why}: {story}"));
                    }
                }
            }
        }
    }
}

impl Story {
    /// Why each message that tells of the same outcome as one before is there.
    fn excuses(&self, kills: &[(usize, Instant)]) -> Vec<Excuse> {
        let mut excuses = Vec::new();
        for (position, again) in self.posts.iter().enumerate() {
            let same = |post: &&Post| post.interim == again.interim;
            if let Some(before) = self.posts[..position].iter().rfind(same) {
                excuses.push(self.excuse(before, again, kills));
            }
        }
        excuses
    }

    /// Whether this worker asked the table about the event then, and was answered nothing.
    fn table_was_silent(&self, worker: usize, from: Instant, until: Instant) -> bool {
        let of = |asked: &&(usize, Instant, bool)| asked.0 == worker && (from..until).contains(&asked.1);
        let mut asked = self.asked.iter().filter(of).peekable();
        asked.peek().is_some() && asked.all(|(.., answered)| !answered)
    }

    fn excuse(&self, before: &Post, again: &Post, kills: &[(usize, Instant)]) -> Excuse {
        let unclaimed = |post: &Post| {
            let asked_from = post.at.checked_sub(CLAIMING).unwrap_or(post.at);
            post.may_repeat && self.table_was_silent(post.worker, asked_from, post.at)
        };
        if unclaimed(again) {
            return Excuse::WithoutTable;
        }
        if !again.interim && self.recorded_at.is_some_and(|recorded_at| recorded_at < again.at) {
            return Excuse::None("it had been written down that people were told");
        }
        if before.answer_lost {
            return Excuse::AnswerLost;
        }
        // A post may still be on its way when its worker is dead, so the kill need not come after it.
        let killed = kills.iter().find(|(worker, at)| *worker == before.worker && *at <= again.at);
        if let Some((_, at)) = killed {
            return Excuse::Killed(at.saturating_duration_since(before.at));
        }
        if unclaimed(before) || self.table_was_silent(before.worker, before.at, again.at) {
            return Excuse::WithoutTable;
        }
        Excuse::None("nobody was killed, no answer was lost, and the table answered")
    }
}

/// When who posted what, and when it was written down, in seconds before now: enough to find it in the logs.
impl fmt::Display for Story {
    fn fmt(&self, text: &mut fmt::Formatter) -> fmt::Result {
        for Post { at, worker, answer_lost, .. } in &self.posts {
            let ago = at.elapsed().as_secs_f64();
            write!(text, "worker {worker} {ago:.2} s ago (answer lost: {answer_lost}), ")?;
        }
        match self.recorded_at {
            Some(at) => write!(text, "written down {:.2} s ago", at.elapsed().as_secs_f64()),
            None => write!(text, "not written down"),
        }
    }
}

/// The workers.
struct Fleet<'a> {
    plan: &'a Plan,
    stage: &'a Stage,
    workers: Vec<Worker>,
    /// Told to go, and not gone yet; each says whether it ended well.
    leaving: JoinSet<bool>,
    started: usize,
    /// Who was killed when.
    kills: Vec<(usize, Instant)>,
    terms: usize,
    crashes: usize,
    bad_exits: usize,
}

struct Worker {
    number: usize,
    child: Child,
}

impl<'a> Fleet<'a> {
    fn start(plan: &'a Plan, stage: &'a Stage) -> Self {
        let mut fleet = Self {
            plan,
            stage,
            workers: Vec::new(),
            leaving: JoinSet::new(),
            started: 0,
            kills: Vec::new(),
            terms: 0,
            crashes: 0,
            bad_exits: 0,
        };
        fleet.workers = (0..plan.workers).map(|_| fleet.new_worker()).collect();
        fleet
    }

    /// Starts a worker with nothing of this process's environment. Its attempts are so many that chance does not use them up.
    fn new_worker(&mut self) -> Worker {
        let number = self.started;
        self.started += 1;
        let aws = &self.stage.aws;
        let mut command = Command::new(&self.plan.program);
        command
            .arg("run")
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", REGION)
            .env("AWS_ENDPOINT_URL", aws.endpoint())
            .env("AWS_ACCESS_KEY_ID", format!("{ACCESS_KEY}{number}"))
            .env("AWS_SECRET_ACCESS_KEY", "example")
            .env("TRAILKEEPER_QUEUE_URL", aws.queue_url("events"))
            // What the sweep does has tests of its own.
            .env("TRAILKEEPER_SWEEP_INTERVAL_SECONDS", "0")
            .env("TRAILKEEPER_SLACK_WEBHOOK_URL", format!("{}/{number}", self.stage.webhooks))
            .env("TRAILKEEPER_STATE_TABLE", TABLE)
            .env("TRAILKEEPER_HTTP_ADDR", "127.0.0.1:0")
            .env("TRAILKEEPER_WAIT_SECONDS", "1")
            .env("TRAILKEEPER_RETRY_BASE_SECONDS", "1")
            .env("TRAILKEEPER_RETRY_MAX_SECONDS", "1")
            .env("TRAILKEEPER_MAX_ATTEMPTS", "50")
            .env("TRAILKEEPER_SHUTDOWN_GRACE_SECONDS", GRACE.as_secs().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(self.log(number))
            .kill_on_drop(true);
        if let Some(visibility) = self.plan.visibility {
            command.env("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", visibility.as_secs().to_string());
        }
        Worker { number, child: command.spawn().expect("the program starts") }
    }

    fn log(&self, number: usize) -> Stdio {
        let Some(folder) = &self.plan.logs else { return Stdio::null() };
        let path = folder.join(format!("worker-{number}.log"));
        Stdio::from(File::create(path).expect("a file for the log"))
    }

    /// Kills workers and tells workers to go, until then or until the work is done.
    async fn trouble(&mut self, rng: &mut Rng, until: Instant, is_done: impl Fn() -> bool) {
        for tick in 1_u64.. {
            sleep(TICK).await;
            if is_done() || Instant::now() >= until {
                return;
            }
            if tick.is_multiple_of(KILL_EVERY) {
                self.kill(rng.usize(..self.workers.len())).await;
            }
            if tick.is_multiple_of(TERM_EVERY) {
                self.send_away(rng.usize(..self.workers.len())).await;
            }
        }
    }

    /// SIGKILL, and a new worker in its place.
    async fn kill(&mut self, position: usize) {
        let mut killed = self.replace(position);
        if killed.has_crashed() {
            self.crashes += 1;
            return;
        }
        self.kills.push((killed.number, Instant::now()));
        killed.child.kill().await.expect("it can be killed");
    }

    /// SIGTERM, and a new worker in its place while it drains.
    async fn send_away(&mut self, position: usize) {
        let mut leaving = self.replace(position);
        if leaving.has_crashed() {
            self.crashes += 1;
            return;
        }
        self.terms += 1;
        leaving.terminate().await;
        self.leaving.spawn(leaving.ends_well());
    }

    fn replace(&mut self, position: usize) -> Worker {
        let next = self.new_worker();
        std::mem::replace(&mut self.workers[position], next)
    }

    /// Sends everybody away and waits for their ends.
    async fn end(&mut self) {
        for mut worker in std::mem::take(&mut self.workers) {
            if worker.has_crashed() {
                self.crashes += 1;
                continue;
            }
            worker.terminate().await;
            self.leaving.spawn(worker.ends_well());
        }
        while let Some(ended) = self.leaving.join_next().await {
            self.bad_exits += usize::from(!ended.unwrap_or(false));
        }
    }
}

impl Worker {
    fn has_crashed(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    async fn terminate(&self) {
        // Without an id it has ended, which its exit status will show.
        if let Some(id) = self.child.id() {
            let told = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
            told.expect("kill runs");
        }
    }

    /// Whether it ends in time, with exit status 0. One that had no time yet to listen for the signal ends by
    /// the signal, having done nothing.
    async fn ends_well(mut self) -> bool {
        match timeout(GRACE + PAST_GRACE, self.child.wait()).await {
            Ok(Ok(status)) => status.success() || status.code().is_none(),
            _ => false,
        }
    }
}
