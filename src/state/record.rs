//! What is known of a trail and of an account from one look to the next. Pure.
//!
//! Written down as JSON: a field of another version stays as it is, and each field that a version lacks has a default.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::incident::{Glimpse, Restoration, Restored, Sighting};

/// An event and a finding this close are one stop: both times are CloudTrail's own.
const SAME_STOP: Duration = Duration::from_mins(1);
/// A trail that is gone was deleted no longer ago than this: sweeps come more often.
const DELETED_WITHIN: Duration = Duration::from_hours(24);
/// What the calls are called.
pub const STOP_LOGGING: &str = "StopLogging";
pub const DELETE_TRAIL: &str = "DeleteTrail";
/// Stops that a record keeps, the newest last: so many may wait for their event.
const MAX_STOPS: usize = 10;
/// The event history is asked for who made a call that no event told of: at once, and this long after the time before. It is late by more
/// than an hour at times.
const HISTORY: [Duration; 3] = [Duration::from_mins(15), Duration::from_mins(45), Duration::from_hours(1)];
/// What was refused is tried again after this long.
const TRIED_AGAIN: Duration = Duration::from_hours(1);

/// A trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrailRecord {
    #[serde(with = "rfc3339")]
    pub first_seen_at: OffsetDateTime,
    /// What the last look showed that was written down.
    #[serde(default)]
    pub seen: Sighting,
    /// `StopLoggingTime` at the first look: what happened before it is not news.
    #[serde(default, with = "rfc3339::option")]
    pub stopped_before: Option<OffsetDateTime>,
    /// Those that were worked on, however they were learned.
    #[serde(default)]
    pub stops: Vec<Stop>,
    /// Why it is off and stays so.
    #[serde(default)]
    pub left: Option<Left>,
    /// It logs to no avail, and that was reported.
    #[serde(default)]
    pub undelivered: Option<Undelivered>,
    /// Another version's.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// One time that a trail was stopped, or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// By the event, or by CloudTrail's `StopLoggingTime`.
    #[serde(default, with = "rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// `StopLoggingTime`, where it was seen with the stop: it tells apart what was stopped twice within a minute.
    #[serde(default, with = "rfc3339::option")]
    pub stopped_at: Option<OffsetDateTime>,
    /// Who wrote it down and reports it: an event's id, or a finding's.
    pub by: String,
    /// The event, if it has come.
    #[serde(default)]
    pub event: Option<String>,
    /// As the event has it. Untrusted text, and cut.
    #[serde(default)]
    pub who: Option<String>,
    /// The trail was seen off with it, or gone: an event alone may be anybody's invention.
    #[serde(default)]
    pub was_seen: bool,
    #[serde(default)]
    pub deleted: bool,
    /// When the event history is to be asked next for who it was, if it is to be.
    #[serde(default, with = "rfc3339::option")]
    pub ask_at: Option<OffsetDateTime>,
    /// How often it has been asked, and did not know.
    #[serde(default)]
    pub asked: usize,
}

/// Log files of a trail that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// CloudTrail's word for why, when it was reported.
    pub error: String,
    /// When it was seen first.
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
}

/// Why a trail that is off is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub why: Why,
    /// `StopLoggingTime`, where CloudTrail shows one.
    #[serde(default, with = "rfc3339::option")]
    pub stopped_at: Option<OffsetDateTime>,
    /// When that was decided.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was off before it was first looked at.
    FoundOff,
    /// The policy, or the mode, says so: in its own words.
    AsWanted(String),
    /// It could not be started, or looked at.
    Refused,
    /// The trail is gone.
    Gone,
}

/// What of a trail is not as its record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It was stopped, and may be on again.
    Stopped { at: Option<OffsetDateTime> },
    /// It was left off, and is on, or is to be on.
    Ended { at: Option<OffsetDateTime> },
    /// It is gone.
    Gone,
}

/// What whoever writes a stop down is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is theirs to report.
    Yours,
    /// It was reported, and now it is known who it was.
    Who,
    /// It was reported, as a trail that stays off, and is on now.
    Ended,
    /// It was reported.
    Known,
}

/// What may be done about a trail that was left off.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Why a stop of this trail is only reported, if it is.
    pub because: Option<&'a str>,
    /// Whether what was off at the first look is restarted.
    pub found_off: bool,
    /// What was refused is tried again at once: somebody asks for it.
    pub again: bool,
}

