//! Switching a trail on again: status, start, verify. What CloudTrail's errors mean is decided here.

use std::time::Duration;

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudtrail::primitives::DateTime;
use time::OffsetDateTime;

use super::accounts::Accounts;
use crate::aws;
use crate::clock;
use crate::event::{Region, TrailArn};
use crate::state::{Claim, Lease, Restoration, Restored, StoreError};
use crate::telemetry::{self, RestoreResult};

/// Waits before each look at whether logging runs; StartLogging is usually seen by the first.
const VERIFY_WAITS_MS: [u64; 5] = [0, 200, 400, 800, 1_600];
/// The longest `LatestDeliveryError` kept, in characters.
const MAX_DELIVERY_ERROR_CHARS: usize = 200;

/// Restarts trails.
#[derive(Debug)]
pub struct Restorer {
    accounts: Accounts,
}

/// A restart that failed for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NotYet {
    /// `StartLogging` was accepted, or not answered: whoever looks next and sees logging on owes it to us.
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

/// `GetTrailStatus`, as far as it is read.
#[derive(Debug)]
struct Status {
    logging: bool,
    started_at: Option<OffsetDateTime>,
    stopped_at: Option<OffsetDateTime>,
    delivery_error: Option<String>,
}

/// What an error of CloudTrail means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Try again later.
    Passing,
    /// The trail lives in another region.
    Elsewhere,
    /// No such trail.
    Gone,
    /// Not allowed.
    Denied,
    /// Not possible.
    Impossible,
    /// Not CloudTrail's at all: the claim on the event is lost.
    Unclaimed,
}

/// An error of CloudTrail, understood.
#[derive(Debug)]
struct Refusal {
    meaning: Meaning,
    /// It came after `StartLogging` had been accepted.
    started: bool,
    detail: String,
}

impl Refusal {
    fn new(meaning: Meaning, detail: String) -> Self {
        Self { meaning, started: false, detail }
    }
}

impl Restorer {
    /// Restarts trails with the clients of `accounts`.
    #[must_use]
    pub fn new(accounts: Accounts) -> Self {
        Self { accounts }
    }

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
            Err(Refusal { meaning: Meaning::Elsewhere, .. }) => match self.home_region(trail).await {
                Ok(Some(home)) if home != *trail.region() => {
                    self.restore_in(trail, &home, claim, lease).await
                }
                Ok(_) => {
                    let region = trail.region();
                    let detail =
                        format!("InvalidHomeRegionException in {region}, and no other home region is known");
                    Err(Refusal::new(Meaning::Impossible, detail))
                }
                Err(refusal) => Err(refusal),
            },
            result => result,
        };
        let restored =
            |outcome| Restored { outcome, at: clock::now(), stopped_at: None, delivery_error: None };
        let result = match result {
            Ok(restored) => Ok(restored),
            Err(Refusal { meaning: Meaning::Passing, started, detail }) => {
                Err(Unrestored::NotYet(NotYet { started, detail }))
            }
            Err(Refusal { meaning: Meaning::Unclaimed, .. }) => {
                return Err(Unrestored::Lost(StoreError::Lost));
            }
            Err(Refusal { meaning: Meaning::Gone, .. }) => Ok(restored(Restoration::Gone)),
            Err(Refusal { detail, .. }) => Ok(restored(Restoration::Refused { detail })),
        };
        telemetry::restore(match result.as_ref().map(|restored| &restored.outcome) {
            Ok(Restoration::Restarted) => RestoreResult::Restored,
            Ok(Restoration::AlreadyLogging { .. }) => RestoreResult::AlreadyLogging,
            Ok(Restoration::Gone) => RestoreResult::NotFound,
            Ok(Restoration::Refused { .. }) => RestoreResult::Refused,
            Err(_) => RestoreResult::Failed,
        });
        result
    }

    async fn restore_in(
        &self,
        trail: &TrailArn,
        region: &Region,
        claim: &Claim,
        lease: &Lease,
    ) -> Result<Restored, Refusal> {
        let client = self.client(trail, region)?;
        let name = trail.to_string();
        let before = match status(&client, &name).await {
            Ok(status) if status.logging && claim.steps.started => {
                return Ok(status.ended(Restoration::Restarted));
            }
            Ok(status) if status.logging => {
                let (since, perhaps_ours) = (status.started_at, !claim.is_first());
                return Ok(status.ended(Restoration::AlreadyLogging { since, perhaps_ours }));
            }
            Ok(status) => Some(status),
            // The right to look is missing; the right to start may be there, and starting twice does no harm.
            Err(Refusal { meaning: Meaning::Denied, .. }) => None,
            Err(refusal) => return Err(refusal),
        };
        lease.check().map_err(|lost| Refusal::new(Meaning::Unclaimed, lost.to_string()))?;
        let started = client.start_logging().name(&name).send().await;
        started.map_err(|error| {
            // Without an answer it may have been carried out: logging that is found on later is then ours.
            let unanswered = !matches!(error, SdkError::ServiceError(_));
            Refusal { started: unanswered, ..refusal(&error, "StartLogging") }
        })?;
        let verified =
            verify(&client, &name).await.map_err(|refusal| Refusal { started: true, ..refusal })?;
        Ok(Restored { stopped_at: before.and_then(|status| status.stopped_at), ..verified })
    }

    /// The client for `region`, which may be another than the ARN's.
    fn client(&self, trail: &TrailArn, region: &Region) -> Result<Client, Refusal> {
        self.accounts
            .client(trail, region)
            .map_err(|not_ours| Refusal::new(Meaning::Denied, not_ours.to_string()))
    }

    /// Where the trail lives, as CloudTrail describes it from the region we looked in.
    async fn home_region(&self, trail: &TrailArn) -> Result<Option<Region>, Refusal> {
        let client = self.client(trail, trail.region())?;
        let answer = client
            .describe_trails()
            .trail_name_list(trail.to_string())
            .send()
            .await
            .map_err(|error| refusal(&error, "DescribeTrails"))?;
        let described = answer.trail_list().first();
        Ok(described.and_then(|trail| trail.home_region()).and_then(Region::parse))
    }
}

