//! What is true once it was looked at, how severe it is, and what is to be said. Pure.
//!
//! "Off" is said only of what was seen off, and "on" of what was seen on; the rest was not looked at.

use std::time::Duration;

use time::OffsetDateTime;

use super::asked::{Asked, Direction, asked};
use super::judge::{Action, Judgement, refusal};
use crate::event::{AccountId, Call, Effect, Event, Kind, Region, TrailArn, trail_name};
use crate::incident::{
    Coverage, DeliveryErrors, Found, Other, Recorded, Restoration, Restored, Severity, Sighting,
};
use crate::text::{MAX_VALUE_CHARS, duration, harmless, stamp};

/// The longest reason said that we wrote ourselves, in characters: room for a call, its error, the cause and what to do.
const MAX_DETAIL_CHARS: usize = 320;
/// The longest reason said for which another trail did not record, in characters: there may be four.
const MAX_WHY_CHARS: usize = 120;
/// The longest delivery error said, in characters: CloudTrail's are words like `NoSuchBucket`.
pub const MAX_DELIVERY_ERROR_CHARS: usize = 60;
/// Said of log files that cannot be delivered.
pub const RETRIED: &str =
    "CloudTrail retries for 30 days: if bucket or key is mended until then, the files arrive.";
/// Longer than SQS keeps any message: whoever says that logging was off for longer than this did not measure.
const MAX_BLIND: Duration = Duration::from_hours(14 * 24);
/// Trails of a Region that a message names one by one: CloudTrail allows five in a Region.
const MAX_NAMED: usize = 5;

const NOT_LOOKED_AT: &str = "not looked at";
const NOT_CONFIRMED: &str = "CloudTrail was turned off, and is not confirmed to be on";
/// What there is to do where nothing is known.
const LOOK: &str = "LOOK AT THE TRAIL.";
/// What there is to do about a trail that is off.
const START_IT: &str = "Start it by hand.";
/// A call that trailkeeper never makes, by an identity that nobody else should have.
const BY_US: &str = "Somebody acts as trailkeeper";
const REVOKE: &str = "The call was made with an identity of trailkeeper's own, and trailkeeper makes no such call: find out who has it, \
                      and revoke the role's sessions.";
/// Said of what no event told of.
const BY_LOOK: &str = "No event of it has arrived: trailkeeper looked at the trail.";
const ONLY_NOTIFIES: &str = "trailkeeper only notifies here and restarted nothing.";

/// What was seen, or not looked at.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// The restart, or the look, has come to an end.
    Ended(&'a Restored),
    /// The same, of the trails of an account and Region where one was stopped.
    Region { account: &'a AccountId, region: &'a Region, stop: OffsetDateTime, found: &'a [Found] },
    /// The restart takes longer than people should wait to hear of it.
    Delayed {
        /// By this execution.
        sighting: Sighting,
        /// Why.
        detail: &'a str,
    },
    /// The worker has tried as often as it may.
    GaveUp {
        /// By the last execution.
        sighting: Sighting,
        /// The last failure.
        detail: &'a str,
        /// How often.
        attempts: u32,
    },
    /// The stop was reported before the event came, as a look showed it; the restart, or the look, has come to an end.
    Known(&'a Restored),
    /// Nothing: all that is known is what the event says.
    Nothing,
}

/// What is true about an event, as far as it is known, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    pub severity: Severity,
    pub deed: Deed,
    /// A few words, none of them the event's.
    pub headline: &'static str,
    /// What came of it, in sentences. What stands in them is harmless, and not escaped for anything.
    pub outcome: Vec<String>,
    pub facts: Vec<Fact>,
    /// What the account is called, and its state where it is not active.
    pub account: Option<String>,
}

/// What somebody did, as far as the event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    TurnedOff,
    TriedToTurnOff,
    Weakened,
    MayHaveWeakened,
    TriedToWeaken,
    /// A call, of which nothing more is known, or which weakens nothing.
    Called,
    TriedToCall,
}

/// One thing that is known, under the name that people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub label: &'static str,
    pub value: String,
}

