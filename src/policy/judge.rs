//! What may be done about an event, before anything is looked at. Pure.

use std::fmt;

use crate::event::{Event, Kind, TrailArn, Untargetable};

/// How far trailkeeper goes: the upper bound of everything that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Restart and notify.
    Restore,
    /// Notify only.
    Notify,
    /// Log what would be done.
    DryRun,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// See to it that this trail logs, and notify.
    Restart(TrailArn),
    /// A trail was stopped, and the event does not tell which: notify, and keep the event as a dead letter.
    Refuse(Untargetable),
    Notify,
    Ignore,
}

/// What is to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub action: Action,
    /// Why it is less than it could be.
    pub because: Option<&'static str>,
}

/// Judges an event by what it says, and by how far trailkeeper may go.
#[must_use]
pub fn judge(event: &Event, mode: Mode) -> Judgement {
    let (action, because) = match (mode, event.kind) {
        (_, Kind::Other) => (Action::Ignore, None),
        (Mode::DryRun, _) => (Action::Ignore, Some("TRAILKEEPER_MODE is dry-run")),
        (_, Kind::Weakened | Kind::FailedCall) => (Action::Notify, None),
        (Mode::Notify, Kind::Stopped) => (Action::Notify, Some("TRAILKEEPER_MODE is notify")),
        (Mode::Restore, Kind::Stopped) => (event.target().map_or_else(Action::Refuse, Action::Restart), None),
    };
    Judgement { action, because }
}

/// What there is to say, and to do, about a stopped trail that an event does not tell.
#[must_use]
pub fn refusal(why: Untargetable) -> String {
    format!("{why}: restart it by hand")
}

impl Action {
    /// The action in a word, for the log.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Restart(_) => "restart",
            Self::Refuse(_) => "refuse",
            Self::Notify => "notify",
            Self::Ignore => "ignore",
        }
    }
}

/// The judgement in words.
impl fmt::Display for Judgement {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match (&self.action, self.because) {
            (Action::Restart(trail), _) => {
                let account = trail.account();
                write!(formatter, "restart {trail} and notify, if {account} is the worker's own account")
            }
            (Action::Refuse(_), _) => {
                formatter.write_str("notify that it cannot be restarted, and keep it as a dead letter")
            }
            (Action::Notify, None) => formatter.write_str("notify"),
            (Action::Notify, Some(because)) => write!(formatter, "notify, since {because}"),
            (Action::Ignore, None) => formatter.write_str("ignore"),
            (Action::Ignore, Some(because)) => write!(formatter, "only log, since {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;

    fn event(name: &str, error_code: Option<&str>, trail: Option<&str>) -> Event {
        let body = serde_json::json!({ "detail": {
            "eventID": "e-1", "eventName": name, "eventSource": "cloudtrail.amazonaws.com", "errorCode": error_code,
            "awsRegion": "eu-west-1", "recipientAccountId": "111122223333", "requestParameters": { "name": trail },
        } });
        event::parse(&body.to_string()).expect("an event")
    }

    #[test]
    fn the_mode_is_the_upper_bound_of_what_is_done() {
        let stopped = event("StopLogging", None, Some("audit"));
        let unnamed = event("StopLogging", None, None);
        let (failed, deleted) =
            (event("StopLogging", Some("AccessDenied"), None), event("DeleteTrail", None, Some("audit")));
        let other = event("StartLogging", None, Some("audit"));
        let restart = "restart arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit and notify, if 111122223333 is \
                       the worker's own account";
        let refuse = "notify that it cannot be restarted, and keep it as a dead letter";
        let (notify, dry) =
            ("notify, since TRAILKEEPER_MODE is notify", "only log, since TRAILKEEPER_MODE is dry-run");
        for (event, by_mode) in [
            (&stopped, [restart, notify, dry]),
            (&unnamed, [refuse, notify, dry]),
            (&failed, ["notify", "notify", dry]),
            (&deleted, ["notify", "notify", dry]),
            (&other, ["ignore", "ignore", "ignore"]),
        ] {
            let judged =
                [Mode::Restore, Mode::Notify, Mode::DryRun].map(|mode| judge(event, mode).to_string());
            assert_eq!(judged, by_mode, "{} {:?}", event.name, event.error_code);
        }
    }
}
