//! From an incident to a Slack message. Pure.
//!
//! Every value in an event was, or could have been, chosen by the person it accuses. Values are stripped of
//! control and direction marks, cut, and escaped; nothing of them can become a mention, a link or a layout.
//! Limits: <https://docs.slack.dev/reference/block-kit/blocks/section-block>

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::event::{AccountId, Event, Kind, Region, TrailArn, partition_of};
use crate::state::{Restoration, Restored};

/// The longest value shown, in characters before escaping: with every one of them escaped (`&amp;`), the
/// sentence with its four values stays below Slack's 3,000 and a field below its 2,000.
const MAX_VALUE_CHARS: usize = 128;
/// The same for a reason that we wrote ourselves.
const MAX_DETAIL_CHARS: usize = 200;
/// Longer than SQS keeps any message: whoever says that logging was off for longer than this did not measure.
const MAX_BLIND: Duration = Duration::from_hours(14 * 24);

/// Said when it was not written down that this was told.
const MAY_REPEAT: &str = " (The state table is not available: this message may come twice.)";

/// What there is to say about an event.
#[derive(Debug, Clone, Copy)]
pub enum Report<'a> {
    /// A trail was stopped, and the restart has come to an end.
    Ended(&'a Restored),
    /// A trail was stopped, and the restart takes longer than people should wait to hear of it.
    Delayed {
        /// Why.
        detail: &'a str,
    },
    /// A trail was stopped, and the worker has tried as often as it may.
    GaveUp {
        /// The last failure.
        detail: &'a str,
        /// How often.
        attempts: u32,
    },
    /// A trail was stopped, and the worker is configured to only tell.
    Untouched,
    /// Another call that weakens CloudTrail, or a call that failed.
    Seen,
}

/// How loud a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody tried and failed.
    Medium,
    /// Somebody did it.
    High,
    /// The account is blind still, or it was root.
    Critical,
}

/// A message, ready to be posted.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The whole story in a few sentences, for notifications and for readers without blocks.
    pub text: String,
    /// See [`Severity`].
    pub severity: Severity,
    blocks: Value,
}

impl Message {
    /// Writes the message about an event. `may_repeat` adds that the same may be told twice.
    #[must_use]
    pub fn new(event: &Event, report: Report, may_repeat: bool) -> Self {
        let severity = severity(event, report);
        let outcome = outcome(event, report);
        let repeat = if may_repeat { MAY_REPEAT } else { "" };
        let text = format!("{}. {outcome}{repeat}", deed(event));
        let blocks = blocks(event, report, severity, &text, &outcome);
        Self { text, severity, blocks }
    }

    /// The fields beside the text, label and value, as Slack is sent them.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.blocks[2]["fields"].as_array().into_iter().flatten();
        fields.filter_map(|field| field["text"].as_str()?.strip_prefix('*')?.split_once("*\n"))
    }

    /// The small print below, as Slack is sent it.
    #[must_use]
    pub fn context(&self) -> &str {
        self.blocks[3]["elements"][0]["text"].as_str().unwrap_or_default()
    }

    /// The body of the post.
    #[must_use]
    pub fn payload(&self) -> Value {
        json!({
            "text": self.text,
            "blocks": self.blocks,
            // Nothing in the text becomes a link, a mention or a preview.
            "mrkdwn": false,
            "parse": "none",
            "link_names": false,
            "unfurl_links": false,
            "unfurl_media": false,
        })
    }
}

/// Who did what, where and when.
fn deed(event: &Event) -> String {
    let who = shown(&event.actor.who);
    let account = event.account.as_ref().map_or("unknown", AccountId::as_str);
    let when = event.time.map_or_else(|| "an unknown time".to_owned(), stamp);
    let place = format!("in account {account} at {when}");
    let name = shown(&event.name);
    let on = event.resource.as_deref().map(|resource| format!(" on {}", shown(resource))).unwrap_or_default();
    match (event.kind, event.name.as_str()) {
        (Kind::Stopped, _) => format!("{who} turned off CloudTrail logging {place}"),
        (Kind::Attempted, "StopLogging") => format!("{who} tried to turn off CloudTrail logging {place}"),
        (Kind::Attempted, _) => format!("{who} tried to weaken CloudTrail {place} by {name}{on}"),
        (Kind::Weakened | Kind::Other, _) => format!("{who} weakened CloudTrail {place} by {name}{on}"),
    }
}