/// Concludes from the event, from what was to be done about it, and from what was seen.
#[must_use]
pub fn conclude(event: &Event, judgement: &Judgement, seen: Seen) -> Conclusion {
    let Said { by_itself, mut headline, mut outcome, mut facts, off } = said(event, judgement, seen);
    // No rule makes quieter that a trail is off, or may be, where it should be on.
    let is_bad = event.kind == Kind::Stopped && by_itself == Severity::Critical;
    let by_rule = judgement.severity.filter(|_| !is_bad).unwrap_or(by_itself);
    // Nobody should be root at all.
    let severity = match (event.actor.is_root, by_itself) {
        (true, Severity::Low) => Severity::Medium,
        (true, _) => Severity::Critical,
        (false, _) => by_rule,
    };
    if let Some(because) =
        judgement.because.as_ref().filter(|_| judgement.is_outside() && event.kind != Kind::Stopped)
    {
        outcome.push(format!("trailkeeper does not look after it: {because}."));
    }
    let deed = deed(event);
    let severity = if judgement.by_us && deed.weakens() {
        headline = BY_US;
        outcome.push(REVOKE.to_owned());
        Severity::Critical
    } else {
        severity
    };
    if event.by_look {
        outcome.push(BY_LOOK.to_owned());
    }
    facts.push(Fact { label: "Logging was off", value: off });
    Conclusion { severity, deed, headline, outcome, facts, account: judgement.account.clone() }
}

impl Deed {
    /// Whether it made CloudTrail record less, may have, or was meant to.
    fn weakens(self) -> bool {
        !matches!(self, Self::Called | Self::TriedToCall)
    }
}

fn deed(event: &Event) -> Deed {
    match (event.kind, event.call.map(|call| call.effect), asked(event).direction) {
        (Kind::Stopped, ..) => Deed::TurnedOff,
        (Kind::FailedCall, Some(Effect::Stops), _) => Deed::TriedToTurnOff,
        (Kind::FailedCall, Some(Effect::Ends | Effect::Weakens), _)
        | (Kind::FailedCall, _, Direction::Blind) => Deed::TriedToWeaken,
        (Kind::FailedCall, ..) => Deed::TriedToCall,
        (_, _, Direction::Stronger) => Deed::Called,
        (_, Some(Effect::Ends | Effect::Weakens), _) | (_, _, Direction::Blind) => Deed::Weakened,
        (_, Some(Effect::MayWeaken), _) => Deed::MayHaveWeakened,
        _ => Deed::Called,
    }
}

/// What is to be said, whoever did it.
struct Said {
    by_itself: Severity,
    headline: &'static str,
    outcome: Vec<String>,
    facts: Vec<Fact>,
    /// For how long logging was off.
    off: String,
}

impl Said {
    /// Something that is as bad as can be, as far as it is known.
    fn critical(headline: &'static str, outcome: Vec<String>, off: impl Into<String>) -> Self {
        Self { by_itself: Severity::Critical, headline, outcome, facts: Vec::new(), off: off.into() }
    }
}

fn said(event: &Event, judgement: &Judgement, seen: Seen) -> Said {
    match (seen, &judgement.action, event.kind) {
        (Seen::Ended(restored), ..) => ended(event, judgement, restored),
        (Seen::Known(restored), ..) => known(event, judgement, restored),
        (Seen::Region { account, region, stop, found }, action, _) => {
            let looked = format!(
                "The event names no trail that can be read, so trailkeeper looked at the trails that live in {region}, \
                 as account {account} sees them: {} in all.",
                found.len()
            );
            let named = |trail: &str| {
                let owner = TrailArn::parse(trail).filter(|trail| trail.account() != account);
                let name = harmless(trail_name(trail), MAX_VALUE_CHARS);
                owner.map_or(name.clone(), |trail| format!("{name} (of account {})", trail.account()))
            };
            let may_start = !matches!(action, Action::Look(_));
            several(looked, found, stop, may_start, named, |restored| ended(event, judgement, restored))
        }
        (Seen::Delayed { sighting, detail }, ..) => pending(
            sighting,
            "CloudTrail is off, and not yet restarted",
            "the restart is not done yet",
            detail,
        ),
        (Seen::GaveUp { sighting, detail, attempts }, ..) => {
            let mut said = pending(
                sighting,
                "CloudTrail is off, and could not be restarted",
                &format!("giving up after {attempts} attempts"),
                detail,
            );
            let to_do = if matches!(sighting, Sighting::Off { .. }) { START_IT } else { LOOK };
            said.outcome.push(to_do.to_owned());
            said
        }
        (Seen::Nothing, Action::Refuse(why), _) => unseen(&format!("{LOOK} {}", cut(&refusal(*why)))),
        (Seen::Nothing, Action::Notify | Action::Look(_), Kind::Stopped) => {
            unseen(&format!("{LOOK} {}", not_restarted(judgement)))
        }
        (Seen::Nothing, _, Kind::Stopped) => unseen(LOOK),
        (Seen::Nothing, _, Kind::FailedCall) => failed(event),
        (Seen::Nothing, ..) => changed(event),
    }
}

