//! What the commands beside `run` and `check` need to know.

use super::{Fault, Faults};
use crate::args::{self, Args, WantedArgs};
use crate::consumer::label::NO_REASON;
use crate::event::EventId;
use crate::outcome::Reason;
use crate::policy::{Mode, Policy};

/// What `replay` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayConfig {
    /// Where events are sent; nowhere in a dry run.
    pub queue_url: Option<String>,
    /// How far the worker would go.
    pub mode: Mode,
    pub policy: Policy,
}

/// What the commands on dead letters need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DlqConfig {
    pub queue_url: String,
    /// The dead-letter queue, if it is not the redrive policy's.
    pub dead_letter_url: Option<String>,
    pub wanted: Wanted,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those with this reason; the inner `None` is those without one.
    pub reason: Option<Option<Reason>>,
    /// Those of this event.
    pub event: Option<EventId>,
}

impl Wanted {
    /// Whether every dead letter is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

impl ReplayConfig {
    /// Reads what `replay` needs. `environment` looks up the variables that have no flag.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(
        args: &Args,
        dry_run: bool,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new(args);
        let mode = faults.one_of(&args::MODE);
        let policy = faults.policy().policy;
        let queue_url = if dry_run { None } else { faults.queue_url() };
        faults.not_yet(environment);
        faults.none(Some(Self { queue_url, mode, policy }))
    }
}

impl DlqConfig {
    /// Reads what the commands on dead letters need. `environment` looks up the variables that have no flag.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(
        args: &Args,
        wanted: WantedArgs,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::new(args);
        let queue_url = faults.queue_url();
        let dead_letter_url = faults.dead_letter_url(queue_url.as_deref());
        let wanted = faults.wanted(wanted);
        faults.not_yet(environment);
        faults.none(queue_url.map(|queue_url| Self { queue_url, dead_letter_url, wanted }))
    }
}

impl Faults<'_> {
    /// An empty word is a fault here, and not an absent one: a script whose variable is unset must not mean
    /// everything.
    fn wanted(&mut self, WantedArgs { reason, event }: WantedArgs) -> Wanted {
        let reason = reason.map(|word| {
            let known = Reason::parse(&word);
            if known.is_none() && word != NO_REASON {
                let words = Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ");
                self.add(format!("--reason is {word:?}, not one of {words}, {NO_REASON}"));
            }
            known
        });
        let event = event.and_then(|text| {
            let event = EventId::parse(text.trim());
            if event.is_none() {
                self.add(format!("--event is {text:?}, not the eventID of an event"));
            }
            event
        });
        Wanted { reason, event }
    }
}
