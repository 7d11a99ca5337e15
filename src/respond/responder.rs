//! One message: read, judged, claimed, worked on, and its end written down.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::changes;
use super::looks::{Looks, Turn};
use super::members::{Known, Membership};
use super::outside::{Outside, Report};
use super::verdict::{Verdict, dead, decide};
use super::work::{Hands, Work};
use crate::clock;
use crate::cloudtrail::accounts::Accounts;
use crate::cloudtrail::{Meaning, Refusal};
use crate::consumer::sqs::Outbox;
use crate::consumer::{Delivery, Disposition, Handled, Handler, HandlingFailure, Hold, ReceiptHandle};
use crate::event::{self, About, AccountId, Event, Malformed, TrailArn};
use crate::outcome::{Outcome, Reason};
use crate::policy::{Action, Bounds, ByUs, Judgement, Mode, Policy, Seen, conclude, judge};
use crate::retry::RetryPolicy;
use crate::state::{
    Asking, Claims, Counts, Ending, Kept, Key, Opened, RecordKey, Session, Store, StoreError, TrailRecord,
};
use crate::sweep::{LOOK_AT_TRAIL, finding, last_finding, look_at, looked_at};
use crate::text::harmless;

/// On top of another worker's lease, before its event is looked at again.
pub(crate) const HELD_MARGIN: Duration = Duration::from_secs(1);
/// Between the receives of a message whose event another worker holds: most work takes seconds, and a message that is hidden
/// for longer makes the queue look busy. By the sixth receive it is hidden for a whole lease, so that SQS, which counts
/// receives, does not give it up.
const HELD_RETRY: RetryPolicy =
    RetryPolicy { max_attempts: u32::MAX, base: Duration::from_secs(2), max: Duration::from_mins(10) };
/// How long a message of a kind that this version does not know is left to a later one: two versions run side by side
/// for as long as a deploy takes.
const UNKNOWN_KIND_PATIENCE: Duration = Duration::from_mins(15);
/// Between its receives, whatever the configured backoff: some ten in all, since SQS counts them and gives up after some.
const UNKNOWN_KIND_RETRY: RetryPolicy =
    RetryPolicy { max_attempts: u32::MAX, base: Duration::from_mins(1), max: Duration::from_mins(5) };
/// The longest kind that the log names, in characters.
const MAX_KIND_CHARS: usize = 64;

/// Works on events.
pub struct Responder<S> {
    pub mode: Mode,
    /// As it was read last. One execution of the work on an event goes by one of them.
    pub policy: watch::Receiver<Arc<Policy>>,
    pub members: Arc<Membership>,
    pub claims: Arc<Claims<S>>,
    pub hands: Hands,
    /// How long a claim lasts unless it is extended: the visibility timeout.
    pub lease: Duration,
    /// The policy that the fleet used last.
    kept: Kept,
    outside: Outside,
    looks: Looks,
    /// Nothing if no trail is looked at without an event.
    sweeping: Option<Sweeping>,
}

/// How often all trails are looked at, and where looks at those go that differ.
#[derive(Debug)]
pub struct Sweeping {
    /// Between the beginnings of two passes.
    pub every: Duration,
    pub queue: Outbox,
}

impl<S: Store> Responder<S> {
    #[must_use]
    pub fn new(
        mode: Mode,
        policy: watch::Receiver<Arc<Policy>>,
        members: Arc<Membership>,
        claims: Arc<Claims<S>>,
        hands: Hands,
        lease: Duration,
    ) -> Self {
        let (kept, outside, looks) = (Kept::in_memory(), Outside::default(), Looks::default());
        Self { mode, policy, members, claims, hands, lease, kept, outside, looks, sweeping: None }
    }

    /// With the policy that the fleet used last where all workers find it.
    #[must_use]
    pub fn keeping(self, kept: Kept) -> Self {
        Self { kept, ..self }
    }

    /// With looks at all trails now and then.
    #[must_use]
    pub fn sweeping(self, sweeping: Option<Sweeping>) -> Self {
        Self { sweeping, ..self }
    }

    /// Keeps what is known of the organization up to date, and reports changes of the policy. Ends when dropped.
    pub async fn keep(&self) {
        let members = self.members.keep(self.hands.trails.accounts(), &self.policy);
        let changes = changes::keep(&self.kept, &self.policy, self.hands.channel.as_ref());
        let sweep = async {
            if let (Some(sweeping), Some(records)) = (&self.sweeping, &self.hands.records) {
                self.sweep(sweeping, records).await;
            }
        };
        // Rarely, and much.
        tokio::join!(members, changes, Box::pin(sweep));
    }