impl Status {
    fn ended(self, outcome: Restoration) -> Restored {
        let Self { stopped_at, delivery_error, .. } = self;
        Restored { outcome, at: clock::now(), stopped_at, delivery_error }
    }
}

/// Looks until logging is seen to run.
async fn verify(client: &Client, name: &str) -> Result<Restored, Refusal> {
    for wait in VERIFY_WAITS_MS {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        match status(client, name).await {
            Ok(status) if status.logging => return Ok(status.ended(Restoration::Restarted)),
            Ok(_) => {}
            Err(Refusal { meaning: Meaning::Denied, detail, .. }) => {
                let detail = format!("StartLogging was accepted but cannot be verified: {detail}");
                return Err(Refusal::new(Meaning::Denied, detail));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    let detail = "StartLogging was accepted, but GetTrailStatus does not show logging yet".to_owned();
    Err(Refusal::new(Meaning::Passing, detail))
}

async fn status(client: &Client, name: &str) -> Result<Status, Refusal> {
    let answer = client
        .get_trail_status()
        .name(name)
        .send()
        .await
        .map_err(|error| refusal(&error, "GetTrailStatus"))?;
    let time = |time: &DateTime| OffsetDateTime::from_unix_timestamp(time.secs()).ok();
    let delivery_error = answer.latest_delivery_error().filter(|error| !error.is_empty());
    Ok(Status {
        logging: answer.is_logging() == Some(true),
        started_at: answer.start_logging_time().and_then(time),
        stopped_at: answer.stop_logging_time().and_then(time),
        delivery_error: delivery_error.map(|error| error.chars().take(MAX_DELIVERY_ERROR_CHARS).collect()),
    })
}

fn refusal<E>(error: &SdkError<E>, call: &str) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let told = aws::describe(error);
    let meaning = meaning(error.code());
    let advice = match meaning {
        Meaning::Denied => format!("; allow cloudtrail:{call} on this trail to the worker's role"),
        _ => String::new(),
    };
    Refusal::new(meaning, format!("{call}: {told}{advice}"))
}

/// What an error code means. A code that is not known is taken as passing: the attempts are bounded, and
/// giving up on a trail that could be restarted is worse than a few calls too many.
/// Codes: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StartLogging.html#API_StartLogging_Errors>
fn meaning(code: Option<&str>) -> Meaning {
    match code {
        Some("TrailNotFoundException") => Meaning::Gone,
        Some("InvalidHomeRegionException") => Meaning::Elsewhere,
        Some(
            "AccessDenied"
            | "AccessDeniedException"
            // The region is not enabled for the account, or belongs to another partition.
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "OptInRequired"
            | "OperationNotPermittedException"
            | "NotOrganizationMasterAccountException"
            | "InsufficientDependencyServiceAccessPermissionException",
        ) => Meaning::Denied,
        Some(
            "CloudTrailARNInvalidException"
            | "InvalidTrailNameException"
            | "NoManagementAccountSLRExistsException"
            | "UnsupportedOperationException",
        ) => Meaning::Impossible,
        _ => Meaning::Passing,
    }
}