/// Why nothing was restarted that could be.
fn not_restarted(judgement: &Judgement) -> String {
    match &judgement.because {
        Some(because) if judgement.is_left_off() || judgement.is_outside() => {
            format!("trailkeeper restarted nothing, since {because}.")
        }
        _ => ONLY_NOTIFIES.to_owned(),
    }
}

/// A trail was stopped, and nobody looked whether it logs.
fn unseen(to_do: &str) -> Said {
    let outcome = vec![format!("Whether logging is on was not looked at: {to_do}")];
    Said::critical("CloudTrail was turned off", outcome, NOT_LOOKED_AT)
}

/// The restart has not come to its end, or never will.
fn pending(sighting: Sighting, if_off: &'static str, what: &str, detail: &str) -> Said {
    let what = format!("{what}.");
    let (headline, outcome, off) = match sighting {
        Sighting::Off { at } => return is_off(if_off, &what, Some(detail), at),
        Sighting::On { at, since } => (NOT_CONFIRMED, format!("{}: {what}", shown_on(at, since)), "unknown"),
        Sighting::NotLookedAt => (
            NOT_CONFIRMED,
            format!("trailkeeper could not look whether logging is on: {what}"),
            NOT_LOOKED_AT,
        ),
    };
    Said::critical(headline, vec![outcome, cut(detail)], off)
}

/// A trail was seen off, and stays so: for now, or until somebody starts it.
fn is_off(headline: &'static str, what: &str, detail: Option<&str>, at: OffsetDateTime) -> Said {
    let still = if detail.is_some() { "STILL " } else { "" };
    let mut outcome = vec![format!("LOGGING IS {still}OFF: {what}")];
    outcome.extend(detail.map(cut));
    outcome.push(format!("It was seen off at {}.", stamp(at)));
    Said::critical(headline, outcome, format!("still off, seen at {}", stamp(at)))
}

/// CloudTrail's answer, where it is older than the stop or may be.
fn shown_on(at: OffsetDateTime, since: Option<OffsetDateTime>) -> String {
    let since = since.map(|since| format!(" since {}", stamp(since))).unwrap_or_default();
    format!("CloudTrail showed logging on{since} (seen at {}), which may be older than the stop", stamp(at))
}

/// The call failed.
fn failed(event: &Event) -> Said {
    let code = harmless(event.error_code.as_deref().unwrap_or_default(), MAX_VALUE_CHARS);
    Said {
        by_itself: Severity::Medium,
        headline: "An attempt on CloudTrail failed",
        outcome: vec![format!("The call failed ({code}); nothing was changed.")],
        facts: asked_for(asked(event).said),
        off: "not by this call".to_owned(),
    }
}

/// The call did something that trailkeeper does not undo.
fn changed(event: &Event) -> Said {
    const CANNOT_UNDO: &str = "trailkeeper cannot undo this: somebody should look at it.";
    let Asked { direction, said } = asked(event);
    let effect = event.call.map_or(Effect::MayMatter, |call| call.effect);
    let (ended, means) = match event.call {
        Some(Call { means, only: Some((parameter, value)), .. })
            if event.parameters.text(parameter).is_none() =>
        {
            let means =
                format!("The event does not say whether the call concerns {value}. If it does: {means}");
            (format!("RECORDING MAY HAVE ENDED: {means}"), means)
        }
        Some(Call { means, .. }) => (format!("RECORDING HAS ENDED: {means}"), (*means).to_owned()),
        None => (String::new(), String::new()),
    };
    let means = means.as_str();
    let (by_itself, headline, outcome) = match (effect, direction) {
        (_, Direction::Stronger) => (
            Severity::Low,
            "CloudTrail was changed, and not weakened",
            [
                "The call switches on what it names, and asks for nothing beside.",
                "Nothing is to be done, if it was planned.",
            ],
        ),
        (_, Direction::Blind) => (
            Severity::Critical,
            "CloudTrail was told to record no changes",
            [
                "From this call on the trail records no management write events: it logs, and not who changes what.",
                CANNOT_UNDO,
            ],
        ),
        (Effect::Stops | Effect::Ends, _) => {
            (Severity::Critical, "Recording by CloudTrail has ended", [&ended, CANNOT_UNDO])
        }
        (Effect::Unwatches, _) => {
            (Severity::Critical, "What watches CloudTrail was changed", [means, CANNOT_UNDO])
        }
        (Effect::Weakens, _) => (Severity::High, "CloudTrail was weakened", [means, CANNOT_UNDO]),
        (Effect::MayWeaken, _) => {
            (Severity::High, "CloudTrail was changed, and may be weakened", [means, CANNOT_UNDO])
        }
        (Effect::MayMatter, _) => {
            (Severity::Medium, "Something was changed that CloudTrail rests on", [means, CANNOT_UNDO])
        }
    };
    let off = match effect {
        Effect::Ends if event.by_look => "the trail is gone",
        Effect::Ends => "ended by this call, and not looked at since",
        _ => NOT_LOOKED_AT,
    };
    Said {
        by_itself,
        headline,
        outcome: outcome.map(str::to_owned).into(),
        facts: asked_for(said),
        off: off.to_owned(),
    }
}

