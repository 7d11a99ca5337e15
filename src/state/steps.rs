//! What is done about an event, written down as it happens, so that a retry goes on where it stopped. Pure.
//!
//! Two versions work side by side during each deploy: each step is a part of its own, and one that a version cannot read
//! is taken as not done, whatever it says, while the others stand.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::incident::{Found, Restored};

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `StartLogging` was accepted; it is not verified yet.
    Started,
    /// The restart has ended.
    Restored(Restored),
    /// The same, of the trails of a Region, where the event names none.
    Found(Vec<Found>),
    /// People were notified that the restart takes longer.
    Announced(Notice),
    /// People were notified how it ended.
    Notified(Notice),
}

/// What people were shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// When the channel had taken it.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    pub text: String,
}

/// All that is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    pub started: bool,
    pub restored: Option<Restored>,
    pub found: Option<Vec<Found>>,
    pub announced: Option<Notice>,
    pub notified: Option<Notice>,
}

impl Step {
    /// The name under which it is written down.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Restored(_) => "restored",
            Self::Found(_) => "found",
            Self::Announced(_) => "announced",
            Self::Notified(_) => "notified",
        }
    }

    /// What is written down.
    #[must_use]
    pub fn value(&self) -> Value {
        let value = match self {
            Self::Started => Ok(Value::Bool(true)),
            Self::Restored(restored) => serde_json::to_value(restored),
            Self::Found(found) => serde_json::to_value(found),
            Self::Announced(notice) | Self::Notified(notice) => serde_json::to_value(notice),
        };
        // Nothing in a step can fail to be written as JSON.
        value.unwrap_or_default()
    }
}

impl Steps {
    pub fn add(&mut self, step: Step) {
        match step {
            Step::Started => self.started = true,
            Step::Restored(restored) => self.restored = Some(restored),
            Step::Found(found) => self.found = Some(found),
            Step::Announced(notice) => self.announced = Some(notice),
            Step::Notified(notice) => self.notified = Some(notice),
        }
    }

    /// Those that another has not.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Vec<Step> {
        let known = other.all();
        self.all().into_iter().filter(|step| known.iter().all(|one| one.name() != step.name())).collect()
    }

    fn all(&self) -> Vec<Step> {
        let Self { started, restored, found, announced, notified } = self.clone();
        let steps = [
            started.then_some(Step::Started),
            restored.map(Step::Restored),
            found.map(Step::Found),
            announced.map(Step::Announced),
            notified.map(Step::Notified),
        ];
        steps.into_iter().flatten().collect()
    }

    /// Reads steps by name, as JSON. What cannot be read is taken as not done: doing it again does less harm.
    #[must_use]
    pub fn read<'a>(written: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
            serde_json::from_str(json).ok()
        }
        let mut steps = Self::default();
        for (name, json) in written {
            match name {
                "started" => steps.started = parse(json).unwrap_or_default(),
                "restored" => steps.restored = parse(json),
                "found" => steps.found = parse(json),
                "announced" => steps.announced = parse(json),
                "notified" => steps.notified = parse(json),
                // A later version's.
                _ => {}
            }
        }
        steps
    }
}
