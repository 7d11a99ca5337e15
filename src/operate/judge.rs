//! From what AWS says of a queue to what is wrong with it. Pure.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::finding::{Check, Finding, Status};
use crate::consumer::redrive::RedrivePolicy;

/// How far this machine's clock may be off. AWS refuses signatures at five minutes; leases and the times that
/// people are told are wrong before that.
const MAX_CLOCK_OFFSET: Duration = Duration::from_mins(1);

/// A queue's attributes, by SQS's names for them.
pub(super) type Attributes = HashMap<String, String>;

/// The redrive policy: there, naming a dead-letter queue, and patient.
pub(super) fn redrive(
    attributes: &Attributes,
    queue_url: &str,
    named: Option<&str>,
    max_attempts: u32,
) -> Finding {
    let check = Check::QueueRedrive;
    let set_one = "give the queue a redrive policy with a dead-letter queue and maxReceiveCount 20";
    let Some(policy) = attributes.get("RedrivePolicy") else {
        return Finding::failed(check, "the queue has no redrive policy", set_one);
    };
    let parsed = RedrivePolicy::parse(policy);
    let Some((policy, url)) = parsed
        .and_then(|policy| Some((policy.dead_letter_url(queue_url)?, policy)))
        .map(|(url, policy)| (policy, url))
    else {
        return Finding::failed(check, "the redrive policy cannot be read", set_one);
    };
    let count = policy.max_receive_count;
    if count < max_attempts {
        let found = format!(
            "SQS gives a message up after {count} receives, before the worker's {max_attempts} attempts are over"
        );
        let todo = format!(
            "set maxReceiveCount to {} or more: deploys and throttles are receives too",
            max_attempts * 2
        );
        return Finding::failed(check, found, todo);
    }
    if let Some(named) = named.filter(|named| *named != url) {
        let found = format!("the redrive policy names {url}, and TRAILKEEPER_DLQ_URL {named}");
        return Finding::new(check, Status::Warning, found, "let both name one queue, or watch both");
    }
    if count < max_attempts * 2 {
        let found =
            format!("maxReceiveCount is {count}, hardly more than the worker's {max_attempts} attempts");
        let todo = format!("set it to {} or more: deploys and throttles are receives too", max_attempts * 2);
        return Finding::new(check, Status::Warning, found, todo);
    }
    Finding::ok(check, format!("after {count} receives to {url}"))
}

/// The queue's own visibility timeout, for whoever receives without naming one.
pub(super) fn visibility(attributes: &Attributes, wanted: Duration) -> Finding {
    let check = Check::QueueVisibility;
    let (own, wanted) = (seconds(attributes, "VisibilityTimeout").unwrap_or_default(), wanted.as_secs());
    if own >= wanted {
        return Finding::ok(check, format!("{own} s"));
    }
    let found =
        format!("the queue's visibility timeout is {own} s, below the {wanted} s that the worker sets");
    Finding::failed(check, found, format!("set the queue's VisibilityTimeout to {wanted}"))
}

/// How long dead letters are kept. SQS leaves a message its age when it moves it.
pub(super) fn retention(queue: &Attributes, dead_letters: &Attributes) -> Finding {
    let check = Check::DeadLettersRetention;
    let (Some(source), Some(own)) =
        (seconds(queue, "MessageRetentionPeriod"), seconds(dead_letters, "MessageRetentionPeriod"))
    else {
        let found = "SQS does not say how long the queues keep messages";
        return Finding::new(check, Status::Unknown, found, "look at MessageRetentionPeriod of both queues");
    };
    let todo = "set the dead-letter queue's MessageRetentionPeriod to 1209600 (14 days)";
    let found = format!("dead letters are kept for {}, messages for {}", period(own), period(source));
    match own.cmp(&source) {
        std::cmp::Ordering::Greater => Finding::ok(check, found),
        std::cmp::Ordering::Equal => {
            let found = format!("{found}: one that SQS moves may be gone before anybody has seen it");
            Finding::new(check, Status::Warning, found, todo)
        }
        std::cmp::Ordering::Less => {
            Finding::failed(check, format!("{found}: SQS leaves a message its age when it moves it"), todo)
        }
    }
}

/// This machine's clock; `offset` is how far it is off.
pub(super) fn clock(offset: Duration) -> Finding {
    let seconds = offset.as_secs();
    if offset <= MAX_CLOCK_OFFSET {
        return Finding::ok(Check::Clock, format!("within {} s of AWS's", seconds.max(1)));
    }
    let found = format!("this machine's clock is off by {seconds} s");
    Finding::failed(
        Check::Clock,
        found,
        "let it be set from the network: AWS refuses requests at five minutes",
    )
}