impl TrailRecord {
    /// Of a trail that is looked at for the first time; `is_new` if it did not exist when its account was first looked at, so that
    /// what stopped it since is news.
    #[must_use]
    pub fn first(glimpse: Glimpse, is_new: bool, now: OffsetDateTime) -> Self {
        let Glimpse { logging, stopped_at, .. } = glimpse;
        let is_news = is_new && stopped_at.is_some();
        let found_off = Left { why: Why::FoundOff, stopped_at, at: now };
        Self {
            seen: glimpse.sighting(now),
            stopped_before: stopped_at.filter(|_| !is_news),
            left: (!logging && !is_news).then_some(found_off),
            ..Self::of_an_event(now)
        }
    }

    /// What was seen when it was made.
    #[must_use]
    pub fn glimpse(&self) -> Option<Glimpse> {
        match self.seen {
            Sighting::On { since, .. } => {
                Some(Glimpse { logging: true, started_at: since, stopped_at: None })
            }
            Sighting::Off { .. } => Some(Glimpse { logging: false, started_at: None, stopped_at: None }),
            Sighting::NotLookedAt => None,
        }
    }

    /// Whether what was seen is the beginning of another record: the trail was gone, or was never started.
    #[must_use]
    pub fn is_over(&self, seen: Option<Glimpse>) -> bool {
        let was_never_on = self.was_found_off() && self.left_off_since().is_none();
        seen.is_some_and(|seen| self.why() == Some(&Why::Gone) || was_never_on && seen.logging)
    }

    /// The next record of a trail whose record is over.
    #[must_use]
    pub fn next(&self, glimpse: Glimpse, now: OffsetDateTime) -> Self {
        Self {
            stops: self.stops.clone(),
            undelivered: self.undelivered.clone(),
            ..Self::first(glimpse, true, now)
        }
    }

    /// Whether it is off, and was before it was first looked at.
    #[must_use]
    pub fn was_found_off(&self) -> bool {
        self.why() == Some(&Why::FoundOff)
    }

    /// Of a trail that an event made known.
    #[must_use]
    pub fn of_an_event(now: OffsetDateTime) -> Self {
        Self {
            first_seen_at: now,
            seen: Sighting::default(),
            stopped_before: None,
            stops: Vec::new(),
            left: None,
            undelivered: None,
            rest: BTreeMap::new(),
        }
    }

    /// Since when it is off, if it was left so.
    #[must_use]
    pub fn left_off_since(&self) -> Option<OffsetDateTime> {
        self.left.as_ref().and_then(|left| left.stopped_at)
    }

    /// What of what was seen is not known yet; nothing was seen of a trail that is gone.
    #[must_use]
    pub fn news(&self, seen: Option<Glimpse>, wanted: Wanted, now: OffsetDateTime) -> Option<News> {
        let Some(Glimpse { logging, stopped_at, .. }) = seen else {
            return (self.why() != Some(&Why::Gone)).then_some(News::Gone);
        };
        let stopped = News::Stopped { at: stopped_at };
        if self.is_unknown(stopped_at) {
            return Some(stopped);
        }
        let left = match (&self.left, logging) {
            (None, true) => return None,
            // Off, and nobody left it so: whatever was said of it.
            (None, false) => return Some(stopped),
            (Some(left), _) => left,
        };
        let ended = News::Ended { at: left.stopped_at.or(stopped_at) };
        let is_due = match &left.why {
            _ if self.is_over(seen) => false,
            _ if logging => true,
            Why::FoundOff => wanted.found_off && wanted.because.is_none(),
            Why::AsWanted(because) => wanted.because != Some(because),
            Why::Refused => wanted.again || now - left.at >= TRIED_AGAIN,
            Why::Gone => false,
        };
        is_due.then_some(ended)
    }

    /// Writes down what came of a stop, and says whose it is to report: the first who does so reports it.
    pub fn add(&mut self, mut stop: Stop, left: Option<Left>, seen: Sighting) -> Told {
        let was_left = self.left.is_some() && left.is_none();
        // It may have been stopped once more since the event.
        stop.stopped_at = stop.stopped_at.filter(|at| is_close(stop.at, Some(*at)));
        // Who could not look does not know better than whoever has.
        let is_blind = !stop.was_seen && left.as_ref().is_some_and(|left| left.why == Why::Refused);
        if !(is_blind && self.stops.iter().any(|one| one.was_seen && one.is_same(&stop))) {
            (self.left, self.seen) = (left, seen);
        }
        let same = self.stops.iter_mut().rev().filter(|one| one.is_same(&stop));
        let Some(same) = same.min_by_key(|one| between(one.at, stop.at)) else {
            self.stops.push(stop);
            let over = self.stops.len().saturating_sub(MAX_STOPS);
            self.stops.drain(..over);
            return Told::Yours;
        };
        let is_told = same.was_seen || !stop.was_seen;
        same.was_seen |= stop.was_seen;
        same.stopped_at = same.stopped_at.or(stop.stopped_at);
        if same.by == stop.by {
            return Told::Yours;
        }
        // Also once more, should it not have been reported.
        let adds_who = stop.event.is_some() && (same.event.is_none() || same.event == stop.event);
        if adds_who {
            (same.event, same.who) = (stop.event, stop.who);
        }
        match (is_told, was_left, adds_who) {
            (false, ..) => {
                // An event spoke of a trail that was on; now it was seen off.
                same.by = stop.by;
                Told::Yours
            }
            (_, true, _) => {
                same.by = stop.by;
                Told::Ended
            }
            (_, _, true) => Told::Who,
            _ => Told::Known,
        }
    }