/// What came of it.
fn outcome(event: &Event, report: Report) -> String {
    match report {
        Report::Ended(restored) => match &restored.outcome {
            Restoration::Restarted => on_again("Logging was restarted and verified", event, restored),
            Restoration::AlreadyLogging { perhaps_ours: false, .. } => {
                on_again("Logging was already on again and nothing was restarted", event, restored)
            }
            Restoration::AlreadyLogging { perhaps_ours: true, .. } => on_again(
                "Logging is on again: it was restarted by an earlier attempt of trailkeeper's or by somebody else",
                event,
                restored,
            ),
            Restoration::Unverified { detail } => format!(
                "Logging was started, and it could not be verified that it runs: LOOK AT THE TRAIL. {}",
                cut_shown(detail, MAX_DETAIL_CHARS)
            ),
            Restoration::Gone => {
                "The trail no longer exists, so logging cannot be restarted: LOGGING IS OFF.".to_owned()
            }
            Restoration::Refused { detail } => {
                format!(
                    "LOGGING IS STILL OFF: the restart was refused. {}",
                    cut_shown(detail, MAX_DETAIL_CHARS)
                )
            }
        },
        Report::Delayed { detail } => format!(
            "LOGGING IS STILL OFF: the restart is being retried. {}",
            cut_shown(detail, MAX_DETAIL_CHARS)
        ),
        Report::GaveUp { detail, attempts } => format!(
            "LOGGING IS STILL OFF: giving up after {attempts} attempts. {}",
            cut_shown(detail, MAX_DETAIL_CHARS)
        ),
        Report::Untouched => {
            "LOGGING IS OFF: trailkeeper only notifies here and restarted nothing.".to_owned()
        }
        Report::Seen => match (event.kind, event.error_code.as_deref()) {
            (Kind::Attempted, Some(code)) => {
                format!("The call failed ({}); nothing was changed.", shown(code))
            }
            _ => "trailkeeper cannot undo this: somebody should look at it.".to_owned(),
        },
    }
}

/// Logging is on: how long it was off, and whether that is worth anything: what cannot be delivered is as good
/// as off.
fn on_again(how: &str, event: &Event, restored: &Restored) -> String {
    let off = blind(event, restored).map(|blind| format!("; it was off for {}", duration(blind)));
    let undelivered = restored
        .delivery_error
        .as_deref()
        .map(|error| format!(" BUT ITS LOGS CANNOT BE DELIVERED: {}", cut_shown(error, MAX_DETAIL_CHARS)));
    format!("{how}{}.{}", off.unwrap_or_default(), undelivered.unwrap_or_default())
}

fn severity(event: &Event, report: Report) -> Severity {
    let by_report = match report {
        Report::Ended(Restored {
            outcome: Restoration::Restarted | Restoration::AlreadyLogging { .. },
            delivery_error,
            ..
        }) if delivery_error.is_none() => Severity::High,
        Report::Seen if event.kind == Kind::Attempted => Severity::Medium,
        Report::Seen => Severity::High,
        _ => Severity::Critical,
    };
    // Nobody should be root at all.
    if event.actor.is_root { Severity::Critical } else { by_report }
}

/// How long logging was off, if that can be told.
fn blind(event: &Event, restored: &Restored) -> Option<Duration> {
    let stopped_at = restored.stopped_at.or(event.time)?;
    let on_at = match restored.outcome {
        Restoration::AlreadyLogging { since, .. } => since?,
        _ => restored.at,
    };
    let blind = Duration::try_from(on_at - stopped_at).ok()?;
    (blind <= MAX_BLIND).then_some(blind)
}

