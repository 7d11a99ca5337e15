//! What happened, and what of it must not have happened.
//!
//! Every side writes down here what it sees from outside. The promises are checked as it happens where that is
//! possible, and at the end where it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use trailkeeper::consumer::Reason;
use trailkeeper::consumer::queue::DeadLetter;
use trailkeeper::event::EventId;
use trailkeeper::respond::message::Message;
use trailkeeper::state::{Attempt, Claim, Claimed, Ending, StoreError};

use super::cloud::Nature;

/// What the sender knows of a message.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    /// No event at all, and why it is poison.
    Poison(Reason),
    /// Nothing is to be done about this event.
    Ignored,
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
    Recorded,
}

#[derive(Debug)]
struct Post {
    by: usize,
    class: Class,
    posted: bool,
    /// Of a life that ended among the dead letters, before the event was taken up anew.
    past: bool,
    refused: bool,
    progress: Progress,
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
    /// By fence, which execution the store counted it as.
    granted: BTreeMap<u64, u32>,
    /// Executions that count.
    executions: u32,
    /// Who works on it without a claim, because the store was not available.
    unclaimed: BTreeSet<usize>,
    ended: Option<Ending>,
    /// Who could not write down that it has ended.
    end_unwritten: BTreeSet<usize>,
    posts: Vec<Post>,
    letters: Vec<Reason>,
    /// Why it was dead before somebody put it back into the queue.
    past_reasons: Vec<Reason>,
    /// How often it was put back.
    redriven: usize,
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

/// The book.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) trace: Vec<String>,
    pub(super) faults: Vec<String>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    started_at: Instant,
    max_attempts: u32,
    gone: BTreeSet<usize>,
    sent: BTreeMap<String, Sent>,
    stories: BTreeMap<String, Story>,
    letters: BTreeMap<String, Vec<Reason>>,
    /// The dead-letter queue: the messages' names and bodies.
    pub(super) bodies: Vec<(String, String)>,
}

