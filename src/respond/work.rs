//! One claimed event: restart first, notify people, and write down each as it is done.

use std::time::Duration;

use time::OffsetDateTime;

use super::verdict::Verdict;
use crate::clock;
use crate::cloudtrail::trails::Trails;
use crate::cloudtrail::{Around, Earlier, Meaning, Order, Refusal, RestartError};
use crate::consumer::Delivery;
use crate::event::{AccountId, Event, Kind, Region, TrailArn};
use crate::incident::{Coverage, Found, Restoration, Restored, Sighting};
use crate::outcome::{Outcome, Reason};
use crate::policy::{Action, Judgement, Seen, Untargetable, Which, conclude, refusal};
use crate::retry::RetryPolicy;
use crate::state::{
    DELETE_TRAIL, Left, Lost, Notice, RecordKey, Records, Session, Step, Stop, Store, Told, TrailRecord,
    Undelivered,
};
use crate::telemetry;
use crate::tell::{Channel, ShowError, View};
use crate::text::harmless;

/// How long people wait to hear of a stopped trail while its restart is under way. Most restarts take less
/// than a second; after this they are notified that it takes longer, and once more how it ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// And for what else recorded meanwhile.
const COVERAGE_PATIENCE: Duration = Duration::from_secs(3);

/// How long a report that is in no hurry waits for a state table that does not answer: most outages are over by then, and people
/// should not wait longer to hear who it was.
const TABLE_PATIENCE: Duration = Duration::from_mins(3);
/// And one of a restart of ours, which nobody else can have reported: as long as one write to a table that answers again may take. What a
/// worker reports without the table is reported again if it dies.
const PATIENCE_OF_OURS: Duration = Duration::from_secs(10);
/// Between two looks at whether it answers.
const TABLE_RETRY: RetryPolicy =
    RetryPolicy { max_attempts: u32::MAX, base: Duration::from_secs(2), max: TABLE_PATIENCE };
/// Receives after which nothing is waited for any more, since SQS counts them and gives up after some.
const MAX_RECEIVES: u32 = 12;

/// The longest name of an actor that a record keeps, in characters.
const MAX_WHO_CHARS: usize = 300;

/// What there is to say of a restart that is not done after [`PATIENCE`].
const SLOW: &str = "AWS is slow to answer: CloudTrail, or STS for the role in another account";
/// And of one that waits for its turn.
const NOT_OUR_TURN: &str =
    "CloudTrail takes one StartLogging a second of an account in a Region, and others are before this one";

/// What the work is done with, whatever the event.
pub struct Hands {
    pub trails: Trails,
    /// What is known of trails, so that an event and a look at a trail do not both report one stop; nothing where no trail is looked at
    /// without an event.
    pub records: Option<Records>,
    pub channel: Box<dyn Channel>,
    /// Between attempts of one event, and how many there are.
    pub retry: RetryPolicy,
}

/// One execution of the work on one event.
pub(super) struct Work<'w, S> {
    pub(super) hands: &'w Hands,
    pub(super) event: &'w Event,
    pub(super) judgement: &'w Judgement,
    /// The message that brought the event.
    pub(super) delivery: &'w Delivery,
    pub(super) session: &'w Session<'w, S>,
}

