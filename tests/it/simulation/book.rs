//! What happened, and what of it must not have happened.
//!
//! Every side writes down here what it sees from outside. The promises are checked as it happens where that is
//! possible, and at the end where it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use trailkeeper::clock;
use trailkeeper::consumer::queue::DeadLetter;
use trailkeeper::event::EventId;
use trailkeeper::outcome::Reason;
use trailkeeper::state::{Claim, Ending, Key, Step};
use trailkeeper::tell::View;
use trailkeeper::text::stamp;

use super::cloud::Nature;
use super::lost::Stop;
use super::table::Item;

/// How long a message of a kind that is not known is left to a later version, while two run side by side.
const LATER_HAS_TIME: Duration = Duration::from_mins(15);
/// Said of a trail that was seen on since the stop.
const ON_AGAIN: &str = "CloudTrail was turned off and on again";
/// Said of a stop that was reported before.
const NOW_KNOWN: &str = "Who turned off CloudTrail is known now";
/// Received more often than that, it waits no more.
const MAX_RECEIVES: u32 = 12;
/// How long the report of that waits for a table that does not answer.
const TABLE_PATIENCE: Duration = Duration::from_mins(3);

/// What the sender knows of a message.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    /// No event at all, and why it is poison.
    Poison(Reason),
    /// Nothing is to be done about this event.
    Ignored,
    /// No event, but of a kind that a later version knows.
    Later,
    /// A look at a trail, by a worker.
    Look,
    /// This event, about a trail if it was stopped.
    Event(String, Option<(String, Nature)>),
}

/// What a message to people is about: the two that an event may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Delayed,
    Final,
}

/// How far a post has come, from its request to the record of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Unanswered,
    Answered,
    Recording,
    /// Not recorded, since somebody else had taken over: they do not know of it.
    Overtaken,
    Recorded,
}

#[derive(Debug)]
struct Post {
    by: usize,
    class: Class,
    at: Instant,
    posted: bool,
    /// Of a life that ended among the dead letters, before the event was taken up anew.
    past: bool,
    refused: bool,
    progress: Progress,
    /// What it says, where workers sweep.
    report: Option<Report>,
}

/// The event of what no event tells of.
const BY_LOOK: &str = "look";

/// What was reported of a stop, by its event or by a look.
#[derive(Debug, Clone)]
pub(super) struct Report {
    event: Option<String>,
    trail: String,
    stopped_at: String,
    /// The stop itself was reported before.
    pub(super) adds_who: bool,
    /// The trail is on: what was reported as off ends with that.
    pub(super) says_on: bool,
}

impl Report {
    fn read(view: &View) -> Self {
        let said = |label: &str| {
            let fact = view.reported.iter().find(|fact| fact.label == label);
            fact.map(|fact| fact.value.clone()).unwrap_or_default()
        };
        Self {
            event: view.event.as_ref().map(ToString::to_string),
            trail: said("Trail"),
            stopped_at: said("Stopped at"),
            adds_who: view.headline == NOW_KNOWN,
            says_on: view.text().contains("on again") || view.text().contains("restarted and verified"),
        }
    }

    pub(super) fn is_of(&self, stop: &Stop) -> bool {
        match &self.event {
            Some(event) => *event == stop.event,
            None => self.trail == stop.trail && self.stopped_at == stamp(stop.at),
        }
    }
}

/// Names a post: the event and its position.
pub(super) type PostId = (String, usize);

/// Everything about one event.
#[derive(Debug, Default)]
struct Story {
    trail: Option<(String, Nature)>,
    /// The newest claim: whose, its fence, and until when; `None` when released or ended.
    claim: Option<(usize, u64, Instant)>,
    fence: u64,
    /// By fence, which execution the table counted it as.
    granted: BTreeMap<u64, u32>,
    /// Executions that count.
    executions: u32,
    /// Who has worked on it without a claim, because the store was not available.
    unclaimed: BTreeSet<usize>,
    /// Who does so now.
    bare: BTreeSet<usize>,
    ended: Option<Ending>,
    /// Who could not write down that it has ended.
    end_unwritten: BTreeSet<usize>,
    posts: Vec<Post>,
    letters: Vec<Reason>,
    /// Why it was dead before somebody put it back into the queue.
    past_reasons: Vec<Reason>,
    /// How often it was put back.
    redriven: usize,
    /// How often one of its messages was received at most.
    receives: u32,
    /// Which receipts each worker holds, as far as it knows.
    held: BTreeMap<usize, BTreeSet<String>>,
}

