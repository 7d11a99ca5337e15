//! What may be done about an event, before anything is looked at. Pure.

use std::fmt;

use time::OffsetDateTime;

use crate::event::{AccountId, Event, Kind, Region, TrailArn};

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
    /// See to it that these log, and notify.
    Restart(Which),
    /// Look whether these log, and notify.
    Look(Which),
    /// A trail was stopped, and the event does not tell where: notify, and keep the event as a dead letter.
    Refuse(Untargetable),
    Notify,
    Ignore,
}

/// The trails that a stop concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Trail(TrailArn),
    /// The event names none that can be read: those of the account and Region of the call that stopped with it.
    StoppedAt {
        account: AccountId,
        region: Region,
        time: OffsetDateTime,
    },
}

/// Why an event that stopped a trail does not tell where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untargetable {
    #[error("the event names neither a trail nor an account")]
    NoAccount,
    #[error("the event names neither a trail nor a Region")]
    NoRegion,
    #[error("the event names neither a trail nor a time")]
    NoTime,
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
        (Mode::Notify, Kind::Stopped) => {
            let action = which(event).map_or(Action::Notify, Action::Look);
            (action, Some("TRAILKEEPER_MODE is notify"))
        }
        (Mode::Restore, Kind::Stopped) => (which(event).map_or_else(Action::Refuse, Action::Restart), None),
    };
    Judgement { action, because }
}

fn which(event: &Event) -> Result<Which, Untargetable> {
    if let Some(trail) = event.target() {
        return Ok(Which::Trail(trail));
    }
    Ok(Which::StoppedAt {
        account: event.origin.account.clone().ok_or(Untargetable::NoAccount)?,
        region: event.origin.region.clone().ok_or(Untargetable::NoRegion)?,
        time: event.time.ok_or(Untargetable::NoTime)?,
    })
}

/// What there is to say, and to do, about a stopped trail of which the event does not tell where it is.
#[must_use]
pub fn refusal(why: Untargetable) -> String {
    format!("{why}: look for the trail, and restart it by hand")
}

impl Action {
    /// The action in a word, for the log.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Restart(_) => "restart",
            Self::Look(_) => "look",
            Self::Refuse(_) => "refuse",
            Self::Notify => "notify",
            Self::Ignore => "ignore",
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Trail(trail) => write!(formatter, "{trail}"),
            Self::StoppedAt { account, region, .. } => {
                write!(formatter, "the trails of {account} in {region} that stopped with this event")
            }
        }
    }
}

/// The judgement in words.
impl fmt::Display for Judgement {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match (&self.action, self.because) {
            (Action::Restart(which), _) => {
                write!(formatter, "restart {which}, as far as CloudTrail allows it to the worker, and notify")
            }
            (Action::Look(which), because) => {
                let because = because.unwrap_or("nothing may be changed");
                write!(formatter, "notify, since {because}, after a look at {which}")
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
            "eventTime": "2026-11-20T09:15:02Z",
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
        let mut nowhere = event("StopLogging", None, Some("no trail's name"));
        nowhere.time = None;
        let audit = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit";
        let region = "the trails of 111122223333 in eu-west-1 that stopped with this event";
        let restart =
            |which| format!("restart {which}, as far as CloudTrail allows it to the worker, and notify");
        let look = |which| format!("notify, since TRAILKEEPER_MODE is notify, after a look at {which}");
        let notify = "notify, since TRAILKEEPER_MODE is notify".to_owned();
        let refuse = "notify that it cannot be restarted, and keep it as a dead letter".to_owned();
        let dry = "only log, since TRAILKEEPER_MODE is dry-run".to_owned();
        let plain = |word: &str| word.to_owned();
        for (event, by_mode) in [
            (&stopped, [restart(audit), look(audit), dry.clone()]),
            (&unnamed, [restart(region), look(region), dry.clone()]),
            (&nowhere, [refuse, notify, dry.clone()]),
            (&failed, [plain("notify"), plain("notify"), dry.clone()]),
            (&deleted, [plain("notify"), plain("notify"), dry.clone()]),
            (&other, [plain("ignore"), plain("ignore"), plain("ignore")]),
        ] {
            let judged =
                [Mode::Restore, Mode::Notify, Mode::DryRun].map(|mode| judge(event, mode).to_string());
            assert_eq!(judged, by_mode, "{} {:?}", event.name, event.error_code);
        }
    }

    #[test]
    fn what_a_stop_does_not_say_is_named() {
        let missing = |change: fn(&mut Event)| {
            let mut event = event("StopLogging", None, None);
            change(&mut event);
            judge(&event, Mode::Restore).action
        };
        assert_eq!(missing(|event| event.origin.account = None), Action::Refuse(Untargetable::NoAccount));
        assert_eq!(missing(|event| event.origin.region = None), Action::Refuse(Untargetable::NoRegion));
        assert_eq!(missing(|event| event.time = None), Action::Refuse(Untargetable::NoTime));
    }
}
