//! What was seen of a trail, compared with its record. Pure.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::event::{Event, EventId, TrailArn};
use crate::incident::Glimpse;
use crate::policy::{Action, Bounds, judge};
use crate::state::{DELETE_TRAIL, News, STOP_LOGGING, TrailRecord, Wanted};

/// What of a trail is not as its record has it, as the event that nobody told of; nothing was seen of a trail that is gone. Its id is the
/// same for whoever finds the same, as long as the record is. `again`: what was refused is tried again at once.
#[must_use]
pub fn finding(
    record: &TrailRecord,
    trail: &TrailArn,
    seen: Option<Glimpse>,
    bounds: &Bounds,
    again: bool,
) -> Option<Event> {
    let stopped_at = seen.and_then(|seen| seen.stopped_at);
    // What may be done about a trail does not depend on when it was stopped.
    let judgement = judge(&event(record, trail, &News::Stopped { at: stopped_at }, bounds.now)?, bounds);
    if judgement.is_outside() || !matches!(judgement.action, Action::Restart(_) | Action::Look(_)) {
        return None;
    }
    let because = judgement.because.map(|because| because.to_string());
    let found_off = bounds.policy.restarts_what_was_off();
    let wanted = Wanted { because: because.as_deref(), found_off, again };
    let news = record.news(seen, wanted, bounds.now)?;
    event(record, trail, &news, bounds.now)
}

/// The last finding, if no event has come of it: whoever found it may have been killed before it was reported.
#[must_use]
pub fn last_finding(record: &TrailRecord, trail: &TrailArn) -> Option<Event> {
    let stop = record.stops.last().filter(|stop| stop.event.is_none())?;
    let name = if stop.deleted { DELETE_TRAIL } else { STOP_LOGGING };
    Some(Event::seen(EventId::parse(&stop.by)?, name, trail, stop.at))
}

fn event(record: &TrailRecord, trail: &TrailArn, news: &News, now: OffsetDateTime) -> Option<Event> {
    let (name, time) = match news {
        News::Stopped { at } | News::Ended { at } => (STOP_LOGGING, *at),
        News::Gone => (DELETE_TRAIL, Some(now)),
    };
    let (first_seen_at, left) =
        (record.first_seen_at, serde_json::to_string(&record.left).unwrap_or_default());
    let digest = Sha256::digest(format!("{trail} {news:?} {left} {first_seen_at}").as_bytes());
    let digest = digest.iter().take(16).fold(String::new(), |id, byte| id + &format!("{byte:02x}"));
    Some(Event::seen(EventId::parse(&format!("look:{digest}"))?, name, trail, time))
}
