//! What people are shown of an event and of what came of it, without any markup. Pure.
//!
//! Every value in an event was, or could have been, chosen by the person it accuses. Here they are made harmless and
//! cut; each rendering escapes what its own reader would take for markup.

use crate::event::{AccountId, Event, EventId, Kind, Region, partition_of, trail_name};
use crate::incident::Severity;
use crate::policy::{Conclusion, Fact};
use crate::text::{MAX_VALUE_CHARS, harmless, stamp};

/// Said when it could not be written down that this was shown.
const MAY_REPEAT: &str = "(The state table is not available: this message may come twice.)";

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub event: EventId,
    pub severity: Severity,
    pub headline: &'static str,
    /// Who did what, where and when: one sentence.
    pub deed: String,
    /// What came of it, in sentences.
    pub outcome: Vec<String>,
    /// What the event says.
    pub reported: Vec<Fact>,
    /// What was seen since.
    pub seen: Vec<Fact>,
    /// By which the event is found again.
    pub small_print: Vec<String>,
    /// The event in the console; some partitions have none that is public.
    pub console: Option<String>,
    may_repeat: bool,
}

impl View {
    /// `may_repeat` adds that the same may be shown twice.
    #[must_use]
    pub fn new(event: &Event, conclusion: Conclusion, may_repeat: bool) -> Self {
        let Conclusion { severity, headline, outcome, facts } = conclusion;
        let mfa = match event.actor.mfa {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        let key = or_unknown(event.actor.access_key_id.as_deref());
        Self {
            event: event.id.clone(),
            severity,
            headline,
            deed: deed(event),
            outcome,
            reported: reported(event),
            seen: facts,
            small_print: vec![
                format!("Event {}", event.id),
                shown(&event.name),
                format!("access key {key}"),
                format!("MFA {mfa}"),
            ],
            console: console_link(event),
            may_repeat,
        }
    }

    /// The whole story in a few sentences, for notifications and for readers of nothing else.
    #[must_use]
    pub fn text(&self) -> String {
        let sentences = self.outcome.iter().map(String::as_str).chain(self.may_repeat.then_some(MAY_REPEAT));
        std::iter::once(self.deed.as_str()).chain(sentences).collect::<Vec<_>>().join(" ")
    }
}

impl Severity {
    /// As people read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
        }
    }
}

fn deed(event: &Event) -> String {
    let who = shown(&event.actor.who);
    let account = event.account.as_ref().map_or("unknown", AccountId::as_str);
    let when = event.time.map_or_else(|| "an unknown time".to_owned(), stamp);
    let place = format!("in account {account} at {when}");
    let name = shown(&event.name);
    let on = event.resource.as_deref().map(|resource| format!(" on {}", shown(resource))).unwrap_or_default();
    match (event.kind, event.name.as_str()) {
        (Kind::Stopped, _) => format!("{who} turned off CloudTrail logging {place}."),
        (Kind::FailedCall, "StopLogging") => format!("{who} tried to turn off CloudTrail logging {place}."),
        (Kind::FailedCall, _) => format!("{who} tried to weaken CloudTrail {place} by {name}{on}."),
        (Kind::Weakened | Kind::Other, _) => format!("{who} weakened CloudTrail {place} by {name}{on}."),
    }
}

fn reported(event: &Event) -> Vec<Fact> {
    [
        ("Trail", or_unknown(event.resource.as_deref().map(trail_name))),
        ("Account", or_unknown(event.account.as_ref().map(AccountId::as_str))),
        ("Region", or_unknown(event.region.as_ref().map(Region::as_str))),
        ("Who", shown(&event.actor.who)),
        ("Source address", or_unknown(event.source_address.as_deref())),
        ("User agent", or_unknown(event.user_agent.as_deref())),
        ("Event time", event.time.map_or_else(|| "unknown".to_owned(), stamp)),
    ]
    .map(|(label, value)| Fact { label, value })
    .into()
}