    /// The last stop for which the event history is to be asked by now.
    #[must_use]
    pub fn to_ask(&self, now: OffsetDateTime) -> Option<&Stop> {
        self.stops.iter().rev().find(|stop| stop.ask_at.is_some_and(|at| at <= now))
    }

    /// The event history was asked for a stop. What it does not know it may know later, as far as it is worth asking.
    pub fn asked(&mut self, by: &str, is_known: bool, now: OffsetDateTime) {
        let Some(stop) = self.stops.iter_mut().find(|stop| stop.by == by) else { return };
        let again = HISTORY.get(stop.asked).filter(|_| !is_known);
        stop.ask_at = again.map(|after| now + *after);
        stop.asked += usize::from(!is_known);
    }

    /// Whether this stop is known, as far as CloudTrail's time tells.
    fn is_unknown(&self, stopped_at: Option<OffsetDateTime>) -> bool {
        stopped_at.is_some_and(|at| {
            self.stopped_before != Some(at) && !self.stops.iter().any(|stop| stop.is_as_of(Some(at)))
        })
    }

    fn why(&self) -> Option<&Why> {
        self.left.as_ref().map(|left| &left.why)
    }
}

impl Stop {
    /// The call that it was, and when it may have been made; nothing where CloudTrail shows no time.
    #[must_use]
    pub fn call(&self) -> Option<(&'static str, (OffsetDateTime, OffsetDateTime))> {
        let at = self.at?;
        Some(if self.deleted {
            (DELETE_TRAIL, (at - DELETED_WITHIN, at))
        } else {
            (STOP_LOGGING, (at - SAME_STOP, at + SAME_STOP))
        })
    }

    /// Whether it is the one that CloudTrail shows to have been made then.
    fn is_as_of(&self, stopped_at: Option<OffsetDateTime>) -> bool {
        self.stopped_at.map_or_else(|| is_close(self.at, stopped_at), |at| Some(at) == stopped_at)
    }

    /// Whether both are one stop: never two events, and each finding is of one.
    fn is_same(&self, other: &Self) -> bool {
        let two_events = self.event.is_some() && other.event.is_some() && self.event != other.event;
        // A trail that was seen off with its event was stopped when CloudTrail says so, if that is nearer to the event.
        let is_another = self.stopped_at != other.stopped_at
            && between(other.at, other.stopped_at) < between(other.at, self.stopped_at);
        let together = match other.event {
            None => self.is_as_of(other.stopped_at),
            Some(_) => is_close(self.at, other.at) && !is_another,
        } || self.deleted;
        self.by == other.by || (self.deleted == other.deleted && !two_events && together)
    }
}

impl Left {
    /// Why a trail is left as a restart or a look left it; nothing if it is on, or may be. `because`: why no more was to be done.
    #[must_use]
    pub fn by(restored: &Restored, because: Option<String>) -> Option<Self> {
        let why = match (&restored.outcome, because) {
            (
                Restoration::Restarted | Restoration::AlreadyLogging { .. } | Restoration::Unverified { .. },
                _,
            ) => return None,
            (Restoration::LeftOff, Some(because)) => Why::AsWanted(because),
            (Restoration::LeftOff, None) => Why::FoundOff,
            (Restoration::Gone, _) => Why::Gone,
            (Restoration::Refused { .. }, _) => Why::Refused,
        };
        Some(Self { why, stopped_at: restored.stopped_at, at: restored.at })
    }
}

fn is_close(one: Option<OffsetDateTime>, other: Option<OffsetDateTime>) -> bool {
    between(one, other) <= SAME_STOP
}

/// How far two times are apart; what is not known is far from everything.
fn between(one: Option<OffsetDateTime>, other: Option<OffsetDateTime>) -> Duration {
    one.zip(other).map_or(Duration::MAX, |(one, other)| (one - other).unsigned_abs())
}

