//! The queue on Amazon SQS.

mod mailbox;
mod outbox;

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::QueueAttributeName;
use time::format_description::well_known::Rfc3339;

use super::queue::{DeadLetter, Delivery, Queue, QueueNames, ReceiptHandle, SettleError};
use super::redrive::RedrivePolicy;
use crate::aws;
use crate::clock;
use crate::retry::Failure;
use crate::telemetry::SqsResult;

pub use mailbox::Mailbox;
pub use outbox::{Letter, Outbox, Unsent, batches};

/// On top of the long poll, for the answer to arrive. The SDK has no read timeout of its own, and a receive
/// that hangs would otherwise hang for ever.
pub(crate) const RECEIVE_MARGIN: Duration = Duration::from_secs(10);

/// An SQS queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    mailbox: Mailbox,
    dead_letters: Outbox,
}

/// The clients of SQS, for any queue.
#[derive(Debug, Clone)]
pub struct SqsClients {
    receiving: Client,
    settling: Client,
    wait: Duration,
}

impl SqsClients {
    /// Two clients with timeouts on every attempt and no retries of their own: whoever asks, retries. A receive
    /// waits up to `wait` for the first message.
    #[must_use]
    pub fn new(sdk: &SdkConfig, wait: Duration) -> Self {
        let client = |timeout| {
            let config = aws_sdk_sqs::config::Builder::from(sdk)
                .http_client(aws::http_client())
                .interceptor(aws::Traced)
                .retry_config(RetryConfig::disabled())
                .timeout_config(aws::timeouts(timeout))
                // The attempt timeout bounds the whole answer already.
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            Client::from_conf(config.build())
        };
        Self { receiving: client(wait + RECEIVE_MARGIN), settling: client(aws::ANSWER_TIMEOUT), wait }
    }

    /// A queue's attributes, by SQS's names for them.
    pub async fn attributes(&self, url: &str) -> Result<HashMap<String, String>, Failure> {
        let request = self.settling.get_queue_attributes().queue_url(url);
        let answer = request.attribute_names(QueueAttributeName::All).send().await;
        let answer = answer
            .map_err(|error| failure(&error, "reading the queue's attributes", "GetQueueAttributes"))?;
        let named = answer.attributes.unwrap_or_default();
        Ok(named.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect())
    }

    /// The dead-letter queue of the queue at `url`: the one that was `named`, else the one of its redrive policy; `None`
    /// if it has no policy that names one.
    pub async fn dead_letter_url(&self, url: &str, named: Option<String>) -> Result<Option<String>, Failure> {
        if named.is_some() {
            return Ok(named);
        }
        Ok(self.redrive_policy(url).await?.and_then(|policy| policy.dead_letter_url(url)))
    }

    /// The redrive policy of the queue at `url`, if it has one that can be read.
    pub async fn redrive_policy(&self, url: &str) -> Result<Option<RedrivePolicy>, Failure> {
        let attributes = self.attributes(url).await?;
        Ok(attributes.get("RedrivePolicy").and_then(|policy| RedrivePolicy::parse(policy)))
    }

    /// A queue and its dead-letter queue; each receive hides a message for `visibility`.
    #[must_use]
    pub fn queue(&self, url: String, dead_letter_url: String, visibility: Duration) -> SqsQueue {
        SqsQueue { mailbox: self.mailbox(url, visibility), dead_letters: self.outbox(dead_letter_url) }
    }

    /// A queue to receive from; each receive hides a message for `visibility`.
    #[must_use]
    pub fn mailbox(&self, url: String, visibility: Duration) -> Mailbox {
        let Self { receiving, settling, wait } = self.clone();
        Mailbox { receiving, settling, url, wait, visibility }
    }

    /// A queue to send to.
    #[must_use]
    pub fn outbox(&self, url: String) -> Outbox {
        Outbox::new(self.settling.clone(), url)
    }
}

/// The queue's name, which its URL ends in.
fn name_in(url: &str) -> &str {
    url.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

impl Queue for SqsQueue {
    fn names(&self) -> QueueNames<'_> {
        QueueNames { queue: name_in(&self.mailbox.url), dead_letters: name_in(self.dead_letters.url()) }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, Failure> {
        self.mailbox.receive(max).await
    }

    async fn delete(&self, receipts: &[ReceiptHandle]) -> Vec<Result<(), SettleError>> {
        self.mailbox.delete(receipts).await
    }

    async fn hide(&self, entries: &[(ReceiptHandle, Duration)]) -> Vec<Result<(), SettleError>> {
        self.mailbox.hide(entries).await
    }

    async fn copy_to_dead_letters(&self, letter: &DeadLetter<'_>) -> Result<(), Failure> {
        let failed_at = clock::now().replace_nanosecond(0).ok().and_then(|now| now.format(&Rfc3339).ok());
        let label = Some(letter.label(failed_at));
        self.dead_letters
            .copy_dead_letter(Letter {
                body: letter.delivery.body.clone(),
                label,
                kind: letter.delivery.kind.clone(),
                after: Duration::ZERO,
            })
            .await
    }
}

fn entry_error(code: &str, sender_fault: bool) -> SettleError {
    let detail = format!("SQS refused an entry of a batch: {code}");
    match code {
        // Batches carry the codes with and without the namespace.
        "ReceiptHandleIsInvalid"
        | "InvalidParameterValue"
        | "MessageNotInflight"
        | "AWS.SimpleQueueService.MessageNotInflight" => SettleError::Gone,
        "AccessDenied" | "AccessDeniedException" => Failure::Denied { detail }.into(),
        _ if sender_fault && code.contains("Invalid") => Failure::permanent(detail).into(),
        _ => Failure::transient(detail).into(),
    }
}

fn result_of<T, E>(answer: &Result<T, E>) -> SqsResult {
    if answer.is_ok() { SqsResult::Ok } else { SqsResult::Error }
}

/// Whether SQS could not use the key that the queue is encrypted with; the code is in one of two forms.
fn is_about_keys(code: &str) -> bool {
    (code.starts_with("Kms") || code.starts_with("KMS.")) && !code.contains("Throttl")
}

/// SQS's errors as ours; `action` is the right that the request takes. What is not known to be permanent is tried again.
fn failure<E>(error: &SdkError<E>, doing: &str, action: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some(code @ ("AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist")) => Failure::permanent(
            format!("{doing}: there is no such queue ({code}); check the URL, the account and the region"),
        ),
        Some(code) if is_about_keys(code) => Failure::permanent(format!(
            "{doing}: SQS may not use the queue's key ({code}); allow kms:Decrypt and kms:GenerateDataKey on it"
        )),
        Some(code @ ("AccessDenied" | "AccessDeniedException")) => Failure::Denied {
            detail: format!(
                "{doing}: SQS refused it ({code}); allow sqs:{action} on the queue to these credentials"
            ),
        },
        Some(code @ "InvalidAddress") => {
            Failure::permanent(format!("{doing}: there is no queue at this address ({code}); check the URL"))
        }
        Some(code @ "InvalidMessageContents") => {
            Failure::permanent(format!("{doing}: the body has characters that SQS does not take ({code})"))
        }
        _ => Failure::transient(format!("{doing}: {}", aws::describe(error))),
    }
}