    /// Works on an event; how, and in which execution.
    async fn respond(
        &self,
        event: &Event,
        judgement: &Judgement,
        delivery: &Delivery,
        hold: &Hold,
    ) -> (Handled, u32) {
        if judgement.action == Action::Ignore {
            return (self.decide(Verdict::Done(Outcome::Ignored), 0), 0);
        }
        let asking = Asking { message: &delivery.message_id, redriven: delivery.label.is_some() };
        // Should nobody be able to count: receives space the attempts, and never make one the last.
        let guess = delivery.receive_count.min(self.hands.retry.max_attempts.saturating_sub(1)).max(1);
        let id = event.id.clone();
        let key = if event.by_look { Key::Finding(id) } else { Key::Event(id) };
        let session = match Session::open(&self.claims, key, self.lease, asking, guess).await {
            Opened::Yours(session) => session,
            Opened::Held(ends_in) => {
                // Each time at least half of it: these waits have a purpose.
                let wait = HELD_RETRY.wait(delivery.receive_count, 0.5 + fastrand::f64() / 2.0);
                let until_then = Verdict::Deferred(wait.min(ends_in + HELD_MARGIN), Outcome::Released);
                return (self.decide(until_then, 0), 0);
            }
            Opened::Ended { ending: Ending::Done, attempts } => {
                return (self.decide(Verdict::Done(Outcome::Duplicate), attempts), attempts);
            }
            // A finding comes with each sweep until its record says that it is known, and is one dead letter.
            Opened::Ended { attempts, .. } if event.by_look => {
                return (self.decide(Verdict::Done(Outcome::Duplicate), attempts), attempts);
            }
            Opened::Ended { ending: Ending::Dead { reason, detail }, attempts } => {
                hold.began(attempts);
                // One of another version's: it is dead all the same.
                let reason = Reason::parse(&reason).unwrap_or(Reason::AttemptsExhausted);
                return (dead(reason.as_str(), detail), attempts);
            }
        };
        let attempts = session.attempts();
        hold.began(attempts);
        let work = Work { hands: &self.hands, event, judgement, delivery, session: &session };
        // While the claim is kept alive, and until the message is lost or goes back.
        let verdict = tokio::select! {
            biased;
            () = hold.cancelled() => Verdict::RELEASED,
            () = session.keep() => Verdict::RELEASED,
            verdict = work.run() => verdict.unwrap_or_else(|lost| {
                tracing::warn!(error = %lost, event_id = %event.id, "another worker took over: this one stops");
                Verdict::RELEASED
            }),
        };
        let counts = verdict.counts();
        let handled = self.decide(verdict, attempts);
        (self.close(&session, event, handled, counts).await, attempts)
    }

    fn decide(&self, verdict: Verdict, attempts: u32) -> Handled {
        decide(verdict, attempts, &self.hands.retry, fastrand::f64())
    }

    /// Writes down how the execution ended, before the message is settled: whoever receives it next must not
    /// do it again.
    async fn close(
        &self,
        session: &Session<'_, S>,
        event: &Event,
        handled: Handled,
        counts: Counts,
    ) -> Handled {
        let written = match &handled.disposition {
            Disposition::Delete => session.complete(Ending::Done).await,
            Disposition::Retry { .. } => session.release(counts).await,
            Disposition::DeadLetter { reason, detail } => {
                let (reason, detail) = ((*reason).to_owned(), detail.clone());
                session.complete(Ending::Dead { reason, detail }).await
            }
        };
        match written {
            Ok(()) => handled,
            // Everything was done; that it was is written down later.
            Err(error @ (StoreError::Silent(_) | StoreError::Refused(_))) => {
                tracing::warn!(%error, event_id = %event.id, "the end of the work could not be written down");
                handled
            }
            // Somebody else has the event: whatever they decide stands, and this message finds out later.
            Err(error @ StoreError::Lost) => {
                tracing::warn!(%error, event_id = %event.id, "another worker had taken over by the end of the work");
                let disposition = Disposition::Retry { after: self.lease };
                Handled { disposition, outcome: Outcome::Released.as_str(), ..handled }
            }
        }
    }
}

