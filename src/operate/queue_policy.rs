//! From a queue's policy and key to whether EventBridge may send to it, and who else may. Pure.
//!
//! How AWS reads a policy:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>

use serde_json::Value;

use super::finding::{Check, Finding, Status};
use super::judge::Attributes;

/// Condition keys that a principal of IAM or a request through a VPC brings. A service's call has none.
const OF_CALLERS: [&str; 6] = [
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpce",
];

/// Condition keys that a service's call brings: for whom it is made.
const OF_SOURCES: [&str; 4] = ["aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceorgpaths"];

/// Who may send to the queue: EventBridge, and not everybody; and whether it can, if the queue is encrypted.
/// One finding of the two: what is unknown of a key stays unknown, and must not hide a warning for ever.
pub(super) fn judge(attributes: &Attributes) -> Finding {
    let senders = senders(attributes);
    match encryption(attributes) {
        Some(key) if senders.status == Status::Ok => key,
        Some(key) if key.status == Status::Failed && senders.status != Status::Failed => key,
        _ => senders,
    }
}

fn senders(attributes: &Attributes) -> Finding {
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
    let arn = attributes.get("QueueArn").map(String::as_str);
    let (allowing, denying): (Vec<_>, Vec<_>) = list(&policy["Statement"])
        .into_iter()
        .filter(|statement| is_about_sending(statement, arn))
        .partition(|statement| statement["Effect"] == "Allow");
    let open: Vec<_> =
        allowing.iter().filter(|statement| is_everybody(statement) && !names_whom(statement)).collect();
    let foreign: Vec<_> = open.iter().filter_map(|statement| foreign_condition(statement)).collect();
    if foreign.len() < open.len() {
        let found = "the queue's policy lets everybody send to it";
        return Finding::failed(check, found, format!("take out the statement that does, and {allow}"));
    }
    if denying.iter().any(|statement| statement.get("Condition").is_none() && takes_eventbridge(statement)) {
        let found = "the queue's policy forbids EventBridge to send to it";
        return Finding::failed(check, found, "remove the Deny, or except events.amazonaws.com from it");
    }
    if let Some(key) = foreign.first() {
        let found = format!(
            "the queue's policy lets everybody send to it on a condition that is not judged here, on {key}"
        );
        let todo = format!("make sure that only your rules meet it, or remove the statement and {allow}");
        return Finding::new(check, Status::Warning, found, todo);
    }
    let lets_in = |statement: &&Value| {
        takes_eventbridge(statement) && !asks_for_a_caller(statement) && !asks_for_another_source(statement)
    };
    let (letting_in, others): (Vec<_>, Vec<_>) = allowing.into_iter().partition(lets_in);
    if letting_in.is_empty() && others.into_iter().any(names_a_role) {
        let found = "the queue's policy lets a role send to it, and not EventBridge";
        let todo = format!("if each of your rules sends with such a role, leave it; otherwise {allow}");
        return Finding::new(check, Status::Warning, found, todo);
    }
    if letting_in.is_empty() {
        let found = "the queue's policy does not let EventBridge send to it";
        return Finding::failed(check, found, allow);
    }
    if letting_in.into_iter().any(|statement| !names_whom(statement)) {
        let found = "the queue's policy lets EventBridge send for any rule of any account";
        let todo = "name your rule's ARN in a condition on aws:SourceArn";
        return Finding::new(check, Status::Warning, found, todo);
    }
    Finding::ok(check, "EventBridge may send, for the rules it names")
}

/// The queue's key, which EventBridge must be allowed to use: it sends nothing that it cannot encrypt.
fn encryption(attributes: &Attributes) -> Option<Finding> {
    let check = Check::QueuePolicy;
    let key = attributes.get("KmsMasterKeyId").filter(|key| !key.is_empty())?;
    if key.ends_with("alias/aws/sqs") {
        let found = "the queue is encrypted with alias/aws/sqs, which EventBridge may not use: every event is dropped";
        let todo = "encrypt it with SqsManagedSseEnabled, or a key of yours that lets events.amazonaws.com kms:GenerateDataKey and kms:Decrypt";
        return Some(Finding::failed(check, found, todo));
    }
    let found = format!(
        "the queue is encrypted with {key}, and SQS does not say whether EventBridge may use that key"
    );
    let todo = "let the key's policy allow kms:GenerateDataKey and kms:Decrypt to events.amazonaws.com, or EventBridge drops every event";
    Some(Finding::new(check, Status::Unknown, found, todo))
}

