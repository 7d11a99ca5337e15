//! The queue on Amazon SQS.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::queue::{DeadLetter, Delivery, Queue, ReceiptHandle, SettleError};
use super::retry::Failure;
use crate::aws;
use crate::clock;
use crate::telemetry::{self, SqsOperation, SqsResult};

/// On top of the long poll, for the answer to arrive. The SDK has no read timeout of its own, and a receive
/// that hangs would otherwise hang for ever.
const RECEIVE_MARGIN: Duration = Duration::from_secs(10);
/// What SQS carries for body and attributes together, in bytes.
const MAX_MESSAGE_BYTES: usize = 1_048_576;
/// The longest `trailkeeper.detail`, in characters: a sentence, not a report.
const MAX_DETAIL_CHARS: usize = 512;
/// Every dead letter of ours carries this; one that comes back still does.
const REASON: &str = "trailkeeper.reason";

/// An SQS queue and its dead-letter queue.
///
/// Receiving and settling have clients of their own, and so connections of their own: however many long polls
/// hang, a delete never waits for one of them.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    receiving: Client,
    settling: Client,
    url: String,
    dead_letter_url: String,
    wait: Duration,
    visibility: Duration,
}

/// The clients of one queue, before its dead-letter queue is known.
#[derive(Debug)]
pub struct SqsClients {
    receiving: Client,
    settling: Client,
}

impl SqsClients {
    /// Two clients with timeouts on every attempt and no retries of their own: the pool retries.
    #[must_use]
    pub fn new(sdk: &SdkConfig, wait: Duration) -> Self {
        let client = |timeout| {
            let config = aws_sdk_sqs::config::Builder::from(sdk)
                .http_client(aws::http_client())
                .retry_config(RetryConfig::disabled())
                .timeout_config(aws::timeouts(timeout))
                // The attempt timeout bounds the whole answer already.
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            Client::from_conf(config.build())
        };
        Self { receiving: client(wait + RECEIVE_MARGIN), settling: client(aws::ANSWER_TIMEOUT) }
    }

    /// The dead-letter queue that the queue's own redrive policy names; `None` if it has no policy.
    ///
    /// Its URL is put together from the queue's: SQS wants both in one account and region, and asking for it
    /// would take one permission more.
    pub async fn redrive_target(&self, url: &str) -> Result<Option<String>, Failure> {
        let request = self.settling.get_queue_attributes().queue_url(url);
        let answer = request
            .attribute_names(QueueAttributeName::RedrivePolicy)
            .send()
            .await
            .map_err(|error| failure(&error, "reading the queue's redrive policy"))?;
        let policy = answer.attributes().and_then(|all| all.get(&QueueAttributeName::RedrivePolicy));
        let Some(policy) = policy else { return Ok(None) };
        sibling(url, policy).map(Some).ok_or_else(|| {
            Failure::permanent(
                "the queue's redrive policy does not name a dead-letter queue that can be read",
            )
        })
    }

    /// The queue whole.
    #[must_use]
    pub fn queue(
        self,
        url: String,
        dead_letter_url: String,
        wait: Duration,
        visibility: Duration,
    ) -> SqsQueue {
        let Self { receiving, settling } = self;
        SqsQueue { receiving, settling, url, dead_letter_url, wait, visibility }
    }
}

/// The URL of the dead-letter queue that `policy` names, beside the queue at `url`.
fn sibling(url: &str, policy: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RedrivePolicy {
        dead_letter_target_arn: String,
    }
    let policy: RedrivePolicy = serde_json::from_str(policy).ok()?;
    let mut arn = policy.dead_letter_target_arn.rsplitn(3, ':');
    let (name, account) = (arn.next()?, arn.next()?);
    let (base, _own_name) = url.trim_end_matches('/').rsplit_once('/')?;
    let (host, _own_account) = base.rsplit_once('/')?;
    Some(format!("{host}/{account}/{name}"))
}

