//! What the pool lets others see of it, for `/healthz` and `/readyz`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The least time without an answer that counts as unhealthy, for configurations with a very short poll.
const LEAST_SILENCE: Duration = Duration::from_secs(3);

/// How the pool is doing. Written by the pool, read by the HTTP server.
#[derive(Debug)]
pub struct Health {
    silence_limit: Duration,
    started_at: Instant,
    answered_at: Mutex<Option<Instant>>,
    full: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// `wait` is the long poll; three of them without an answer from the queue are too many.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self {
            silence_limit: (wait * 3).max(LEAST_SILENCE),
            started_at: Instant::now(),
            answered_at: Mutex::new(None),
            full: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// A poll came back with an answer. A poll that failed does not count: a worker that cannot reach its
    /// queue is of no use, and a new one may have better credentials or a better network.
    pub(super) fn poll_answered(&self) {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Every permit is taken, so that no poll is due.
    pub(super) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the worker is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// How long ago the queue answered a poll; `None` if it never has.
    pub fn since_answer(&self) -> Option<Duration> {
        let answered_at = *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner);
        answered_at.map(|at| at.elapsed())
    }

    /// Whether polls come back: within three waits, unless the pool is full or draining and polls no more.
    pub fn is_polling(&self) -> bool {
        let silence = self.since_answer().unwrap_or_else(|| self.started_at.elapsed());
        silence < self.silence_limit || self.full.load(Ordering::Relaxed) || self.is_draining()
    }
}
