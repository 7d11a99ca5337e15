//! Wall time, which a test that pauses tokio's clock can have paused too.

use std::sync::OnceLock;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

/// Where wall time follows tokio's clock: from which moment of each.
static FOLLOWED: OnceLock<(Instant, OffsetDateTime)> = OnceLock::new();

/// Now, UTC. The system's own clock: one that is set right, or a machine that was suspended, must not leave us behind,
/// since other workers compare our leases with their clocks.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where wall time is read")]
pub fn now() -> OffsetDateTime {
    match FOLLOWED.get() {
        Some((instant, wall)) => *wall + (Instant::now() - *instant),
        None => OffsetDateTime::now_utc(),
    }
}

/// For tests with a paused clock: from now on, and for the whole process, wall time is moved on by tokio's clock.
#[expect(clippy::disallowed_methods, reason = "the one place where the two clocks are tied together")]
pub fn follow_tokio() {
    FOLLOWED.get_or_init(|| (std::time::Instant::now().into(), OffsetDateTime::now_utc()));
}

/// How long ago `moment` was; zero if it lies in the future.
#[must_use]
pub fn since(moment: OffsetDateTime) -> Duration {
    Duration::try_from(now() - moment).unwrap_or(Duration::ZERO)
}
