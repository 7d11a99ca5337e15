//! Backoff, and what an error says about trying again.

use std::time::Duration;

/// What an adapter says of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may work later.
    #[error("{detail}")]
    Transient {
        /// What happened, to what. Holds no secret and no body.
        detail: String,
    },
    /// It will not work until somebody changes something.
    #[error("{detail}")]
    Permanent {
        /// What happened, to what, and what to do. Holds no secret and no body.
        detail: String,
    },
    /// It will not work until somebody gives the right to it.
    #[error("{detail}")]
    Denied {
        /// What was denied, and which right is missing.
        detail: String,
    },
}

impl Failure {
    pub fn transient(detail: impl Into<String>) -> Self {
        Self::Transient { detail: detail.into() }
    }

    /// In a word, for traces.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Transient { .. } => "transient",
            Self::Permanent { .. } => "permanent",
            Self::Denied { .. } => "denied",
        }
    }

    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    pub fn permanent(detail: impl Into<String>) -> Self {
        Self::Permanent { detail: detail.into() }
    }
}

/// When a message is tried again, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Executions before a message is poison.
    pub max_attempts: u32,
    /// The ceiling of the first wait; it doubles with each attempt.
    pub base: Duration,
    /// The ceiling of every wait.
    pub max: Duration,
}

impl RetryPolicy {
    /// For a request that a person waits for: some ten seconds in all.
    pub const WHILE_SOMEBODY_WAITS: Self =
        Self { max_attempts: 6, base: Duration::from_millis(200), max: Duration::from_secs(5) };

    /// The longest wait that may follow attempt number `attempt` (the first is 1).
    #[must_use]
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.max)
    }

    /// Full jitter: anything between nothing and the ceiling, so that what failed together does not return
    /// together (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). `random` lies
    /// in 0 to 1.
    #[must_use]
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        self.ceiling(attempt).mul_f64(random.clamp(0.0, 1.0))
    }

    /// Whether attempt number `attempt` is the last.
    #[must_use]
    pub fn is_last(&self, attempt: u32) -> bool {
        attempt >= self.max_attempts
    }

    /// The waits between this policy's attempts, for [`backon::Retryable`]. `backon`'s own jitter adds to the
    /// exponential wait instead of spreading it from zero.
    pub fn waits(self) -> impl Iterator<Item = Duration> + Send + Sync + Unpin {
        (1..self.max_attempts).map(move |attempt| self.wait(attempt, fastrand::f64()))
    }
}

/// Asks again while an answer fails for now, after each of `waits`.
///
/// # Errors
/// The first failure for good, or the last of those that might have passed.
pub async fn patiently<T, F: Future<Output = Result<T, Failure>>>(
    waits: impl Iterator<Item = Duration> + Send + Sync + Unpin + 'static,
    ask: impl FnMut() -> F,
) -> Result<T, Failure> {
    backon::Retryable::retry(ask, waits).when(Failure::is_transient).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { max_attempts: 10, base: Duration::from_secs(1), max: Duration::from_mins(5) };

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let ceilings: Vec<u64> = (1..=11).map(|attempt| POLICY.ceiling(attempt).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn a_policy_of_ten_attempts_waits_nine_times() {
        assert_eq!(POLICY.waits().count(), 9);
    }

    proptest! {
        #[test]
        fn no_wait_leaves_its_bounds(attempt in any::<u32>(), random in -1.0..2.0_f64) {
            prop_assert!(POLICY.wait(attempt, random) <= POLICY.max);
        }
    }
}
