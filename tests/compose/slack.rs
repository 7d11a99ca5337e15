//! The stand-in for Slack, asked for what it was told.

use serde_json::Value;

pub(crate) struct Slack {
    messages: String,
}

impl Slack {
    pub(crate) fn new(port: &str) -> Self {
        Self { messages: format!("http://127.0.0.1:{port}/messages") }
    }

    /// Every message, as it was posted.
    pub(crate) async fn messages(&self) -> Vec<Value> {
        let answer = reqwest::get(&self.messages).await.expect("the stand-in answers");
        let entries: Vec<Value> = answer.json().await.expect("JSON");
        entries.into_iter().map(|mut entry| entry["message"].take()).collect()
    }

    /// Forgets them.
    pub(crate) async fn forget(&self) {
        let answer = reqwest::Client::new().delete(&self.messages).send().await;
        answer.and_then(reqwest::Response::error_for_status).expect("the stand-in answers");
    }

    /// The texts of the messages about an event, less those that say only that a restart takes longer: on a slow
    /// machine there may be such.
    pub(crate) async fn told_of(&self, event: &str) -> Vec<String> {
        told_of(&self.messages().await, event)
    }
}

/// The same, of messages that were fetched before.
pub(crate) fn told_of(messages: &[Value], event: &str) -> Vec<String> {
    let context = format!("Event {event} ");
    messages
        .iter()
        .filter(|message| message["blocks"].to_string().contains(&context))
        .filter_map(|message| Some(message["text"].as_str()?.to_owned()))
        .filter(|text| !text.contains("is not done yet"))
        .collect()
}