impl<S: Store> Responder<S> {
    /// Looks at the trail that a message of ours names, and works on what is to be done about it.
    async fn look(&self, delivery: &Delivery, hold: &Hold) -> Handled {
        let Some(trail) = looked_at(&delivery.body) else {
            return bury(delivery, Reason::Malformed, "a look that names no trail by its ARN".to_owned());
        };
        let looked = || self.decide(Verdict::Done(Outcome::Looked), 0);
        // What was put back asks for more than other looks do.
        let sent_at = delivery.sent_at.filter(|_| delivery.label.is_none());
        let began_at = match self.looks.take(&trail, sent_at) {
            Turn::Now(began_at) => began_at,
            Turn::Answered => return looked(),
            Turn::In(wait) => return self.decide(Verdict::Deferred(wait, Outcome::Released), 0),
        };
        let handled = match self.see_to(&trail, delivery, hold).await {
            Ok(Some(handled)) => handled,
            Ok(None) => {
                tracing::info!(%trail, outcome = Outcome::Looked.as_str(), "decided");
                looked()
            }
            Err(detail) => {
                let is_last = self.hands.retry.is_last(delivery.receive_count);
                tracing::warn!(%trail, detail, is_last, "the trail could not be looked at");
                // The sweep looks again, and reports what cannot be looked at for long.
                return if is_last {
                    looked()
                } else {
                    self.decide(Verdict::Failed(detail), delivery.receive_count)
                };
            }
        };
        if handled.disposition == Disposition::Delete {
            self.looks.answer(&trail, began_at);
        }
        handled
    }

    /// Works on what is to be done about a trail, if there is anything, and then on who it was.
    async fn see_to(
        &self,
        trail: &TrailArn,
        delivery: &Delivery,
        hold: &Hold,
    ) -> Result<Option<Handled>, String> {
        let found = match self.find(trail, delivery.label.is_some()).await? {
            Some(event) => Some(self.work_on(event, delivery, hold).await),
            None => None,
        };
        let is_done = |handled: &Handled| handled.disposition == Disposition::Delete;
        if found.as_ref().is_some_and(|found| !is_done(found)) {
            return Ok(found);
        }
        let learned = self.learn_who(trail, delivery, hold).await?;
        // What became of the look is what was found, unless something is left to be done.
        Ok(if learned.as_ref().is_some_and(is_done) { found.or(learned) } else { learned.or(found) })
    }

    /// Asks the event history for a call that no event told of, if it is time, and works on what it has as on any event: the event itself
    /// may still come.
    async fn learn_who(
        &self,
        trail: &TrailArn,
        delivery: &Delivery,
        hold: &Hold,
    ) -> Result<Option<Handled>, String> {
        let Some(records) = &self.hands.records else { return Ok(None) };
        let about = RecordKey::Trail(trail.clone());
        let read = records.read::<TrailRecord>(&about).await.map_err(|error| error.to_string())?;
        let Some(stop) = read.as_ref().and_then(|record| record.to_ask(clock::now())) else {
            return Ok(None);
        };
        let recorded = match stop.call() {
            Some((name, within)) => tokio::select! {
                () = hold.cancelled() => return Ok(Some(self.decide(Verdict::RELEASED, 0))),
                recorded = self.hands.trails.recorded(trail, name, within) => recorded,
            },
            None => Ok(None),
        };
        // One that fails for now is asked again later, as one that does not know yet.
        let event = recorded.unwrap_or_else(|Refusal { detail, .. }| {
            tracing::warn!(%trail, detail, "the event history could not be asked for who stopped a trail");
            None
        });
        let is_known = event.is_some();
        let handled = match event {
            Some(event) => Some(self.work_on(event, delivery, hold).await),
            None => None,
        };
        if handled.as_ref().is_none_or(|handled| handled.disposition == Disposition::Delete) {
            let asked = |before: Option<TrailRecord>| {
                let after = before.map(|mut record| {
                    record.asked(&stop.by, is_known, clock::now());
                    record
                });
                (after, ())
            };
            records.change(&about, asked).await.map_err(|error| error.to_string())?;
        }
        Ok(handled)
    }

    /// What is to be done about a trail; nothing if it is as its record has it, or nobody knows it. `again`: somebody has put the look
    /// back, since what was refused may be allowed by now.
    async fn find(&self, trail: &TrailArn, again: bool) -> Result<Option<Event>, String> {
        let policy = Arc::clone(&self.policy.borrow());
        let accounts = self.hands.trails.accounts();
        let (known, about) = (self.members.known(), RecordKey::Trail(trail.clone()));
        let bounds = Bounds {
            mode: self.mode,
            policy: &policy,
            own: accounts.own(),
            members: known.listed(),
            by_us: ByUs::No,
            now: clock::now(),
        };
        let Some(records) = &self.hands.records else { return Ok(None) };
        let read = records.read::<TrailRecord>(&about).await;
        let Some(record) = read.map_err(|error| error.to_string())? else { return Ok(None) };
        let seen = match self.hands.trails.status(trail, trail.region()).await {
            Ok(status) => Some(status.glimpse()),
            Err(Refusal { meaning: Meaning::Gone, .. }) => None,
            Err(refusal) => return Err(refusal.detail),
        };
        Ok(finding(&record, trail, seen, &bounds, again).or_else(|| last_finding(&record, trail)))
    }