fn asked_for(said: Option<String>) -> Vec<Fact> {
    said.map(|value| Fact { label: "The call asks for", value }).into_iter().collect()
}

fn ended(event: &Event, judgement: &Judgement, restored: &Restored) -> Said {
    let mut said = ended_alone(event, judgement, restored);
    if let Some(coverage) = &restored.coverage {
        let (is_covered, covered) = covered(coverage);
        said.outcome.push(covered);
        // A gap that another trail covered. What is off, or may be, is as bad as before.
        if is_covered && said.by_itself == Severity::High {
            said.by_itself = Severity::Medium;
        }
    }
    said
}

/// What else recorded meanwhile, and whether that can be relied on: the organization's trail can. Any other may be there to make this
/// quieter.
fn covered(Coverage { region, others, unknown }: &Coverage) -> (bool, String) {
    let name = |other: &Other| {
        let whose = if other.is_organizations { "the organization's trail" } else { "the trail" };
        format!("{whose} {}", harmless(trail_name(&other.trail), MAX_VALUE_CHARS))
    };
    let short = |why: &str| harmless(why.trim_end_matches('.'), MAX_WHY_CHARS);
    let region = harmless(region, MAX_VALUE_CHARS);
    let throughout: Vec<_> = others.iter().filter(|other| other.recorded == Recorded::Throughout).collect();
    let is_covered = throughout.iter().any(|other| other.is_organizations);
    let why = |other: &Other| match &other.recorded {
        Recorded::Throughout => None,
        Recorded::Not(why) => Some(format!("{}: {why}", name(other))),
        Recorded::Unknown(why) => Some(format!("{}: not known, {}", name(other), short(why))),
    };
    let reasons: Vec<_> = others.iter().filter_map(why).collect();
    let is_known =
        unknown.is_none() && !others.iter().any(|other| matches!(other.recorded, Recorded::Unknown(_)));
    let said = match (throughout.is_empty(), is_known, others.is_empty()) {
        (false, ..) => {
            let names = throughout.iter().map(|other| name(other)).collect::<Vec<_>>().join(", ");
            format!("Meanwhile {region} was recorded by {names}")
        }
        (true, true, true) => format!("Nothing else records {region}"),
        (true, true, false) => format!("Nothing else recorded {region} meanwhile"),
        (true, false, _) => format!("Whether anything else recorded {region} meanwhile is not known"),
    };
    let reasons = reasons.into_iter().chain(unknown.as_deref().map(short)).collect::<Vec<_>>().join("; ");
    let said = if reasons.is_empty() { format!("{said}.") } else { format!("{said} ({reasons}).") };
    (is_covered, said)
}

