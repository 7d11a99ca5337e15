//! LocalStack's and moto's AWS, from outside the stack.

use std::collections::HashMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudtrail::Client as CloudTrail;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use aws_sdk_sts::Client as Sts;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};

/// As docker-compose.yml and its init hook have them.
pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const MEMBER_ACCOUNT: &str = "444455556666";
pub(crate) const MEMBER_TRAIL: &str = "payments";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const QUEUE: &str = "trailkeeper-events";
pub(crate) const DEAD_LETTERS: &str = "trailkeeper-events-dlq";

/// The most that `PutEvents` takes at once.
const BATCH: usize = 10;
/// Calls at once, where there are many to make.
const AT_ONCE: usize = 8;

/// Regions of numbered trails: CloudTrail takes one restart a second of an account in a Region, and a Region has five trails at most.
const REGIONS: usize = 60;

/// Where a trail lives: the numbered ones are spread.
pub(crate) fn region_of(trail: &str) -> String {
    let number = trail.strip_prefix("trail-").and_then(|number| number.parse::<usize>().ok());
    number.map_or_else(|| REGION.to_owned(), |number| format!("eu-west-{}", 1 + number % REGIONS))
}

pub(crate) struct Aws {
    localstack: String,
    sqs: Sqs,
    /// By Region.
    cloudtrail: HashMap<String, CloudTrail>,
    moto: SdkConfig,
}

/// How many messages are in the queue.
#[derive(Debug)]
pub(crate) struct Depth {
    /// Waiting to be received.
    pub(crate) visible: usize,
    /// Received, and neither deleted nor given back.
    pub(crate) hidden: usize,
}

impl Depth {
    pub(crate) fn total(&self) -> usize {
        self.visible + self.hidden
    }
}

impl Aws {
    pub(crate) fn new(localstack_port: &str, moto_port: &str) -> Self {
        let localstack = format!("http://127.0.0.1:{localstack_port}");
        let sqs = Sqs::new(&sdk_config(&localstack));
        let moto = sdk_config(&format!("http://127.0.0.1:{moto_port}"));
        let client = |number: usize| {
            let region = region_of(&format!("trail-{number}"));
            let config = moto.to_builder().region(Region::new(region.clone())).build();
            (region, CloudTrail::new(&config))
        };
        Self { localstack, sqs, cloudtrail: (0..REGIONS).map(client).collect(), moto }
    }

    fn cloudtrail(&self, trail: &str) -> &CloudTrail {
        &self.cloudtrail[&region_of(trail)]
    }

    fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.localstack)
    }

    /// Publishes events on the default bus. EventBridge makes the envelope; an event's own detail, source and
    /// detail type go into it.
    pub(crate) async fn publish(&self, events: &[Value]) {
        for batch in events.chunks(BATCH) {
            let entries: Vec<_> = batch.iter().map(entry).collect();
            let scope = format!("{ACCOUNT}/20260101/{REGION}/events/aws4_request");
            let request = reqwest::Client::new()
                .post(&self.localstack)
                .header("content-type", "application/x-amz-json-1.1")
                .header("x-amz-target", "AWSEvents.PutEvents")
                // LocalStack reads account and region here, and does not check the signature.
                .header(
                    "authorization",
                    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"),
                )
                .body(json!({ "Entries": entries }).to_string());
            let answer = request.send().await.expect("EventBridge answers");
            let answer: Value = answer.json().await.expect("JSON");
            assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
        }
    }

    /// Sends a body straight to the queue.
    pub(crate) async fn send(&self, body: &str) {
        let request = self.sqs.send_message().queue_url(self.queue_url(QUEUE));
        request.message_body(body).send().await.expect("sent");
    }

    /// Creates trails, and stops them.
    pub(crate) async fn stopped_trails(&self, names: &[String]) {
        stream::iter(names)
            .for_each_concurrent(AT_ONCE, async |name| {
                let create = self.cloudtrail(name).create_trail().name(name);
                create.s3_bucket_name("trailkeeper-audit-logs").send().await.expect("created");
                self.stop_trail(name).await;
            })
            .await;
    }

    pub(crate) async fn stop_trail(&self, name: &str) {
        self.cloudtrail(name).stop_logging().name(name).send().await.expect("stopped");
    }

    pub(crate) async fn is_logging(&self, name: &str) -> bool {
        let status = self.cloudtrail(name).get_trail_status().name(name).send().await.expect("a status");
        status.is_logging() == Some(true)
    }

    /// CloudTrail of the member account, as somebody with a role there.
    pub(crate) async fn member(&self) -> CloudTrail {
        let role = format!("arn:aws:iam::{MEMBER_ACCOUNT}:role/administrator");
        let request = Sts::new(&self.moto).assume_role().role_arn(role).role_session_name("mallory");
        let answer = request.send().await.expect("assumed").credentials.expect("credentials");
        let token = Some(answer.session_token);
        let credentials =
            Credentials::new(answer.access_key_id, answer.secret_access_key, token, None, "test");
        let provider = SharedCredentialsProvider::new(credentials);
        CloudTrail::new(&self.moto.to_builder().credentials_provider(provider).build())
    }

    /// Those of the trails that are still stopped.
    pub(crate) async fn still_stopped(&self, names: &[String]) -> Vec<String> {
        stream::iter(names)
            .filter_map(async |name| (!self.is_logging(name).await).then(|| name.clone()))
            .collect()
            .await
    }

    /// Of the queue.
    pub(crate) async fn depth(&self) -> Depth {
        let attributes = self.attributes(QUEUE).await;
        let count =
            |name: &str| attributes[name].as_str().and_then(|text| text.parse().ok()).expect("a number");
        Depth {
            visible: count("ApproximateNumberOfMessages"),
            hidden: count("ApproximateNumberOfMessagesNotVisible"),
        }
    }

    /// Every attribute of a queue.
    pub(crate) async fn attributes(&self, queue: &str) -> Value {
        let request = self.sqs.get_queue_attributes().queue_url(self.queue_url(queue));
        let answer = request.attribute_names(QueueAttributeName::All).send().await.expect("attributes");
        let attributes = answer.attributes.unwrap_or_default();
        attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect()
    }

    /// Deletes what is in the dead-letter queue, hidden messages included.
    pub(crate) async fn purge_dead_letters(&self) {
        self.sqs.purge_queue().queue_url(self.queue_url(DEAD_LETTERS)).send().await.expect("purged");
    }

    /// What is in the dead-letter queue; it stays hidden after this.
    pub(crate) async fn dead_letters(&self) -> Vec<Message> {
        let mut letters = Vec::new();
        loop {
            let request = self.sqs.receive_message().queue_url(self.queue_url(DEAD_LETTERS));
            let request = request.max_number_of_messages(10).message_attribute_names("All");
            let mut received = request.send().await.expect("received").messages.unwrap_or_default();
            if received.is_empty() {
                return letters;
            }
            letters.append(&mut received);
        }
    }
}

fn entry(event: &Value) -> Value {
    json!({
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": event["detail"].to_string(),
    })
}

fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCOUNT, "anything", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}
