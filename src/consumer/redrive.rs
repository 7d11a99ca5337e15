//! A queue's redrive policy: where SQS itself moves what is received too often. Pure.

use serde::{Deserialize, Deserializer};

/// The attribute `RedrivePolicy`, as JSON has it.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedrivePolicy {
    dead_letter_target_arn: String,
    /// After this many receives; SQS takes 1 to 1,000, as a number or as text.
    #[serde(deserialize_with = "number_or_text")]
    pub max_receive_count: u32,
}

impl RedrivePolicy {
    /// `None` if it is not a policy.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The URL of the dead-letter queue, beside the queue at `queue_url`: SQS wants both in one account and
    /// Region, and asking for it would take one permission more. `None` if the policy names none.
    #[must_use]
    pub fn dead_letter_url(&self, queue_url: &str) -> Option<String> {
        let mut arn = self.dead_letter_target_arn.rsplitn(3, ':');
        let (name, account, _service) = (arn.next()?, arn.next()?, arn.next()?);
        let (base, _own_name) = queue_url.trim_end_matches('/').rsplit_once('/')?;
        let (host, _own_account) = base.rsplit_once('/')?;
        Some(format!("{host}/{account}/{name}"))
    }
}

/// Whether two URLs name one queue: by account and name, since a queue has several host names.
#[must_use]
pub fn is_same_queue(one: &str, other: &str) -> bool {
    fn name_and_account(url: &str) -> impl Iterator<Item = &str> {
        url.trim_end_matches('/').rsplit('/').take(2)
    }
    name_and_account(one).eq(name_and_account(other))
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Number(u32),
        Text(String),
    }
    match Count::deserialize(deserializer)? {
        Count::Number(count) => Ok(count),
        Count::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_letter_queue_stands_beside_the_queue() {
        let policy =
            r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:poison","maxReceiveCount":20}"#;
        let policy = RedrivePolicy::parse(policy).expect("a policy");
        assert_eq!(policy.max_receive_count, 20);
        let url = |queue| policy.dead_letter_url(queue);
        assert_eq!(
            url("https://sqs.eu-west-1.amazonaws.com/111122223333/events").as_deref(),
            Some("https://sqs.eu-west-1.amazonaws.com/111122223333/poison")
        );
        assert_eq!(
            url("http://localhost:4566/111122223333/events").as_deref(),
            Some("http://localhost:4566/111122223333/poison")
        );
        assert_eq!(url("nonsense"), None);
    }

    #[test]
    fn a_queue_is_known_by_account_and_name() {
        const POISON: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/poison";
        for (other, same) in [
            (POISON, true),
            ("https://sqs.eu-west-1.amazonaws.com/111122223333/poison/", true),
            ("https://eu-west-1.queue.amazonaws.com/111122223333/poison", true),
            ("https://sqs.eu-west-1.amazonaws.com/444455556666/poison", false),
            ("https://sqs.eu-west-1.amazonaws.com/111122223333/events", false),
        ] {
            assert_eq!(is_same_queue(POISON, other), same, "{other}");
        }
    }

    #[test]
    fn what_is_no_policy_is_none() {
        for text in ["", "{}", r#"{"deadLetterTargetArn":"x","maxReceiveCount":"many"}"#] {
            assert_eq!(RedrivePolicy::parse(text), None, "{text}");
        }
        let text = r#"{"deadLetterTargetArn":"x","maxReceiveCount":"5"}"#;
        let policy = RedrivePolicy::parse(text).expect("a policy");
        assert_eq!((policy.max_receive_count, policy.dead_letter_url("https://h/1/q")), (5, None));
    }
}