/// Who may send to the queue: EventBridge, and not everybody.
pub(super) fn policy(attributes: &Attributes) -> Finding {
    let check = Check::QueuePolicy;
    let allow =
        "allow sqs:SendMessage to the service events.amazonaws.com, with your rule's ARN in aws:SourceArn";
    let Some(text) = attributes.get("Policy").filter(|text| !text.is_empty()) else {
        let found = "the queue has no policy: EventBridge may not send to it";
        return Finding::failed(check, found, allow);
    };
    let Ok(policy) = serde_json::from_str::<Value>(text) else {
        return Finding::failed(check, "the queue's policy is not JSON", allow);
    };
    let statements = list(&policy["Statement"]);
    let about_sending = || statements.iter().copied().filter(|statement| covers_sending(statement));
    let allowing = || about_sending().filter(|statement| statement["Effect"] == "Allow");
    if allowing().any(|statement| is_everybody(statement) && !says_from_whom(statement)) {
        let found = "the queue's policy lets everybody send to it";
        return Finding::failed(check, found, format!("take that statement out, and {allow}"));
    }
    let denied = about_sending().any(|statement| {
        statement["Effect"] == "Deny"
            && statement.get("Condition").is_none()
            && (is_everybody(statement) || is_eventbridge(statement))
    });
    if denied {
        let found = "the queue's policy denies EventBridge to send to it";
        return Finding::failed(check, found, "take that statement out");
    }
    let lets_in = || allowing().filter(|statement| is_everybody(statement) || is_eventbridge(statement));
    if lets_in().next().is_none() {
        let found = "the queue's policy does not let EventBridge send to it";
        return Finding::failed(check, found, allow);
    }
    if lets_in().any(|statement| !says_from_whom(statement)) {
        let found = "the queue's policy lets EventBridge send for any rule of any account";
        return Finding::new(
            check,
            Status::Warning,
            found,
            "name your rule's ARN in a condition on aws:SourceArn",
        );
    }
    Finding::ok(check, "EventBridge may send, for the rules it names")
}

fn covers_sending(statement: &Value) -> bool {
    let is_sending = |action: &str| {
        let action = action.to_ascii_lowercase();
        match action.strip_suffix('*') {
            Some(start) => "sqs:sendmessage".starts_with(start),
            None => action == "sqs:sendmessage",
        }
    };
    match statement.get("NotAction") {
        Some(others) => !texts(others).any(is_sending),
        None => texts(&statement["Action"]).any(is_sending),
    }
}

fn is_everybody(statement: &Value) -> bool {
    let principal = &statement["Principal"];
    statement.get("NotPrincipal").is_some()
        || texts(principal).chain(texts(&principal["AWS"])).any(|principal| principal == "*")
}

fn is_eventbridge(statement: &Value) -> bool {
    texts(&statement["Principal"]["Service"]).any(|service| service == "events.amazonaws.com")
}

/// Whether a condition names a source, an account or an organization, and not all of them.
fn says_from_whom(statement: &Value) -> bool {
    const WHOM: [&str; 10] = [
        "aws:sourcearn",
        "aws:sourceaccount",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:principalarn",
        "aws:principalaccount",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:sourcevpc",
        "aws:sourcevpce",
    ];
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.filter(|(operator, _)| !operator.contains("Not")).any(|(_, keys)| {
        let mut keys = keys.as_object().into_iter().flatten();
        keys.any(|(key, values)| {
            WHOM.contains(&key.to_ascii_lowercase().as_str()) && texts(values).all(|value| value != "*")
        })
    })
}

/// A value as a list: policies leave the brackets out around one.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    list(value).into_iter().filter_map(Value::as_str)
}

fn seconds(attributes: &Attributes, name: &str) -> Option<u64> {
    attributes.get(name)?.parse().ok()
}

