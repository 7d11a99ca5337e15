//! What happens outside the policy is reported once an hour for each call and trail, by each worker: somebody else keeps those trails.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::clock;
use crate::event::{Event, EventId};
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
    /// Its own retries are reported, and its duplicates are known by its id.
    reported: EventId,
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
    /// Whether the event is reported.
    pub(super) fn report(&self, event: &Event) -> Report {
        let place = || format!("{:?} {:?}", event.account, event.region);
        let key = (event.name.clone(), event.target().map_or_else(place, |trail| trail.to_string()));
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = all.get_mut(&key).filter(|seen| now < seen.since + HELD_BACK) {
            if seen.reported == event.id {
                return Report::Now { beside: None };
            }
            seen.held_back = seen.held_back.saturating_add(1);
            return Report::HeldBack;
        }
        if all.len() >= MAX_SEEN {
            all.retain(|_, seen| now < seen.since + HELD_BACK);
        }
        if all.len() >= MAX_SEEN {
            all.clear();
        }
        let seen = Seen { reported: event.id.clone(), since: now, at: clock::now(), held_back: 0 };
        let before = all.insert(key, seen).filter(|before| before.held_back > 0);
        let said = |before: Seen| {
            format!("{} such events were held back in the hour after {}", before.held_back, stamp(before.at))
        };
        Report::Now { beside: before.map(said) }
    }
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
    async fn the_first_of_an_hour_is_reported_and_says_how_many_were_held_back_before() {
        let outside = Outside::default();
        let now = || Report::Now { beside: None };
        let report = |id, trail| outside.report(&stop(id, trail));
        assert_eq!(report("e-1", "audit"), now());
        assert_eq!(report("e-1", "audit"), now(), "tried again");
        assert_eq!(report("e-2", "second"), now());
        assert_eq!([report("e-3", "audit"), report("e-4", "audit")], [Report::HeldBack, Report::HeldBack]);
        tokio::time::advance(HELD_BACK).await;
        let Report::Now { beside: Some(said) } = report("e-5", "audit") else { panic!("nothing beside") };
        assert!(said.starts_with("2 such events were held back in the hour after "), "{said}");
        assert_eq!(report("e-6", "second"), now());
    }
}
