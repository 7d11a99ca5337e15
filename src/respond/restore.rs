//! Switching a trail on again: status, start, verify.

use std::time::Duration;

use super::trails::{Meaning, Refusal, Status, Trails};
use crate::clock;
use crate::event::{Region, TrailArn};
use crate::state::{Claim, Lease, Restoration, Restored, StoreError};
use crate::telemetry::{self, RestoreResult};

/// Waits before each look at whether logging runs; StartLogging is usually seen by the first.
const VERIFY_WAITS_MS: [u64; 5] = [0, 200, 400, 800, 1_600];

/// A restart that failed for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NotYet {
    /// `StartLogging` was accepted: whoever looks next and sees logging on owes it to us.
    pub started: bool,
    /// What failed.
    pub detail: String,
}

/// Why there is no end to a restart yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrestored {
    /// It failed for now.
    NotYet(NotYet),
    /// The claim on the event ran out before `StartLogging`.
    Lost(StoreError),
}

/// Why logging was not seen to run.
#[derive(Debug)]
enum Halt {
    /// CloudTrail refused something; `started` if that was after `StartLogging`.
    Refused { refusal: Refusal, started: bool },
    /// The claim on the event is lost.
    Lost(StoreError),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, started: false }
    }
}

impl Trails {
    /// Sees to it that the trail logs. Safe to repeat. The claim tells how far earlier calls of this got: if to
    /// `StartLogging`, logging that is found on is ours.
    ///
    /// # Errors
    /// When it failed for now, or the claim is lost; everything that is final is an `Ok`.
    pub async fn restore(
        &self,
        trail: &TrailArn,
        claim: &Claim,
        lease: &Lease,
    ) -> Result<Restored, Unrestored> {
        let result = match self.restore_in(trail, trail.region(), claim, lease).await {
            Err(Halt::Refused { refusal: Refusal { meaning: Meaning::Elsewhere, .. }, .. }) => {
                self.restore_at_home(trail, claim, lease).await
            }
            result => result,
        };
        let restored = |outcome| Restored::new(outcome, clock::now());
        let result = match result {
            Ok(restored) => Ok(restored),
            Err(Halt::Lost(lost)) => return Err(Unrestored::Lost(lost)),
            Err(Halt::Refused { refusal: Refusal { meaning, detail, .. }, started }) => match meaning {
                Meaning::Passing => Err(Unrestored::NotYet(NotYet { started, detail })),
                Meaning::Gone => Ok(restored(Restoration::Gone)),
                _ => Ok(restored(Restoration::Refused { detail })),
            },
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
    async fn restore_at_home(
        &self,
        trail: &TrailArn,
        claim: &Claim,
        lease: &Lease,
    ) -> Result<Restored, Halt> {
        match self.home_region(trail).await? {
            Some(home) if home != *trail.region() => self.restore_in(trail, &home, claim, lease).await,
            _ => {
                let region = trail.region();
                let detail =
                    format!("InvalidHomeRegionException in {region}, and no other home region is known");
                Err(Refusal::new(Meaning::Impossible, detail).into())
            }
        }
    }

    async fn restore_in(
        &self,
        trail: &TrailArn,
        region: &Region,
        claim: &Claim,
        lease: &Lease,
    ) -> Result<Restored, Halt> {
        let before = match self.status(trail, region).await {
            Ok(status) if status.logging && claim.steps.started => {
                return Ok(ended(status, Restoration::Restarted));
            }
            Ok(status) if status.logging => {
                let (since, perhaps_ours) = (status.started_at, !claim.is_first());
                return Ok(ended(status, Restoration::AlreadyLogging { since, perhaps_ours }));
            }
            Ok(status) => Some(status),
            // The right to look is missing; the right to start may be there, and starting twice does no harm.
            Err(Refusal { meaning: Meaning::Denied, .. }) => None,
            Err(refusal) => return Err(refusal.into()),
        };
        lease.check().map_err(Halt::Lost)?;
        // Without an answer it may have been carried out. Whoever finds logging on later does not claim to know.
        self.start(trail, region).await?;
        let verified = match self.verify(trail, region).await {
            // Nobody will see more, and starting it again would show nothing.
            Err(Refusal { meaning: Meaning::Denied, detail }) => {
                Restored::new(Restoration::Unverified { detail }, clock::now())
            }
            verified => verified.map_err(|refusal| Halt::Refused { refusal, started: true })?,
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
