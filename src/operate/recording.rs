//! From a file of recorded events to messages for the queue. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::ResourceArgs;
use crate::event::{self, About, Event, Kind, Malformed};

/// What some editors and shells begin a text with.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// One event of a file.
#[derive(Clone, PartialEq)]
pub(super) struct Recorded {
    /// The message: an EventBridge envelope.
    pub(super) body: String,
    /// What it says.
    pub(super) event: Event,
    /// Whether it stands in a log file or a list, among all else that happened in the account.
    pub(super) logged: bool,
}

impl Recorded {
    /// Whether it says something about CloudTrail. A list holds everything; an event that was given by itself was meant.
    pub(super) fn concerns_cloudtrail(&self) -> bool {
        !self.logged || self.event.kind != Kind::Other
    }

    /// Whether it is about something of CloudTrail's, as far as that is known. An account has many buckets and keys, and
    /// the calls on them are everyday calls; of other things that it has many of, nobody can name one.
    pub(super) fn is_named(&self, ours: &ResourceArgs) -> bool {
        let resource = self.event.resource.as_deref();
        match self.event.call.map(|call| call.about) {
            Some(About::Bucket) => ours.buckets.iter().any(|bucket| resource == Some(bucket_name(bucket))),
            Some(About::Key) => ours.keys.iter().any(|key| resource.map(key_id) == Some(key_id(key))),
            Some(about) if about.is_everyday() => !self.logged,
            _ => true,
        }
    }
}

/// The name of a bucket that is named by its name, its ARN or its address.
fn bucket_name(bucket: &str) -> &str {
    let name = bucket.strip_prefix("s3://").or_else(|| bucket.rsplit_once(":::").map(|(_, name)| name));
    name.unwrap_or(bucket).trim_end_matches('/')
}

/// The id of a key that is named by its id or its ARN; an alias as it is, or at the end of its ARN.
fn key_id(key: &str) -> &str {
    let name = key.rsplit_once(':').map_or(key, |(_, name)| name);
    name.strip_prefix("key/").unwrap_or(name)
}

/// Bodies are not for logs.
impl fmt::Debug for Recorded {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter
            .debug_struct("Recorded")
            .field("body_bytes", &self.body.len())
            .field("event_id", &self.event.id)
            .field("logged", &self.logged)
            .finish_non_exhaustive()
    }
}

/// Why a file is no recording. The texts hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotARecording {
    #[error("it is empty")]
    Empty,
    /// Not JSON, or broken off.
    #[error("it is not readable JSON, at line {0}, column {1}")]
    NotJson(usize, usize),
    /// JSON of another kind.
    #[error(
        "it holds something that is neither an EventBridge envelope, nor a CloudTrail record, log file or list of records"
    )]
    Foreign,
}

/// Why one record of a file is no event. The texts hold nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAnEvent {
    /// JSON of another kind.
    #[error("it is neither an EventBridge envelope nor a CloudTrail record")]
    Foreign,
    /// The worker could not read it either.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// What tells the forms apart, and what an envelope takes over from its record. Nothing of the rest is looked at.
#[derive(Deserialize)]
struct Document<'a> {
    /// Of a log file.
    #[serde(rename = "Records", borrow)]
    records: Option<Vec<&'a RawValue>>,
    /// Of what `lookup-events` prints.
    #[serde(rename = "Events", borrow)]
    events: Option<Vec<&'a RawValue>>,
    /// Of one of these: the record, as text.
    #[serde(rename = "CloudTrailEvent")]
    looked_up: Option<String>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(rename = "eventID", borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(rename = "eventName", borrow)]
    event_name: Option<&'a RawValue>,
    #[serde(rename = "eventSource", borrow)]
    event_source: Option<&'a RawValue>,
    #[serde(rename = "eventTime", borrow)]
    event_time: Option<&'a RawValue>,
    #[serde(rename = "awsRegion", borrow)]
    region: Option<&'a RawValue>,
    #[serde(rename = "recipientAccountId", borrow)]
    account: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    version: &'static str,
    id: Option<&'a RawValue>,
    #[serde(rename = "detail-type")]
    detail_type: &'static str,
    source: String,
    account: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
    region: Option<&'a RawValue>,
    resources: [(); 0],
    detail: &'a RawValue,
}

