//! What becomes of a message, in the words that people and their tools rely on. Pure.

/// Declares a closed list of words: an enum, the word of each, and the list of all.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$word_doc])* $variant),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// The label under which a message is counted, once for each time it was worked on.
    Outcome {
        /// Logging runs again because of us.
        Restored = "restored",
        /// Somebody else was faster.
        AlreadyLogging = "already_logging",
        /// People were notified; nothing was to be restarted, or nothing could be.
        Notified = "notified",
        /// People were notified of a call that failed.
        FailedCall = "attempt",
        /// People were notified of an account or Region that the policy does not concern.
        Outside = "outside",
        /// A look of ours, and there was nothing to do.
        Looked = "looked",
        /// Nothing to do with switching CloudTrail off.
        Ignored = "ignored",
        /// Its event was finished before.
        Duplicate = "duplicate",
        /// Failed for now.
        Retried = "retried",
        /// Poison.
        DeadLettered = "dead_lettered",
        /// Given back, or left to the worker that holds it. The pool has the same word for what it gives back itself.
        Released = "released",
    }
}

words! {
    /// Why a message went to the dead-letter queue; written there as `trailkeeper.reason`.
    Reason {
        /// Not something that any version could read.
        Malformed = "malformed",
        /// Readable, but of a kind that is not handled here.
        Unsupported = "unsupported",
        /// The restart was refused for good.
        RestoreRefused = "restore-refused",
        /// The channel refused the message for good.
        NotifyRefused = "notify-refused",
        /// Tried as often as is allowed.
        AttemptsExhausted = "attempts-exhausted",
    }
}

impl Reason {
    /// `None` for a word that this version does not know.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }
}
