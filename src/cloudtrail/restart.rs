//! Switching a trail on again: status, start, verify. And looking whether it logs, where nothing may be changed.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::refusal::{Meaning, Refusal};
use super::trails::{Status, Trails};
use crate::clock;
use crate::event::{AccountId, Region, TrailArn};
use crate::incident::{Found, Restoration, Restored, Sighting};
use crate::telemetry::{self, RestoreResult};

/// Waits before each look at whether logging runs; StartLogging is usually seen by the first.
const VERIFY_WAITS_MS: [u64; 5] = [0, 200, 400, 800, 1_600];
/// Trails of a Region that are looked at: CloudTrail allows five, and those of an organization beside.
const MAX_TRAILS: usize = 20;

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

/// One execution of the work on a stop, and what it has seen.
#[derive(Debug)]
pub struct Order<F> {
    /// When the stop was made, at most now; now where the event does not say.
    stop: OffsetDateTime,
    earlier: Earlier,
    still_ours: F,
    /// What the last look showed; read by whoever reports that the work takes long.
    seen: Mutex<Sighting>,
}

impl<F: Fn() -> bool + Sync> Order<F> {
    /// `still_ours` is asked just before a trail is started.
    pub fn new(stop: Option<OffsetDateTime>, earlier: Earlier, still_ours: F) -> Self {
        // A clock that is ahead, or somebody's invention.
        let now = clock::now();
        let stop = stop.map_or(now, |stop| stop.min(now));
        Self { stop, earlier, still_ours, seen: Mutex::default() }
    }

    /// What the last look before a start showed.
    pub fn seen(&self) -> Sighting {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, sighting: Sighting) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = sighting;
    }

    /// Whether a trail that logs since then has not seen the stop: the answer may be older.
    #[must_use]
    pub fn is_older(&self, since: Option<OffsetDateTime>) -> bool {
        since.is_some_and(|since| since < self.stop)
    }
}

