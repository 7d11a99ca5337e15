//! Wall time that follows tokio's clock, so that a test which pauses the one has paused the other.

use std::sync::OnceLock;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

/// Now, UTC: the wall time at first use, moved on by tokio's clock.
#[must_use]
pub fn now() -> OffsetDateTime {
    static ANCHOR: OnceLock<(std::time::Instant, OffsetDateTime)> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "the one place where the two clocks are tied together")]
    let (instant, wall) = *ANCHOR.get_or_init(|| (std::time::Instant::now(), OffsetDateTime::now_utc()));
    wall + Instant::now().into_std().saturating_duration_since(instant)
}

/// How long ago `moment` was; zero if it lies in the future.
#[must_use]
pub fn since(moment: OffsetDateTime) -> Duration {
    Duration::try_from(now() - moment).unwrap_or(Duration::ZERO)
}