fn is_about_sending(statement: &Value, queue: Option<&str>) -> bool {
    let is_sending = |pattern: &str| matches(&pattern.to_ascii_lowercase(), "sqs:sendmessage");
    let is_ours = |arn: &str| covers(statement, "Resource", |pattern| matches(pattern, arn));
    covers(statement, "Action", is_sending) && queue.is_none_or(is_ours)
}

/// Whether this element of a statement, or its opposite, covers what is meant. AWS takes no statement that
/// has neither; an emulator may, and then it is about everything.
fn covers(statement: &Value, element: &str, is_meant: impl Fn(&str) -> bool) -> bool {
    match (statement.get(element), statement.get(format!("Not{element}"))) {
        (Some(patterns), _) => texts(patterns).any(is_meant),
        (None, Some(patterns)) => !texts(patterns).any(is_meant),
        (None, None) => true,
    }
}

/// `*` is any text and `?` any one character. Goes once over the text for each character of the pattern:
/// others write the patterns, and none of them shall take for ever.
fn matches(pattern: &str, text: &str) -> bool {
    let text = text.as_bytes();
    // Whether the pattern so far matches the first so many bytes.
    let mut so_far = vec![false; text.len() + 1];
    so_far[0] = true;
    for wanted in pattern.bytes() {
        if wanted == b'*' {
            let first = so_far.iter().position(|matched| *matched).unwrap_or(so_far.len());
            so_far[first..].fill(true);
        } else {
            so_far.rotate_right(1);
            so_far[0] = false;
            for (matched, byte) in so_far[1..].iter_mut().zip(text) {
                *matched &= wanted == b'?' || wanted == *byte;
            }
        }
    }
    so_far[text.len()]
}

fn is_everybody(statement: &Value) -> bool {
    let principal = &statement["Principal"];
    statement.get("NotPrincipal").is_some()
        || texts(principal).chain(texts(&principal["AWS"])).any(|principal| principal == "*")
}

/// Whether EventBridge is among those whom a statement is about.
fn takes_eventbridge(statement: &Value) -> bool {
    match statement.get("NotPrincipal") {
        Some(others) => !is_eventbridge(others),
        None => is_everybody(statement) || is_eventbridge(&statement["Principal"]),
    }
}

fn is_eventbridge(principal: &Value) -> bool {
    texts(&principal["Service"]).any(|service| service == "events.amazonaws.com")
}

/// Whether a statement is about a role by its name: a rule of another account may send by one. The whole account, which
/// the console lets in by itself, says nothing of rules.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-cross-account.html>
fn names_a_role(statement: &Value) -> bool {
    texts(&statement["Principal"]["AWS"]).any(|principal| principal.contains(":role/"))
}

/// The key of a condition that is neither about callers nor about sources, and that a call must fulfil all the same.
fn foreign_condition(statement: &Value) -> Option<String> {
    let mut conditions = conditions(statement);
    let foreign = conditions.find(|(operator, key, values)| {
        // That it comes by TLS says nothing of who it is.
        !is_about_whom(key) && key != "aws:securetransport" && compares(operator, values)
    });
    foreign.map(|(_, key, _)| key)
}

/// Whether a condition holds only for calls that are made for something else than a rule of EventBridge's.
fn asks_for_another_source(statement: &Value) -> bool {
    let may_be_a_rule = |arn: &str| arn.split(':').nth(2).is_none_or(|service| matches(service, "events"));
    conditions(statement).any(|(operator, key, values)| {
        key == "aws:sourcearn" && compares(operator, values) && !texts(values).any(may_be_a_rule)
    })
}

/// Whether a condition holds only for principals of IAM or in a VPC: EventBridge is neither.
fn asks_for_a_caller(statement: &Value) -> bool {
    conditions(statement).any(|(operator, key, values)| {
        OF_CALLERS.contains(&key.as_str()) && !holds_without_key(operator, values)
    })
}

/// Whether a condition names a source, an account or an organization, and not all of them.
fn names_whom(statement: &Value) -> bool {
    conditions(statement).any(|(operator, key, values)| {
        is_about_whom(&key) && compares(operator, values) && texts(values).all(|value| names_one(&key, value))
    })
}

/// A statement's conditions: operator, key in small letters (AWS takes any) and values.
fn conditions(statement: &Value) -> impl Iterator<Item = (&str, String, &Value)> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, values)| (operator.as_str(), key.to_ascii_lowercase(), values))
    })
}

fn is_about_whom(key: &str) -> bool {
    OF_CALLERS.contains(&key) || OF_SOURCES.contains(&key)
}