/// Why a restart has not come to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartError {
    /// Somebody else may be at it: nothing was started.
    NotOurs,
    /// Nothing was started: CloudTrail takes one start a second of an account in a Region, and others are before this one.
    NotOurTurn {
        after: Duration,
        /// CloudTrail's own word for it, if it had one.
        throttled: Option<String>,
    },
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
    /// Sees to it that the trail logs. Safe to repeat.
    ///
    /// # Errors
    /// When it failed for now, or is no longer ours to do; everything that is final is an `Ok`.
    pub async fn restart(
        &self,
        trail: &TrailArn,
        order: &Order<impl Fn() -> bool + Sync>,
    ) -> Result<Restored, RestartError> {
        order.saw(Sighting::NotLookedAt);
        let result = match self.restart_in(trail, trail.region(), order).await {
            Err(RestartError::Refused { refusal: Refusal { meaning: Meaning::Elsewhere, .. }, .. }) => {
                self.restart_at_home(trail, order).await
            }
            result => result,
        };
        let result = match result {
            Err(RestartError::Refused { refusal, started }) => match end(refusal) {
                Ok(outcome) => Ok(Restored::new(outcome, clock::now())),
                Err(refusal) => Err(RestartError::Refused { refusal, started }),
            },
            Err(waits @ (RestartError::NotOurs | RestartError::NotOurTurn { .. })) => return Err(waits),
            result => result,
        };
        telemetry::restore(match result.as_ref().map(|restored| &restored.outcome) {
            Ok(Restoration::Restarted) => RestoreResult::Restored,
            Ok(Restoration::AlreadyLogging { .. }) => RestoreResult::AlreadyLogging,
            Ok(Restoration::Gone) => RestoreResult::NotFound,
            Ok(Restoration::Refused { .. } | Restoration::Unverified { .. } | Restoration::LeftOff) => {
                RestoreResult::Refused
            }
            Err(_) => RestoreResult::Failed,
        });
        result.map(|restored| Restored { before: order.seen(), ..restored })
    }

    /// The ARN's region is not the trail's home: looks where it is, and goes there.
    async fn restart_at_home(
        &self,
        trail: &TrailArn,
        order: &Order<impl Fn() -> bool + Sync>,
    ) -> Result<Restored, RestartError> {
        match self.home_region(trail).await? {
            Some(home) if home != *trail.region() => self.restart_in(trail, &home, order).await,
            _ => {
                let region = trail.region();
                let detail = format!(
                    "InvalidHomeRegionException in {region}, and CloudTrail does not say where the trail lives; look for it in \
                     other Regions"
                );
                Err(Refusal::new(Meaning::Impossible, detail).into())
            }
        }
    }

    async fn restart_in(
        &self,
        trail: &TrailArn,
        region: &Region,
        order: &Order<impl Fn() -> bool + Sync>,
    ) -> Result<Restored, RestartError> {
        let before = match self.before(trail, region, order).await? {
            ControlFlow::Break(ended) => return Ok(ended),
            ControlFlow::Continue(before) => before,
        };
        // Before the lease is looked at: waiting for it takes time.
        let wait =
            self.turn(trail, region).map_err(|after| RestartError::NotOurTurn { after, throttled: None })?;
        let before = if wait.is_zero() {
            before
        } else {
            tokio::time::sleep(wait).await;
            // Somebody else may have started it meanwhile.
            match self.before(trail, region, order).await? {
                ControlFlow::Break(ended) => return Ok(ended),
                ControlFlow::Continue(before) => before,
            }
        };
        if !(order.still_ours)() {
            return Err(RestartError::NotOurs);
        }
        // Without an answer it may have been carried out. Whoever finds logging on later does not claim to know.
        self.start(trail, region).await.map_err(|refusal| match refusal.meaning {
            Meaning::Throttled => RestartError::NotOurTurn {
                after: self.throttled(trail, region),
                throttled: Some(refusal.detail),
            },
            _ => refusal.into(),
        })?;
        let verified = match self.verify(trail, region, order).await {
            // Nobody will see more, and starting it again would show nothing.
            Err(Refusal { meaning: Meaning::Denied, detail }) => {
                Restored::new(Restoration::Unverified { detail }, clock::now())
            }
            verified => verified.map_err(|refusal| RestartError::Refused { refusal, started: true })?,
        };
        let stopped_at = before.filter(|status| !status.logging).and_then(|status| status.stopped_at);
        Ok(Restored { stopped_at: stopped_at.or(verified.stopped_at), ..verified })
    }

    /// Looks at a trail that may have to be started: how it ends already, or else what was seen, if it may be looked at.
    async fn before(
        &self,
        trail: &TrailArn,
        region: &Region,
        order: &Order<impl Fn() -> bool + Sync>,
    ) -> Result<ControlFlow<Restored, Option<Status>>, Refusal> {
        let status = match self.status(trail, region).await {
            Ok(status) => status,
            // The right to look is missing; the right to start may be there, and starting twice does no harm.
            Err(Refusal { meaning: Meaning::Denied, .. }) => return Ok(ControlFlow::Continue(None)),
            Err(refusal) => return Err(refusal),
        };
        let (since, is_older) = (status.started_at, order.is_older(status.started_at));
        Ok(match order.earlier {
            // After an accepted start, logging is on whatever CloudTrail says of when it was started.
            Earlier::Started if status.logging => ControlFlow::Break(ended(status, Restoration::Restarted)),
            earlier if status.logging && !is_older => {
                let perhaps_ours = earlier != Earlier::Nothing;
                ControlFlow::Break(ended(status, Restoration::AlreadyLogging { since, perhaps_ours }))
            }
            // Off; or on as of before the stop, and starting a trail that is on does no harm.
            _ => {
                order.saw(sighting(&status));
                ControlFlow::Continue(Some(status))
            }
        })
    }

    /// Looks until logging is seen to run.
    async fn verify(
        &self,
        trail: &TrailArn,
        region: &Region,
        order: &Order<impl Fn() -> bool + Sync>,
    ) -> Result<Restored, Refusal> {
        for wait in VERIFY_WAITS_MS {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            match self.status(trail, region).await {
                Ok(status) if status.logging => return Ok(ended(status, Restoration::Restarted)),
                Ok(status) => order.saw(sighting(&status)),
                Err(refusal) => return Err(refusal),
            }
        }
        let detail = "StartLogging was accepted, but GetTrailStatus does not show logging yet".to_owned();
        Err(Refusal::new(Meaning::Passing, detail))
    }

    /// Looks whether the trail logs, and changes nothing.
    ///
    /// # Errors
    /// When it failed for now; everything that is final is an `Ok`.
    pub async fn look(&self, trail: &TrailArn) -> Result<Restored, Refusal> {
        let status = match self.status(trail, trail.region()).await {
            Err(Refusal { meaning: Meaning::Elsewhere, .. }) => {
                let home = self.home_region(trail).await?;
                self.status(trail, home.as_ref().unwrap_or_else(|| trail.region())).await
            }
            status => status,
        };
        match status {
            Ok(status) => {
                let since = status.started_at;
                let (logging, before) = (status.logging, sighting(&status));
                let on = Restoration::AlreadyLogging { since, perhaps_ours: false };
                Ok(Restored { before, ..ended(status, if logging { on } else { Restoration::LeftOff }) })
            }
            Err(refusal) => end(refusal).map(|outcome| Restored::new(outcome, clock::now())),
        }
    }

    /// Looks at the trails that live in a Region, of an account and of its organization. One that cannot be looked at
    /// keeps none of the others from it.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn look_around(&self, account: &AccountId, region: &Region) -> Result<Around, Refusal> {
        if !self.reaches(account) {
            let own = self.own_account().map_or("unknown", AccountId::as_str);
            let detail = format!(
                "the call was made in account {account}, and without TRAILKEEPER_MEMBER_ROLE trailkeeper can list the trails of its \
                 own account alone, {own}; look for the trail there"
            );
            return Err(Refusal::new(Meaning::NotSeenFromHere, detail));
        }
        let mut around = Around::default();
        let all = self.all(Some(account), region).await?;
        // A trail is stopped in its home Region alone.
        let at_home = all.into_iter().filter(|(_, home)| home.as_ref().is_none_or(|home| home == region));
        for (trail, _) in at_home.take(MAX_TRAILS) {
            let restored = self.look(&trail).await.unwrap_or_else(|refusal| around.fails(refusal));
            around.found.push(Found { trail: trail.to_string(), restored });
        }
        Ok(around)
    }

    /// Looks at the trails of a Region as [`Self::look_around`] does, and sees to it that those log which stopped with the
    /// stop at `stop`. If none has, an answer may be older than the stop: then every own trail that logs since before it is
    /// started, which does no harm.
    ///
    /// # Errors
    /// When it failed for now, or is no longer ours to do; the inner one is a refusal to list them that is final.
    pub async fn restart_stopped(
        &self,
        account: &AccountId,
        region: &Region,
        stop: OffsetDateTime,
        order: &Order<impl Fn() -> bool + Sync>,
    ) -> Result<Result<Around, Restored>, RestartError> {
        let mut around = match self.look_around(account, region).await {
            Ok(around) => around,
            Err(refusal) => return Ok(Err(Restored::new(end(refusal)?, clock::now()))),
        };
        let is_seen = around.found.iter().any(|found| found.restored.stopped_with(stop));
        for position in 0..around.found.len() {
            let Found { trail, restored } = &mut around.found[position];
            let Some(trail) = TrailArn::parse(trail) else { continue };
            let to_start = match &mut restored.outcome {
                Restoration::LeftOff => restored.stopped_with(stop),
                Restoration::AlreadyLogging { since, perhaps_ours } => {
                    *perhaps_ours = order.earlier != Earlier::Nothing;
                    !is_seen && trail.account() == account && order.is_older(*since)
                }
                _ => false,
            };
            if !to_start {
                continue;
            }
            let restored = match self.restart(&trail, order).await {
                Ok(restored) => restored,
                Err(waits @ (RestartError::NotOurs | RestartError::NotOurTurn { .. })) => return Err(waits),
                Err(RestartError::Refused { refusal, .. }) => {
                    Restored { before: order.seen(), ..around.fails(refusal) }
                }
            };
            around.found[position].restored = restored;
        }
        Ok(Ok(around))
    }
}