/// Each partition has a host of its own, and some have none that is public.
fn console_link(event: &Event) -> Option<String> {
    let region = event.region.as_ref()?;
    let host = match partition_of(region) {
        "aws" => "console.aws.amazon.com",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        "aws-cn" => "console.amazonaws.cn",
        _ => return None,
    };
    Some(format!("https://{region}.{host}/cloudtrailv2/home?region={region}#/events/{}", event.id))
}

fn shown(value: &str) -> String {
    harmless(value, MAX_VALUE_CHARS)
}

fn or_unknown(value: Option<&str>) -> String {
    value.map_or_else(|| "unknown".to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::super::samples::{restored, stopped};
    use super::*;
    use crate::incident::{Restoration, Restored};
    use crate::policy::{Mode, Seen, conclude, judge};

    fn view(event: &Event, mode: Mode, seen: Seen) -> View {
        View::new(event, conclude(event, &judge(event, mode), seen), false)
    }

    #[test]
    fn every_report_in_a_sentence() {
        let stop = stopped(|_| {});
        let unnamed = stopped(|event| event["detail"]["requestParameters"] = json!(null));
        let root =
            stopped(|event| event["detail"]["userIdentity"] = json!({ "type": "Root", "accountId": "1" }));
        let deleted = stopped(|event| event["detail"]["eventName"] = json!("DeleteTrail"));
        let denied = stopped(|event| event["detail"]["errorCode"] = json!("AccessDenied"));
        let denied_delete = stopped(|event| {
            event["detail"]["errorCode"] = json!("AccessDenied");
            event["detail"]["eventName"] = json!("DeleteTrail");
        });
        let since = OffsetDateTime::parse("2026-11-20T09:15:05Z", &Rfc3339).ok();
        let ends = [
            restored(Restoration::Restarted),
            Restored { delivery_error: Some("NoSuchBucket".to_owned()), ..restored(Restoration::Restarted) },
            restored(Restoration::AlreadyLogging { since: None, perhaps_ours: false }),
            restored(Restoration::AlreadyLogging { since, perhaps_ours: false }),
            restored(Restoration::AlreadyLogging { since, perhaps_ours: true }),
            restored(Restoration::Unverified { detail: "GetTrailStatus: AccessDeniedException".to_owned() }),
            restored(Restoration::Gone),
            restored(Restoration::Refused { detail: "StartLogging: AccessDeniedException".to_owned() }),
        ];
        let mut all: Vec<_> = ends.iter().map(|end| (&stop, Mode::Restore, Seen::Ended(end))).collect();
        all.extend([
            (&root, Mode::Restore, Seen::Ended(&ends[0])),
            (&stop, Mode::Restore, Seen::Delayed { detail: "StartLogging: ThrottlingException" }),
            (
                &stop,
                Mode::Restore,
                Seen::GaveUp { detail: "StartLogging: ThrottlingException", attempts: 10 },
            ),
            (&unnamed, Mode::Restore, Seen::Nothing),
            (&stop, Mode::Notify, Seen::Nothing),
            (&deleted, Mode::Restore, Seen::Nothing),
            (&denied, Mode::Restore, Seen::Nothing),
            (&denied_delete, Mode::Restore, Seen::Nothing),
        ]);
        let said: Vec<_> = all
            .into_iter()
            .map(|(event, mode, seen)| view(event, mode, seen))
            .map(|view| {
                let View { severity, headline, seen, .. } = &view;
                format!("{severity:?}: {headline}\n  {}\n  off: {}", view.text(), seen[0].value)
            })
            .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn failure_is_at_least_as_loud_as_success() {
        let event = stopped(|_| {});
        let severity = |seen: Seen| view(&event, Mode::Restore, seen).severity;
        let ended = |outcome| severity(Seen::Ended(&restored(outcome)));
        let success = ended(Restoration::Restarted);
        for outcome in [
            Restoration::Refused { detail: String::new() },
            Restoration::Unverified { detail: String::new() },
            Restoration::Gone,
        ] {
            assert!(ended(outcome.clone()) >= success, "{outcome:?}");
        }
        assert!(severity(Seen::Delayed { detail: "" }) >= success);
        assert!(severity(Seen::GaveUp { detail: "", attempts: 1 }) >= success);
        assert!(view(&event, Mode::Notify, Seen::Nothing).severity >= success);
    }
}