impl Queue for SqsQueue {
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, Failure> {
        let answer = self
            .receiving
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max).unwrap_or(1))
            .wait_time_seconds(seconds(self.wait))
            .visibility_timeout(seconds(self.visibility))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_attribute_names(REASON)
            .send()
            .await;
        let received_at = Instant::now();
        telemetry::sqs_request(SqsOperation::Receive, result_of(&answer));
        let answer = answer.map_err(|error| failure(&error, "receiving from the queue"))?;
        Ok(answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(|message| delivery(message, received_at))
            .collect())
    }

    async fn delete(&self, receipts: &[ReceiptHandle]) -> Vec<Result<(), SettleError>> {
        let entries = receipts.iter().enumerate().filter_map(|(position, receipt)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(position.to_string())
                .receipt_handle(&receipt.0)
                .build()
                .ok()
        });
        let request = self.settling.delete_message_batch().queue_url(&self.url);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        match answer {
            Ok(answer) => by_position(SqsOperation::Delete, receipts.len(), answer.failed()),
            Err(error) => all_failed(SqsOperation::Delete, receipts.len(), &error),
        }
    }

    async fn hide(&self, entries: &[(ReceiptHandle, Duration)]) -> Vec<Result<(), SettleError>> {
        let count = entries.len();
        let entries = entries.iter().enumerate().filter_map(|(position, (receipt, hidden))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(position.to_string())
                .receipt_handle(&receipt.0)
                .visibility_timeout(seconds(*hidden))
                .build()
                .ok()
        });
        let request = self.settling.change_message_visibility_batch().queue_url(&self.url);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        match answer {
            Ok(answer) => by_position(SqsOperation::Hide, count, answer.failed()),
            Err(error) => all_failed(SqsOperation::Hide, count, &error),
        }
    }

    async fn copy_to_dead_letters(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let attributes = attributes_of(letter);
        let size = |(name, value): (&String, &MessageAttributeValue)| {
            name.len() + value.data_type().len() + value.string_value().map_or(0, str::len)
        };
        let whole = letter.delivery.body.len() + attributes.iter().map(size).sum::<usize>();
        // SQS counts attributes into the limit. A body that leaves no room for them goes alone: its reason is
        // then in the log only, but it is not lost.
        let attributes = (whole <= MAX_MESSAGE_BYTES).then_some(attributes);
        if attributes.is_none() {
            let message_id = &letter.delivery.message_id;
            tracing::warn!(%message_id, reason = letter.reason.as_str(), "no room for attributes on the dead letter");
        }
        let request = self.settling.send_message().queue_url(&self.dead_letter_url);
        let answer =
            request.message_body(&letter.delivery.body).set_message_attributes(attributes).send().await;
        telemetry::sqs_request(SqsOperation::DeadLetter, result_of(&answer));
        answer.map(drop).map_err(|error| failure(&error, "copying to the dead-letter queue"))
    }
}

/// A message without a receipt handle could never be settled; SQS sends none such.
fn delivery(message: Message, received_at: Instant) -> Option<Delivery> {
    let attribute =
        |name| message.attributes.as_ref().and_then(|all| all.get(&name)).and_then(|text| text.parse().ok());
    let sent_at = attribute(MessageSystemAttributeName::SentTimestamp).and_then(|millis: i64| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
    });
    let receive_count = attribute(MessageSystemAttributeName::ApproximateReceiveCount)
        .and_then(|count: i64| u32::try_from(count).ok())
        .unwrap_or(1);
    let redriven = message.message_attributes.as_ref().is_some_and(|all| all.contains_key(REASON));
    Some(Delivery {
        message_id: message.message_id.unwrap_or_default(),
        receipt: ReceiptHandle(message.receipt_handle?),
        body: message.body.unwrap_or_default(),
        sent_at,
        receive_count,
        redriven,
        received_at,
    })
}

