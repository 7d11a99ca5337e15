//! Switching a trail on again: status, start, verify.

use std::time::Duration;

use super::trails::{Meaning, Refusal, Status, Trails};
use crate::clock;
use crate::event::{Region, TrailArn};
use crate::incident::{Restoration, Restored};
use crate::telemetry::{self, RestoreResult};

/// Waits before each look at whether logging runs; StartLogging is usually seen by the first.
const VERIFY_WAITS_MS: [u64; 5] = [0, 200, 400, 800, 1_600];

/// What was done before by whoever worked on the same stop: it decides whose work it is that a trail is found on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Nobody has worked on it.
    Nothing,
    /// `StartLogging` was accepted.
    Started,
    /// `StartLogging` may have been accepted, and whoever asked for it was killed before that was written down.
    Perhaps,
}

/// Why a restart has not come to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartError {
    /// Somebody else may be at it: nothing was started.
    NotOurs,
    /// CloudTrail refused something, for now: what is final is an end.
    Refused {
        refusal: Refusal,
        /// That was after `StartLogging` had been accepted: whoever looks next and sees logging on owes it to us.
        started: bool,
    },
}

impl From<Refusal> for RestartError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, started: false }
    }
}

impl Trails {
    /// Sees to it that the trail logs. Safe to repeat. `still_ours` is asked just before it is started.
    ///
    /// # Errors
    /// When it failed for now, or is no longer ours to do; everything that is final is an `Ok`.
    pub async fn restart(
        &self,
        trail: &TrailArn,
        earlier: Earlier,
        still_ours: impl Fn() -> bool + Sync,
    ) -> Result<Restored, RestartError> {
        let result = match self.restart_in(trail, trail.region(), earlier, &still_ours).await {
            Err(RestartError::Refused { refusal: Refusal { meaning: Meaning::Elsewhere, .. }, .. }) => {
                self.restart_at_home(trail, earlier, &still_ours).await
            }
            result => result,
        };
        let ended = |outcome| Ok(Restored::new(outcome, clock::now()));
        let result = match result {
            Err(RestartError::Refused { refusal: Refusal { meaning: Meaning::Gone, .. }, .. }) => {
                ended(Restoration::Gone)
            }
            Err(RestartError::Refused { refusal: Refusal { meaning, detail }, .. })
                if meaning != Meaning::Passing =>
            {
                ended(Restoration::Refused { detail })
            }
            Err(RestartError::NotOurs) => return Err(RestartError::NotOurs),
            result => result,
        };
        telemetry::restore(match result.as_ref().map(|restored| &restored.outcome) {
            Ok(Restoration::Restarted) => RestoreResult::Restored,
            Ok(Restoration::AlreadyLogging { .. }) => RestoreResult::AlreadyLogging,
            Ok(Restoration::Gone) => RestoreResult::NotFound,
            Ok(Restoration::Refused { .. } | Restoration::Unverified { .. }) => RestoreResult::Refused,
            Err(_) => RestoreResult::Failed,
        });
        result
    }

    /// The ARN's region is not the trail's home: looks where it is, and goes there.
    async fn restart_at_home(
        &self,
        trail: &TrailArn,
        earlier: Earlier,
        still_ours: &(impl Fn() -> bool + Sync),
    ) -> Result<Restored, RestartError> {
        match self.home_region(trail).await? {
            Some(home) if home != *trail.region() => self.restart_in(trail, &home, earlier, still_ours).await,
            _ => {
                let region = trail.region();
                let detail =
                    format!("InvalidHomeRegionException in {region}, and no other home region is known");
                Err(Refusal::new(Meaning::Impossible, detail).into())
            }
        }
    }

    async fn restart_in(
        &self,
        trail: &TrailArn,
        region: &Region,
        earlier: Earlier,
        still_ours: &(impl Fn() -> bool + Sync),
    ) -> Result<Restored, RestartError> {
        let before = match self.status(trail, region).await {
            Ok(status) if status.logging => {
                let since = status.started_at;
                let outcome = match earlier {
                    Earlier::Started => Restoration::Restarted,
                    Earlier::Nothing => Restoration::AlreadyLogging { since, perhaps_ours: false },
                    Earlier::Perhaps => Restoration::AlreadyLogging { since, perhaps_ours: true },
                };
                return Ok(ended(status, outcome));
            }
            Ok(status) => Some(status),
            // The right to look is missing; the right to start may be there, and starting twice does no harm.
            Err(Refusal { meaning: Meaning::Denied, .. }) => None,
            Err(refusal) => return Err(refusal.into()),
        };
        if !still_ours() {
            return Err(RestartError::NotOurs);
        }
        // Without an answer it may have been carried out. Whoever finds logging on later does not claim to know.
        self.start(trail, region).await?;
        let verified = match self.verify(trail, region).await {
            // Nobody will see more, and starting it again would show nothing.
            Err(Refusal { meaning: Meaning::Denied, detail }) => {
                Restored::new(Restoration::Unverified { detail }, clock::now())
            }
            verified => verified.map_err(|refusal| RestartError::Refused { refusal, started: true })?,
        };
        Ok(Restored { stopped_at: before.and_then(|status| status.stopped_at), ..verified })
    }

    /// Looks until logging is seen to run.
    async fn verify(&self, trail: &TrailArn, region: &Region) -> Result<Restored, Refusal> {
        for wait in VERIFY_WAITS_MS {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            match self.status(trail, region).await {
                Ok(status) if status.logging => return Ok(ended(status, Restoration::Restarted)),
                Ok(_) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let detail = "StartLogging was accepted, but GetTrailStatus does not show logging yet".to_owned();
        Err(Refusal::new(Meaning::Passing, detail))
    }
}

fn ended(status: Status, outcome: Restoration) -> Restored {
    let Status { stopped_at, delivery_error, .. } = status;
    Restored { outcome, at: clock::now(), stopped_at, delivery_error }
}