/// What there is in a Region.
#[derive(Debug, Default)]
pub struct Around {
    pub found: Vec<Found>,
    /// Why some of it has to be looked at or started again; the trail concerned is among those found, as refused.
    pub failed: Option<Refusal>,
}

impl Around {
    fn fails(&mut self, refusal: Refusal) -> Restored {
        let detail = refusal.detail.clone();
        self.failed.get_or_insert(refusal);
        Restored::new(Restoration::Refused { detail }, clock::now())
    }
}

/// How a refusal ends a restart or a look; given back where it may pass.
fn end(refusal: Refusal) -> Result<Restoration, Refusal> {
    match refusal.meaning {
        Meaning::Passing | Meaning::Throttled => Err(refusal),
        Meaning::Gone => Ok(Restoration::Gone),
        Meaning::Elsewhere | Meaning::NotSeenFromHere | Meaning::Denied | Meaning::Impossible => {
            Ok(Restoration::Refused { detail: refusal.detail })
        }
    }
}

fn sighting(status: &Status) -> Sighting {
    let (at, since) = (clock::now(), status.started_at);
    if status.logging { Sighting::On { at, since } } else { Sighting::Off { at } }
}

fn ended(status: Status, outcome: Restoration) -> Restored {
    let Status { stopped_at, delivery, .. } = status;
    Restored { stopped_at, delivery, ..Restored::new(outcome, clock::now()) }
}
