//! Receiving from one queue, and settling what was received.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName,
};
use futures_util::future::join_all;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{entry_error, failure, result_of};
use crate::consumer::label::{KIND, Label};
use crate::consumer::queue::{Delivery, ReceiptHandle, SettleError};
use crate::retry::Failure;
use crate::telemetry::{self, SqsOperation, SqsResult};

/// A queue to receive from.
///
/// Receiving and settling have clients of their own, and so connections of their own: however many long polls
/// hang, a delete never waits for one of them.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub(super) receiving: Client,
    pub(super) settling: Client,
    pub(super) url: String,
    pub(super) wait: Duration,
    pub(super) visibility: Duration,
}

impl Mailbox {
    pub async fn receive(&self, max: usize) -> Result<Vec<Delivery>, Failure> {
        let asked_at = Instant::now();
        let answer = self
            .receiving
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max).unwrap_or(1))
            .wait_time_seconds(seconds(self.wait))
            .visibility_timeout(seconds(self.visibility))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::DeadLetterQueueSourceArn)
            .set_message_attribute_names(Some(
                Label::NAMES.into_iter().chain([KIND]).map(str::to_owned).collect(),
            ))
            .send()
            .await;
        telemetry::sqs_request(SqsOperation::Receive, result_of(&answer));
        let answer = answer.map_err(|error| failure(&error, "receiving from the queue", "ReceiveMessage"))?;
        Ok(answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(|message| delivery(message, asked_at))
            .collect())
    }

    pub async fn delete(&self, receipts: &[ReceiptHandle]) -> Vec<Result<(), SettleError>> {
        let whole = self.delete_batch(receipts).await;
        or_each_alone(whole, receipts.chunks(1).map(|receipt| self.delete_batch(receipt))).await
    }

    async fn delete_batch(
        &self,
        receipts: &[ReceiptHandle],
    ) -> Result<Vec<Result<(), SettleError>>, SettleError> {
        let entries = receipts.iter().enumerate().filter_map(|(position, receipt)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(position.to_string())
                .receipt_handle(&receipt.0)
                .build()
                .ok()
        });
        let request = self.settling.delete_message_batch().queue_url(&self.url);
        match request.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => Ok(by_position(SqsOperation::Delete, receipts.len(), answer.failed())),
            Err(error) => Err(refused(SqsOperation::Delete, &error)),
        }
    }

    pub async fn hide(&self, entries: &[(ReceiptHandle, Duration)]) -> Vec<Result<(), SettleError>> {
        let whole = self.hide_batch(entries).await;
        or_each_alone(whole, entries.chunks(1).map(|entry| self.hide_batch(entry))).await
    }

    async fn hide_batch(
        &self,
        entries: &[(ReceiptHandle, Duration)],
    ) -> Result<Vec<Result<(), SettleError>>, SettleError> {
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
        match request.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => Ok(by_position(SqsOperation::Hide, count, answer.failed())),
            Err(error) => Err(refused(SqsOperation::Hide, &error)),
        }
    }
}

/// The answers to a batch. Some servers refuse it as a whole if one handle in it is stale: then each entry is asked for
/// alone, so that one keeps none of the others from being done.
async fn or_each_alone<F: Future<Output = Result<Vec<Result<(), SettleError>>, SettleError>>>(
    whole: Result<Vec<Result<(), SettleError>>, SettleError>,
    alone: impl ExactSizeIterator<Item = F>,
) -> Vec<Result<(), SettleError>> {
    match whole {
        Ok(answers) => answers,
        Err(SettleError::Gone) if alone.len() > 1 => {
            let answers = join_all(alone).await.into_iter();
            answers.map(|answer| answer.and_then(|mut one| one.pop().unwrap_or(Ok(())))).collect()
        }
        Err(error) => vec![Err(error); alone.len()],
    }
}

/// A message without a receipt handle could never be settled; SQS sends none such.
fn delivery(message: Message, asked_at: Instant) -> Option<Delivery> {
    let attribute =
        |name| message.attributes.as_ref().and_then(|all| all.get(&name)).and_then(|text| text.parse().ok());
    let sent_at = attribute(MessageSystemAttributeName::SentTimestamp).and_then(|millis: i64| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
    });
    let receive_count = attribute(MessageSystemAttributeName::ApproximateReceiveCount)
        .and_then(|count: i64| u32::try_from(count).ok())
        .unwrap_or(1);
    let written = message.message_attributes.as_ref();
    let attribute_text = |name: &str| written?.get(name)?.string_value().map(str::to_owned);
    let label = Label::read(attribute_text);
    // Set by SQS on what its own redrive has moved. The label is then of the round before.
    let moved = MessageSystemAttributeName::DeadLetterQueueSourceArn;
    let moved = message.attributes.as_ref().is_some_and(|all| all.contains_key(&moved));
    let label = if moved { label.map(Label::moved_by_sqs) } else { label };
    Some(Delivery {
        message_id: message.message_id.unwrap_or_default(),
        receipt: ReceiptHandle(message.receipt_handle?),
        body: message.body.unwrap_or_default(),
        sent_at,
        receive_count,
        label,
        kind: attribute_text(KIND),
        asked_at,
    })
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

/// Why a batch was refused as a whole.
fn refused<E>(operation: SqsOperation, error: &SdkError<E>) -> SettleError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    telemetry::sqs_request(operation, SqsResult::Error);
    if matches!(error.code(), Some("ReceiptHandleIsInvalid" | "InvalidParameterValue")) {
        return SettleError::Gone;
    }
    let action = match operation {
        SqsOperation::Delete => "DeleteMessage",
        _ => "ChangeMessageVisibility",
    };
    failure(error, "settling a batch of messages", action).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_mins(5)), 300);
    }
}
