//! From what AWS says of a queue to what is wrong with it. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::finding::{Check, Finding, Status};
use crate::consumer::redrive::{RedrivePolicy, is_same_queue};

/// How far this machine's clock may be off. AWS refuses signatures at five minutes; leases and the times that
/// people are told are wrong before that.
const MAX_CLOCK_OFFSET: Duration = Duration::from_mins(1);

/// The most that SQS takes for `maxReceiveCount`.
const MAX_RECEIVES: u32 = 1_000;

/// A queue's attributes, by SQS's names for them.
pub(super) type Attributes = HashMap<String, String>;

/// A FIFO queue, which does not do.
pub(super) fn fifo(attributes: &Attributes, queue_url: &str) -> Option<Finding> {
    let says_so = attributes.get("FifoQueue").is_some_and(|fifo| fifo == "true");
    let is_named_so = queue_url.trim_end_matches('/').rsplit('.').next() == Some("fifo");
    (says_so || is_named_so).then(|| {
        let found = format!(
            "{queue_url} is a FIFO queue: EventBridge and dead letters need a message group that trailkeeper does not give"
        );
        Finding::failed(Check::Queue, found, "use a standard queue")
    })
}

/// The redrive policy: there, naming a dead-letter queue, and patient.
pub(super) fn redrive(
    attributes: &Attributes,
    queue_url: &str,
    named: Option<&str>,
    max_attempts: u32,
) -> Finding {
    let check = Check::QueueRedrive;
    let wanted = (max_attempts * 2).min(MAX_RECEIVES);
    let set_one =
        || format!("give the queue a redrive policy with a dead-letter queue and maxReceiveCount {wanted}");
    let Some(policy) = attributes.get("RedrivePolicy") else {
        return Finding::failed(check, "the queue has no redrive policy", set_one());
    };
    let parsed = RedrivePolicy::parse(policy)
        .and_then(|policy| Some((policy.dead_letter_url(queue_url)?, policy.max_receive_count)));
    let Some((target, count)) = parsed else {
        return Finding::failed(check, "the queue's redrive policy cannot be read", set_one());
    };
    let raise = || format!("set maxReceiveCount to {wanted} or more: deploys and throttles are receives too");
    if count < max_attempts {
        let found = format!(
            "SQS gives a message up after {count} receives, before the worker's {max_attempts} attempts are over"
        );
        return Finding::failed(check, found, raise());
    }
    if let Some(named) = named.filter(|named| !is_same_queue(named, &target)) {
        let found = format!("the redrive policy names {target}, and TRAILKEEPER_DLQ_URL {named}");
        return Finding::new(check, Status::Warning, found, "let both name one queue, or watch both");
    }
    if count < wanted {
        let found =
            format!("maxReceiveCount is {count}, hardly more than the worker's {max_attempts} attempts");
        return Finding::new(check, Status::Warning, found, raise());
    }
    Finding::ok(check, format!("after {count} receives to {target}"))
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
        let judged = |policy: &str, max_attempts| {
            redrive(&attributes(&[("RedrivePolicy", policy)]), URL, None, max_attempts)
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
        // SQS takes no more than 1,000, so no more is asked for.
        for (count, max_attempts, status) in [
            ("39", 20, Status::Warning),
            ("40", 20, Status::Ok),
            ("999", 600, Status::Warning),
            ("1000", 600, Status::Ok),
            ("1000", 1_000, Status::Ok),
            ("999", 1_000, Status::Failed),
        ] {
            let found = judged(&policy(count), max_attempts);
            assert_eq!(found.status, status, "{found:?}");
            let wanted = format!("to {} or more", (max_attempts * 2).min(1_000));
            assert!(found.todo.is_none_or(|todo| todo.contains(&wanted)), "{count} of {max_attempts}");
        }
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
    fn a_fifo_queue_does_not_do() {
        let told =
            |pairs: &[(&str, &str)], url: &str| fifo(&attributes(pairs), url).map(|found| found.status);
        let (standard, named_so) = ("https://h/1/events", "https://h/1/events.fifo");
        assert_eq!(told(&[], standard), None);
        assert_eq!(told(&[("FifoQueue", "false")], "https://h/1/fifo"), None);
        assert_eq!(told(&[("FifoQueue", "true")], standard), Some(Status::Failed));
        assert_eq!(told(&[], named_so), Some(Status::Failed));
        assert_eq!(told(&[], &format!("{named_so}/")), Some(Status::Failed));
    }
}