fn blocks(event: &Event, report: Report, severity: Severity, text: &str, outcome: &str) -> Value {
    let (mark, word) = match severity {
        Severity::Critical => (":rotating_light:", "CRITICAL"),
        Severity::High => (":warning:", "HIGH"),
        Severity::Medium => (":information_source:", "MEDIUM"),
    };
    let off = match report {
        Report::Ended(restored) => match restored.outcome {
            Restoration::Restarted | Restoration::AlreadyLogging { .. } => {
                blind(event, restored).map_or_else(|| "unknown".to_owned(), duration)
            }
            Restoration::Unverified { .. } => "unknown".to_owned(),
            Restoration::Gone | Restoration::Refused { .. } => "still off".to_owned(),
        },
        Report::Delayed { .. } | Report::GaveUp { .. } | Report::Untouched => "still off".to_owned(),
        Report::Seen => "not stopped".to_owned(),
    };
    let or_unknown = |value: Option<&str>| value.map_or_else(|| "unknown".to_owned(), shown);
    let fields = [
        ("Severity", word.to_owned()),
        ("Trail", or_unknown(event.resource.as_deref().map(trail_name))),
        ("Account", or_unknown(event.account.as_ref().map(AccountId::as_str))),
        ("Region", or_unknown(event.region.as_ref().map(Region::as_str))),
        ("Who", shown(&event.actor.who)),
        ("Source address", or_unknown(event.source_address.as_deref())),
        ("User agent", or_unknown(event.user_agent.as_deref())),
        ("Event time", event.time.map_or_else(|| "unknown".to_owned(), stamp)),
        ("Outcome", first_sentence(outcome).to_owned()),
        ("Logging was off", off),
    ];
    let fields: Vec<Value> =
        fields.iter().map(|(label, value)| mrkdwn(&format!("*{label}*\n{value}"))).collect();
    let mfa = match event.actor.mfa {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let key = or_unknown(event.actor.access_key_id.as_deref());
    let id = &event.id;
    let link = console_link(event).map_or_else(String::new, |url| format!(" · <{url}|open in the console>"));
    json!([
        { "type": "header", "text": { "type": "plain_text", "emoji": true, "text": format!("{mark} {word}: {}", headline(event, report)) } },
        { "type": "section", "text": mrkdwn(text) },
        { "type": "section", "fields": fields },
        { "type": "context", "elements": [
            mrkdwn(&format!("Event {id} · {} · access key {key} · MFA {mfa}{link}", shown(&event.name))),
        ] },
    ])
}

/// The few words on top; none of them is the event's.
fn headline(event: &Event, report: Report) -> &'static str {
    match report {
        Report::Ended(restored) => match restored.outcome {
            Restoration::Restarted => "CloudTrail was turned off, and is on again",
            Restoration::AlreadyLogging { .. } => "CloudTrail was turned off and on again",
            Restoration::Unverified { .. } => "CloudTrail was turned off, and started unseen",
            Restoration::Gone => "CloudTrail was turned off, and the trail is gone",
            Restoration::Refused { .. } => "CloudTrail is off, and may not be restarted",
        },
        Report::Delayed { .. } => "CloudTrail is off, and not yet restarted",
        Report::GaveUp { .. } => "CloudTrail is off, and could not be restarted",
        Report::Untouched => "CloudTrail was turned off",
        Report::Seen if event.kind == Kind::Attempted => "An attempt on CloudTrail failed",
        Report::Seen => "CloudTrail was weakened",
    }
}

