//! What becomes of a message. Pure.

use std::time::Duration;

use super::retry::RetryPolicy;

/// Why a message went to the dead-letter queue; written there as `trailkeeper.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not something that any version could read.
    Malformed,
    /// Readable, but of a kind that is not handled here.
    Unsupported,
    /// The effect was refused for good.
    RestoreRefused,
    /// The notice was refused for good.
    NotifyRefused,
    /// Tried as often as is allowed.
    AttemptsExhausted,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 5] = [
        Self::Malformed,
        Self::Unsupported,
        Self::RestoreRefused,
        Self::NotifyRefused,
        Self::AttemptsExhausted,
    ];

    /// The reason as people and their tools see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::RestoreRefused => "restore-refused",
            Self::NotifyRefused => "notify-refused",
            Self::AttemptsExhausted => "attempts-exhausted",
        }
    }
}

/// How work on a message ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is left to do.
    Done,
    /// Failed for now; not to be tried before `after`, where the other side said so.
    Failed {
        /// The least time to wait.
        after: Option<Duration>,
        /// What failed.
        detail: String,
    },
    /// Not worked on: hide it for exactly this long. No attempt is used up, so no limit applies.
    Deferred {
        /// How long to hide it.
        after: Duration,
    },
    /// It will never work.
    Poison {
        /// See [`Reason`].
        reason: Reason,
        /// What is wrong with it.
        detail: String,
    },
}

impl Verdict {
    /// What went wrong, in a word and in detail, if something did.
    #[must_use]
    pub fn failure(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Done | Self::Deferred { .. } => None,
            Self::Failed { detail, .. } => Some(("failed", detail)),
            Self::Poison { reason, detail } => Some((reason.as_str(), detail)),
        }
    }
}

/// What is done with the message on the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Deleted.
    Delete,
    /// Hidden for `after`, then received again.
    Retry {
        /// How long it stays hidden.
        after: Duration,
    },
    /// Copied to the dead-letter queue, then deleted.
    DeadLetter {
        /// Becomes `trailkeeper.reason`.
        reason: Reason,
        /// Becomes `trailkeeper.detail`.
        detail: String,
    },
}

/// Decides from how the work ended and from the executions so far, this one included. `random` lies in 0 to 1.
#[must_use]
pub fn decide(verdict: Verdict, attempts: u32, policy: &RetryPolicy, random: f64) -> Disposition {
    match verdict {
        Verdict::Done => Disposition::Delete,
        Verdict::Deferred { after } => Disposition::Retry { after },
        Verdict::Poison { reason, detail } => Disposition::DeadLetter { reason, detail },
        Verdict::Failed { detail, .. } if policy.is_last(attempts) => {
            Disposition::DeadLetter { reason: Reason::AttemptsExhausted, detail }
        }
        Verdict::Failed { after, .. } => {
            let wait = policy.wait(attempts, random);
            Disposition::Retry { after: after.map_or(wait, |least| least.saturating_add(wait)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_disposition() {
        let policy =
            RetryPolicy { max_attempts: 3, base: Duration::from_secs(4), max: Duration::from_mins(1) };
        let seconds = Duration::from_secs;
        let failed = |after| Verdict::Failed { after, detail: "throttled".to_owned() };
        let exhausted =
            Disposition::DeadLetter { reason: Reason::AttemptsExhausted, detail: "throttled".to_owned() };
        let poison = Verdict::Poison { reason: Reason::Malformed, detail: "empty".to_owned() };
        let dead = Disposition::DeadLetter { reason: Reason::Malformed, detail: "empty".to_owned() };
        let table = [
            (Verdict::Done, 1, Disposition::Delete),
            (Verdict::Done, 99, Disposition::Delete),
            (failed(None), 1, Disposition::Retry { after: seconds(2) }),
            (failed(None), 2, Disposition::Retry { after: seconds(4) }),
            (failed(Some(seconds(30))), 1, Disposition::Retry { after: seconds(32) }),
            (failed(None), 3, exhausted.clone()),
            (failed(Some(seconds(30))), 4, exhausted),
            (Verdict::Deferred { after: seconds(7) }, 99, Disposition::Retry { after: seconds(7) }),
            (poison, 1, dead),
        ];
        for (verdict, attempts, expected) in table {
            assert_eq!(decide(verdict.clone(), attempts, &policy, 0.5), expected, "{verdict:?} {attempts}");
        }
    }
}
