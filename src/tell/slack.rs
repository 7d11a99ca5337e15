//! Posting to Slack by incoming webhook. What Slack's answers mean is decided here.

mod blocks;

use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::Instrument;
use url::Url;

use super::channel::{Channel, ShowError};
use super::view::View;
use crate::spans;
use crate::telemetry::{self, SlackResult};
use crate::turns::{TURN, Turns};

/// For one post.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// For a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A 429 without a readable `Retry-After`.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(30);
/// The longest `Retry-After` followed, and the longest queue for a turn: below SQS's visibility limit by far,
/// and short enough for an alert to be worth something.
const MAX_WAIT: Duration = Duration::from_mins(15);
/// How much of an error answer is read: Slack's are one word.
const MAX_ERROR_BYTES: usize = 64;

/// What a live webhook says of something that is not a message. Nobody documents it; those who look for leaked
/// webhooks rely on it.
const ALIVE: [&str; 3] = ["invalid_payload", "no_text", "missing_text_or_fallback_or_attachments"];

/// A Slack channel behind an incoming webhook.
#[derive(Debug)]
pub struct Slack {
    http: reqwest::Client,
    webhook: SecretString,
    /// The deployment's name, if it has one: shown with each message.
    deployment: Option<String>,
    /// What is no secret of the webhook.
    address: Address,
    /// A webhook is one channel, and has one lane.
    turns: Turns<()>,
}

/// What answers in the webhook's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Webhook {
    /// A webhook of Slack's that would take a message.
    Alive,
    /// Something that takes what is no message, as Slack does not: a relay, or a wrong address.
    TakesAnything,
}

/// Where the webhook is.
#[derive(Debug, Default)]
struct Address {
    /// The URL without its path, which is the secret.
    url: String,
    host: Option<String>,
    port: Option<u16>,
}

impl Address {
    fn of(webhook: &Url) -> Self {
        let host = webhook.host_str().map(str::to_owned);
        let url = format!("{}/REDACTED", webhook.origin().ascii_serialization());
        Self { url, host, port: webhook.port_or_known_default() }
    }
}

/// What Slack answered.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    word: Option<String>,
}

impl Slack {
    /// `deployment` is shown with each message.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(webhook: SecretString, deployment: Option<String>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(POST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // Slack does not redirect; whoever does would be sent the message.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let address = Url::parse(webhook.expose_secret()).as_ref().map(Address::of).unwrap_or_default();
        Ok(Self { http, webhook, deployment, address, turns: Turns::new(MAX_WAIT) })
    }

    /// Whether the webhook would take a message, found out without posting: what is sent is not JSON. A live webhook
    /// answers that, and a dead one that it is dead; one that is busy is alive.
    pub async fn check(&self) -> Result<Webhook, ShowError> {
        let request = self.http.post(self.webhook.expose_secret()).header(CONTENT_TYPE, "application/json");
        let answer = self.ask(request.body("trailkeeper asks, and posts nothing")).await?;
        let busy = answer.status == StatusCode::TOO_MANY_REQUESTS;
        if busy || answer.word.as_deref().is_some_and(|word| ALIVE.contains(&word)) {
            return Ok(Webhook::Alive);
        }
        self.meaning(answer).map(|()| Webhook::TakesAnything)
    }

    async fn send(&self, view: &View) -> Result<(), ShowError> {
        let request = self
            .http
            .post(self.webhook.expose_secret())
            .json(&blocks::payload(view, self.deployment.as_deref()));
        let answer = self.ask(request).await?;
        self.meaning(answer)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, ShowError> {
        // The URL is the secret, and reqwest's errors name it.
        let answer = request.send().await.map_err(|error| {
            let reason = reason(error);
            spans::failed(&spans::current(), "unreachable", &reason);
            ShowError::Failed(format!("Slack was not reached: {reason}"))
        })?;
        let status = answer.status();
        spans::post_answered(status.as_u16());
        let retry_after = answer.headers().get(RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let word = if status.is_success() { None } else { error_word(answer).await };
        Ok(Answer { status, retry_after, word })
    }

    fn meaning(&self, Answer { status, retry_after, word }: Answer) -> Result<(), ShowError> {
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            // Not at once, whatever it says: each return is a receive, and SQS counts those.
            let after = retry_after.unwrap_or(DEFAULT_RETRY_AFTER).clamp(TURN, MAX_WAIT);
            return Err(ShowError::NotOurTurn { after: self.turns.quiet((), after) });
        }
        let word = word.map(|word| format!(" ({word})")).unwrap_or_default();
        let told = format!("Slack answered {}{word}", status.as_u16());
        Err(match status {
            StatusCode::REQUEST_TIMEOUT => ShowError::Failed(told),
            _ if status.is_client_error() || status.is_redirection() => {
                ShowError::Refused(format!("{told}; check the webhook and its channel"))
            }
            _ => ShowError::Failed(told),
        })
    }
}

#[async_trait]
impl Channel for Slack {
    async fn show(&self, view: &View) -> Result<(), ShowError> {
        match self.turns.next(&()) {
            Duration::ZERO => {}
            after => return Err(ShowError::NotOurTurn { after }),
        }
        let started_at = Instant::now();
        let Address { url, host, port } = &self.address;
        let posted = self.send(view).instrument(spans::post(url, host.as_deref(), *port)).await;
        let result = match &posted {
            Ok(()) => SlackResult::Ok,
            Err(ShowError::NotOurTurn { .. }) => SlackResult::RateLimited,
            Err(ShowError::Failed(_)) => SlackResult::Failed,
            Err(ShowError::Refused(_)) => SlackResult::Refused,
        };
        telemetry::slack_post(result, started_at.elapsed());
        posted
    }
}

/// Why a request failed, without the URL, which is the secret.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    // One that takes too long to be made is both.
    if error.is_connect() {
        return "no connection".to_owned();
    }
    if error.is_timeout() {
        return format!("no answer in {} s", POST_TIMEOUT.as_secs());
    }
    error.to_string()
}

/// Slack's error word (`no_service`, `channel_is_archived`), if the answer is one; anything else in an answer
/// is not for logs.
async fn error_word(mut answer: reqwest::Response) -> Option<String> {
    let mut body = Vec::new();
    while body.len() <= MAX_ERROR_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let is_word = !body.is_empty()
        && body.len() <= MAX_ERROR_BYTES
        && body.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    is_word.then(|| String::from_utf8_lossy(&body).into_owned())
}