impl<S: Store> Work<'_, S> {
    /// Does what is left to be done. May be dropped at any await.
    pub(super) async fn run(&self) -> Result<Verdict, Lost> {
        // Workers began and never ended: the event itself may be what kills them.
        let kills = self.session.attempts() > self.hands.retry.max_attempts;
        let detail = || "no attempt came to an end: the worker crashed or was lost each time".to_owned();
        match &self.judgement.action {
            Action::Restart(_) | Action::Look(_) | Action::Refuse(_) if kills => {
                self.give_up(Sighting::NotLookedAt, detail()).await
            }
            // All there was to do was to notify.
            _ if kills => Ok(Verdict::Poison(Reason::AttemptsExhausted, detail())),
            Action::Restart(Which::Trail(trail)) => self.restart(trail).await,
            Action::Restart(Which::StoppedAt { account, region, time }) => {
                self.restart_stopped(account, region, (*time).min(clock::now())).await
            }
            Action::Look(which) => self.look(which).await,
            Action::Refuse(why) => {
                let notified = self.notify(Seen::Nothing, Outcome::Notified).await?;
                Ok(match why {
                    Untargetable::NoMembers => exhausted(notified, refusal(*why)),
                    _ => refused(notified, refusal(*why)),
                })
            }
            Action::Notify if self.is_deletion() && !self.judgement.is_outside() => self.deleted().await,
            Action::Notify | Action::Ignore => {
                let outcome = match self.event.kind {
                    _ if self.judgement.is_outside() => Outcome::Outside,
                    Kind::FailedCall => Outcome::FailedCall,
                    _ => Outcome::Notified,
                };
                self.notify(Seen::Nothing, outcome).await
            }
        }
    }

    /// A trail was deleted, by an event or as a look showed.
    fn is_deletion(&self) -> bool {
        self.event.kind == Kind::Weakened && self.event.name == DELETE_TRAIL
    }

    async fn deleted(&self) -> Result<Verdict, Lost> {
        let told = match self.event.target() {
            Some(trail) => {
                let gone = Restored::new(Restoration::Gone, clock::now());
                self.write_down(&trail, &gone).await
            }
            None => Told::Yours,
        };
        match told {
            Told::Known => Ok(Verdict::Done(Outcome::Notified)),
            Told::Yours | Told::Ended | Told::Who => self.notify(Seen::Nothing, Outcome::Notified).await,
        }
    }

    async fn restart(&self, trail: &TrailArn) -> Result<Verdict, Lost> {
        let order = self.order();
        let recorded = self.session.steps().restored.filter(|restored| !is_older(restored, &order));
        let is_new = recorded.is_none();
        let restored = if let Some(restored) = recorded {
            restored
        } else {
            // Beside the restart, which begins first.
            let restarting = self.see_to(&order, self.hands.trails.restart(trail, &order));
            let (restored, coverage) = tokio::join!(restarting, self.coverage(trail));
            match restored? {
                Ok(restored) => Restored { coverage, ..restored },
                Err(failed) => return Ok(failed),
            }
        };
        let is_ours = restored.outcome == Restoration::Restarted;
        if is_new && is_ours {
            self.session.record(Step::Restored(restored.clone())).await?;
            self.count(&restored);
        }
        if let Some(waiting) = self.wait_for_the_table(&order, [&restored]) {
            return Ok(waiting);
        }
        if is_new && !is_ours {
            self.session.record(Step::Restored(restored.clone())).await?;
        }
        self.report_of(trail, &restored).await
    }

    /// What else has recorded since the stop, as far as that is known while people wait to hear of the stop itself.
    async fn coverage(&self, trail: &TrailArn) -> Option<Box<Coverage>> {
        let now = clock::now();
        let since = self.event.time.map_or(now, |time| time.min(now));
        let looking = Box::pin(self.hands.trails.coverage(trail, since));
        let coverage = tokio::time::timeout(COVERAGE_PATIENCE, looking).await;
        Some(Box::new(coverage.unwrap_or_else(|_elapsed| Coverage {
            region: trail.region().to_string(),
            others: Vec::new(),
            unknown: Some(SLOW.to_owned()),
        })))
    }

    /// The event names no trail that can be read: sees to those of the Region of the call.
    async fn restart_stopped(
        &self,
        account: &AccountId,
        region: &Region,
        stop: OffsetDateTime,
    ) -> Result<Verdict, Lost> {
        let (order, steps) = (self.order(), self.session.steps());
        if let Some(refused) = steps.restored {
            return self.report(&refused).await;
        }
        let is_new = steps.found.is_none();
        let found = if let Some(found) = steps.found {
            found
        } else {
            let restarting = self.hands.trails.restart_stopped(account, region, stop, &order);
            match self.see_to(&order, restarting).await? {
                Ok(Ok(Around { found, failed: None })) => found,
                Ok(Ok(Around { found, failed: Some(refusal) })) => {
                    if self.hands.retry.is_last(self.session.attempts()) {
                        let seen = Seen::Region { account, region, stop, found: &found };
                        let notified = self.notify(seen, Outcome::DeadLettered).await?;
                        return Ok(exhausted(notified, refusal.detail));
                    }
                    return self.not_yet(order.seen(), refusal, false).await;
                }
                Ok(Err(refused)) => {
                    self.session.record(Step::Restored(refused.clone())).await?;
                    return self.report(&refused).await;
                }
                Err(failed) => return Ok(failed),
            }
        };
        if let Some(waiting) = self.wait_for_the_table(&order, found.iter().map(|found| &found.restored)) {
            return Ok(waiting);
        }
        if is_new {
            self.session.record(Step::Found(found.clone())).await?;
            for found in &found {
                self.count(&found.restored);
            }
        }
        let seen = Seen::Region { account, region, stop, found: &found };
        let notified = self.notify(seen, outcome_of_all(&found)).await?;
        Ok(match found.iter().find_map(|found| left(&found.restored)) {
            Some(detail) => refused(notified, detail),
            None => notified,
        })
    }

    /// Notifies people how a restart ended, and leaves what somebody else has to do as a dead letter.
    async fn report(&self, restored: &Restored) -> Result<Verdict, Lost> {
        let notified = self.notify(Seen::Ended(restored), outcome(restored)).await?;
        Ok(match left(restored) {
            Some(detail) => refused(notified, detail),
            None => notified,
        })
    }

    /// Writes down what came of the stop of a trail, and reports it unless that was done: by the event itself, or by a look that was
    /// faster.
    async fn report_of(&self, trail: &TrailArn, restored: &Restored) -> Result<Verdict, Lost> {
        let told = self.write_down(trail, restored).await;
        let (seen, outcome) = match told {
            Told::Yours => return self.report(restored).await,
            Told::Ended => (Seen::Ended(restored), outcome(restored)),
            Told::Who => (Seen::Known(restored), outcome(restored)),
            Told::Known => return Ok(Verdict::Done(outcome(restored))),
        };
        // What is left to be done is a dead letter already.
        self.notify(seen, outcome).await
    }

    /// Writes a stop into the record of its trail. Where records cannot be had, or what the event says was not seen, it is this event's
    /// to report.
    async fn write_down(&self, trail: &TrailArn, restored: &Restored) -> Told {
        let event = self.event;
        let seen = match (&restored.outcome, restored.before) {
            (Restoration::Restarted | Restoration::LeftOff | Restoration::Gone, _)
            | (_, Sighting::Off { .. }) => true,
            (Restoration::AlreadyLogging { .. }, _) => {
                event.by_look || event.time.is_some_and(|time| restored.stopped_with(time))
            }
            _ => false,
        };
        let stop = Stop {
            at: event.time,
            stopped_at: if event.by_look { event.time } else { restored.stopped_at.filter(|_| seen) },
            by: event.id.to_string(),
            event: (!event.by_look).then(|| event.id.to_string()),
            who: (!event.by_look).then(|| harmless(&event.actor.who, MAX_WHO_CHARS)),
            was_seen: seen,
            deleted: event.kind != Kind::Stopped,
            ask_at: event.by_look.then(clock::now),
            asked: 0,
        };
        let left = Left::by(restored, self.judgement.because.as_ref().map(ToString::to_string));
        let now_seen = match restored.outcome {
            Restoration::Restarted => Sighting::On { at: restored.at, since: None },
            Restoration::AlreadyLogging { since, .. } => Sighting::On { at: restored.at, since },
            Restoration::LeftOff => Sighting::Off { at: restored.at },
            _ => restored.before,
        };
        // The report of the stop says so.
        let is_on = matches!(now_seen, Sighting::On { .. });
        let error = restored.delivery.log_files.clone().filter(|_| is_on);
        let undelivered = error.map(|error| Undelivered { error, since: restored.at });
        let Some(records) = self.hands.records.as_ref().filter(|_| self.session.silence().is_none()) else {
            return Told::Yours;
        };
        // Anybody can invent an event of a trail that there is not.
        let is_real = seen || matches!(restored.outcome, Restoration::AlreadyLogging { .. });
        let key = RecordKey::Trail(trail.clone());
        let written = records.change(&key, |before: Option<TrailRecord>| {
            let made = || is_real.then(|| TrailRecord::of_an_event(clock::now()));
            let Some(mut record) = before.or_else(made) else { return (None, Told::Yours) };
            let told = record.add(stop.clone(), left.clone(), now_seen);
            if let (Told::Yours | Told::Ended, Some(undelivered)) = (told, &undelivered) {
                record.undelivered = Some(undelivered.clone());
            }
            (Some(record), told)
        });
        written.await.unwrap_or_else(|error| {
            tracing::warn!(%error, event_id = %event.id, "what came of the stop could not be written into the trail's record");
            Told::Yours
        })
    }

    fn count(&self, restored: &Restored) {
        if let (Restoration::Restarted, Some(time)) = (&restored.outcome, self.event.time) {
            telemetry::time_to_restore(clock::since(time));
        }
    }

    /// Looks, changes nothing, and notifies people of what was seen. What cannot be seen for now is not waited for.
    async fn look(&self, which: &Which) -> Result<Verdict, Lost> {
        let trails = &self.hands.trails;
        let not_seen = |detail| Restored::new(Restoration::Refused { detail }, clock::now());
        match which {
            Which::Trail(trail) => {
                let (looked, coverage) = tokio::join!(patiently(trails.look(trail)), self.coverage(trail));
                let restored = Restored { coverage, ..looked.unwrap_or_else(not_seen) };
                if let Some(waiting) = self.wait_for_the_table(&self.order(), [&restored]) {
                    return Ok(waiting);
                }
                match self.write_down(trail, &restored).await {
                    Told::Yours | Told::Ended => self.notify(Seen::Ended(&restored), Outcome::Notified).await,
                    Told::Who => self.notify(Seen::Known(&restored), Outcome::Notified).await,
                    Told::Known => Ok(Verdict::Done(Outcome::Notified)),
                }
            }
            Which::StoppedAt { account, region, time } => {
                match patiently(trails.look_around(account, region)).await {
                    Ok(Around { found, .. }) => {
                        let all = found.iter().map(|found| &found.restored);
                        if let Some(waiting) = self.wait_for_the_table(&self.order(), all) {
                            return Ok(waiting);
                        }
                        let stop = (*time).min(clock::now());
                        let seen = Seen::Region { account, region, stop, found: &found };
                        self.notify(seen, Outcome::Notified).await
                    }
                    Err(detail) => self.notify(Seen::Ended(&not_seen(detail)), Outcome::Notified).await,
                }
            }
        }
    }

    /// Where every trail was seen on since the stop, there is no hurry, and somebody may have reported it: while the state table does
    /// not answer, the message goes back for a while. That is no attempt.
    fn wait_for_the_table<'r>(
        &self,
        order: &Order<impl Fn() -> bool + Sync>,
        seen: impl IntoIterator<Item = &'r Restored>,
    ) -> Option<Verdict> {
        let silence = self.session.silence()?;
        // Since the message was sent, or since the table was last heard.
        let waited = self.delivery.sent_at.map_or(silence, |sent_at| clock::since(sent_at).min(silence));
        let patience = |restored: &Restored| match restored.outcome {
            Restoration::AlreadyLogging { since, .. } if !order.is_older(since) => Some(TABLE_PATIENCE),
            // That it was us is remembered.
            Restoration::Restarted if self.session.steps().restored.is_some() => Some(PATIENCE_OF_OURS),
            _ => None,
        };
        let patience = seen.into_iter().map(patience).min().unwrap_or(Some(TABLE_PATIENCE))?;
        let left = patience.checked_sub(waited).filter(|_| self.delivery.receive_count <= MAX_RECEIVES)?;
        tracing::info!(event_id = %self.event.id, "logging is on: the report waits for the state table");
        // Each time at least half of it: these waits have a purpose.
        let wait = TABLE_RETRY.wait(self.delivery.receive_count, 0.5 + fastrand::f64() / 2.0);
        Some(Verdict::Deferred(wait.min(left + Duration::from_secs(1)), Outcome::Retried))
    }

    /// This execution of the work on the stop.
    fn order(&self) -> Order<impl Fn() -> bool + Sync> {
        // A message that was received before may have been worked on without a claim.
        let is_first = self.session.is_first() && self.delivery.receive_count <= 1;
        let earlier = match (self.session.steps().started, is_first) {
            (true, _) => Earlier::Started,
            (false, true) => Earlier::Nothing,
            (false, false) => Earlier::Perhaps,
        };
        Order::new(self.event.time, earlier, || self.session.still_ours().is_ok())
    }

    /// Waits for a restart; the inner error is a failure for now, with people notified if it takes long.
    async fn see_to<T>(
        &self,
        order: &Order<impl Fn() -> bool + Sync>,
        restarting: impl Future<Output = Result<T, RestartError>>,
    ) -> Result<Result<T, Verdict>, Lost> {
        let mut restarting = std::pin::pin!(restarting);
        let result = match tokio::time::timeout(PATIENCE, &mut restarting).await {
            Ok(result) => result,
            Err(_elapsed) => {
                // Both go on at once: neither waits for the other.
                let announcing = self.announce(order.seen(), SLOW);
                let (result, announced) = tokio::join!(restarting, announcing);
                announced?;
                result
            }
        };
        match result {
            Ok(ended) => Ok(Ok(ended)),
            Err(RestartError::NotOurs) => Err(Lost),
            Err(RestartError::NotOurTurn { after, throttled }) => {
                let detail = throttled.unwrap_or_else(|| NOT_OUR_TURN.to_owned());
                self.wait_for_a_turn(order.seen(), after, detail).await.map(Err)
            }
            Err(RestartError::Refused {
                refusal: Refusal { meaning: Meaning::Throttled, detail },
                started: false,
            }) => self.wait_for_a_turn(order.seen(), Duration::ZERO, detail).await.map(Err),
            Err(RestartError::Refused { refusal, started }) => {
                self.not_yet(order.seen(), refusal, started).await.map(Err)
            }
        }
    }

    /// The restart failed for now: give up if this was the last attempt, and notify people if it takes long.
    async fn not_yet(&self, sighting: Sighting, refusal: Refusal, started: bool) -> Result<Verdict, Lost> {
        let detail = refusal.detail;
        if started && !self.session.steps().started {
            self.session.record(Step::Started).await?;
        }
        let (attempts, retry) = (self.session.attempts(), &self.hands.retry);
        if retry.is_last(attempts) {
            return self.give_up(sighting, detail).await;
        }
        self.announce_if_late(sighting, retry.ceiling(attempts), &detail).await?;
        Ok(Verdict::Failed(detail))
    }

    /// Others are before this one: the message goes back, and keeps nobody from work. That is no attempt.
    async fn wait_for_a_turn(
        &self,
        sighting: Sighting,
        after: Duration,
        detail: String,
    ) -> Result<Verdict, Lost> {
        let receives = self.delivery.receive_count;
        if receives > MAX_RECEIVES {
            return self.give_up(sighting, detail).await;
        }
        // Each time at least half of it: these waits have a purpose.
        let wait = self.hands.retry.wait(receives, 0.5 + fastrand::f64() / 2.0).max(after);
        self.announce_if_late(sighting, wait, &detail).await?;
        tracing::info!(event_id = %self.event.id, detail, "the restart waits for a turn");
        Ok(Verdict::Deferred(wait, Outcome::Retried))
    }

    /// If the next execution, which comes in this long, may be too late to begin notifying people, they are notified now.
    async fn announce_if_late(&self, sighting: Sighting, next: Duration, detail: &str) -> Result<(), Lost> {
        let waited = clock::since(self.session.first_claimed_at());
        if waited + next >= PATIENCE { self.announce(sighting, detail).await } else { Ok(()) }
    }

    /// Notifies people that nothing more will be tried. The message is poison whether or not they could be notified,
    /// unless it is only a matter of waiting for our turn.
    async fn give_up(&self, sighting: Sighting, detail: String) -> Result<Verdict, Lost> {
        let attempts = self.session.attempts().min(self.hands.retry.max_attempts);
        if let Some(trail) = self.event.target() {
            let refused = Restoration::Refused { detail: detail.clone() };
            let restored = Restored { before: sighting, ..Restored::new(refused, clock::now()) };
            match self.write_down(&trail, &restored).await {
                // Tried once more, and no better than before.
                Told::Known => return Ok(Verdict::Done(Outcome::Notified)),
                Told::Who => return self.notify(Seen::Known(&restored), Outcome::Notified).await,
                Told::Yours | Told::Ended => {}
            }
        }
        let gave_up = Seen::GaveUp { sighting, detail: &detail, attempts };
        let notified = self.notify(gave_up, Outcome::DeadLettered).await?;
        Ok(exhausted(notified, detail))
    }

    /// Notifies people once that the restart takes longer. If that fails it is not worth waiting for: how it ends
    /// will be said in any case.
    async fn announce(&self, sighting: Sighting, detail: &str) -> Result<(), Lost> {
        if self.session.steps().announced.is_some() {
            return Ok(());
        }
        self.session.still_ours()?;
        let view = self.view(Seen::Delayed { sighting, detail });
        match self.hands.channel.show(&view).await {
            Ok(()) => self.session.record(Step::Announced(notice(&view))).await,
            Err(error) => {
                let event_id = &self.event.id;
                tracing::warn!(%error, %event_id, "the channel did not take the report that the restart takes longer");
                Ok(())
            }
        }
    }

    /// Notifies people how it ended, unless an earlier execution did.
    async fn notify(&self, seen: Seen<'_>, outcome: Outcome) -> Result<Verdict, Lost> {
        if self.session.steps().notified.is_some() {
            return Ok(Verdict::Done(outcome));
        }
        self.session.still_ours()?;
        let view = self.view(seen);
        Ok(match self.hands.channel.show(&view).await {
            Ok(()) => {
                // The work has ended: that is written down with its end.
                self.session.remember(Step::Notified(notice(&view)));
                Verdict::Done(outcome)
            }
            Err(ShowError::NotOurTurn { after }) => Verdict::Deferred(after, Outcome::Retried),
            Err(ShowError::Failed(detail)) => Verdict::Failed(detail),
            Err(ShowError::Refused(detail)) => Verdict::Poison(Reason::NotifyRefused, detail),
        })
    }

    fn view(&self, seen: Seen) -> View {
        View::new(self.event, conclude(self.event, self.judgement, seen), self.session.may_repeat())
    }
}