fn ended_alone(event: &Event, judgement: &Judgement, restored: &Restored) -> Said {
    let may_restart = !matches!(judgement.action, Action::Look(_));
    let at = restored.at;
    match (&restored.outcome, restored.before) {
        (Restoration::Restarted, Sighting::On { at, since }) => {
            let how = format!("{}; trailkeeper started it all the same, and it is on", shown_on(at, since));
            on_again("CloudTrail was turned off, and is on", &how, None, &restored.delivery)
        }
        (Restoration::Restarted, _) => on_again(
            "CloudTrail was turned off, and is on again",
            "Logging was restarted and verified",
            blind(event, restored),
            &restored.delivery,
        ),
        (Restoration::AlreadyLogging { since: Some(since), .. }, _)
            if !may_restart && event.time.is_some_and(|stop| *since < stop) =>
        {
            let outcome = format!("{}: {LOOK} {}", shown_on(at, Some(*since)), not_restarted(judgement));
            Said::critical(NOT_CONFIRMED, vec![outcome], "unknown")
        }
        (Restoration::AlreadyLogging { perhaps_ours, .. }, _) => {
            let how = if *perhaps_ours {
                "Logging is on again: an earlier attempt by trailkeeper, or somebody else, restarted it"
            } else {
                "Logging was already on again and nothing was restarted"
            };
            let blind = blind(event, restored);
            on_again("CloudTrail was turned off and on again", how, blind, &restored.delivery)
        }
        (Restoration::LeftOff, _) => {
            let mut said = is_off("CloudTrail was turned off", &not_restarted(judgement), None, at);
            if judgement.is_left_off() {
                // As its owner wants it.
                said.by_itself = Severity::Medium;
                said.headline = "CloudTrail was turned off, and is left off by the policy";
            } else {
                said.outcome.push(START_IT.to_owned());
            }
            said.outcome.extend(undelivered(&restored.delivery));
            said
        }
        (Restoration::Unverified { detail }, _) => Said::critical(
            NOT_CONFIRMED,
            vec![
                format!("Logging was started, and trailkeeper could not confirm that it is on: {LOOK}"),
                cut(detail),
            ],
            "unknown",
        ),
        (Restoration::Gone, _) => Said::critical(
            "CloudTrail was turned off, and the trail is gone",
            vec![
                "The trail no longer exists, so logging cannot be restarted: it records nothing.".to_owned(),
                format!("It was looked for at {}.", stamp(at)),
            ],
            "the trail is gone",
        ),
        (Restoration::Refused { detail }, sighting) => refused(sighting, judgement, detail),
    }
}

/// Who it was, and what is true of the trail now: the stop itself was reported before.
fn known(event: &Event, judgement: &Judgement, restored: &Restored) -> Said {
    let said = ended(event, judgement, restored);
    let mut outcome = vec!["trailkeeper has reported this stop before, and now knows who it was.".to_owned()];
    outcome.extend(said.outcome);
    Said { by_itself: Severity::Medium, headline: "Who turned off CloudTrail is known now", outcome, ..said }
}

fn refused(sighting: Sighting, judgement: &Judgement, detail: &str) -> Said {
    let may_restart = !matches!(judgement.action, Action::Look(_));
    let (headline, outcome, off) = match sighting {
        Sighting::Off { at } => {
            let headline = "CloudTrail is off, and the restart was refused";
            let mut said = is_off(headline, "the restart was refused.", Some(detail), at);
            said.outcome.push(START_IT.to_owned());
            return said;
        }
        Sighting::On { at, since } => (
            NOT_CONFIRMED,
            format!("{}, and the restart was refused: {LOOK}", shown_on(at, since)),
            "unknown",
        ),
        Sighting::NotLookedAt if may_restart => (
            "CloudTrail was turned off, and was not looked at",
            format!("trailkeeper could not look whether logging is on, and has not restarted it: {LOOK}"),
            NOT_LOOKED_AT,
        ),
        Sighting::NotLookedAt => (
            "CloudTrail was turned off, and was not looked at",
            format!("trailkeeper could not look whether logging is on: {LOOK} {}", not_restarted(judgement)),
            NOT_LOOKED_AT,
        ),
    };
    Said::critical(headline, vec![outcome, cut(detail)], off)
}

/// Logging is on: how long it was off, and whether that is worth anything. What cannot be delivered is as good as off.
fn on_again(headline: &'static str, how: &str, blind: Option<Duration>, delivery: &DeliveryErrors) -> Said {
    let mut outcome = vec![match blind {
        Some(blind) => format!("{how}; it was off for {}.", duration(blind)),
        None => format!("{how}."),
    }];
    outcome.extend(undelivered(delivery));
    let (by_itself, headline) = match delivery.log_files {
        Some(_) => (Severity::Critical, "CloudTrail is on again, and its logs cannot be delivered"),
        None => (Severity::High, headline),
    };
    let off = blind.map_or_else(|| "unknown".to_owned(), duration);
    Said { by_itself, headline, outcome, facts: Vec::new(), off }
}