impl Story {
    /// Somebody put the dead letter back into the queue: everything is done again, and told again.
    fn begin_anew(&mut self, reason: Reason) {
        self.executions = 1;
        self.past_reasons.push(reason);
        for post in &mut self.posts {
            post.past = true;
        }
    }

    fn posted(&self, class: Class) -> impl Iterator<Item = &Post> {
        self.posts.iter().filter(move |post| post.posted && !post.past && post.class == class)
    }
}

/// The simulation's only keys are events'.
fn event_in(key: &Key) -> &str {
    let (Key::Event(id) | Key::Finding(id)) = key else { return "sweep" };
    id.as_str()
}

/// The book.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) trace: Vec<String>,
    pub(super) faults: Vec<String>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    started_at: Instant,
    max_attempts: u32,
    /// Then a claim may be taken early that nobody works on any more. What must not be done is not done all the same.
    wrong_clocks: bool,
    gone: BTreeSet<usize>,
    /// When each worker was last answered by the table.
    table_answered: BTreeMap<usize, Instant>,
    sent: BTreeMap<String, Sent>,
    stories: BTreeMap<String, Story>,
    letters: BTreeMap<String, Vec<Reason>>,
    /// The trails of which a worker was answered that they are off.
    seen_off: BTreeSet<String>,
    /// Workers sweep, and report what no event tells of: who acts on what, and how often, is then not looked at.
    pub(super) sweeps: bool,
    pub(super) reports: Vec<Report>,
    /// The dead-letter queue: the messages' names and bodies.
    pub(super) bodies: Vec<(String, String)>,
}

