//! Sending to one queue.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use super::{failure, result_of};
use crate::consumer::label::{KIND, Label};
use crate::consumer::queue::BATCH;
use crate::retry::{Failure, RetryPolicy};
use crate::telemetry::{self, SqsOperation};

/// What SQS carries for body and attributes together, in bytes; of a batch, for all of its messages.
const MAX_BYTES: usize = 1_048_576;

const DATA_TYPE: &str = "String";

/// A queue to send to.
#[derive(Debug, Clone)]
pub struct Outbox {
    client: Client,
    url: String,
}

/// A message that is to be sent.
#[derive(Clone)]
pub struct Letter {
    pub body: String,
    /// What it carries from the dead-letter queue, or takes there.
    pub label: Option<Label>,
    /// What its first sender said it is.
    pub kind: Option<String>,
    /// Until then nobody receives it: SQS's longest is 15 minutes.
    pub after: Duration,
}

impl Letter {
    /// What SQS counts of it, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len()
            + self.named().map(|(name, value)| name.len() + DATA_TYPE.len() + value.len()).sum::<usize>()
    }

    /// The attributes, by name.
    fn named(&self) -> impl Iterator<Item = (&'static str, String)> {
        let kind = self.kind.iter().filter(|kind| !kind.is_empty());
        self.label.iter().flat_map(Label::attributes).chain(kind.map(|kind| (KIND, kind.clone())))
    }

    fn attributes(&self) -> Option<HashMap<String, MessageAttributeValue>> {
        let built = self.named().filter_map(|(name, value)| {
            let built = MessageAttributeValue::builder().data_type(DATA_TYPE).string_value(value).build();
            Some((name.to_owned(), built.ok()?))
        });
        Some(built.collect::<HashMap<_, _>>()).filter(|attributes| !attributes.is_empty())
    }
}

impl Outbox {
    /// The queue at `url`, as this client reaches it.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a dead letter to its queue.
    ///
    /// SQS counts attributes into its limit. A body that leaves no room for them goes alone: its reason is then in
    /// the log only, but it is not lost.
    pub(super) async fn copy_dead_letter(&self, letter: Letter) -> Result<(), Failure> {
        let fits = letter.bytes() <= MAX_BYTES;
        if !fits {
            let reason = letter.label.as_ref().map(|label| &label.reason);
            tracing::warn!(reason, "no room for attributes on the dead letter");
        }
        let attributes = letter.attributes().filter(|_| fits);
        let request = self.client.send_message().queue_url(&self.url);
        let answer = request.message_body(letter.body).set_message_attributes(attributes).send().await;
        telemetry::sqs_request(SqsOperation::DeadLetter, result_of(&answer));
        answer.map(drop).map_err(|error| failure(&error, "copying to the dead-letter queue", "SendMessage"))
    }

    /// Sends a batch of [`batches`], and what SQS does not take for now again. One result for each, in order: the id
    /// that the queue gave it.
    ///
    /// # Errors
    /// When the request as a whole is refused, or not answered.
    pub async fn send_all(&self, letters: &[Letter]) -> Result<Vec<Result<String, Unsent>>, Failure> {
        let mut results: Vec<_> = letters.iter().map(|_| Err(Unsent::unanswered())).collect();
        let mut waits = RetryPolicy::WHILE_SOMEBODY_WAITS.waits();
        loop {
            let may_pass =
                |position: &usize| matches!(&results[*position], Err(Unsent { may_pass: true, .. }));
            let due: Vec<_> = (0..letters.len()).filter(may_pass).collect();
            if due.is_empty() {
                return Ok(results);
            }
            let left: Vec<_> = due.iter().map(|position| letters[*position].clone()).collect();
            let sent = self.send_once(&left).await;
            match (sent, waits.next()) {
                (Ok(sent), wait) => {
                    for (position, result) in due.into_iter().zip(sent) {
                        results[position] = result;
                    }
                    let Some(wait) = wait else { return Ok(results) };
                    if results.iter().any(Result::is_err) {
                        tokio::time::sleep(wait).await;
                    }
                }
                (Err(Failure::Transient { .. }), Some(wait)) => tokio::time::sleep(wait).await,
                (Err(failure), _) if results.iter().all(Result::is_err) => return Err(failure),
                // Some of it was taken before.
                (Err(_), _) => return Ok(results),
            }
        }
    }

    async fn send_once(&self, letters: &[Letter]) -> Result<Vec<Result<String, Unsent>>, Failure> {
        let entries = letters.iter().enumerate().filter_map(|(position, letter)| {
            SendMessageBatchRequestEntry::builder()
                .id(position.to_string())
                .message_body(&letter.body)
                .set_message_attributes(letter.attributes())
                .set_delay_seconds(i32::try_from(letter.after.as_secs()).ok().filter(|seconds| *seconds > 0))
                .build()
                .ok()
        });
        let request = self.client.send_message_batch().queue_url(&self.url);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        let answer = answer.map_err(|error| failure(&error, "sending to the queue", "SendMessage"))?;
        let mut results: Vec<_> = letters.iter().map(|_| Err(Unsent::unanswered())).collect();
        let place = |id: &str| id.parse::<usize>().ok().filter(|position| *position < letters.len());
        for sent in answer.successful() {
            if let Some(position) = place(sent.id()) {
                results[position] = Ok(sent.message_id().to_owned());
            }
        }
        for entry in answer.failed() {
            if let Some(position) = place(entry.id()) {
                results[position] =
                    Err(Unsent { code: entry.code().to_owned(), may_pass: !entry.sender_fault() });
            }
        }
        Ok(results)
    }
}

/// A message that SQS did not take, in a request that it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SQS refused it: {code}")]
pub struct Unsent {
    code: String,
    may_pass: bool,
}

impl Unsent {
    fn unanswered() -> Self {
        Self { code: "nothing was said of it".to_owned(), may_pass: true }
    }
}

/// As many messages in a request as SQS takes: ten, of a mebibyte together.
#[must_use]
pub fn batches(letters: impl IntoIterator<Item = Letter>) -> Vec<Vec<Letter>> {
    let mut batches: Vec<Vec<Letter>> = Vec::new();
    let mut bytes = 0;
    for letter in letters {
        bytes += letter.bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes <= MAX_BYTES => batch.push(letter),
            _ => {
                bytes = letter.bytes();
                batches.push(vec![letter]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_ten_messages_or_a_mebibyte() {
        let sizes = |lengths: &[usize]| -> Vec<usize> {
            let letters = lengths.iter().map(|length| Letter {
                body: "x".repeat(*length),
                label: None,
                kind: None,
                after: Duration::ZERO,
            });
            batches(letters).iter().map(Vec::len).collect()
        };
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[1; 21]), [10, 10, 1]);
        assert_eq!(sizes(&[MAX_BYTES, 1, MAX_BYTES - 1, 1]), [1, 2, 1]);
    }
}
