//! What the worker would do about an event, without doing it. Pure.

use time::OffsetDateTime;

use super::message::{Message, Report};
use crate::config::Mode;
use crate::event::{Event, Kind, Untargetable};
use crate::state::{Restoration, Restored};

/// What would be done, and what Slack would be told if all went well.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// In words.
    pub decision: &'static str,
    /// Nothing would be told without one.
    pub message: Option<Message>,
}

impl Preview {
    /// Looks at what a worker of this mode would do at `now`.
    #[must_use]
    pub fn new(event: &Event, mode: Mode, now: OffsetDateTime) -> Self {
        let ended = |outcome| Restored::new(outcome, now);
        let told = |report: Report| Some(Message::new(event, report, false));
        match (mode, event.kind) {
            (_, Kind::Other) => Self { decision: "ignore", message: None },
            (Mode::DryRun, _) => {
                Self { decision: "only log, since TRAILKEEPER_MODE is dry-run", message: None }
            }
            (Mode::Notify, Kind::Stopped) => {
                Self { decision: "tell, since TRAILKEEPER_MODE is notify", message: told(Report::Untouched) }
            }
            (Mode::Restore, Kind::Stopped) => match event.target() {
                Ok(_) => Self {
                    decision: would(event.kind),
                    message: told(Report::Ended(&ended(Restoration::Restarted))),
                },
                Err(why) => Self {
                    decision: "tell that it cannot be restarted",
                    message: told(Report::Ended(&ended(untargeted(why)))),
                },
            },
            (_, Kind::Weakened | Kind::Attempted) => {
                Self { decision: would(event.kind), message: told(Report::Seen) }
            }
        }
    }
}

/// What is done about events of this kind, in words.
#[must_use]
pub fn would(kind: Kind) -> &'static str {
    match kind {
        Kind::Stopped => "restart the trail and tell",
        Kind::Weakened | Kind::Attempted => "tell",
        Kind::Other => "ignore",
    }
}

/// How the restart of a trail ends that the event does not name.
#[must_use]
pub fn untargeted(why: Untargetable) -> Restoration {
    Restoration::Refused { detail: format!("{why}: restart it by hand") }
}