/// An ARN's name alone: account and region stand beside it.
#[must_use]
pub fn trail_name(resource: &str) -> &str {
    match TrailArn::parse(resource) {
        Some(_) => resource.rsplit('/').next().unwrap_or(resource),
        None => resource,
    }
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

/// The event in the console; each partition has a host of its own, and some have none that is public.
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

/// `verbatim` keeps Slack from making links and mentions of plain text.
fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn shown(value: &str) -> String {
    cut_shown(value, MAX_VALUE_CHARS)
}

/// A value made harmless for Slack, its three characters escaped
/// (<https://docs.slack.dev/messaging/formatting-message-text#escaping>).
fn cut_shown(value: &str, max: usize) -> String {
    harmless(value, max).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A value without control and direction marks, of at most `max` characters.
#[must_use]
pub fn harmless(value: &str, max: usize) -> String {
    let mut harmless = String::with_capacity(value.len().min(max) + 8);
    for (position, char) in value.chars().enumerate() {
        if position == max {
            harmless.push('…');
            break;
        }
        harmless.push(if is_hidden(char) { '\u{fffd}' } else { char });
    }
    harmless
}

/// Control marks, and marks that change the direction of text or hide in it.
#[must_use]
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn stamp(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| "an unknown time".to_owned())
}

/// `3 s`, `4 min 10 s`, `2 h 5 min`, `3 d 1 h`: two units say enough.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, 0) => "less than 1 s".to_owned(),
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event;

    fn event(change: impl FnOnce(&mut Value)) -> Event {
        let mut event = json!({
            "account": "111122223333", "region": "eu-west-1",
            "detail": {
                "eventID": "3b8f0a52-0000-4000-8000-000000000001",
                "eventName": "StopLogging", "eventSource": "cloudtrail.amazonaws.com",
                "eventTime": "2026-11-20T09:15:02Z", "awsRegion": "eu-west-1",
                "recipientAccountId": "111122223333", "sourceIPAddress": "203.0.113.7",
                "userAgent": "aws-cli/2.31.1",
                "userIdentity": {
                    "type": "IAMUser", "userName": "mallory", "accessKeyId": "AKIAEXAMPLE",
                    "sessionContext": { "attributes": { "mfaAuthenticated": "false" } },
                },
                "requestParameters": { "name": "audit" },
            },
        });
        change(&mut event);
        event::parse(&event.to_string()).expect("an event")
    }

    fn restored(outcome: Restoration) -> Restored {
        let at = OffsetDateTime::parse("2026-11-20T09:15:09Z", &Rfc3339).expect("a time");
        Restored { outcome, at, stopped_at: None, delivery_error: None }
    }

    #[test]
    fn a_restart_in_full() {
        let restored = restored(Restoration::Restarted);
        insta::assert_json_snapshot!(Message::new(&event(|_| {}), Report::Ended(&restored), false).payload());
    }

    #[test]
    fn every_report_in_a_sentence() {
        let stopped = event(|_| {});
        let root =
            event(|event| event["detail"]["userIdentity"] = json!({ "type": "Root", "accountId": "1" }));
        let deleted = event(|event| event["detail"]["eventName"] = json!("DeleteTrail"));
        let denied = event(|event| event["detail"]["errorCode"] = json!("AccessDenied"));
        let denied_delete = event(|event| {
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
        let mut told: Vec<_> = ends.iter().map(|end| (&stopped, Report::Ended(end))).collect();
        told.extend([
            (&root, Report::Ended(&ends[0])),
            (&stopped, Report::Delayed { detail: "StartLogging: ThrottlingException" }),
            (&stopped, Report::GaveUp { detail: "StartLogging: ThrottlingException", attempts: 10 }),
            (&stopped, Report::Untouched),
            (&deleted, Report::Seen),
            (&denied, Report::Seen),
            (&denied_delete, Report::Seen),
        ]);
        let told: Vec<_> = told
            .into_iter()
            .map(|(event, report)| Message::new(event, report, false))
            .map(|message| format!("{:?}: {}", message.severity, message.text))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn failure_is_at_least_as_loud_as_success() {
        let event = event(|_| {});
        let severity = |outcome| Message::new(&event, Report::Ended(&restored(outcome)), false).severity;
        let success = severity(Restoration::Restarted);
        assert!(severity(Restoration::Refused { detail: String::new() }) >= success);
        assert!(severity(Restoration::Unverified { detail: String::new() }) >= success);
        assert!(severity(Restoration::Gone) >= success);
        for report in
            [Report::Delayed { detail: "" }, Report::GaveUp { detail: "", attempts: 1 }, Report::Untouched]
        {
            assert!(Message::new(&event, report, false).severity >= success);
        }
    }

    #[test]
    fn durations_are_told_in_two_units() {
        let told = |seconds| duration(Duration::from_secs(seconds));
        let all = [0, 1, 59, 60, 250, 3_600, 7_500, 86_400, 266_400].map(told);
        let expected = [
            "less than 1 s",
            "1 s",
            "59 s",
            "1 min 0 s",
            "4 min 10 s",
            "1 h 0 min",
            "2 h 5 min",
            "1 d 0 h",
            "3 d 2 h",
        ];
        assert_eq!(all, expected);
    }

    /// Every text object of a payload.
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
            _ => {}
        }
    }

    proptest! {
        /// Whatever stands in the event: Slack's limits hold, and no angle bracket is its own.
        #[test]
        fn no_value_breaks_out(value in "[&<>!@|a-z*_\u{202e}\u{0}-\u{1f}]{0,4000}", detail in "[&<>]{0,4000}") {
            let event = event(|event| {
                let detail = &mut event["detail"];
                for field in ["userAgent", "sourceIPAddress", "errorCode"] {
                    detail[field] = json!(value);
                }
                detail["requestParameters"]["name"] = json!(value);
                detail["userIdentity"]["userName"] = json!(value);
                detail["userIdentity"]["accessKeyId"] = json!(value);
            });
            let refused = restored(Restoration::Refused { detail });
            for report in [Report::Ended(&refused), Report::Seen] {
                let message = Message::new(&event, report, true);
                prop_assert!(message.text.chars().count() <= 3_000);
                let payload = message.payload();
                let blocks = payload["blocks"].as_array().expect("blocks");
                prop_assert!(blocks.len() <= 50);
                let fields = blocks[2]["fields"].as_array().expect("fields");
                prop_assert!(fields.len() <= 10);
                let mut found = Vec::new();
                texts(&payload, &mut found);
                for text in found {
                    prop_assert!(text.chars().count() <= 3_000);
                    let ours = text.replace(&format!("<{}|open in the console>", console_link(&event).expect("a link")), "");
                    prop_assert!(!ours.contains(['<', '>', '\u{202e}', '\u{0}']), "{ours}");
                }
                for field in fields {
                    prop_assert!(field["text"].as_str().expect("text").chars().count() <= 2_000);
                }
            }
        }
    }
}