    /// Looks at a trail without a message: the queue may be gone.
    pub async fn look_now(&self, trail: &TrailArn) {
        let delivery = Delivery {
            message_id: format!("look-{:016x}", fastrand::u64(..)),
            receipt: ReceiptHandle(String::new()),
            body: look_at(trail),
            sent_at: Some(clock::now()),
            receive_count: 1,
            label: None,
            kind: Some(LOOK_AT_TRAIL.to_owned()),
            asked_at: Instant::now(),
        };
        // What fails is found again by the next sweep.
        self.look(&delivery, &Hold::of_no_message()).await;
    }
}

impl<S: Store> Handler for Responder<S> {
    async fn handle(&self, delivery: &Delivery, hold: &Hold) -> Handled {
        if delivery.kind.as_deref() == Some(LOOK_AT_TRAIL) {
            return self.look(delivery, hold).await;
        }
        match read(delivery, hold, &self.hands.retry) {
            Ok(event) => self.work_on(event, delivery, hold).await,
            Err(handled) => handled,
        }
    }

    fn panicked(&self, attempts: u32) -> Handled {
        panicked(attempts, &self.hands.retry)
    }
}

impl<S: Store> Responder<S> {
    /// Works on an event, or on what a look showed, as far as the policy concerns it.
    async fn work_on(&self, event: Event, delivery: &Delivery, hold: &Hold) -> Handled {
        let started_at = Instant::now();
        let policy = Arc::clone(&self.policy.borrow());
        let accounts = self.hands.trails.accounts();
        accounts.identify().await;
        let asks_for = policy.asks_for(&event, accounts.own());
        let known = self.members.of(accounts, asks_for, delivery, &self.hands.retry).await;
        let mut judgement = judge(
            &event,
            &Bounds {
                mode: self.mode,
                policy: &policy,
                own: accounts.own(),
                members: known.listed(),
                by_us: by_us(&event, accounts),
                now: clock::now(),
            },
        );
        if let Known::NotYet(wait) = known {
            let handled = self.decide(Verdict::Deferred(wait, Outcome::Released), 0);
            tracing::info!(
                event_id = %event.id,
                account = asks_for.map(AccountId::as_str),
                outcome = handled.outcome,
                "waits until the accounts of the organization are listed again"
            );
            return handled;
        }
        // What our own roles do is reported wherever it is.
        let severity = (judgement.is_outside() && !judgement.by_us)
            .then(|| conclude(&event, &judgement, Seen::Nothing).severity);
        let report = severity.map(|severity| self.outside.report(&event, severity));
        let (handled, attempts) = if report == Some(Report::HeldBack) {
            (self.decide(Verdict::Done(Outcome::Outside), 0), 0)
        } else {
            if let Some(Report::Now { beside }) = report {
                judgement.add(beside);
            }
            self.respond(&event, &judgement, delivery, hold).await
        };
        if let Some(severity) =
            severity.filter(|_| attempts > 0 && handled.outcome == Outcome::Outside.as_str())
        {
            self.outside.reported(&event, severity);
        }
        log(&event, &judgement, None, &handled, (attempts, started_at));
        handled
    }
}

/// Works on nothing: logs what would be done about each event. It has neither claims nor a channel nor trails.
#[derive(Debug)]
pub struct Rehearsal {
    pub policy: watch::Receiver<Arc<Policy>>,
    pub retry: RetryPolicy,
}

impl Handler for Rehearsal {
    async fn handle(&self, delivery: &Delivery, hold: &Hold) -> Handled {
        let started_at = Instant::now();
        let event = match read(delivery, hold, &self.retry) {
            Ok(event) => event,
            Err(handled) => return handled,
        };
        let handled = decide(Verdict::Done(Outcome::Ignored), 0, &self.retry, 0.0);
        let policy = Arc::clone(&self.policy.borrow());
        let [is, would] = [Mode::DryRun, Mode::Restore].map(|mode| {
            // It asks nobody whose account this is.
            judge(&event, &Bounds::of(mode, &policy, clock::now()))
        });
        log(&event, &is, Some(&would), &handled, (0, started_at));
        handled
    }

    fn panicked(&self, attempts: u32) -> Handled {
        panicked(attempts, &self.retry)
    }
}

