//! What a dead letter says of itself, in message attributes. Pure.

/// Every dead letter of ours carries this; one that comes back still does.
pub const REASON: &str = "trailkeeper.reason";
const DETAIL: &str = "trailkeeper.detail";
const ATTEMPTS: &str = "trailkeeper.attempts";
const SUBJECT: &str = "trailkeeper.event_id";
const SOURCE_MESSAGE_ID: &str = "trailkeeper.source_message_id";
const FAILED_AT: &str = "trailkeeper.failed_at";

/// On messages that a worker sends to its own queue: what it is. What brings events there sets none.
pub const KIND: &str = "trailkeeper.kind";

/// In place of a reason, where SQS itself gave the message up: it was received too often.
pub const NO_REASON: &str = "none";

/// The longest `trailkeeper.detail`, in characters: a sentence, not a report.
const MAX_DETAIL_CHARS: usize = 512;

/// Why a message is dead. It stays on the message when that is put back, so that what was tried before counts on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Label {
    /// The handler's word, [`NO_REASON`], or what another version called it.
    pub reason: String,
    /// What exactly.
    pub detail: Option<String>,
    /// Executions in all, those before the message was put back included.
    pub attempts: u32,
    /// What the message is about, where that is known.
    pub subject: Option<String>,
    /// The message's id in the queue that it came from.
    pub source_message_id: Option<String>,
    /// When it was given up, as RFC 3339 has it.
    pub failed_at: Option<String>,
}

impl Label {
    /// The names of the attributes.
    pub const NAMES: [&str; 6] = [REASON, DETAIL, ATTEMPTS, SUBJECT, SOURCE_MESSAGE_ID, FAILED_AT];

    /// Reads the attributes of a message; `None` if it has no reason, and so was never given up by us.
    pub fn read(attribute: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Some(Self {
            reason: attribute(REASON)?,
            detail: attribute(DETAIL),
            attempts: attribute(ATTEMPTS).and_then(|count| count.parse().ok()).unwrap_or_default(),
            subject: attribute(SUBJECT),
            source_message_id: attribute(SOURCE_MESSAGE_ID),
            failed_at: attribute(FAILED_AT),
        })
    }

    /// The label of a message that SQS itself gave up after it had been put back: the reason is of the round before.
    #[must_use]
    pub fn moved_by_sqs(self) -> Self {
        let before = format!("received too often; before it was put back: {}", self.reason);
        Self { reason: NO_REASON.to_owned(), detail: Some(before), ..self }
    }

    /// The attributes, by name. SQS takes no empty ones.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, String)> {
        let Self { reason, detail, attempts, subject, source_message_id, failed_at } = self.clone();
        let fields = [
            (REASON, Some(reason)),
            (DETAIL, detail.as_deref().map(plain)),
            (ATTEMPTS, Some(attempts.to_string())),
            (SUBJECT, subject),
            (SOURCE_MESSAGE_ID, source_message_id),
            (FAILED_AT, failed_at),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
    }
}

/// SQS refuses control characters in attributes.
fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MAX_DETAIL_CHARS).collect()
}