/// Reads a file: one JSON value or several, each an event or a list of them; several are a list themselves. Each event is handed to `take`, in order, or
/// what is wrong with it.
///
/// # Errors
/// When the file is no recording; what was taken until then is worth nothing.
pub(super) fn read(
    text: &str,
    mut take: impl FnMut(Result<Recorded, NotAnEvent>),
) -> Result<(), NotARecording> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if text.trim().is_empty() {
        return Err(NotARecording::Empty);
    }
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let values: Result<Vec<_>, _> = values.collect();
    let values = values.map_err(|error| NotARecording::NotJson(error.line(), error.column()))?;
    // One behind the other they are a list, too.
    let several = values.len() > 1;
    for value in values {
        // What SNS wrapped is read as if it had been given.
        let message = event::sns_message(value.get());
        let value = message.as_deref().unwrap_or(value.get());
        match list(value) {
            Some(records) => records.into_iter().for_each(|record| take(recorded(record.get(), true))),
            None => match recorded(value, several) {
                Err(NotAnEvent::Foreign) if !several => return Err(NotARecording::Foreign),
                event => take(event),
            },
        }
    }
    Ok(())
}

fn document(value: &str) -> Option<Document<'_>> {
    serde_json::from_str(value).ok()
}

/// The records of a log file, an array or a lookup.
fn list(value: &str) -> Option<Vec<&RawValue>> {
    if value.starts_with('[') {
        return serde_json::from_str(value).ok();
    }
    let document = document(value)?;
    document.records.or(document.events)
}

fn recorded(value: &str, logged: bool) -> Result<Recorded, NotAnEvent> {
    // As `lookup-events --query 'Events[].CloudTrailEvent'` prints it.
    if let Ok(record) = serde_json::from_str::<String>(value) {
        return unwrapped(&record, logged);
    }
    if let Some(message) = event::sns_message(value) {
        return unwrapped(&message, logged);
    }
    match document(value).ok_or(NotAnEvent::Foreign)?.looked_up {
        Some(record) => unwrapped(&record, logged),
        None => unwrapped(value, logged),
    }
}

/// An envelope or a record.
fn unwrapped(value: &str, logged: bool) -> Result<Recorded, NotAnEvent> {
    let document = document(value).ok_or(NotAnEvent::Foreign)?;
    let body = if document.detail.is_some() {
        value.to_owned()
    } else if document.event_id.is_some() || document.event_name.is_some() {
        in_envelope(serde_json::from_str(value).map_err(|_| NotAnEvent::Foreign)?, &document)
    } else {
        return Err(NotAnEvent::Foreign);
    };
    let event = event::parse(&body)?;
    Ok(Recorded { body, event, logged })
}

