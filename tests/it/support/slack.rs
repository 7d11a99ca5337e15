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

/// Why Slack would refuse this message, in its own word: its blocks and texts have limits, and one that breaks any is
/// never shown.
pub fn refusal(message: &Value) -> Option<&'static str> {
    let chars = |text: &Value| text["text"].as_str().map_or(0, |text| text.chars().count());
    let none = Vec::new();
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let blocks = message["blocks"].as_array().unwrap_or(&none);
    let fits = |block: &Value| {
        let fields = list(&block["fields"]);
        let longest = if block["type"] == "header" { 150 } else { 3_000 };
        chars(&block["text"]) <= longest
            && fields.len() <= 10
            && fields.iter().all(|field| chars(field) <= 2_000)
            && list(&block["elements"]).len() <= 10
            && list(&block["elements"]).iter().all(|element| chars(element) <= 3_000)
    };
    let in_block = |block: &Value| {
        let texts = list(&block["fields"]).into_iter().chain(list(&block["elements"]));
        chars(&block["text"]) + texts.map(|text| chars(&text)).sum::<usize>()
    };
    if message["text"].as_str().is_none_or(str::is_empty) {
        Some("no_text")
    } else if blocks.len() > 50 || !blocks.iter().all(fits) {
        Some("invalid_blocks")
    } else if blocks.iter().map(in_block).sum::<usize>() > 13_200 {
        Some("msg_blocks_too_long")
    } else {
        None
    }
}

pub struct Slack {
    /// There until this is dropped.
    server: Option<MockServer>,
    /// Of the newest answer that stands until another is given; a lower one wins.
    priority: AtomicU8,
}

/// `wiremock` ends a server by blocking on a lock of tokio's. A task whose turn is over never gets one: the lock
/// waits for the runtime, and the runtime for the task. A thread of its own belongs to no task.
impl Drop for Slack {
    fn drop(&mut self) {
        let server = self.server.take();
        let _ = std::thread::spawn(move || drop(server)).join();
    }
}

impl Slack {
    /// A Slack that takes everything.
    pub async fn start() -> Self {
        let slack = Self { server: Some(MockServer::start().await), priority: AtomicU8::new(u8::MAX) };
        let takes_messages = |request: &Request| match request.body_json::<Value>() {
            Ok(message) => match refusal(&message) {
                None => ResponseTemplate::new(200).set_body_string("ok"),
                Some(word) => ResponseTemplate::new(400).set_body_string(word),
            },
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
            .mount(self.server())
            .await;
    }

    /// From now on every post is answered like this.
    pub async fn otherwise(&self, answer: impl Respond + 'static) {
        let priority = self.priority.fetch_sub(1, Ordering::Relaxed);
        Mock::given(any()).respond_with(answer).with_priority(priority).mount(self.server()).await;
    }

    fn server(&self) -> &MockServer {
        self.server.as_ref().expect("not dropped")
    }

    /// The webhook; its path is the secret.
    pub fn webhook(&self) -> String {
        format!("{}/services/T000/B000/very-secret", self.server().uri())
    }

    pub fn uri(&self) -> String {
        self.server().uri()
    }

    /// The paths of the posts.
    pub async fn paths(&self) -> Vec<String> {
        let requests = self.server().received_requests().await.unwrap_or_default();
        requests.iter().map(|request| request.url.path().to_owned()).collect()
    }

    /// Every message posted so far, refused ones included.
    pub async fn posts(&self) -> Vec<Value> {
        let requests = self.server().received_requests().await.unwrap_or_default();
        requests.iter().filter_map(|request| request.body_json().ok()).collect()
    }

    /// The texts of the posts.
    pub async fn texts(&self) -> Vec<String> {
        self.posts().await.iter().map(|post| post["text"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
