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
    pub decision: String,
    /// Nothing would be told without one.
    pub message: Option<Message>,
}

impl Preview {
    /// Looks at what a worker of this mode would do at `now`.
    #[must_use]
    pub fn new(event: &Event, mode: Mode, now: OffsetDateTime) -> Self {
        let ended = |outcome| Restored::new(outcome, now);
        let told = |report: Report| Some(Message::new(event, report, false));
        let (decision, message) = match (mode, event.kind) {
            (_, Kind::Other) => (would(event.kind).to_owned(), None),
            (Mode::DryRun, _) => ("only log, since TRAILKEEPER_MODE is dry-run".to_owned(), None),
            (Mode::Notify, Kind::Stopped) => {
                ("tell, since TRAILKEEPER_MODE is notify".to_owned(), told(Report::Untouched))
            }
            (Mode::Restore, Kind::Stopped) => match event.target() {
                Ok(trail) => {
                    let account = trail.account();
                    let decision =
                        format!("restart {trail} and tell, if {account} is the worker's own account");
                    (decision, told(Report::Ended(&ended(Restoration::Restarted))))
                }
                Err(why) => {
                    let decision =
                        "tell that it cannot be restarted, and keep it as a dead letter".to_owned();
                    (decision, told(Report::Ended(&ended(untargeted(why)))))
                }
            },
            (_, Kind::Weakened | Kind::Attempted) => (would(event.kind).to_owned(), told(Report::Seen)),
        };
        Self { decision, message }
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
