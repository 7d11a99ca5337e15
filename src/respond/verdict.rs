//! How work on a message ended, and what becomes of the message then. Pure.

use std::time::Duration;

use crate::consumer::{Disposition, Handled, HandlingFailure};
use crate::outcome::{Outcome, Reason};
use crate::retry::RetryPolicy;
use crate::state::Counts;

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is left to do.
    Done(Outcome),
    /// Failed for now.
    Failed(String),
    /// Nothing came of it, through no fault of the event's: hide it for exactly this long. No attempt is used up, so no
    /// limit applies.
    Deferred(Duration, Outcome),
    /// It will never work.
    Poison(Reason, String),
}

impl Verdict {
    /// Given back, for whoever receives it next.
    pub(super) const RELEASED: Self = Self::Deferred(Duration::ZERO, Outcome::Released);

    /// Whether the execution counts against the limit, should it be given back.
    pub(super) fn counts(&self) -> Counts {
        if matches!(self, Self::Deferred(..)) { Counts::No } else { Counts::Yes }
    }
}

/// Decides from how the work ended and from the executions so far, this one included. `random` lies in 0 to 1.
pub(super) fn decide(verdict: Verdict, attempts: u32, policy: &RetryPolicy, random: f64) -> Handled {
    let failed = |kind, detail: &str| Some(HandlingFailure { kind, detail: detail.to_owned() });
    match verdict {
        Verdict::Done(outcome) => {
            Handled { disposition: Disposition::Delete, outcome: outcome.as_str(), failure: None }
        }
        Verdict::Deferred(after, outcome) => {
            Handled { disposition: Disposition::Retry { after }, outcome: outcome.as_str(), failure: None }
        }
        Verdict::Poison(reason, detail) => {
            let failure = failed(reason.as_str(), &detail);
            Handled { failure, ..dead(reason.as_str(), detail) }
        }
        Verdict::Failed(detail) => {
            let failure = failed("failed", &detail);
            if policy.is_last(attempts) {
                return Handled { failure, ..dead(Reason::AttemptsExhausted.as_str(), detail) };
            }
            let disposition = Disposition::Retry { after: policy.wait(attempts, random) };
            Handled { disposition, outcome: Outcome::Retried.as_str(), failure }
        }
    }
}

/// A dead letter, with nothing more to say of it than why.
pub(super) fn dead(reason: &'static str, detail: String) -> Handled {
    let disposition = Disposition::DeadLetter { reason, detail };
    Handled { disposition, outcome: Outcome::DeadLettered.as_str(), failure: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pool counts what it gives back itself, and has its own word for it.
    #[test]
    fn the_pool_and_the_handler_have_one_word_for_given_back() {
        assert_eq!(crate::consumer::RELEASED, Outcome::Released.as_str());
    }

    #[test]
    fn every_verdict_has_its_disposition() {
        let policy =
            RetryPolicy { max_attempts: 3, base: Duration::from_secs(4), max: Duration::from_mins(1) };
        let seconds = Duration::from_secs;
        let failed = || Verdict::Failed("throttled".to_owned());
        let exhausted =
            Disposition::DeadLetter { reason: "attempts-exhausted", detail: "throttled".to_owned() };
        let poison = Verdict::Poison(Reason::Malformed, "empty".to_owned());
        let buried = Disposition::DeadLetter { reason: "malformed", detail: "empty".to_owned() };
        let table = [
            (Verdict::Done(Outcome::Restored), 1, Disposition::Delete, "restored"),
            (Verdict::Done(Outcome::Notified), 99, Disposition::Delete, "notified"),
            (failed(), 1, Disposition::Retry { after: seconds(2) }, "retried"),
            (failed(), 2, Disposition::Retry { after: seconds(4) }, "retried"),
            (failed(), 3, exhausted.clone(), "dead_lettered"),
            (failed(), 4, exhausted, "dead_lettered"),
            (
                Verdict::Deferred(seconds(7), Outcome::Retried),
                99,
                Disposition::Retry { after: seconds(7) },
                "retried",
            ),
            (Verdict::RELEASED, 99, Disposition::Retry { after: seconds(0) }, "released"),
            (poison, 1, buried, "dead_lettered"),
        ];
        for (verdict, attempts, disposition, outcome) in table {
            let goes_wrong = matches!(verdict, Verdict::Failed(_) | Verdict::Poison(..));
            let handled = decide(verdict.clone(), attempts, &policy, 0.5);
            assert_eq!(handled.disposition, disposition, "{verdict:?} {attempts}");
            assert_eq!(handled.outcome, outcome, "{verdict:?} {attempts}");
            assert_eq!(handled.failure.is_some(), goes_wrong, "{verdict:?} {attempts}");
        }
    }
}
