//! What happens outside the policy is reported once an hour for each call and trail, by each worker: somebody else keeps those trails.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::clock;
use crate::event::{Event, EventId};
use crate::incident::Severity;
use crate::text::stamp;

/// For how long further events of a call and trail are held back.
const HELD_BACK: Duration = Duration::from_hours(1);
/// Calls and trails that are remembered, some 200 bytes each. Beyond that they are reported again.
const MAX_SEEN: usize = 4_096;

/// What was reported, and what was held back since.
#[derive(Debug, Default)]
pub(super) struct Outside(Mutex<HashMap<(String, String), Seen>>);

#[derive(Debug)]
struct Seen {
    /// Its duplicates are known by its id.
    reported: EventId,
    /// What is worse than this is reported all the same.
    severity: Severity,
    since: Instant,
    at: OffsetDateTime,
    held_back: u32,
}

/// What becomes of an event outside the policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    Now {
        /// What is to be said beside.
        beside: Option<String>,
    },
    HeldBack,
}

impl Outside {
    /// Whether an event of this severity is reported.
    pub(super) fn report(&self, event: &Event, severity: Severity) -> Report {
        let now = Instant::now();
        let mut all = self.seen();
        let Some(seen) = all.get_mut(&key(event)) else { return Report::Now { beside: None } };
        let is_news = now >= seen.since + HELD_BACK || severity > seen.severity;
        if !is_news && seen.reported != event.id {
            seen.held_back = seen.held_back.saturating_add(1);
            return Report::HeldBack;
        }
        let said = || format!("{} such events were held back after {}", seen.held_back, stamp(seen.at));
        Report::Now { beside: (seen.held_back > 0).then(said) }
    }

    /// People were notified of it: from now on others like it are held back.
    pub(super) fn reported(&self, event: &Event, severity: Severity) {
        let now = Instant::now();
        let mut all = self.seen();
        if all.len() >= MAX_SEEN {
            all.retain(|_, seen| now < seen.since + HELD_BACK);
        }
        if all.len() >= MAX_SEEN {
            all.clear();
        }
        let seen = Seen { reported: event.id.clone(), severity, since: now, at: clock::now(), held_back: 0 };
        all.insert(key(event), seen);
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<(String, String), Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The call, and the trail or else where it was made.
fn key(event: &Event) -> (String, String) {
    let place = || format!("{:?} {:?}", event.account, event.region);
    (event.name.clone(), event.target().map_or_else(place, |trail| trail.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;

    fn stop(id: &str, trail: &str) -> Event {
        let body = format!(
            r#"{{"detail":{{"eventID":"{id}","eventName":"StopLogging","eventSource":"cloudtrail.amazonaws.com",
            "awsRegion":"eu-west-1","recipientAccountId":"111122223333","requestParameters":{{"name":"{trail}"}}}}}}"#
        );
        event::parse(&body).expect("an event")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_like_what_was_reported_is_held_back_for_an_hour_and_counted() {
        let outside = Outside::default();
        let now = || Report::Now { beside: None };
        let report = |id, trail| outside.report(&stop(id, trail), Severity::Critical);
        assert_eq!(
            [report("e-1", "audit"), report("e-2", "audit")],
            [now(), now()],
            "nobody was notified yet"
        );
        outside.reported(&stop("e-1", "audit"), Severity::Medium);
        assert_eq!(report("e-3", "audit"), now(), "it is worse");
        outside.reported(&stop("e-3", "audit"), Severity::Critical);
        assert_eq!(report("e-3", "audit"), now(), "tried again");
        assert_eq!(report("e-4", "second"), now());
        assert_eq!([report("e-5", "audit"), report("e-6", "audit")], [Report::HeldBack, Report::HeldBack]);
        tokio::time::advance(HELD_BACK).await;
        let Report::Now { beside: Some(said) } = report("e-7", "audit") else { panic!("nothing beside") };
        assert!(said.starts_with("2 such events were held back after "), "{said}");
    }
}
