//! A Slack on this machine that writes down what it is told.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub struct Slack {
    server: MockServer,
    /// Of the newest answer that stands until another is given; a lower one wins.
    priority: AtomicU8,
}

impl Slack {
    /// A Slack that takes everything.
    pub async fn start() -> Self {
        let slack = Self { server: MockServer::start().await, priority: AtomicU8::new(u8::MAX) };
        let takes_messages = |request: &Request| match request.body_json::<Value>() {
            Ok(_) => ResponseTemplate::new(200).set_body_string("ok"),
            Err(_) => ResponseTemplate::new(400).set_body_string("invalid_payload"),
        };
        slack.otherwise(takes_messages).await;
        slack
    }

    /// The next `times` posts are answered like this.
    pub async fn next(&self, times: u64, answer: ResponseTemplate) {
        Mock::given(any())
            .respond_with(answer)
            .up_to_n_times(times)
            .with_priority(1)
            .mount(&self.server)
            .await;
    }

    /// From now on every post is answered like this.
    pub async fn otherwise(&self, answer: impl Respond + 'static) {
        let priority = self.priority.fetch_sub(1, Ordering::Relaxed);
        Mock::given(any()).respond_with(answer).with_priority(priority).mount(&self.server).await;
    }

    /// The webhook; its path is the secret.
    pub fn webhook(&self) -> String {
        format!("{}/services/T000/B000/very-secret", self.server.uri())
    }

    pub fn uri(&self) -> String {
        self.server.uri()
    }

    /// The paths of the posts.
    pub async fn paths(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap_or_default();
        requests.iter().map(|request| request.url.path().to_owned()).collect()
    }

    /// Every message posted so far, refused ones included.
    pub async fn posts(&self) -> Vec<Value> {
        let requests = self.server.received_requests().await.unwrap_or_default();
        requests.iter().filter_map(|request| request.body_json().ok()).collect()
    }

    /// The texts of the posts.
    pub async fn texts(&self) -> Vec<String> {
        self.posts().await.iter().map(|post| post["text"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