impl Book {
    pub(super) fn new(started_at: Instant, max_attempts: u32, wrong_clocks: bool) -> Self {
        Self {
            trace: Vec::new(),
            faults: Vec::new(),
            counts: BTreeMap::new(),
            started_at,
            max_attempts,
            wrong_clocks,
            gone: BTreeSet::new(),
            table_answered: BTreeMap::new(),
            sent: BTreeMap::new(),
            stories: BTreeMap::new(),
            letters: BTreeMap::new(),
            seen_off: BTreeSet::new(),
            sweeps: false,
            reports: Vec::new(),
            bodies: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, what: &str) {
        let at = self.started_at.elapsed().as_secs_f64();
        self.trace.push(format!("{at:>9.3} {what}"));
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn fault(&mut self, what: String) {
        self.note(&format!("BROKEN: {what}"));
        self.faults.push(what);
    }

    fn story(&mut self, event: &str) -> &mut Story {
        self.stories.entry(event.to_owned()).or_default()
    }

    pub(super) fn gone(&mut self, worker: usize) {
        self.gone.insert(worker);
    }

    // The queue.

    pub(super) fn sent(&mut self, message: u64, sent: Sent) {
        self.note(&format!("m{message} is sent: {sent:?}"));
        if let Sent::Event(event, trail) = &sent {
            self.story(event).trail.clone_from(trail);
        }
        self.sent.insert(message.to_string(), sent);
    }

    fn event_of(&self, message: &str) -> Option<String> {
        match self.sent.get(message) {
            Some(Sent::Event(event, _)) => Some(event.clone()),
            _ => None,
        }
    }

    /// A message is handed over for the so manieth time.
    pub(super) fn handed(&mut self, worker: usize, message: u64, (receipt, receives): (u64, u32)) {
        self.note(&format!("w{worker} is handed m{message}-{receipt}"));
        if let Some(event) = self.event_of(&message.to_string()) {
            let story = self.story(&event);
            story.receives = story.receives.max(receives);
        }
    }

    pub(super) fn received(&mut self, worker: usize, receipt: &str, message: &str) {
        self.note(&format!("w{worker} receives {receipt}"));
        if let Some(event) = self.event_of(message) {
            self.story(&event).held.entry(worker).or_default().insert(receipt.to_owned());
        }
    }

    /// A dead letter that somebody puts back into the queue: any one there is.
    pub(super) fn dead_letter(&self, which: usize) -> Option<(String, Sent)> {
        let (message, body) = self.bodies.get(which % self.bodies.len().max(1))?;
        Some((body.clone(), self.sent.get(message)?.clone()))
    }

    pub(super) fn redriven(&mut self, sent: &Sent) {
        self.count("redriven");
        if let Sent::Event(event, _) = sent {
            self.story(event).redriven += 1;
        }
    }

    /// The trail that an event is about.
    pub(super) fn trail_of(&self, event: &str) -> Option<String> {
        self.stories.get(event)?.trail.as_ref().map(|(trail, _)| trail.clone())
    }

    /// Whether this is the only event about its trail, and nobody worked on it without a claim.
    pub(super) fn is_alone(&self, event: &str) -> bool {
        let trail = self.stories.get(event).and_then(|story| story.trail.clone());
        let is_nameless = |trail: &Option<(String, Nature)>| {
            trail.as_ref().is_some_and(|(_, nature)| *nature == Nature::Nameless)
        };
        let about = |story: &&Story| story.trail == trail || is_nameless(&story.trail) && is_nameless(&trail);
        self.stories.values().filter(about).count() == 1
            && self.stories.get(event).is_some_and(|story| story.unclaimed.is_empty())
    }

    /// From here on the worker makes no effect for this receipt.
    pub(super) fn told_gone(&mut self, worker: usize, receipt: &str) {
        self.note(&format!("w{worker} is told that {receipt} is somebody else's"));
        self.count("messages lost");
        self.settling(worker, receipt);
    }

    pub(super) fn settling(&mut self, worker: usize, receipt: &str) {
        for story in self.stories.values_mut() {
            if let Some(held) = story.held.get_mut(&worker) {
                held.remove(receipt);
            }
        }
    }

    pub(super) fn buried(&mut self, worker: usize, letter: &DeadLetter) {
        let DeadLetter { delivery, reason, attempts, .. } = letter;
        let reason = &Reason::parse(reason).expect("a reason of ours");
        let message = delivery.message_id.clone();
        self.bodies.push((message.clone(), delivery.body.clone()));
        self.note(&format!("w{worker} buries m{message}: {} after {attempts}", reason.as_str()));
        self.count("dead letters");
        match self.sent.get(&message) {
            Some(Sent::Poison(expected)) if expected == reason => {}
            Some(Sent::Later) if *reason == Reason::Unsupported => {
                if delivery.sent_at.map(clock::since).is_none_or(|age| age < LATER_HAS_TIME) {
                    self.fault(format!("m{message} is a later version's, and was not left to it"));
                }
            }
            Some(Sent::Look) => {}
            Some(Sent::Event(event, trail)) => {
                let (event, trail) = (event.clone(), trail.clone());
                self.check_letter(&event, trail.as_ref(), *reason);
                self.story(&event).letters.push(*reason);
            }
            sent => {
                let fault = format!("m{message} ({sent:?}) became a dead letter: {}", reason.as_str());
                self.fault(fault);
            }
        }
        self.letters.entry(message).or_default().push(*reason);
    }

    /// Only poison becomes a dead letter.
    fn check_letter(&mut self, event: &str, trail: Option<&(String, Nature)>, reason: Reason) {
        let max_attempts = self.max_attempts;
        let story = self.story(event);
        let right = match reason {
            Reason::RestoreRefused => matches!(trail, Some((_, Nature::Guarded(_) | Nature::Unseen))),
            Reason::NotifyRefused => story.posts.iter().any(|post| post.refused),
            Reason::AttemptsExhausted => story.executions >= max_attempts,
            Reason::Malformed | Reason::Unsupported => false,
        } || story.past_reasons.contains(&reason)
            || matches!(&story.ended, Some(Ending::Dead { reason: ended, .. }) if *ended == reason.as_str());
        if !right {
            let executions = story.executions;
            let reason = reason.as_str();
            self.fault(format!(
                "{event} is no poison and became a dead letter ({reason}) after {executions} executions"
            ));
        }
    }

    /// A message leaves the queue only when its event has ended, or its dead letter is written.
    pub(super) fn deleted(&mut self, worker: usize, message: u64) {
        let message = message.to_string();
        self.note(&format!("w{worker} deletes m{message}"));
        if self.letters.contains_key(&message) {
            return;
        }
        let right = match self.sent.get(&message) {
            Some(Sent::Ignored | Sent::Look) => true,
            Some(Sent::Event(event, _)) => self.stories.get(event).is_some_and(|story| {
                matches!(story.ended, Some(Ending::Done))
                    || story.unclaimed.contains(&worker)
                    || story.end_unwritten.contains(&worker)
            }),
            _ => false,
        };
        if !right {
            self.fault(format!("m{message} was deleted before its event had ended"));
        }
    }

    // The store.

    /// The table has carried out a write of this worker; this is what it made of the item. The worker's clock
    /// may be wrong, and its times are judged by it.
    pub(super) fn written(&mut self, worker: usize, event: &str, item: &Item) {
        let Item { status, fence, attempts, steps, .. } = item;
        let done = [
            (steps.started, "started"),
            (steps.restored.is_some(), "restored"),
            (steps.announced.is_some(), "announced"),
            (steps.notified.is_some(), "notified"),
        ];
        let done: Vec<_> = done.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
        self.note(&format!(
            "w{worker} writes {event}: {status}, fence {fence}, attempt {attempts}, {done:?}"
        ));
        let until = item.lease_until;
        let wrong_clocks = self.wrong_clocks;
        let story = self.story(event);
        let claim = story.claim;
        let mut faults = Vec::new();
        if item.fence > story.fence {
            if let Some((owner, _, until)) = claim
                && owner != worker
                && until > Instant::now()
                && !wrong_clocks
            {
                faults.push(format!("w{worker} takes {event} from w{owner}, whose lease is not over"));
            }
            story.fence = item.fence;
            story.granted.insert(item.fence, item.attempts);
            story.executions += 1;
            if let Some(Ending::Dead { reason, .. }) = story.ended.take() {
                story.begin_anew(Reason::parse(&reason).expect("a reason of ours"));
                if story.past_reasons.len() > story.redriven {
                    faults.push(format!("{event} is taken up anew more often than it was put back"));
                }
            }
        } else if claim.is_none_or(|(owner, fence, _)| owner != worker || fence != item.fence) {
            faults.push(format!("w{worker} wrote to {event} without holding it: {claim:?}"));
        } else if item.status == "free" && item.attempts + 1 == story.executions {
            story.executions -= 1;
        }
        if item.attempts != story.executions {
            let executions = story.executions;
            faults.push(format!("{event} is at attempt {} after {executions} executions", item.attempts));
        }
        if let (Some((_, fence, before)), Some(until)) = (claim, until)
            && fence == item.fence
            && until < before
        {
            faults.push(format!("w{worker} has the lease of {event} end earlier than it was told"));
        }
        story.claim = until.filter(|_| item.status == "held").map(|until| (worker, item.fence, until));
        story.ended = match item.status.as_str() {
            "done" => Some(Ending::Done),
            "dead" => item
                .reason
                .map(|reason| Ending::Dead { reason: reason.as_str().to_owned(), detail: String::new() }),
            _ => None,
        };
        for (class, is_recorded) in
            [(Class::Delayed, steps.announced.is_some()), (Class::Final, steps.notified.is_some())]
        {
            for post in story.posts.iter_mut().filter(|post| post.class == class && !post.past) {
                match post.progress {
                    Progress::Answered | Progress::Recording if is_recorded && post.by == worker => {
                        post.progress = Progress::Recorded;
                    }
                    Progress::Recorded if !is_recorded => {
                        faults.push(format!("{event}: it is forgotten that {class:?} was told"));
                    }
                    _ => {}
                }
            }
        }
        self.count("writes");
        for fault in faults {
            self.fault(fault);
        }
    }

    /// A worker takes its execution for the one that the table counted.
    pub(super) fn working(&mut self, worker: usize, claim: &Claim) {
        if !matches!(claim.key, Key::Event(_)) {
            return;
        }
        let event = event_in(&claim.key);
        let granted = self.story(event).granted.get(&claim.fence).copied();
        if granted != Some(claim.attempts) {
            let attempts = claim.attempts;
            self.fault(format!("w{worker} takes {event} for execution {attempts}, and it is {granted:?}"));
        }
    }

    /// The table refused a write of this worker.
    pub(super) fn unwritten(&mut self, worker: usize, event: &str, why: &str) {
        self.note(&format!("w{worker} may not write {event}: {why}"));
        self.count("writes refused");
    }

    pub(super) fn unclaimed(&mut self, worker: usize, key: &Key) {
        let event = event_in(key);
        self.note(&format!("w{worker} works on {event} without a claim"));
        self.count("worked on without a claim");
        let story = self.story(event);
        story.unclaimed.insert(worker);
        story.bare.insert(worker);
    }

    pub(super) fn claimed(&mut self, worker: usize, key: &Key) {
        self.story(event_in(key)).bare.remove(&worker);
    }

    /// This worker has an answer of the table's.
    pub(super) fn table_answered(&mut self, worker: usize) {
        self.table_answered.insert(worker, Instant::now());
    }

    /// From here on it may be written down that people were told.
    pub(super) fn recording(&mut self, worker: usize, claim: &Claim, steps: &[Step]) {
        for post in &mut self.story(event_in(&claim.key)).posts {
            let told = steps.iter().any(|step| match post.class {
                Class::Delayed => matches!(step, Step::Announced(_)),
                Class::Final => matches!(step, Step::Notified(_)),
            });
            if told && post.by == worker && post.progress == Progress::Answered {
                post.progress = Progress::Recording;
            }
        }
    }

    /// A write came too late: whoever has the event now does not know what it said.
    pub(super) fn overtaken(&mut self, worker: usize, claim: &Claim) {
        for post in &mut self.story(event_in(&claim.key)).posts {
            if post.by == worker && post.progress == Progress::Recording {
                post.progress = Progress::Overtaken;
            }
        }
    }

    pub(super) fn end_unwritten(&mut self, worker: usize, claim: &Claim) {
        self.story(event_in(&claim.key)).end_unwritten.insert(worker);
    }

    // Effects.

    /// Why this worker may not act on this event now. What the network does with the call after that, or a
    /// pause between the look at the claim and the call, is nobody's fault.
    fn forbids(&self, worker: usize, event: &str) -> Option<String> {
        let Some(story) = self.stories.get(event) else {
            return Some(format!("acts on {event}, of which nobody has heard"));
        };
        if story.held.get(&worker).is_none_or(BTreeSet::is_empty) {
            return Some(format!("acts on {event} though its message is somebody else's or settled"));
        }
        if story.unclaimed.contains(&worker) {
            return None;
        }
        match story.claim {
            None => Some(format!("acts on {event} without a claim")),
            Some((owner, fence, _)) if owner != worker || fence < story.fence => {
                Some(format!("acts on {event}, which w{owner} has claimed since"))
            }
            Some((_, _, until)) if until <= Instant::now() => {
                Some(format!("acts on {event} though its lease is over"))
            }
            Some(_) => None,
        }
    }

    pub(super) fn saw_off(&mut self, trail: &str) {
        self.seen_off.insert(trail.to_owned());
    }

    /// Whether a worker was answered that the trail of an event is off: what one has seen, another may find written down.
    pub(super) fn was_seen_off(&self, event: &str) -> bool {
        self.is_nameless(event) || self.trail_of(event).is_some_and(|trail| self.seen_off.contains(&trail))
    }

    /// Two events that do not say which trail was stopped, at the same time, mean each other's as well.
    pub(super) fn starting(&mut self, worker: usize, trail: &str, is_nameless: bool) {
        self.note(&format!("w{worker} starts {trail}"));
        self.count("starts");
        if self.sweeps {
            return;
        }
        let about = |story: &Story| {
            story
                .trail
                .as_ref()
                .is_some_and(|(name, nature)| name == trail || is_nameless && *nature == Nature::Nameless)
        };
        let events: Vec<String> =
            self.stories.iter().filter(|(_, story)| about(story)).map(|(event, _)| event.clone()).collect();
        let forbidden: Vec<_> = events.iter().map(|event| self.forbids(worker, event)).collect();
        if forbidden.iter().all(Option::is_some) {
            let why = forbidden.into_iter().flatten().next().unwrap_or_default();
            self.fault(format!("StartLogging of {trail}: w{worker} {why}"));
        }
    }

    pub(super) fn posting(&mut self, worker: usize, view: &View) -> PostId {
        let event = view.event.as_ref().map_or(BY_LOOK, EventId::as_str).to_owned();
        let delayed = view.text().contains("the restart is not done yet");
        let class = if delayed { Class::Delayed } else { Class::Final };
        self.note(&format!("w{worker} posts {class:?} of {event}: {}", view.headline));
        self.count("posts");
        let report = (self.sweeps && class == Class::Final).then(|| Report::read(view));
        if !self.sweeps {
            self.check_post(worker, &event, class, view);
        }
        let posts = &mut self.story(&event).posts;
        posts.push(Post {
            by: worker,
            class,
            at: Instant::now(),
            posted: false,
            past: false,
            refused: false,
            progress: Progress::Unanswered,
            report,
        });
        let position = posts.len() - 1;
        (event, position)
    }

    fn check_post(&mut self, worker: usize, event: &str, class: Class, view: &View) {
        if let Some(why) = self.forbids(worker, event) {
            self.fault(format!("post: w{worker} {why}"));
        }
        if let Some(why) = self.repeats(worker, event, class) {
            self.fault(format!("post: w{worker} tells {event} ({class:?}) again, though {why}"));
        }
        if self.is_hasty(worker, event, view) {
            self.fault(format!(
                "post: w{worker} tells {event} without a claim, though a trail that is on can wait"
            ));
        }
    }

    /// Why an event must not be told again: that it was told is written down, or could have been.
    fn repeats(&self, worker: usize, event: &str, class: Class) -> Option<&'static str> {
        let story = self.stories.get(event)?;
        let known = [Progress::Answered, Progress::Recording, Progress::Recorded];
        // A table that did not answer does not know that it was dead, nor therefore that it was taken up anew.
        let may_be_anew = story.unclaimed.contains(&worker) && story.redriven > 0;
        let told_itself = |post: &Post| post.by == worker && known.contains(&post.progress);
        if !may_be_anew && story.posted(class).any(told_itself) {
            return Some("the same worker has told it");
        }
        if story.unclaimed.contains(&worker) {
            return None;
        }
        story.posted(class).find_map(|post| {
            let nothing_fell_between = !self.gone.contains(&post.by) && !story.unclaimed.contains(&post.by);
            match post.progress {
                Progress::Recorded => Some("that it was told is recorded"),
                Progress::Answered if nothing_fell_between => Some("nobody tried to record that it was told"),
                _ => None,
            }
        })
    }

    fn is_nameless(&self, event: &str) -> bool {
        let trail = self.stories.get(event).and_then(|story| story.trail.as_ref());
        trail.is_some_and(|(_, nature)| *nature == Nature::Nameless)
    }

    /// Whether a report of a trail that was seen on does not wait for a table that was heard a short while ago.
    fn is_hasty(&self, worker: usize, event: &str, view: &View) -> bool {
        let waits = |story: &Story| story.bare.contains(&worker) && story.receives <= MAX_RECEIVES;
        let is_bare = self.stories.get(event).is_some_and(waits);
        let heard = self.table_answered.get(&worker).map_or(self.started_at, |heard| *heard);
        // Of several trails, another may be off.
        let is_one = !self.is_nameless(event);
        is_bare && is_one && view.headline == ON_AGAIN && heard.elapsed() < TABLE_PATIENCE
    }

    fn post(&mut self, (event, position): &PostId) -> &mut Post {
        &mut self.story(event).posts[*position]
    }

    pub(super) fn posted(&mut self, post: &PostId) {
        self.note(&format!("Slack has the post of {}", post.0));
        let class = self.post(post).class;
        if self.story(&post.0).posted(class).next().is_some() {
            self.count("told twice, for a reason");
        }
        self.post(post).posted = true;
        let report = self.post(post).report.clone();
        self.reports.extend(report);
    }

    pub(super) fn post_answered(&mut self, post: &PostId) {
        self.post(post).progress = Progress::Answered;
    }

    pub(super) fn post_refused(&mut self, post: &PostId) {
        self.post(post).refused = true;
    }

    /// Whether what is known of a stop is a dead letter.
    pub(super) fn is_buried(&self, stop: &Stop) -> bool {
        let name = format!("/{}\"", stop.trail);
        let by_look = |(message, body): &(String, String)| {
            matches!(self.sent.get(message), Some(Sent::Look)) && body.contains(&name)
        };
        let by_event = self.stories.get(&stop.event).is_some_and(|story| !story.letters.is_empty());
        by_event || self.bodies.iter().any(by_look)
    }

    pub(super) fn has_letters(&self) -> bool {
        !self.letters.is_empty()
    }

    /// When people were told how an event ended, from the start.
    pub(super) fn told_after(&self, event: &str) -> Vec<Duration> {
        let told = self.stories.get(event).into_iter().flat_map(|story| story.posted(Class::Final));
        told.map(|post| post.at - self.started_at).collect()
    }

    // The end.

    /// What workers know that they have told without the table, those that are alive have written down by now.
    pub(super) fn check_written_down(&mut self) {
        let is_owed = |story: &Story| {
            let knows = |post: &Post| {
                matches!(post.progress, Progress::Answered | Progress::Recording)
                    && !self.gone.contains(&post.by)
            };
            story.posted(Class::Final).any(knows) && story.ended.is_none()
        };
        let owed: Vec<_> =
            self.stories.iter().filter(|(_, story)| is_owed(story)).map(|(event, _)| event.clone()).collect();
        for event in owed {
            self.fault(format!("{event} was told, and the table does not know"));
        }
    }

    /// What must be true of everything when the storm is over and the queue is empty.
    pub(super) fn check_end(&mut self, is_logging: impl Fn(&str) -> bool) {
        let mut faults = Vec::new();
        for (message, sent) in &self.sent {
            let letters = self.letters.get(message).map_or(0, Vec::len);
            if matches!(sent, Sent::Poison(_) | Sent::Later) && letters == 0 {
                faults.push(format!("m{message} ({sent:?}) is no dead letter"));
            }
        }
        for (event, story) in &self.stories {
            let told = story.posts.iter().any(|post| post.posted && post.class == Class::Final);
            if !told && story.letters.is_empty() {
                faults.push(format!("{event} is lost: nobody was told, and it is no dead letter"));
            }
            let refused = story.posts.iter().any(|post| post.refused && post.class == Class::Final);
            if !told && !refused && story.letters.contains(&Reason::RestoreRefused) {
                faults.push(format!("{event} was refused, and nobody was told, though Slack would have"));
            }
            let Some((trail, nature)) = &story.trail else { continue };
            let can_run = !matches!(nature, Nature::Deleted | Nature::Guarded(_));
            if can_run && !is_logging(trail) && !story.letters.contains(&Reason::AttemptsExhausted) {
                faults.push(format!("{trail} of {event} is still off, and that was not said"));
            }
        }
        for fault in faults {
            self.fault(fault);
        }
    }
}