/// What does not arrive, and what that means.
fn undelivered(delivery: &DeliveryErrors) -> impl Iterator<Item = String> {
    let DeliveryErrors { log_files, digest_files, log_group, notifications } = delivery;
    let said = |what: &str, error: &Option<String>, means: &str| {
        let error = error.as_deref().map(|error| harmless(error, MAX_DELIVERY_ERROR_CHARS));
        error.map(|error| format!("{what}: {error}. {means}"))
    };
    [
        said("BUT ITS LOGS CANNOT BE DELIVERED", log_files, RETRIED),
        said(
            "Its digest files are not delivered",
            digest_files,
            "Nobody can prove whether log files of this time were changed.",
        ),
        said("Its events do not reach CloudWatch Logs", log_group, "Filters and alarms there see nothing."),
        said(
            "Its notifications do not reach SNS",
            notifications,
            "Whoever waits for new log files does not hear of them.",
        ),
    ]
    .into_iter()
    .flatten()
}

/// Several trails were looked at, since the event does not name the one: `of_one` says what is true of each.
fn several(
    looked: String,
    found: &[Found],
    stop: OffsetDateTime,
    may_start: bool,
    named: impl Fn(&str) -> String,
    of_one: impl Fn(&Restored) -> Said,
) -> Said {
    let (mut concerned, mut off_otherwise, mut unsure, mut on) = (Vec::new(), Vec::new(), 0, 0);
    for Found { trail, restored } in found {
        let name = named(trail);
        let with_it = restored.stopped_with(stop);
        match &restored.outcome {
            Restoration::LeftOff if !with_it => off_otherwise.push(name),
            Restoration::AlreadyLogging { since, .. }
                if !with_it || since.is_none_or(|since| since < stop) =>
            {
                let is_older = since.is_some_and(|since| since < stop);
                *(if is_older && !may_start { &mut unsure } else { &mut on }) += 1;
            }
            _ => concerned.push((name, of_one(restored))),
        }
    }
    // The worst first: it is the headline.
    concerned.sort_by_key(|(_, said)| std::cmp::Reverse(said.by_itself));
    let is_clear = !concerned.is_empty();
    let mut outcome = vec![looked];
    outcome.extend((!is_clear).then(|| "None was seen to have stopped with this event.".to_owned()));
    outcome.extend((!is_clear && unsure > 0).then(|| {
        format!("{unsure} logged since before it, which CloudTrail may show from before the stop: {LOOK} {ONLY_NOTIFIES}")
    }));
    outcome.extend(
        concerned.iter().take(MAX_NAMED).map(|(name, said)| format!("{name}: {}", said.outcome.join(" "))),
    );
    let more = concerned.len().saturating_sub(MAX_NAMED);
    outcome.extend((more > 0).then(|| format!("{more} more are not named here: look at them too.")));
    let more = off_otherwise.split_off(MAX_NAMED.min(off_otherwise.len())).len();
    outcome.extend((!off_otherwise.is_empty()).then(|| {
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        format!(
            "Off, not by this stop as far as CloudTrail shows, and left as it was: {}{more}.",
            off_otherwise.join(", ")
        )
    }));
    let on = on + if is_clear { unsure } else { 0 };
    outcome.extend((on > 0).then(|| format!("Logging, as far as CloudTrail shows: {on}.")));
    match concerned.into_iter().next() {
        Some((_, worst)) => Said { outcome, ..worst },
        None if unsure > 0 => Said::critical(NOT_CONFIRMED, outcome, "unknown"),
        None if on > 0 => Said {
            by_itself: Severity::High,
            headline: "CloudTrail was turned off, and no trail was seen off with it",
            outcome,
            facts: Vec::new(),
            off: "no trail was seen off with it".to_owned(),
        },
        None => Said::critical(
            "CloudTrail was turned off, and no trail that lives there is on",
            outcome,
            "unknown",
        ),
    }
}

/// How long logging was off, if that can be told.
fn blind(event: &Event, restored: &Restored) -> Option<Duration> {
    // One that stopped before this stop, as CloudTrail shows it, stopped another time.
    let by_cloudtrail = restored.stopped_at.filter(|at| event.time.is_none_or(|stop| *at >= stop));
    let stopped_at = by_cloudtrail.or(event.time)?;
    let on_at = match restored.outcome {
        Restoration::AlreadyLogging { since, .. } => since?,
        _ => restored.at,
    };
    let blind = Duration::try_from(on_at - stopped_at).ok()?;
    (blind <= MAX_BLIND).then_some(blind)
}

/// A reason as a sentence of its own.
fn cut(detail: &str) -> String {
    let mut chars = detail.trim_end_matches('.').chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    harmless(&first.chain(chars).collect::<String>(), MAX_DETAIL_CHARS) + "."
}
