//! What the commands beside `run` and `check` need to know.

use super::{Fault, Faults, Mode};
use crate::args::{DlqArgs, QueueArgs, ReplayArgs, WantedArgs};
use crate::consumer::Reason;
use crate::consumer::label::NO_REASON;
use crate::event::EventId;

/// What `replay` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayConfig {
    /// Where events are sent; nowhere in a dry run.
    pub queue_url: Option<String>,
    /// How far the worker would go.
    pub mode: Mode,
}

/// What the commands on dead letters need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DlqConfig {
    /// The queue.
    pub queue_url: String,
    /// The dead-letter queue, if it is not the redrive policy's.
    pub dead_letter_url: Option<String>,
    /// Which of the dead letters.
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
    pub fn read(args: &ReplayArgs, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults(Vec::new());
        let mode = faults.mode(args.mode.clone());
        let queue_url = if args.dry_run { None } else { faults.queue(args.queue.clone()) };
        faults.not_yet(environment);
        if faults.0.is_empty() { Ok(Self { queue_url, mode }) } else { Err(faults.0) }
    }
}

impl DlqConfig {
    /// Reads what the commands on dead letters need.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(queue: QueueArgs, dlq: DlqArgs, wanted: WantedArgs) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults(Vec::new());
        let queue_url = faults.queue(queue);
        let dead_letter_url = faults.dead_letters(dlq, queue_url.as_deref());
        let wanted = faults.wanted(wanted);
        match (faults.0.is_empty(), queue_url) {
            (true, Some(queue_url)) => Ok(Self { queue_url, dead_letter_url, wanted }),
            _ => Err(faults.0),
        }
    }
}

impl Faults {
    /// An empty word is a fault here, and not an absent one: a script whose variable is unset must not mean
    /// everything.
    fn wanted(&mut self, WantedArgs { reason, event }: WantedArgs) -> Wanted {
        let reason = reason.map(|word| {
            let known = Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
            if known.is_none() && word != NO_REASON {
                let words = Reason::ALL.map(Reason::as_str).join(", ");
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
