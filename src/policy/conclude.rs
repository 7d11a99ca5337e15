//! What is true once it was looked at, how severe it is, and what is to be said. Pure.

use std::time::Duration;

use super::judge::{Action, Judgement, refusal};
use crate::event::{Event, Kind};
use crate::incident::{Restoration, Restored, Severity};
use crate::text::{MAX_VALUE_CHARS, duration, harmless};

/// The longest reason said that we wrote ourselves, in characters: room for a call, its error code and what to do.
const MAX_DETAIL_CHARS: usize = 200;
/// Longer than SQS keeps any message: whoever says that logging was off for longer than this did not measure.
const MAX_BLIND: Duration = Duration::from_hours(14 * 24);

/// What was seen, or not looked at.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// The restart has come to an end.
    Ended(&'a Restored),
    /// The restart takes longer than people should wait to hear of it.
    Delayed {
        /// Why.
        detail: &'a str,
    },
    /// The worker has tried as often as it may.
    GaveUp {
        /// The last failure.
        detail: &'a str,
        /// How often.
        attempts: u32,
    },
    /// Nothing: all that is known is what the event says.
    Nothing,
}

/// What is true about an event, as far as it is known, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    pub severity: Severity,
    /// A few words, none of them the event's.
    pub headline: &'static str,
    /// What came of it, in sentences. What stands in them is harmless, and not escaped for anything.
    pub outcome: Vec<String>,
    pub facts: Vec<Fact>,
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
    let Said { by_itself, headline, outcome, off } = said(event, judgement, seen);
    // Nobody should be root at all.
    let severity = if event.actor.is_root { Severity::Critical } else { by_itself };
    Conclusion { severity, headline, outcome, facts: vec![Fact { label: "Logging was off", value: off }] }
}

/// What is to be said, whoever did it.
struct Said {
    by_itself: Severity,
    headline: &'static str,
    outcome: Vec<String>,
    /// For how long logging was off.
    off: String,
}

fn said(event: &Event, judgement: &Judgement, seen: Seen) -> Said {
    let still_off = |headline, outcome| Said {
        by_itself: Severity::Critical,
        headline,
        outcome,
        off: "still off".to_owned(),
    };
    match (seen, &judgement.action, event.kind) {
        (Seen::Ended(restored), ..) => ended(event, restored),
        (Seen::Delayed { detail }, ..) => still_off(
            "CloudTrail is off, and not yet restarted",
            vec!["LOGGING IS STILL OFF: the restart is being retried.".to_owned(), cut(detail)],
        ),
        (Seen::GaveUp { detail, attempts }, ..) => still_off(
            "CloudTrail is off, and could not be restarted",
            vec![format!("LOGGING IS STILL OFF: giving up after {attempts} attempts."), cut(detail)],
        ),
        (Seen::Nothing, Action::Refuse(why), _) => refused(&refusal(*why)),
        (Seen::Nothing, _, Kind::Stopped) => still_off(
            "CloudTrail was turned off",
            vec!["LOGGING IS OFF: trailkeeper only notifies here and restarted nothing.".to_owned()],
        ),
        (Seen::Nothing, ..) => not_stopped(event),
    }
}

/// The call stopped no trail: it weakened CloudTrail otherwise, or it failed.
fn not_stopped(event: &Event) -> Said {
    let off = "not stopped".to_owned();
    match (event.kind, event.error_code.as_deref()) {
        (Kind::FailedCall, code) => Said {
            by_itself: Severity::Medium,
            headline: "An attempt on CloudTrail failed",
            outcome: vec![format!(
                "The call failed ({}); nothing was changed.",
                harmless(code.unwrap_or_default(), MAX_VALUE_CHARS)
            )],
            off,
        },
        _ => Said {
            by_itself: Severity::High,
            headline: "CloudTrail was weakened",
            outcome: vec!["trailkeeper cannot undo this: somebody should look at it.".to_owned()],
            off,
        },
    }
}

fn ended(event: &Event, restored: &Restored) -> Said {
    match &restored.outcome {
        Restoration::Restarted => on_again(
            "CloudTrail was turned off, and is on again",
            "Logging was restarted and verified",
            event,
            restored,
        ),
        Restoration::AlreadyLogging { perhaps_ours, .. } => {
            let how = if *perhaps_ours {
                "Logging is on again: an earlier attempt by trailkeeper, or somebody else, restarted it"
            } else {
                "Logging was already on again and nothing was restarted"
            };
            on_again("CloudTrail was turned off and on again", how, event, restored)
        }
        Restoration::Unverified { detail } => Said {
            by_itself: Severity::Critical,
            headline: "CloudTrail was turned off, and is not confirmed to be on",
            outcome: vec![
                "Logging was started, and trailkeeper could not confirm that it is on: LOOK AT THE TRAIL."
                    .to_owned(),
                cut(detail),
            ],
            off: "unknown".to_owned(),
        },
        Restoration::Gone => Said {
            by_itself: Severity::Critical,
            headline: "CloudTrail was turned off, and the trail is gone",
            outcome: vec![
                "The trail no longer exists, so logging cannot be restarted: LOGGING IS OFF.".to_owned(),
            ],
            off: "still off".to_owned(),
        },
        Restoration::Refused { detail } => refused(detail),
    }
}

fn refused(detail: &str) -> Said {
    Said {
        by_itself: Severity::Critical,
        headline: "CloudTrail is off, and the restart was refused",
        outcome: vec!["LOGGING IS STILL OFF: the restart was refused.".to_owned(), cut(detail)],
        off: "still off".to_owned(),
    }
}

/// Logging is on: how long it was off, and whether that is worth anything. What cannot be delivered is as good as off.
fn on_again(headline: &'static str, how: &str, event: &Event, restored: &Restored) -> Said {
    let blind = blind(event, restored);
    let mut outcome = vec![match blind {
        Some(blind) => format!("{how}; it was off for {}.", duration(blind)),
        None => format!("{how}."),
    }];
    outcome.extend(
        restored
            .delivery_error
            .as_deref()
            .map(|error| format!("BUT ITS LOGS CANNOT BE DELIVERED: {}", cut(error))),
    );
    let by_itself = if restored.delivery_error.is_some() { Severity::Critical } else { Severity::High };
    Said { by_itself, headline, outcome, off: blind.map_or_else(|| "unknown".to_owned(), duration) }
}

/// How long logging was off, if that can be told.
fn blind(event: &Event, restored: &Restored) -> Option<Duration> {
    let stopped_at = restored.stopped_at.or(event.time)?;
    let on_at = match restored.outcome {
        Restoration::AlreadyLogging { since, .. } => since?,
        _ => restored.at,
    };
    let blind = Duration::try_from(on_at - stopped_at).ok()?;
    (blind <= MAX_BLIND).then_some(blind)
}

/// A reason as a sentence of its own.
fn cut(detail: &str) -> String {
    let mut chars = detail.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    harmless(&first.chain(chars).collect::<String>(), MAX_DETAIL_CHARS)
}
