//! Looks at trails: messages of a worker's own, which assert nothing. What there is to do follows from what CloudTrail and the trail's
//! record say at that moment, and is worked on as an event is.
//!
//! Whoever can write to the queue can send looks. One makes trailkeeper look, and no more: what is then done, it would have done
//! anyway. Of one trail a worker looks once in a while, and a look that was sent before that is answered by it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::clock;
use crate::event::TrailArn;

/// Between two looks at one trail by one worker.
const PAUSE: Duration = Duration::from_secs(5);
/// How far SQS's clock and ours may differ, where they tell whether a look was sent before another was begun.
const CLOCK_MARGIN: Duration = Duration::from_secs(2);
/// Trails whose last look is remembered, some 200 bytes each.
const MAX_SEEN: usize = 4_096;

/// When each trail was looked at last.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<HashMap<TrailArn, Last>>);

#[derive(Debug)]
struct Last {
    began: Instant,
    /// When the last look began after which nothing was left to be done.
    answered: Option<OffsetDateTime>,
}

/// Whether it is time for a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// As of then.
    Now(OffsetDateTime),
    /// A look that began after this one was sent has seen what there is.
    Answered,
    /// The last was a moment ago.
    In(Duration),
}

impl Looks {
    /// A turn to look at a trail, for a look that was sent then; without a time no look before it is an answer.
    pub(super) fn take(&self, trail: &TrailArn, sent_at: Option<OffsetDateTime>) -> Turn {
        let (now, mut looks) = (Instant::now(), self.looks());
        let last = looks.get(trail);
        let answered = last.and_then(|last| last.answered).zip(sent_at);
        if answered.is_some_and(|(answered, sent_at)| sent_at + CLOCK_MARGIN < answered) {
            return Turn::Answered;
        }
        let left = last.and_then(|last| PAUSE.checked_sub(now - last.began));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Turn::In(left);
        }
        if looks.len() >= MAX_SEEN {
            looks.retain(|_, last| now - last.began < PAUSE);
        }
        looks.entry(trail.clone()).or_insert(Last { began: now, answered: None }).began = now;
        Turn::Now(clock::now())
    }

    /// Nothing is left to be done after the look that began then.
    pub(super) fn answer(&self, trail: &TrailArn, began_at: OffsetDateTime) {
        if let Some(last) = self.looks().get_mut(trail) {
            last.answered = Some(began_at);
        }
    }

    fn looks(&self) -> MutexGuard<'_, HashMap<TrailArn, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
