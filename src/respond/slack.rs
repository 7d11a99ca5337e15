//! Posting to Slack by incoming webhook. What Slack's answers mean is decided here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::Instrument;
use url::Url;

use super::message::Message;
use crate::spans;
use crate::telemetry::{self, SlackResult};

/// For one post.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// For a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Slack takes about one message a second for each channel.
const TURN: Duration = Duration::from_secs(1);
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

/// Where people are told. Slack is; the simulation has one that fails in every way in which Slack can.
pub trait Notifier: Send + Sync + 'static {
    /// Posts one message. The future may be dropped at any await; the message may then have been posted.
    fn post(&self, message: &Message) -> impl Future<Output = Result<(), PostError>> + Send;
}

/// A Slack channel behind an incoming webhook.
#[derive(Debug)]
pub struct Slack {
    http: reqwest::Client,
    webhook: SecretString,
    /// What is no secret of the webhook.
    address: Address,
    turns: Mutex<Turns>,
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

/// Who may post when, once Slack has asked for patience.
#[derive(Debug)]
struct Turns {
    quiet_until: Instant,
    last_given: Instant,
}

/// Why a post failed. The texts hold neither the webhook nor the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Slack asks for patience, or did before and it is not our turn: nothing is wrong with the message.
    #[error("Slack limits the rate: our turn is in {} s", after.as_secs())]
    NotOurTurn {
        /// When it is.
        after: Duration,
    },
    /// Not now.
    #[error("{0}")]
    Failed(String),
    /// Not until somebody changes the webhook or the channel.
    #[error("{0}")]
    Refused(String),
}

impl Slack {
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(webhook: SecretString) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(POST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // Slack does not redirect; whoever does would be sent the message.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let address = Url::parse(webhook.expose_secret()).as_ref().map(Address::of).unwrap_or_default();
        let now = Instant::now();
        Ok(Self { http, webhook, address, turns: Mutex::new(Turns { quiet_until: now, last_given: now }) })
    }

    /// Whether the webhook would take a message, found out without posting: what is sent is not JSON. A live webhook
    /// answers that, and a dead one that it is dead; one that is busy is alive.
    pub async fn check(&self) -> Result<Webhook, PostError> {
        let request = self.http.post(self.webhook.expose_secret()).header(CONTENT_TYPE, "application/json");
        let answer = self.ask(request.body("trailkeeper asks, and posts nothing")).await?;
        let busy = answer.status == StatusCode::TOO_MANY_REQUESTS;
        if busy || answer.word.as_deref().is_some_and(|word| ALIVE.contains(&word)) {
            return Ok(Webhook::Alive);
        }
        self.meaning(answer).map(|()| Webhook::TakesAnything)
    }

    async fn send(&self, message: &Message) -> Result<(), PostError> {
        let request = self.http.post(self.webhook.expose_secret()).json(&message.payload());
        let answer = self.ask(request).await?;
        self.meaning(answer)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, PostError> {
        // The URL is the secret, and reqwest's errors name it.
        let answer = request.send().await.map_err(|error| {
            let reason = reason(error);
            spans::failed(&spans::current(), "unreachable", &reason);
            PostError::Failed(format!("Slack was not reached: {reason}"))
        })?;
        let status = answer.status();
        spans::post_answered(status.as_u16());
        let retry_after = answer.headers().get(RETRY_AFTER);
        let seconds = retry_after.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        let word = if status.is_success() { None } else { error_word(answer).await };
        Ok(Answer { status, retry_after, word })
    }

    fn meaning(&self, Answer { status, retry_after, word }: Answer) -> Result<(), PostError> {
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            // Not at once, whatever it says: each return is a receive, and SQS counts those.
            let after = retry_after.unwrap_or(DEFAULT_RETRY_AFTER).clamp(TURN, MAX_WAIT);
            return Err(PostError::NotOurTurn { after: self.turns().quiet(after) });
        }
        let word = word.map(|word| format!(" ({word})")).unwrap_or_default();
        let told = format!("Slack answered {}{word}", status.as_u16());
        Err(match status {
            StatusCode::REQUEST_TIMEOUT => PostError::Failed(told),
            _ if status.is_client_error() || status.is_redirection() => {
                PostError::Refused(format!("{told}; check the webhook and its channel"))
            }
            _ => PostError::Failed(told),
        })
    }

    /// Whether we may post, or else when. Each who must wait is given a turn of their own, so that what waited
    /// together does not come back together and is refused together.
    fn turn(&self) -> Result<(), PostError> {
        match self.turns().next() {
            Duration::ZERO => Ok(()),
            after => Err(PostError::NotOurTurn { after }),
        }
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier for Slack {
    async fn post(&self, message: &Message) -> Result<(), PostError> {
        self.turn()?;
        let started_at = Instant::now();
        let Address { url, host, port } = &self.address;
        let posted = self.send(message).instrument(spans::post(url, host.as_deref(), *port)).await;
        let result = match &posted {
            Ok(()) => SlackResult::Ok,
            Err(PostError::NotOurTurn { .. }) => SlackResult::RateLimited,
            Err(PostError::Failed(_)) => SlackResult::Failed,
            Err(PostError::Refused(_)) => SlackResult::Refused,
        };
        telemetry::slack_post(result, started_at.elapsed());
        posted
    }
}

impl Turns {
    /// How long to wait for a turn; zero if nobody has to.
    fn next(&mut self) -> Duration {
        let now = Instant::now();
        if now >= self.quiet_until {
            return Duration::ZERO;
        }
        self.last_given = (self.last_given + TURN).max(self.quiet_until).min(now + MAX_WAIT);
        self.last_given - now
    }

    /// Slack asked for `wait`; whoever was told takes the first turn after it.
    fn quiet(&mut self, wait: Duration) -> Duration {
        self.quiet_until = self.quiet_until.max(Instant::now() + wait);
        self.next().max(wait)
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