/// As EventBridge wraps it.
fn in_envelope(record: &RawValue, document: &Document) -> String {
    let service = document.event_source.map_or("", RawValue::get).trim_matches('"');
    let envelope = Envelope {
        version: "0",
        id: document.event_id,
        detail_type: "AWS API Call via CloudTrail",
        source: format!("aws.{}", service.split('.').next().unwrap_or_default()),
        account: document.account,
        time: document.event_time,
        region: document.region,
        resources: [],
        detail: record,
    };
    // Nothing in it can fail to be written as JSON.
    serde_json::to_string(&envelope).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(id: &str, name: &str) -> Value {
        json!({
            "eventID": id, "eventName": name, "eventSource": "cloudtrail.amazonaws.com",
            "eventTime": "2026-11-20T09:15:02Z", "awsRegion": "eu-west-1",
            "recipientAccountId": "111122223333", "requestParameters": { "name": "audit" },
        })
    }

    fn read(text: &str) -> Result<Vec<Result<Recorded, NotAnEvent>>, NotARecording> {
        let mut all = Vec::new();
        super::read(text, |event| all.push(event)).map(|()| all)
    }

    fn ids(text: &str) -> Vec<String> {
        let events = read(text).expect("a recording");
        events.iter().map(|event| event.as_ref().expect("an event").event.id.to_string()).collect()
    }

    #[test]
    fn a_record_is_put_into_an_envelope_as_eventbridge_does() {
        let record = record("e-1", "StopLogging");
        let events = read(&record.to_string()).expect("a recording");
        let body = &events[0].as_ref().expect("an event").body;
        let envelope: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(envelope["detail"], record);
        assert_eq!(envelope["source"], "aws.cloudtrail");
        assert_eq!(envelope["account"], "111122223333");
        assert_eq!(envelope["region"], "eu-west-1");
        assert_eq!(envelope["time"], "2026-11-20T09:15:02Z");
        assert_eq!(read(body).expect("a recording")[0].as_ref().expect("an event").body, *body, "as it is");
    }

    #[test]
    fn all_forms_may_follow_each_other() {
        let envelope = json!({ "detail": record("e-1", "StopLogging") });
        let file = json!({ "Records": [record("e-2", "StopLogging"), record("e-3", "DescribeTrails")] });
        let text = format!("{envelope}\n{:#}\n{file}\n", record("e-4", "StartLogging"));
        assert_eq!(ids(&text), ["e-1", "e-4", "e-2", "e-3"]);
        let events = read(&text).expect("a recording");
        let concerns = |event: &Result<Recorded, _>| event.as_ref().expect("an event").concerns_cloudtrail();
        let meant: Vec<_> = events.iter().map(concerns).collect();
        assert_eq!(meant, [true, false, true, false], "of a list only what concerns us");
    }

    #[test]
    fn lists_lookups_and_notifications_are_read_as_the_events_in_them() {
        let plain = record("e-1", "StopLogging");
        let looked_up =
            json!({ "EventId": "e-1", "EventName": "StopLogging", "CloudTrailEvent": plain.to_string() });
        let wrapped = |message: &Value| json!({ "Type": "Notification", "MessageId": "m-1", "Message": message.to_string() });
        let envelope = json!({ "detail": plain });
        for (form, logged) in [
            (json!([plain]), true),
            (json!([envelope]), true),
            (json!([looked_up]), true),
            (json!({ "Events": [looked_up], "NextToken": "t" }), true),
            (looked_up.clone(), false),
            (wrapped(&envelope), false),
            (wrapped(&plain), false),
            (wrapped(&json!({ "Records": [plain] })), true),
            (json!([wrapped(&envelope)]), true),
            (json!([plain.to_string()]), true),
        ] {
            let events = read(&form.to_string()).expect("a recording");
            let event = events[0].as_ref().expect("an event");
            let body: Value = serde_json::from_str(&event.body).expect("JSON");
            assert_eq!((&body["detail"], event.logged, events.len()), (&plain, logged, 1), "{form}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_id_or_its_arn() {
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/k-1";
        assert_eq!((key_id(arn), key_id("k-1"), key_id("alias/k-1")), ("k-1", "k-1", "alias/k-1"));
        assert_eq!(key_id("arn:aws:kms:eu-west-1:111122223333:alias/k-1"), "alias/k-1");
        for bucket in ["logs", "arn:aws:s3:::logs", "s3://logs", "s3://logs/"] {
            assert_eq!(bucket_name(bucket), "logs");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(ids(&format!("\u{feff}{}", record("e-1", "StopLogging"))), ["e-1"]);
        assert_eq!(read("\u{feff}\n"), Err(NotARecording::Empty));
    }

    #[test]
    fn a_body_is_in_no_debug_text() {
        let events = read(&record("e-1", "StopLogging").to_string()).expect("a recording");
        let told = format!("{events:?}");
        assert!(told.contains("body_bytes") && !told.contains("audit"), "{told}");
    }

    #[test]
    fn what_is_no_recording_is_told_from_an_event_that_is_malformed() {
        assert_eq!(read(" \n"), Err(NotARecording::Empty));
        assert_eq!(read("{\"detail\": {"), Err(NotARecording::NotJson(1, 12)));
        for text in ["1", "{}", "{\"Records\": {}}", "{\"Type\": \"Notification\", \"Message\": \"{}\"}"] {
            assert_eq!(read(text), Err(NotARecording::Foreign), "{text}");
        }
        let odd = json!({ "Records": [{ "eventID": "e-1" }, 1, {}, [], record("e-2", "StopLogging")] });
        let events = read(&odd.to_string()).expect("a recording");
        assert!(matches!(events[0], Err(NotAnEvent::Malformed(Malformed::NoName(_)))));
        assert!(events[1..4].iter().all(|event| *event == Err(NotAnEvent::Foreign)), "{events:?}");
        assert!(events[4].is_ok());
        for empty in ["{\"Records\": []}", "{\"Events\": []}", "[]"] {
            assert_eq!(read(empty), Ok(Vec::new()));
        }
    }
}