fn period(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3_600) {
        (0, 0) => format!("{seconds} s"),
        (0, hours) => format!("{hours} h"),
        (days, _) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_redrive_policy_is_there_patient_and_points_where_it_should() {
        const URL: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/events";
        const DEAD: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/poison";
        let policy = |count: &str| {
            format!(
                r#"{{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:poison","maxReceiveCount":{count}}}"#
            )
        };
        let told = |policy: Option<String>, named: Option<&str>| {
            let attributes =
                policy.map(|policy| attributes(&[("RedrivePolicy", &policy)])).unwrap_or_default();
            redrive(&attributes, URL, named, 10).status
        };
        assert_eq!(told(None, None), Status::Failed);
        assert_eq!(told(Some("{}".to_owned()), None), Status::Failed);
        assert_eq!(told(Some(policy("9")), None), Status::Failed);
        assert_eq!(told(Some(policy("10")), None), Status::Warning);
        assert_eq!(told(Some(policy("20")), None), Status::Ok);
        assert_eq!(told(Some(policy("\"20\"")), Some(DEAD)), Status::Ok);
        assert_eq!(told(Some(policy("20")), Some(URL)), Status::Warning);
    }

    #[test]
    fn visibility_and_retention_are_long_enough() {
        let told =
            |own| visibility(&attributes(&[("VisibilityTimeout", own)]), Duration::from_mins(2)).status;
        assert_eq!((told("30"), told("120"), told("300")), (Status::Failed, Status::Ok, Status::Ok));
        let keeps = |period| attributes(&[("MessageRetentionPeriod", period)]);
        let told = |source, own| retention(&keeps(source), &keeps(own)).status;
        assert_eq!(told("345600", "1209600"), Status::Ok);
        assert_eq!(told("345600", "345600"), Status::Warning);
        assert_eq!(told("345600", "60"), Status::Failed);
        assert_eq!(retention(&Attributes::new(), &keeps("1")).status, Status::Unknown);
    }

    #[test]
    fn a_minute_is_the_most_that_a_clock_may_be_off() {
        assert_eq!(clock(Duration::from_mins(1)).status, Status::Ok);
        assert_eq!(clock(Duration::from_secs(61)).status, Status::Failed);
    }

    #[test]
    fn eventbridge_may_send_and_not_everybody() {
        let eventbridge = json!({ "Service": "events.amazonaws.com" });
        let rule =
            json!({ "ArnEquals": { "aws:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/stop" } });
        let statement = |effect: &str, principal: &Value, action: Value, condition: Option<&Value>| {
            let mut statement =
                json!({ "Effect": effect, "Principal": principal, "Action": action, "Resource": "*" });
            if let Some(condition) = condition {
                statement["Condition"] = condition.clone();
            }
            statement
        };
        let send = || json!("sqs:SendMessage");
        let good = statement("Allow", &eventbridge, send(), Some(&rule));
        let table = [
            ("a rule's", json!([good]), Status::Ok),
            ("one statement without brackets", good.clone(), Status::Ok),
            ("no statements", json!([]), Status::Failed),
            ("any rule's", json!([statement("Allow", &eventbridge, send(), None)]), Status::Warning),
            (
                "every action",
                json!([statement("Allow", &eventbridge, json!(["SQS:*"]), Some(&rule))]),
                Status::Ok,
            ),
            (
                "another action",
                json!([statement("Allow", &eventbridge, json!("sqs:ReceiveMessage"), Some(&rule))]),
                Status::Failed,
            ),
            (
                "another service",
                json!([statement("Allow", &json!({ "Service": "sns.amazonaws.com" }), send(), Some(&rule))]),
                Status::Failed,
            ),
            ("everybody", json!([good, statement("Allow", &json!("*"), send(), None)]), Status::Failed),
            (
                "everybody by account",
                json!([good, statement("Allow", &json!({ "AWS": ["*"] }), json!("*"), None)]),
                Status::Failed,
            ),
            (
                "everybody over TLS",
                json!([
                    good,
                    statement(
                        "Allow",
                        &json!("*"),
                        send(),
                        Some(&json!({ "Bool": { "aws:SecureTransport": "true" } }))
                    )
                ]),
                Status::Failed,
            ),
            (
                "everybody from any source",
                json!([statement(
                    "Allow",
                    &json!("*"),
                    send(),
                    Some(&json!({ "ArnLike": { "aws:SourceArn": "*" } }))
                )]),
                Status::Failed,
            ),
            (
                "everybody but one",
                json!([statement(
                    "Allow",
                    &json!("*"),
                    send(),
                    Some(&json!({ "StringNotEquals": { "aws:SourceAccount": "1" } }))
                )]),
                Status::Failed,
            ),
            (
                "everybody for one rule",
                json!([statement("Allow", &json!("*"), send(), Some(&rule))]),
                Status::Ok,
            ),
            ("denied", json!([good, statement("Deny", &json!("*"), send(), None)]), Status::Failed),
            (
                "denied without TLS",
                json!([
                    good,
                    statement(
                        "Deny",
                        &json!("*"),
                        json!("sqs:*"),
                        Some(&json!({ "Bool": { "aws:SecureTransport": "false" } }))
                    )
                ]),
                Status::Ok,
            ),
        ];
        for (name, statements, expected) in table {
            let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
            let found = policy(&attributes(&[("Policy", &text)]));
            assert_eq!(found.status, expected, "{name}: {found:?}");
        }
        assert_eq!(policy(&Attributes::new()).status, Status::Failed);
        assert_eq!(policy(&attributes(&[("Policy", "nonsense")])).status, Status::Failed);
    }
}