/// Whether a call was made with an identity of trailkeeper's own.
fn by_us(event: &Event, accounts: &Accounts) -> ByUs {
    match event.actor.arn.as_deref() {
        Some(arn) if accounts.is_own_identity(arn) => ByUs::Worker,
        Some(arn) if accounts.is_member_role(arn) => ByUs::MemberRole,
        _ => ByUs::No,
    }
}

/// The event in a message, or what becomes of a message that holds none.
fn read(delivery: &Delivery, hold: &Hold, retry: &RetryPolicy) -> Result<Event, Handled> {
    if let Some(kind) = &delivery.kind {
        return Err(unknown(delivery, kind, retry));
    }
    let event = event::parse(&delivery.body).map_err(|malformed| {
        if let Malformed::NoName(id) | Malformed::Insight(id) = &malformed {
            hold.names(id.as_str());
        }
        let unsupported = matches!(malformed, Malformed::AnotherKind | Malformed::Insight(_));
        let reason = if unsupported { Reason::Unsupported } else { Reason::Malformed };
        // No attempt could make it an event.
        bury(delivery, reason, malformed.to_string())
    })?;
    hold.names(event.id.as_str());
    Ok(event)
}

/// A message that a worker of another version has sent to this queue: it is left to workers of that version.
fn unknown(delivery: &Delivery, kind: &str, retry: &RetryPolicy) -> Handled {
    let left = delivery.sent_at.and_then(|sent_at| UNKNOWN_KIND_PATIENCE.checked_sub(clock::since(sent_at)));
    let Some(left) = left else {
        let detail = "a message of trailkeeper's own, of a kind that this version does not know";
        return bury(delivery, Reason::Unsupported, detail.to_owned());
    };
    // At least half of each wait, and past the end by a moment: then it is over.
    let wait = UNKNOWN_KIND_RETRY.wait(delivery.receive_count, 0.5 + fastrand::f64() / 2.0);
    let after = wait.min(left + Duration::from_secs(1));
    let (message_id, outcome) = (&delivery.message_id, Outcome::Released);
    let kind = harmless(kind, MAX_KIND_CHARS);
    tracing::info!(%message_id, kind, outcome = outcome.as_str(), detail = "left to a later version", "decided");
    decide(Verdict::Deferred(after, outcome), 0, retry, 0.0)
}

fn bury(delivery: &Delivery, reason: Reason, detail: String) -> Handled {
    let message_id = &delivery.message_id;
    let outcome = Outcome::DeadLettered.as_str();
    tracing::warn!(%message_id, outcome, reason = reason.as_str(), detail, "decided");
    let failure = Some(HandlingFailure { kind: reason.as_str(), detail: detail.clone() });
    Handled { failure, ..dead(reason.as_str(), detail) }
}

/// A panic is a failure for now, also at the last attempt: the execution after that one finds the attempts used up, and gives up
/// loudly. One that panics while it gives up ends among the dead letters.
fn panicked(attempts: u32, retry: &RetryPolicy) -> Handled {
    let detail = "the worker panicked".to_owned();
    let failure = Some(HandlingFailure { kind: "panicked", detail: String::new() });
    if attempts > retry.max_attempts {
        return Handled { failure, ..dead(Reason::AttemptsExhausted.as_str(), detail) };
    }
    let again = Verdict::Deferred(retry.wait(attempts, fastrand::f64()), Outcome::Retried);
    Handled { failure, ..decide(again, attempts, retry, 0.0) }
}

/// One line for each decision; `would` is what would be done if this were no dry run.
fn log(
    event: &Event,
    judgement: &Judgement,
    would: Option<&Judgement>,
    handled: &Handled,
    (attempt, started_at): (u32, Instant),
) {
    let (reason, detail) = match &handled.disposition {
        Disposition::DeadLetter { reason, detail } => (Some(*reason), Some(detail.as_str())),
        Disposition::Delete | Disposition::Retry { .. } => {
            (None, handled.failure.as_ref().map(|failure| failure.detail.as_str()))
        }
    };
    let about_a_trail = event.call.is_none_or(|call| call.about == About::Trail);
    tracing::info!(
        event_id = %event.id,
        event_name = event.name,
        trail = event.resource.as_deref().filter(|_| about_a_trail),
        resource = event.resource.as_deref().filter(|_| !about_a_trail),
        account = event.account.as_ref().map(tracing::field::display),
        region = event.region.as_ref().map(tracing::field::display),
        action = judgement.action.as_str(),
        because = judgement.because.as_ref().map(tracing::field::display),
        would = would.map(tracing::field::display),
        outcome = handled.outcome,
        attempt,
        ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX),
        reason,
        detail,
        "decided"
    );
}
