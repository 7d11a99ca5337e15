//! One turn a second for each key: always, or once the other side has asked for patience.
//!
//! Each who must wait is given a turn of their own, so that what waited together does not come back together and is
//! refused together.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two turns of one key: the pace of what asks for patience here is one a second.
pub const TURN: Duration = Duration::from_secs(1);

/// Keys whose turns are remembered; beyond that those whose last turn is over are forgotten.
const MAX_LANES: usize = 4_096;

/// Who may go when, by key.
#[derive(Debug)]
pub struct Turns<K> {
    /// The longest that anybody waits. Who would wait longer shares the last turn.
    longest: Duration,
    /// A key is here from the first time that it takes a turn, or that the other side asks for patience.
    lanes: Mutex<HashMap<K, Lane>>,
}

#[derive(Debug)]
struct Lane {
    /// Until then nobody may go without a turn.
    quiet_until: Instant,
    /// The next who must wait goes a turn after this.
    last_given: Instant,
}

impl<K: Hash + Eq> Turns<K> {
    /// Nobody waits longer than `longest`.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self { longest, lanes: Mutex::default() }
    }

    /// How long to wait for a turn; zero if nobody has to.
    pub fn next(&self, key: &K) -> Duration {
        self.lanes().get_mut(key).map_or(Duration::ZERO, |lane| lane.next(self.longest))
    }

    /// The other side asked for `wait`; whoever was told so takes the first turn after it, which is in as long as is
    /// returned.
    pub fn quiet(&self, key: K, wait: Duration) -> Duration {
        let now = Instant::now();
        let mut lanes = self.lanes();
        let lane = lanes.entry(key).or_insert(Lane { quiet_until: now, last_given: now });
        lane.quiet_until = lane.quiet_until.max(now + wait);
        lane.next(self.longest).max(wait)
    }

    /// A turn, in as long as is returned; each is a second after the one before.
    ///
    /// # Errors
    /// If it would be later than the longest that anybody waits: then no turn is given, and it is worth asking again after this long.
    pub fn take(&self, key: K) -> Result<Duration, Duration> {
        let now = Instant::now();
        let mut lanes = self.lanes();
        if lanes.len() >= MAX_LANES && !lanes.contains_key(&key) {
            lanes.retain(|_, lane| now < lane.quiet_until.max(lane.last_given + TURN));
        }
        let Some(lane) = lanes.get_mut(&key) else {
            lanes.insert(key, Lane { quiet_until: now, last_given: now });
            return Ok(Duration::ZERO);
        };
        let next = (lane.last_given + TURN).max(lane.quiet_until).max(now);
        let wait = next - now;
        if wait > self.longest {
            return Err(wait);
        }
        lane.last_given = next;
        Ok(wait)
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<K, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn next(&mut self, longest: Duration) -> Duration {
        let now = Instant::now();
        if now >= self.quiet_until {
            return Duration::ZERO;
        }
        self.last_given = (self.last_given + TURN).max(self.quiet_until).min(now + longest);
        self.last_given - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_one_a_second_and_other_keys_do_not_wait() {
        let turns = Turns::new(LONGEST);
        let seconds = |key| turns.next(&key).as_secs();
        assert_eq!(seconds("a"), 0);
        assert_eq!(turns.quiet("a", Duration::from_secs(2)).as_secs(), 2);
        assert_eq!([seconds("a"), seconds("a"), seconds("a")], [3, 4, 5]);
        assert_eq!(seconds("a"), 5, "nobody waits longer");
        assert_eq!(seconds("b"), 0);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(seconds("a"), 0, "patience is over");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_are_taken_are_a_second_apart_whoever_asked_for_patience() {
        let turns = Turns::new(LONGEST);
        let seconds = |key| turns.take(key).map(|wait| wait.as_secs()).map_err(|wait| wait.as_secs());
        assert_eq!([seconds("a"), seconds("a"), seconds("b")], [Ok(0), Ok(1), Ok(0)]);
        turns.quiet("a", Duration::from_secs(3));
        assert_eq!([seconds("a"), seconds("a"), seconds("a")], [Ok(4), Ok(5), Err(6)]);
        assert_eq!(seconds("a"), Err(6), "who is told to ask again has taken no turn");
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!([seconds("a"), seconds("a")], [Ok(0), Ok(1)]);
    }
}