/// An account, as the sweep has looked at it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// When all of its trails were looked at for the first time, and what was off was reported.
    #[serde(default, with = "rfc3339::option")]
    pub first_looked_at: Option<OffsetDateTime>,
    /// The ARNs of its trails that have a record.
    #[serde(default)]
    pub trails: BTreeSet<String>,
    /// Since when it cannot be looked at.
    #[serde(default)]
    pub failing: Option<Failing>,
    /// Another version's.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// An account that cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    /// So many in a row.
    pub passes: u32,
    #[serde(default)]
    pub reported: bool,
}

/// The last sweep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepRecord {
    #[serde(default, with = "rfc3339::option")]
    pub began_at: Option<OffsetDateTime>,
    #[serde(default, with = "rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl SweepRecord {
    #[must_use]
    pub fn begun(self, at: OffsetDateTime) -> Self {
        Self { began_at: Some(at), ..self }
    }

    #[must_use]
    pub fn finished(self, at: OffsetDateTime) -> Self {
        Self { finished_at: Some(at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const WANTED: Wanted<'_> = Wanted { because: None, found_off: false, again: false };

    fn at(minutes: i64) -> OffsetDateTime {
        NOW + time::Duration::minutes(minutes)
    }

    fn seen(logging: bool, stopped_at: Option<i64>) -> Glimpse {
        Glimpse { logging, started_at: None, stopped_at: stopped_at.map(at) }
    }

    fn stop(by: &str, minutes: i64, is_event: bool) -> Stop {
        Stop {
            at: Some(at(minutes)),
            stopped_at: (!is_event).then(|| at(minutes)),
            by: by.to_owned(),
            event: is_event.then(|| by.to_owned()),
            who: is_event.then(|| "eve".to_owned()),
            was_seen: true,
            deleted: false,
            ask_at: (!is_event).then(|| at(minutes)),
            asked: 0,
        }
    }

    fn left(why: Why, minutes: i64) -> Left {
        Left { why, stopped_at: Some(at(-1)), at: at(minutes) }
    }

    #[test]
    fn what_differs_from_the_record_is_news() {
        let on = TrailRecord::first(seen(true, Some(-500)), false, NOW);
        let found_off = TrailRecord::first(seen(false, Some(-500)), false, NOW);
        let by_event = {
            let mut record = on.clone();
            record.add(stop("e-1", 0, true), None, Sighting::On { at: NOW, since: None });
            record
        };
        let off = |why| TrailRecord { left: Some(left(why, 0)), ..by_event.clone() };
        let (refused, gone) = (off(Why::Refused), off(Why::Gone));
        let as_wanted = off(Why::AsWanted("a rule".to_owned()));
        let by_rule = Wanted { because: Some("a rule"), ..WANTED };
        let stopped = |minutes| Some(News::Stopped { at: Some(at(minutes)) });
        let ended = |minutes| Some(News::Ended { at: Some(at(minutes)) });
        let restarts = Wanted { found_off: true, ..WANTED };
        let again = Wanted { again: true, ..WANTED };
        for (what, record, glimpse, wanted, minutes, news) in [
            ("as it was", &on, Some(seen(true, Some(-500))), WANTED, 0, None),
            ("stopped since", &on, Some(seen(false, Some(-2))), WANTED, 0, stopped(-2)),
            ("stopped, and on again", &on, Some(seen(true, Some(-2))), WANTED, 0, stopped(-2)),
            ("off all the same", &on, Some(seen(false, Some(-500))), WANTED, 0, stopped(-500)),
            ("gone", &on, None, WANTED, 0, Some(News::Gone)),
            ("gone as before", &gone, None, WANTED, 0, None),
            ("there again", &gone, Some(seen(true, Some(0))), WANTED, 0, None),
            ("found off", &found_off, Some(seen(false, Some(-500))), WANTED, 0, None),
            ("found off, to be on", &found_off, Some(seen(false, Some(-500))), restarts, 0, ended(-500)),
            ("found off, and on", &found_off, Some(seen(true, Some(-500))), WANTED, 0, ended(-500)),
            ("found off, and stopped since", &found_off, Some(seen(false, Some(-2))), WANTED, 0, stopped(-2)),
            ("an event told of it", &by_event, Some(seen(true, Some(1))), WANTED, 0, None),
            ("an event told of another", &by_event, Some(seen(true, Some(2))), WANTED, 0, stopped(2)),
            ("stopped again since the event", &by_event, Some(seen(false, Some(1))), WANTED, 0, stopped(1)),
            ("refused a short while ago", &refused, Some(seen(false, Some(0))), WANTED, 59, None),
            ("refused an hour ago", &refused, Some(seen(false, Some(0))), WANTED, 60, ended(-1)),
            ("refused, and put back", &refused, Some(seen(false, Some(0))), again, 0, ended(-1)),
            ("left by a rule", &as_wanted, Some(seen(false, Some(0))), by_rule, 999, None),
            ("the rule is gone", &as_wanted, Some(seen(false, Some(0))), WANTED, 0, ended(-1)),
        ] {
            assert_eq!(record.news(glimpse, wanted, at(minutes)), news, "{what}");
        }
    }

    #[test]
    fn one_stop_is_reported_once() {
        let on = Sighting::On { at: NOW, since: None };
        let tell = |stops: &[(Stop, Option<Left>)]| -> Vec<Told> {
            let mut record = TrailRecord::of_an_event(NOW);
            stops.iter().map(|(stop, left)| record.add(stop.clone(), left.clone(), on)).collect()
        };
        let (found, event) =
            (|minutes| stop("look:1", minutes, false), |id, minutes| stop(id, minutes, true));
        let seen_off_at = |minutes| Stop { stopped_at: Some(at(minutes)), ..event("e-1", minutes) };
        let known_to_the_second = Stop { stopped_at: Some(at(0)), ..event("e-1", 0) };
        let unseen = Stop { was_seen: false, ..event("e-1", 0) };
        for (what, stops, told) in [
            ("by the event, then by a look", [(event("e-1", 0), None), (found(1), None)], Told::Known),
            ("by a look, then by the event", [(found(1), None), (event("e-1", 0), None)], Told::Who),
            ("by two events", [(event("e-1", 0), None), (event("e-2", 0), None)], Told::Yours),
            ("at another time", [(event("e-1", 0), None), (found(2), None)], Told::Yours),
            ("by a look, then by its event", [(found(0), None), (seen_off_at(0), None)], Told::Who),
            ("by a look, then by another's event", [(found(0), None), (seen_off_at(1), None)], Told::Yours),
            ("twice within a minute", [(known_to_the_second, None), (found(1), None)], Told::Yours),
            ("once more by the same", [(found(0), None), (found(0), None)], Told::Yours),
            (
                "by an event of a trail that was on, then off",
                [(unseen.clone(), None), (found(0), None)],
                Told::Yours,
            ),
            (
                "refused, and refused again",
                [
                    (found(0), Some(left(Why::Refused, 0))),
                    (stop("look:2", 0, false), Some(left(Why::Refused, 60))),
                ],
                Told::Known,
            ),
            (
                "refused, and on",
                [(found(0), Some(left(Why::Refused, 0))), (stop("look:2", 0, false), None)],
                Told::Ended,
            ),
        ] {
            assert_eq!(tell(&stops), [Told::Yours, told], "{what}");
        }
        let blind = Stop { was_seen: false, ..found(0) };
        let at_last = [(blind, Some(left(Why::Refused, 0))), (found(0), None), (event("e-1", 0), None)];
        assert_eq!(tell(&at_last)[2], Told::Who, "by a look that saw nothing at first");
        let mut record = TrailRecord::of_an_event(NOW);
        record.add(found(0), None, on);
        let told = record.add(unseen.clone(), Some(left(Why::Refused, 1)), Sighting::NotLookedAt);
        assert_eq!(
            (told, record.left, record.seen),
            (Told::Who, None, on),
            "who could not look knows no better"
        );
        let again = [(found(0), None), (event("e-1", 0), None), (event("e-1", 0), None)];
        assert_eq!(
            tell(&again)[2],
            Told::Who,
            "the event comes again, for what it reports may not have been taken"
        );
    }

    #[test]
    fn what_another_version_wrote_stays_and_what_it_lacks_has_a_default() {
        let json = r#"{"first_seen_at":"2026-11-20T09:15:02Z","baseline":{"bucket":"logs"}}"#;
        let mut record: TrailRecord = serde_json::from_str(json).expect("a record");
        record.add(stop("e-1", 0, true), None, Sighting::NotLookedAt);
        let written = serde_json::to_value(&record).expect("JSON");
        assert_eq!(written["baseline"]["bucket"], "logs");
        for number in 0..30 {
            record.add(stop(&format!("e-{number}"), number, true), None, Sighting::NotLookedAt);
        }
        assert_eq!((record.stops.len(), record.stops[9].by.as_str()), (MAX_STOPS, "e-29"));
    }
}