impl Book {
    pub(super) fn new(started_at: Instant, max_attempts: u32) -> Self {
        Self {
            trace: Vec::new(),
            faults: Vec::new(),
            counts: BTreeMap::new(),
            started_at,
            max_attempts,
            gone: BTreeSet::new(),
            sent: BTreeMap::new(),
            stories: BTreeMap::new(),
            letters: BTreeMap::new(),
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
        let message = delivery.message_id.clone();
        self.bodies.push((message.clone(), delivery.body.clone()));
        self.note(&format!("w{worker} buries m{message}: {} after {attempts}", reason.as_str()));
        self.count("dead letters");
        match self.sent.get(&message) {
            Some(Sent::Poison(expected)) if expected == reason => {}
            Some(Sent::Event(event, trail)) => {
                let (event, trail) = (event.clone(), trail.clone());
                self.check_letter(worker, &event, trail.as_ref(), *reason);
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
    fn check_letter(&mut self, worker: usize, event: &str, trail: Option<&(String, Nature)>, reason: Reason) {
        let max_attempts = self.max_attempts;
        let story = self.story(event);
        let right = match reason {
            Reason::RestoreRefused => matches!(trail, Some((_, Nature::Guarded(_) | Nature::Unseen))),
            Reason::NotifyRefused => story.posts.iter().any(|post| post.refused),
            // Without a claim nobody counts, and the receives stand in.
            Reason::AttemptsExhausted => {
                story.executions >= max_attempts || story.unclaimed.contains(&worker)
            }
            Reason::Malformed | Reason::Unsupported => false,
        } || story.past_reasons.contains(&reason)
            || matches!(&story.ended, Some(Ending::Dead { reason: ended, .. }) if *ended == reason);
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
            Some(Sent::Ignored) => true,
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

    pub(super) fn claimed(
        &mut self,
        worker: usize,
        event: &EventId,
        claimed: &Result<Claimed, StoreError>,
        lease: Duration,
    ) {
        let told = match claimed {
            Ok(Claimed::Yours(claim)) => format!("fence {} execution {}", claim.fence, claim.attempts),
            other => format!("{other:?}"),
        };
        self.note(&format!("w{worker} claims {event}: {told}"));
        if let Ok(Claimed::Yours(claim)) = claimed {
            self.count("claims");
            let story = self.story(event.as_str());
            let until = Instant::now() + lease;
            story.claim = Some((worker, claim.fence, until));
            story.fence = claim.fence;
            story.granted.insert(claim.fence, claim.attempts);
            story.executions += 1;
            if let Some(Ending::Dead { reason, .. }) = story.ended.take() {
                story.begin_anew(reason);
                if story.past_reasons.len() > story.redriven {
                    self.fault(format!("{event} is taken up anew more often than it was put back"));
                }
            }
        }
    }

    pub(super) fn unclaimed(&mut self, worker: usize, event: &EventId) {
        self.note(&format!("w{worker} works on {event} without a claim"));
        self.count("worked on without a claim");
        self.story(event.as_str()).unclaimed.insert(worker);
    }

    /// A write is taken from the newest claim only: a late runner overwrites nothing of its successor's.
    fn check_write(&mut self, worker: usize, claim: &Claim, written: &Result<(), StoreError>) {
        let story = self.story(claim.event.as_str());
        let (newest, granted) = (story.fence, story.granted.get(&claim.fence).copied());
        if granted != Some(claim.attempts) {
            let Claim { event, attempts, .. } = claim;
            self.fault(format!("w{worker} takes {event} for execution {attempts}, and it is {granted:?}"));
        }
        if written.is_ok() && claim.fence != newest {
            let Claim { event, fence, .. } = claim;
            self.fault(format!(
                "w{worker} wrote to {event} with fence {fence} though the newest is {newest}"
            ));
        }
        if written.is_err() {
            self.count("writes refused");
        }
    }

    pub(super) fn extended(
        &mut self,
        worker: usize,
        claim: &Claim,
        extended: &Result<(), StoreError>,
        lease: Duration,
    ) {
        self.note(&format!("w{worker} extends {} fence {}: {extended:?}", claim.event, claim.fence));
        self.check_write(worker, claim, extended);
        if extended.is_ok() {
            let until = Instant::now() + lease;
            self.story(claim.event.as_str()).claim = Some((worker, claim.fence, until));
        }
    }

    pub(super) fn recording(&mut self, worker: usize, claim: &Claim) {
        self.progress(worker, claim, Progress::Recording);
    }

    pub(super) fn recorded(&mut self, worker: usize, claim: &Claim, recorded: &Result<(), StoreError>) {
        let steps = &claim.steps;
        let done = [
            (steps.started, "started"),
            (steps.restored.is_some(), "restored"),
            (steps.announced, "announced"),
            (steps.notified, "notified"),
        ];
        let done: Vec<_> = done.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
        self.note(&format!("w{worker} records {} fence {} {done:?}: {recorded:?}", claim.event, claim.fence));
        self.check_write(worker, claim, recorded);
        if recorded.is_ok() {
            self.progress(worker, claim, Progress::Recorded);
        }
    }

    /// Marks the answered posts that the claim's steps speak of.
    fn progress(&mut self, worker: usize, claim: &Claim, progress: Progress) {
        for post in &mut self.story(claim.event.as_str()).posts {
            let told = match post.class {
                Class::Delayed => claim.steps.announced,
                Class::Final => claim.steps.notified,
            };
            let answered = matches!(post.progress, Progress::Answered | Progress::Recording);
            if told && post.by == worker && answered {
                post.progress = progress;
            }
        }
    }

    pub(super) fn released(
        &mut self,
        worker: usize,
        claim: &Claim,
        attempt: Attempt,
        released: &Result<(), StoreError>,
    ) {
        let event = &claim.event;
        self.note(&format!("w{worker} releases {event} fence {} ({attempt:?}): {released:?}", claim.fence));
        self.check_write(worker, claim, released);
        if released.is_ok() {
            let story = self.story(event.as_str());
            story.claim = None;
            if attempt == Attempt::DoesNotCount {
                story.executions -= 1;
            }
        }
    }

    pub(super) fn completed(
        &mut self,
        worker: usize,
        claim: &Claim,
        ending: &Ending,
        completed: &Result<(), StoreError>,
    ) {
        let event = &claim.event;
        self.note(&format!("w{worker} ends {event} fence {} ({ending:?}): {completed:?}", claim.fence));
        self.check_write(worker, claim, completed);
        if completed.is_ok() {
            let story = self.story(event.as_str());
            story.claim = None;
            story.ended = Some(ending.clone());
        }
    }

    pub(super) fn end_unwritten(&mut self, worker: usize, claim: &Claim) {
        self.story(claim.event.as_str()).end_unwritten.insert(worker);
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

    pub(super) fn starting(&mut self, worker: usize, trail: &str) {
        self.note(&format!("w{worker} starts {trail}"));
        self.count("starts");
        let about = |story: &Story| story.trail.as_ref().is_some_and(|(name, _)| name == trail);
        let events: Vec<String> =
            self.stories.iter().filter(|(_, story)| about(story)).map(|(event, _)| event.clone()).collect();
        let forbidden: Vec<_> = events.iter().map(|event| self.forbids(worker, event)).collect();
        if forbidden.iter().all(Option::is_some) {
            let why = forbidden.into_iter().flatten().next().unwrap_or_default();
            self.fault(format!("StartLogging of {trail}: w{worker} {why}"));
        }
    }

    pub(super) fn posting(&mut self, worker: usize, message: &Message) -> PostId {
        let payload = message.payload();
        let context = payload["blocks"][3]["elements"][0]["text"].as_str().unwrap_or_default();
        let event = context.split_whitespace().nth(1).unwrap_or_default().to_owned();
        let delayed = message.text.contains("the restart is being retried");
        let class = if delayed { Class::Delayed } else { Class::Final };
        self.note(&format!("w{worker} posts {class:?} of {event}"));
        self.count("posts");
        if let Some(why) = self.forbids(worker, &event) {
            self.fault(format!("post: w{worker} {why}"));
        }
        if let Some(why) = self.repeats(worker, &event, class) {
            self.fault(format!("post: w{worker} tells {event} ({class:?}) again, though {why}"));
        }
        let posts = &mut self.story(&event).posts;
        posts.push(Post {
            by: worker,
            class,
            posted: false,
            past: false,
            refused: false,
            progress: Progress::Unanswered,
        });
        let position = posts.len() - 1;
        (event, position)
    }

    /// Why an event must not be told again: that it was told is written down, or could have been.
    fn repeats(&self, worker: usize, event: &str, class: Class) -> Option<&'static str> {
        let story = self.stories.get(event)?;
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
    }

    pub(super) fn post_answered(&mut self, post: &PostId) {
        self.post(post).progress = Progress::Answered;
    }

    pub(super) fn post_refused(&mut self, post: &PostId) {
        self.post(post).refused = true;
    }

    // The end.

    /// What must be true of everything when the storm is over and the queue is empty.
    pub(super) fn check_end(&mut self, is_logging: impl Fn(&str) -> bool) {
        let mut faults = Vec::new();
        for (message, sent) in &self.sent {
            let letters = self.letters.get(message).map_or(0, Vec::len);
            if matches!(sent, Sent::Poison(_)) && letters == 0 {
                faults.push(format!("m{message} is poison and no dead letter"));
            }
        }
        for (event, story) in &self.stories {
            let told = story.posts.iter().any(|post| post.posted && post.class == Class::Final);
            if !told && story.letters.is_empty() {
                faults.push(format!("{event} is lost: nobody was told, and it is no dead letter"));
            }
            if !told && story.letters.contains(&Reason::RestoreRefused) {
                faults.push(format!("{event} was refused, and nobody was told"));
            }
            let Some((trail, nature)) = &story.trail else { continue };
            let can_run = matches!(nature, Nature::Plain | Nature::On | Nature::Unseen | Nature::Abroad);
            if can_run && !is_logging(trail) && !story.letters.contains(&Reason::AttemptsExhausted) {
                faults.push(format!("{trail} of {event} is still off, and that was not said"));
            }
        }
        for fault in faults {
            self.fault(fault);
        }
    }
}