/// What a look showed, or why it did not come to its end while people wait.
async fn patiently<T>(looking: impl Future<Output = Result<T, Refusal>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(looked) => looked.map_err(|refusal| refusal.detail),
        Err(_elapsed) => Err(SLOW.to_owned()),
    }
}

/// Whether a restart that was written down rests on an answer that is older than the stop. Versions before this one wrote
/// that down as well.
fn is_older(restored: &Restored, order: &Order<impl Fn() -> bool + Sync>) -> bool {
    match restored.outcome {
        Restoration::AlreadyLogging { since, .. } => order.is_older(since),
        _ => false,
    }
}

fn outcome(restored: &Restored) -> Outcome {
    match restored.outcome {
        Restoration::Restarted => Outcome::Restored,
        Restoration::AlreadyLogging { .. } => Outcome::AlreadyLogging,
        Restoration::Gone
        | Restoration::LeftOff
        | Restoration::Unverified { .. }
        | Restoration::Refused { .. } => Outcome::Notified,
    }
}

/// As whatever came of the trails that were restarted, or else of those that are on.
fn outcome_of_all(found: &[Found]) -> Outcome {
    let outcomes: Vec<_> = found.iter().map(|found| outcome(&found.restored)).collect();
    let best = [Outcome::Restored, Outcome::AlreadyLogging].into_iter().find(|best| outcomes.contains(best));
    best.unwrap_or(Outcome::Notified)
}

/// What is left for somebody to do about a restart that has ended.
fn left(restored: &Restored) -> Option<String> {
    match &restored.outcome {
        Restoration::Refused { detail } => Some(detail.clone()),
        Restoration::Unverified { detail } => Some(format!(
            "StartLogging was accepted, and trailkeeper could not confirm that logging is on: {detail}"
        )),
        _ => None,
    }
}

/// People were notified that nothing more will be tried, or could not be, unless it is only a matter of waiting for our turn.
fn exhausted(notified: Verdict, detail: String) -> Verdict {
    match notified {
        Verdict::Deferred(..) => notified,
        _ => Verdict::Poison(Reason::AttemptsExhausted, detail),
    }
}

/// People were notified of a restart that was refused: that the trail is off weighs more than that nobody was.
fn refused(notified: Verdict, detail: String) -> Verdict {
    match notified {
        Verdict::Done(_) => Verdict::Poison(Reason::RestoreRefused, detail),
        Verdict::Poison(_, untold) => {
            Verdict::Poison(Reason::RestoreRefused, format!("{detail}; and the report was refused: {untold}"))
        }
        other => other,
    }
}

fn notice(view: &View) -> Notice {
    Notice { at: clock::now(), text: view.text() }
}