/// The attributes of contract: strings that say why.
fn attributes_of(letter: &DeadLetter) -> HashMap<String, MessageAttributeValue> {
    let failed_at = clock::now().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
    let fields = [
        (REASON, Some(letter.reason.as_str().to_owned())),
        ("trailkeeper.detail", Some(plain(&letter.detail))),
        ("trailkeeper.attempts", Some(letter.attempts.to_string())),
        ("trailkeeper.event_id", letter.subject.clone()),
        ("trailkeeper.source_message_id", Some(letter.delivery.message_id.clone())),
        ("trailkeeper.failed_at", failed_at),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            let built = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            Some((name.to_owned(), built.ok()?))
        })
        .collect()
}

/// SQS refuses control characters in attributes.
fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MAX_DETAIL_CHARS).collect()
}

fn seconds(duration: Duration) -> i32 {
    // Up, so that nothing comes back before its time.
    i32::try_from(duration.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX)
}

/// One result for each position of a batch; what is not in `failed` went well.
fn by_position(
    operation: SqsOperation,
    count: usize,
    failed: &[BatchResultErrorEntry],
) -> Vec<Result<(), SettleError>> {
    telemetry::sqs_request(operation, if failed.is_empty() { SqsResult::Ok } else { SqsResult::Partial });
    let mut results = vec![Ok(()); count];
    for entry in failed {
        let position = entry.id().parse::<usize>().ok();
        if let Some(result) = position.and_then(|position| results.get_mut(position)) {
            *result = Err(entry_error(entry.code(), entry.sender_fault()));
        }
    }
    results
}

fn entry_error(code: &str, sender_fault: bool) -> SettleError {
    let detail = format!("SQS refused an entry of a batch: {code}");
    match code {
        // Batches carry the codes with and without the namespace.
        "ReceiptHandleIsInvalid"
        | "InvalidParameterValue"
        | "MessageNotInflight"
        | "AWS.SimpleQueueService.MessageNotInflight" => SettleError::Gone,
        "AccessDenied" | "AccessDeniedException" => Failure::permanent(detail).into(),
        _ if sender_fault && code.contains("Invalid") => Failure::permanent(detail).into(),
        _ => Failure::transient(detail).into(),
    }
}

fn all_failed<E>(operation: SqsOperation, count: usize, error: &SdkError<E>) -> Vec<Result<(), SettleError>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    telemetry::sqs_request(operation, SqsResult::Error);
    // A batch of one stale handle is refused as a whole by some servers.
    let stale = matches!(error.code(), Some("ReceiptHandleIsInvalid" | "InvalidParameterValue"));
    let error = if stale && count == 1 {
        SettleError::Gone
    } else {
        failure(error, "settling a batch of messages").into()
    };
    vec![Err(error); count]
}

fn result_of<T, E>(answer: &Result<T, E>) -> SqsResult {
    if answer.is_ok() { SqsResult::Ok } else { SqsResult::Error }
}

/// SQS's errors as ours. What is not known to be permanent is tried again.
fn failure<E>(error: &SdkError<E>, doing: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some(code @ ("AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist")) => Failure::permanent(
            format!("{doing}: there is no such queue ({code}); check the URL, the account and the region"),
        ),
        Some(
            code @ ("AccessDenied" | "AccessDeniedException" | "InvalidAddress" | "InvalidMessageContents"),
        ) => Failure::permanent(format!("{doing}: SQS refused it ({code}); check the role's permissions")),
        _ => Failure::transient(format!("{doing}: {}", aws::describe(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_letter_queue_stands_beside_the_queue() {
        let policy =
            r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:poison","maxReceiveCount":20}"#;
        let real = "https://sqs.eu-west-1.amazonaws.com/111122223333/events";
        assert_eq!(
            sibling(real, policy).as_deref(),
            Some("https://sqs.eu-west-1.amazonaws.com/111122223333/poison")
        );
        let local = "http://localhost:4566/111122223333/events";
        assert_eq!(sibling(local, policy).as_deref(), Some("http://localhost:4566/111122223333/poison"));
        assert_eq!(sibling(real, "{}"), None);
        assert_eq!(sibling("nonsense", policy), None);
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_mins(5)), 300);
    }
}
