//! What a check found. Pure.

use serde::Serialize;

/// What is checked. The names are for people, tools and the runbook, and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Whose credentials these are.
    Credentials,
    /// This machine's clock against AWS's.
    Clock,
    /// The queue is there and can be read.
    Queue,
    /// Its redrive policy.
    QueueRedrive,
    /// Its visibility timeout.
    QueueVisibility,
    /// Who may send to it.
    QueuePolicy,
    /// The dead-letter queue is there and can be read.
    DeadLetters,
    /// It keeps messages for longer than the queue does.
    DeadLettersRetention,
    /// The state table is there, has our key, and can be written to.
    StateTable,
    /// It forgets what is over.
    StateTableTtl,
    /// There is a trail.
    Trails,
    /// A trail logs and delivers.
    TrailLogging,
    /// A trail lives where the worker does.
    TrailHomeRegion,
    /// The right to look at a trail.
    TrailStatusRight,
    /// The right to start a trail.
    TrailStartRight,
    /// The accounts of the organization can be listed.
    Accounts,
    /// All trails can be listed, and what is known of them read.
    Sweep,
    /// The member role can be assumed in the policy's other accounts.
    MemberRole,
    /// Slack would take a message.
    Slack,
}

impl Check {
    /// Every check there is, in the order in which they are made.
    pub const ALL: [Self; 19] = [
        Self::Credentials,
        Self::Clock,
        Self::Queue,
        Self::QueueRedrive,
        Self::QueueVisibility,
        Self::QueuePolicy,
        Self::DeadLetters,
        Self::DeadLettersRetention,
        Self::StateTable,
        Self::StateTableTtl,
        Self::Trails,
        Self::TrailStatusRight,
        Self::TrailLogging,
        Self::TrailStartRight,
        Self::TrailHomeRegion,
        Self::Sweep,
        Self::Accounts,
        Self::MemberRole,
        Self::Slack,
    ];

    /// The check's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Clock => "clock",
            Self::Queue => "queue",
            Self::QueueRedrive => "queue-redrive",
            Self::QueueVisibility => "queue-visibility",
            Self::QueuePolicy => "queue-policy",
            Self::DeadLetters => "dead-letters",
            Self::DeadLettersRetention => "dead-letters-retention",
            Self::StateTable => "state-table",
            Self::StateTableTtl => "state-table-ttl",
            Self::Trails => "trails",
            Self::TrailLogging => "trail-logging",
            Self::TrailHomeRegion => "trail-home-region",
            Self::TrailStatusRight => "trail-status-right",
            Self::TrailStartRight => "trail-start-right",
            Self::Sweep => "sweep",
            Self::Accounts => "accounts",
            Self::MemberRole => "member-role",
            Self::Slack => "slack",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, and there is something to know.
    Warning,
    /// It could not be found out.
    Unknown,
    /// Something is missing or wrong.
    Failed,
}

impl Status {
    /// The status as people read it: what is bad is loud without colours too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Failed => "FAILED",
        }
    }
}

/// What one check found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    pub status: Status,
    /// What was looked at, where there are several: a trail's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What was found.
    pub found: String,
    /// What to do; there unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(check: Check, found: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, subject: None, found: found.into(), todo: None }
    }

    /// Something is to be done.
    #[must_use]
    pub fn new(check: Check, status: Status, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, status, subject: None, found: found.into(), todo: Some(todo.into()) }
    }

    /// Something is wrong.
    #[must_use]
    pub fn failed(check: Check, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(check, Status::Failed, found, todo)
    }

    /// The same about this one.
    #[must_use]
    pub fn about(self, subject: &impl ToString) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }
}
