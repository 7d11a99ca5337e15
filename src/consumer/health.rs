//! What the pool lets others see of it: for `/healthz` and `/readyz`, and for whoever must know when it works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::telemetry;

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
    in_flight: watch::Sender<usize>,
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
            in_flight: watch::Sender::new(0),
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

    /// The ledger has this many lines now.
    pub(super) fn set_in_flight(&self, count: usize) {
        telemetry::in_flight(count);
        self.in_flight.send_replace(count);
    }

    /// How many messages are being worked on or settled.
    pub fn in_flight(&self) -> watch::Receiver<usize> {
        self.in_flight.subscribe()
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
