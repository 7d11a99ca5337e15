//! Shutdown as an argument: two signals that tests give by hand and the program takes from the platform.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How a running pool is told to end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take on nothing new and finish what has begun.
    pub drain: CancellationToken,
    /// Finish nothing more: give back what is in flight. Implied when the grace is over.
    pub give_up: CancellationToken,
}

impl Shutdown {
    /// The first SIGTERM or SIGINT drains, the second gives up at once.
    ///
    /// # Errors
    /// When the process cannot install signal handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::default();
        let told = shutdown.clone();
        tokio::spawn(async move {
            for token in [told.drain, told.give_up] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(shutdown)
    }
}

/// Counts what goes back to the queue in a drain.
#[derive(Debug, Default)]
pub(super) struct Drained {
    given_back: AtomicU64,
}

impl Drained {
    pub(super) fn count(&self) {
        self.given_back.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that went back to the queue unfinished.
    pub(super) fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Relaxed)
    }
}