/// Whether a condition looks at what its key says, and a call without the key does not fulfil it. `Null` only asks whether
/// there is one.
fn compares(operator: &str, values: &Value) -> bool {
    operator != "Null" && !holds_without_key(operator, values)
}

/// Whether a condition holds for a call that does not bring its key.
fn holds_without_key(operator: &str, values: &Value) -> bool {
    operator.contains("Not")
        || operator.ends_with("IfExists")
        || operator.starts_with("ForAllValues:")
        // As text or as a boolean, in brackets or not.
        || (operator == "Null" && values.to_string().contains("true"))
}

/// Whether a value picks out one account, organization or VPC, and not any.
fn names_one(key: &str, value: &str) -> bool {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    match key {
        "aws:sourcearn" | "aws:principalarn" => value.split(':').nth(4).is_some_and(is_account),
        "aws:sourceaccount" | "aws:principalaccount" => is_account(value),
        // A path begins with the organization's id, and may well end in `*`.
        _ => value.split('/').next().is_some_and(|id| !id.contains(['*', '?'])),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:events";
    const RULE: &str = "arn:aws:events:eu-west-1:111122223333:rule/stop";

    /// The statement as it should be, but for these elements.
    fn but(changes: Value) -> Value {
        let good = json!({
            "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" },
            "Action": "sqs:SendMessage", "Resource": QUEUE,
            "Condition": { "ArnEquals": { "aws:SourceArn": RULE } },
        });
        changed(good, changes)
    }

    /// A statement with these elements; `null` takes one out.
    fn changed(mut statement: Value, changes: Value) -> Value {
        let Value::Object(changes) = changes else { panic!("not an object") };
        let elements = statement.as_object_mut().expect("an object");
        elements.extend(changes);
        elements.retain(|_, value| !value.is_null());
        statement
    }

    fn of_statements(statements: &Value) -> Attributes {
        let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        attributes(&[("Policy", &text), ("QueueArn", QUEUE)])
    }

    #[test]
    fn eventbridge_may_send_and_not_everybody() {
        let good = but(json!({}));
        let sns = json!({ "Service": "sns.amazonaws.com" });
        let eventbridge = json!({ "Service": ["events.amazonaws.com"] });
        let open = |principal: Value| but(json!({ "Principal": principal, "Condition": null }));
        let role = json!({ "AWS": "arn:aws:iam::111122223333:role/events" });
        let account = json!({ "AWS": "arn:aws:iam::111122223333:root" });
        let topic = "arn:aws:sns:eu-west-1:111122223333:topic";
        let for_a_topic = |principal: &str| {
            but(json!({ "Principal": principal, "Condition": { "ArnEquals": { "aws:SourceArn": topic } } }))
        };
        let from_an_address = |operator: &str| {
            but(json!({ "Principal": "*", "Condition": { operator: { "aws:SourceIp": "192.0.2.1" } } }))
        };
        let denial = but(json!({ "Effect": "Deny", "Principal": "*", "Condition": null }));
        let deny = |changes: Value| changed(denial.clone(), changes);
        let deny_all_but = |spared: &Value| deny(json!({ "Principal": null, "NotPrincipal": spared }));
        let table = [
            ("a rule's", json!([good]), Status::Ok),
            ("one statement without brackets", good.clone(), Status::Ok),
            ("no statements", json!([]), Status::Failed),
            ("any rule's", json!([open(eventbridge.clone())]), Status::Warning),
            ("every action", json!([but(json!({ "Action": ["SQS:*"] }))]), Status::Ok),
            ("an action by a pattern", json!([but(json!({ "Action": "sqs:S?nd*" }))]), Status::Ok),
            ("another action", json!([but(json!({ "Action": "sqs:ReceiveMessage" }))]), Status::Failed),
            (
                "all actions but one",
                json!([but(json!({ "Action": null, "NotAction": "sqs:Rec*" }))]),
                Status::Ok,
            ),
            (
                "all actions but this",
                json!([but(json!({ "Action": null, "NotAction": "*:Send*" }))]),
                Status::Failed,
            ),
            ("another service", json!([but(json!({ "Principal": sns }))]), Status::Failed),
            ("everybody", json!([good, open(json!("*"))]), Status::Failed),
            ("everybody by account", json!([good, open(json!({ "AWS": ["*"] }))]), Status::Failed),
            (
                "everybody by exception",
                json!([good, but(json!({ "Principal": null, "NotPrincipal": sns, "Condition": null }))]),
                Status::Failed,
            ),
            ("everybody for one rule", json!([but(json!({ "Principal": "*" }))]), Status::Ok),
            ("everybody for one topic", json!([for_a_topic("*")]), Status::Failed),
            ("everybody for one topic, beside the rule", json!([good, for_a_topic("*")]), Status::Ok),
            ("everybody from one address", json!([good, from_an_address("StringEquals")]), Status::Warning),
            (
                "everybody not from one address",
                json!([good, from_an_address("NotIpAddress")]),
                Status::Failed,
            ),
            ("a role", json!([but(json!({ "Principal": role, "Condition": null }))]), Status::Warning),
            // As the console makes it.
            ("the account", json!([but(json!({ "Principal": account, "Condition": null }))]), Status::Failed),
            ("a role, beside the rule", json!([good, open(role.clone())]), Status::Ok),
            ("denied", json!([good, deny(json!({}))]), Status::Failed),
            ("denied by name", json!([good, deny(json!({ "Principal": eventbridge }))]), Status::Failed),
            ("denied to another", json!([good, deny(json!({ "Principal": sns }))]), Status::Ok),
            (
                "denied elsewhere",
                json!([good, deny(json!({ "Resource": format!("{QUEUE}-2") }))]),
                Status::Ok,
            ),
            ("denied to all others", json!([good, deny_all_but(&eventbridge)]), Status::Ok),
            ("denied to all but another", json!([good, deny_all_but(&sns)]), Status::Failed),
            (
                "denied without TLS",
                json!([good, deny(json!({ "Condition": { "Bool": { "aws:SecureTransport": "false" } } }))]),
                Status::Ok,
            ),
        ];
        for (name, statements, expected) in table {
            let found = judge(&of_statements(&statements));
            assert_eq!(found.status, expected, "{name}: {found:?}");
        }
        assert_eq!(judge(&Attributes::new()).status, Status::Failed);
        assert_eq!(judge(&attributes(&[("Policy", "nonsense")])).status, Status::Failed);
    }

    #[test]
    fn conditions_name_a_source_or_a_caller_or_nobody() {
        // What is found if everybody may send under the condition, and if EventBridge may.
        const SOURCE: [&str; 2] = ["for the rules it names"; 2];
        const CALLER: [&str; 2] = ["does not let EventBridge send to it"; 2];
        const NOBODY: [&str; 2] = ["lets everybody send", "for any rule of any account"];
        const ANY_CALLER: [&str; 2] = ["lets everybody send", "does not let EventBridge send"];
        let table = [
            ("ArnEquals", "aws:SourceArn", RULE, SOURCE),
            ("ArnLike", "AWS:sourceARN", "arn:aws:events:*:111122223333:rule/*", SOURCE),
            ("StringLike", "aws:SourceArn", "arn:aws:events:*:111122223333:*", SOURCE),
            ("ArnLike", "aws:SourceArn", "arn:aws:events:*:*:rule/*", NOBODY),
            ("ArnLike", "aws:SourceArn", "arn:aws:events:eu-west-1:11112222333?:rule/stop", NOBODY),
            ("ArnLike", "aws:SourceArn", "arn:aws:events:::rule/*", NOBODY),
            ("ArnLike", "aws:SourceArn", "arn:*", NOBODY),
            ("StringLike", "aws:SourceArn", "*", NOBODY),
            ("StringLike", "aws:SourceArn", "**", NOBODY),
            ("ArnEqualsIfExists", "aws:SourceArn", RULE, NOBODY),
            ("ForAllValues:ArnEquals", "aws:SourceArn", RULE, NOBODY),
            ("StringEquals", "aws:SourceAccount", "111122223333", SOURCE),
            ("StringLike", "aws:SourceAccount", "1111*", NOBODY),
            ("StringNotEquals", "aws:SourceAccount", "111122223333", NOBODY),
            ("StringEquals", "aws:SourceOrgID", "o-x", SOURCE),
            ("StringLike", "aws:SourceOrgID", "o-*", NOBODY),
            ("ForAnyValue:StringLike", "aws:SourceOrgPaths", "o-x/r-1/*", SOURCE),
            ("ForAnyValue:StringLike", "aws:SourceOrgPaths", "*/r-1/*", NOBODY),
            ("ForAllValues:StringLike", "aws:SourceOrgPaths", "o-x/r-1/*", NOBODY),
            ("Null", "aws:SourceArn", "true", NOBODY),
            ("Null", "aws:SourceOrgID", "false", NOBODY),
            ("Bool", "aws:SecureTransport", "true", NOBODY),
            ("StringEquals", "aws:PrincipalOrgID", "o-x", CALLER),
            ("StringEquals", "aws:PrincipalAccount", "111122223333", CALLER),
            ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::111122223333:role/*", CALLER),
            ("ForAnyValue:StringLike", "aws:PrincipalOrgPaths", "o-x/*", CALLER),
            ("StringEquals", "aws:SourceVpc", "vpc-1", CALLER),
            ("StringEquals", "aws:SourceVpce", "vpce-1", CALLER),
            ("StringLike", "aws:PrincipalArn", "*", ANY_CALLER),
            ("Null", "aws:PrincipalArn", "false", ANY_CALLER),
            ("Null", "aws:PrincipalArn", "true", NOBODY),
            ("StringEqualsIfExists", "aws:PrincipalOrgID", "o-x", NOBODY),
        ];
        for (operator, key, value, expected) in table {
            let principals = [json!("*"), json!({ "Service": "events.amazonaws.com" })];
            for (principal, expected) in principals.into_iter().zip(expected) {
                let condition = json!({ operator: { key: value } });
                let statement = but(json!({ "Principal": principal, "Condition": condition }));
                let found = judge(&of_statements(&statement)).found;
                assert!(found.contains(expected), "{statement}: {found}");
            }
        }
        let boolean = json!({ "Null": { "aws:SourceArn": true }, "Bool": { "aws:SecureTransport": true } });
        let statement = but(json!({ "Principal": "*", "Condition": boolean }));
        assert_eq!(judge(&of_statements(&statement)).status, Status::Failed);
        let both =
            json!({ "Bool": { "aws:SecureTransport": "true" }, "ArnEquals": { "aws:SourceArn": RULE } });
        let statement = but(json!({ "Principal": "*", "Condition": both }));
        assert_eq!(judge(&of_statements(&statement)).status, Status::Ok);
    }

    #[test]
    fn a_statement_is_about_this_queue_or_does_not_count() {
        let table = [
            (json!({ "Resource": "*" }), Status::Ok),
            (json!({ "Resource": "arn:aws:sqs:*:111122223333:event?" }), Status::Ok),
            (json!({ "Resource": [format!("{QUEUE}-2"), QUEUE] }), Status::Ok),
            (json!({ "Resource": format!("{QUEUE}-2") }), Status::Failed),
            (json!({ "Resource": QUEUE.to_ascii_uppercase() }), Status::Failed),
            (json!({ "Resource": null, "NotResource": format!("{QUEUE}-2") }), Status::Ok),
            (json!({ "Resource": null, "NotResource": "arn:aws:sqs:*" }), Status::Failed),
        ];
        for (changes, expected) in table {
            let mut attributes = of_statements(&but(changes.clone()));
            assert_eq!(judge(&attributes).status, expected, "{changes}");
            attributes.remove("QueueArn");
            assert_eq!(judge(&attributes).status, Status::Ok, "{changes}, and nothing to compare with");
        }
    }

    #[test]
    fn patterns_match_the_whole_text() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "ab", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "ab", false),
            ("ab", "abc", false),
            ("*c", "abc", true),
            ("a*c*", "abcab", true),
            ("*ab", "aab", true),
            ("a*b*c", "acb", false),
            ("A", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
        assert!(!matches(&"*a".repeat(1_000), &"ab".repeat(500)), "and does so at once");
    }

    #[test]
    fn a_key_that_eventbridge_may_not_use_is_told_unless_the_policy_is_worse() {
        const MANAGED: &str = "arn:aws:kms:eu-west-1:111122223333:alias/aws/sqs";
        let good = but(json!({}));
        let open = but(json!({ "Condition": null }));
        for (key, statements, status, told) in [
            ("", &good, Status::Ok, "EventBridge may send"),
            ("alias/aws/sqs", &good, Status::Failed, "every event is dropped"),
            (MANAGED, &good, Status::Failed, "every event is dropped"),
            (MANAGED, &open, Status::Failed, "every event is dropped"),
            (MANAGED, &json!([]), Status::Failed, "does not let EventBridge send"),
            ("alias/ours", &good, Status::Unknown, "encrypted with alias/ours"),
            ("alias/ours", &open, Status::Warning, "any rule of any account"),
            ("alias/ours", &json!([]), Status::Failed, "does not let EventBridge send"),
        ] {
            let mut attributes = of_statements(statements);
            attributes.insert("KmsMasterKeyId".to_owned(), key.to_owned());
            let found = judge(&attributes);
            assert_eq!((found.check, found.status), (Check::QueuePolicy, status), "{key}: {found:?}");
            assert!(found.found.contains(told), "{key}: {found:?}");
        }
    }
}
